CREATE TABLE marzban_sync_agreements (
    panel text,
    username text,
    revision bigint NOT NULL,
    agreement jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (panel, username)
);
