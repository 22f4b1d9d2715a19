-- Skipping rows that somebody else holds locked, so that this transaction never waits: a payment cannot deadlock with it.
-- `$1` are the accounts and `$2`, in the same order, the subscriptions that they depend on, or null. An account is
-- locked only when its subscription is held: several accounts may share one, and else two calls with the same changes
-- could each hold a part of one of them, and neither would write it.
WITH
locked_subscription AS MATERIALIZED (
    SELECT id FROM subscriptions WHERE id = ANY ($2) FOR NO KEY UPDATE SKIP LOCKED
),
locked_config AS MATERIALIZED (
    SELECT id FROM vpn_configs
    WHERE id = ANY (ARRAY(
        SELECT change.account_id
        FROM unnest($1, $2) AS change (account_id, subscription_id)
        WHERE change.subscription_id IS NULL
           OR change.subscription_id IN (SELECT id FROM locked_subscription)
    ))
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT id::bigint AS id FROM locked_config
