CREATE TABLE marzban_sync_runs (
    id bigserial PRIMARY KEY,
    job text NOT NULL,
    panel text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    outcome text NOT NULL,
    report jsonb
);
CREATE INDEX marzban_sync_runs_job_panel_id ON marzban_sync_runs (job, panel, id DESC);
