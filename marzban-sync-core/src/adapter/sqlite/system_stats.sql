CREATE TABLE marzban_system_stats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    panel TEXT NOT NULL,
    collected_at TEXT NOT NULL,
    version TEXT NOT NULL,
    mem_total BIGINT NOT NULL,
    mem_used BIGINT NOT NULL,
    cpu_cores BIGINT NOT NULL,
    cpu_usage DOUBLE PRECISION NOT NULL,
    total_user BIGINT NOT NULL,
    online_users BIGINT,
    users_active BIGINT NOT NULL,
    users_on_hold BIGINT,
    users_disabled BIGINT,
    users_expired BIGINT,
    users_limited BIGINT,
    incoming_bandwidth BIGINT NOT NULL,
    outgoing_bandwidth BIGINT NOT NULL,
    incoming_bandwidth_speed BIGINT NOT NULL,
    outgoing_bandwidth_speed BIGINT NOT NULL
);
CREATE INDEX marzban_system_stats_panel_collected_at ON marzban_system_stats (panel, collected_at DESC);
