-- Skipping rows that somebody else holds locked, so that this transaction never waits: a payment cannot deadlock with it.
-- As a unique key over the status, or over the name, makes a write one of the key, the rows are locked as for that.
-- `$1` are the accounts that change, and `$2` and `$3` the subscriptions that each of them depends on. An account is
-- locked only when all its subscriptions are held: several accounts may share one, and else two calls with the same
-- changes could each hold a part of one of them, and neither would write it. `$4` is the panel and `$5` its users whose
-- agreement changes.
WITH
locked_subscription AS MATERIALIZED (
    SELECT id FROM subscriptions WHERE id = ANY ($3) FOR UPDATE SKIP LOCKED
),
locked_config AS MATERIALIZED (
    SELECT id FROM vpn_configs
    WHERE id = ANY (ARRAY(
        SELECT change.account_id
        FROM unnest($1) AS change (account_id)
        EXCEPT
        SELECT needed.account_id
        FROM unnest($2, $3) AS needed (account_id, subscription_id)
        WHERE needed.subscription_id NOT IN (SELECT id FROM locked_subscription)
    ))
    FOR UPDATE SKIP LOCKED
),
locked_agreement AS MATERIALIZED (
    SELECT username FROM marzban_sync_agreements
    WHERE panel = $4 AND username = ANY ($5)
    FOR UPDATE SKIP LOCKED
)
SELECT id::bigint AS account_id, NULL::bigint AS subscription_id, NULL::text AS username FROM locked_config
UNION ALL
SELECT NULL, id::bigint, NULL FROM locked_subscription
UNION ALL
SELECT NULL, NULL, username FROM locked_agreement
