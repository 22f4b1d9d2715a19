CREATE TABLE marzban_sync_agreements (
    panel TEXT NOT NULL,
    username TEXT NOT NULL,
    revision BIGINT NOT NULL,
    agreement TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (panel, username)
);
