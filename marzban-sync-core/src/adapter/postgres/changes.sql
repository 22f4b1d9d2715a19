CREATE TABLE marzban_sync_changes (
    id bigserial PRIMARY KEY,
    run_id bigint,
    panel text NOT NULL,
    account_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    telegram_id bigint,
    username text NOT NULL,
    column_name text NOT NULL,
    row_id bigint NOT NULL,
    old_value text,
    new_value text,
    reason text NOT NULL,
    state text NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX marzban_sync_changes_run_id ON marzban_sync_changes (run_id);
CREATE INDEX marzban_sync_changes_telegram_id ON marzban_sync_changes (telegram_id);
CREATE INDEX marzban_sync_changes_username ON marzban_sync_changes (username);
