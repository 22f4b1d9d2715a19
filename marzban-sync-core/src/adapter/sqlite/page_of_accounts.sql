-- Which customers to read: those that are meant, by their lowest account, and those who share a panel user with them.
-- ?1 the panel; the rest belongs to what stands in the place of `{chosen}`.
WITH account AS NOT MATERIALIZED (
    SELECT id, user_id, marzban_user_id AS name
    FROM vpn_configs
    WHERE marzban_user_id <> '' AND COALESCE(NULLIF(CAST(panel AS TEXT), ''), 'default') COLLATE BINARY = ?1
),
chosen AS MATERIALIZED ({chosen}),
sharing AS (
    SELECT DISTINCT user_id
    FROM account
    -- The column may be declared to ignore case; the panel's names do not.
    WHERE name COLLATE BINARY IN (SELECT name FROM account WHERE user_id IN (SELECT user_id FROM chosen))
      AND user_id NOT IN (SELECT user_id FROM chosen)
)
SELECT u.id AS id, u.telegram_id AS telegram_id, c.lowest AS lowest FROM chosen c JOIN users u ON u.id = c.user_id
UNION ALL
SELECT u.id, u.telegram_id, NULL FROM sharing s JOIN users u ON u.id = s.user_id
ORDER BY 3
