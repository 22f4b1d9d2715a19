CREATE TABLE marzban_sync_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL,
    panel TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT NOT NULL,
    report TEXT
);
CREATE INDEX marzban_sync_runs_job_panel_started_at ON marzban_sync_runs (job, panel, started_at DESC);
