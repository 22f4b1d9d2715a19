CREATE TABLE marzban_system_stats (
    id bigserial PRIMARY KEY,
    panel text NOT NULL,
    collected_at timestamptz NOT NULL,
    version text NOT NULL,
    mem_total bigint NOT NULL,
    mem_used bigint NOT NULL,
    cpu_cores bigint NOT NULL,
    cpu_usage double precision NOT NULL,
    total_user bigint NOT NULL,
    online_users bigint,
    users_active bigint NOT NULL,
    users_on_hold bigint,
    users_disabled bigint,
    users_expired bigint,
    users_limited bigint,
    incoming_bandwidth bigint NOT NULL,
    outgoing_bandwidth bigint NOT NULL,
    incoming_bandwidth_speed bigint NOT NULL,
    outgoing_bandwidth_speed bigint NOT NULL
);
CREATE INDEX marzban_system_stats_panel_collected_at ON marzban_system_stats (panel, collected_at DESC);
