-- Skipping rows that somebody else holds locked, so that this transaction never waits: a payment cannot deadlock with it.
-- `$1` are the accounts and `$2`, in the same order, the subscriptions that they depend on. A subscription is locked
-- only for an account that is held, or else two calls with the same change could each get one row of the two, and
-- neither would write.
WITH
locked_config AS MATERIALIZED (
    SELECT id FROM vpn_configs WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED
),
locked_subscription AS MATERIALIZED (
    SELECT id FROM subscriptions
    WHERE id = ANY (ARRAY(
        SELECT change.subscription_id
        FROM unnest($1, $2) AS change (account_id, subscription_id)
        JOIN locked_config ON locked_config.id = change.account_id
    ))
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id::bigint AS id, true AS is_config FROM locked_config
UNION ALL
SELECT id::bigint AS id, false AS is_config FROM locked_subscription
