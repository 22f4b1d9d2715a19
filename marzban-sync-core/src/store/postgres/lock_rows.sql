-- Skipping rows that somebody else holds locked, so that this transaction never waits: a payment cannot deadlock with it.
WITH
locked_config AS MATERIALIZED (
    SELECT id FROM vpn_configs WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED
),
locked_subscription AS MATERIALIZED (
    SELECT id FROM subscriptions WHERE id = ANY ($2) FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id::bigint AS id, true AS is_config FROM locked_config
UNION ALL
SELECT id::bigint AS id, false AS is_config FROM locked_subscription
