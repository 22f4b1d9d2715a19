CREATE TABLE marzban_sync_changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id BIGINT,
    panel TEXT NOT NULL,
    account_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    telegram_id BIGINT,
    username TEXT NOT NULL,
    column_name TEXT NOT NULL,
    row_id BIGINT NOT NULL,
    old_value TEXT,
    new_value TEXT,
    reason TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at TEXT NOT NULL
);
CREATE INDEX marzban_sync_changes_run_id ON marzban_sync_changes (run_id);
CREATE INDEX marzban_sync_changes_telegram_id ON marzban_sync_changes (telegram_id);
CREATE INDEX marzban_sync_changes_username ON marzban_sync_changes (username);
