-- The accounts of some users, users by their lowest account.
-- ?1 the lowest account must be above this; ?2 a JSON array of accounts whose users are meant, or null for all;
-- ?3 the scope; ?4 the moment of the scope `ended`, in microseconds; ?5 how many users, or -1 for all; ?6 the panel.
WITH account AS (
    SELECT id, user_id, marzban_user_id, is_active, traffic_used, last_connected_at,
        COALESCE(NULLIF(CAST(panel AS TEXT), ''), 'default') COLLATE BINARY = ?6 AS is_here
    FROM vpn_configs
    WHERE marzban_user_id <> ''
),
customers AS (
    SELECT v.user_id, MIN(v.id) AS lowest
    FROM account v
    JOIN users u ON u.id = v.user_id
    WHERE v.is_here
      AND (?2 IS NULL OR v.user_id IN (
          SELECT named.user_id FROM json_each(?2) AS wanted JOIN vpn_configs named ON named.id = wanted.value
      ))
    GROUP BY v.user_id
    HAVING MIN(v.id) > ?1
    ORDER BY lowest
    -- Where every user is in scope, no more subscriptions are ranked than the page needs.
    LIMIT CASE WHEN ?3 = 'all' THEN ?5 ELSE -1 END
),
dated AS (
    SELECT s.id, s.user_id, CAST(COALESCE(s.status, '') AS TEXT) COLLATE BINARY AS status, s.end_date,
        marzban_time(CAST(s.end_date AS TEXT)) AS end_at
    FROM subscriptions s
    WHERE s.user_id IN (SELECT user_id FROM customers)
),
ranked AS (
    SELECT *,
        ROW_NUMBER() OVER (
            PARTITION BY user_id
            ORDER BY status IN ('active', 'trial') DESC, end_at DESC NULLS FIRST, id DESC
        ) AS rank,
        MIN(status IN ('expired', 'cancelled') AND COALESCE(end_at < ?4, 0)) OVER (PARTITION BY user_id) AS all_ended
    FROM dated
),
chosen AS (
    SELECT c.user_id, c.lowest, g.id, g.status, g.end_date, g.end_at
    FROM customers c
    LEFT JOIN ranked g ON g.user_id = c.user_id AND g.rank = 1
    WHERE CASE ?3
        WHEN 'all' THEN 1
        WHEN 'subscribed' THEN g.status IN ('active', 'trial', 'expired')
        ELSE g.all_ended
    END
    ORDER BY c.lowest
    LIMIT ?5
)
SELECT
    v.id,
    v.user_id,
    u.telegram_id,
    CAST(v.marzban_user_id AS TEXT) AS name,
    v.is_active,
    v.traffic_used,
    marzban_time(CAST(v.last_connected_at AS TEXT)) AS last_connected_at,
    EXISTS (
        SELECT 1 FROM account other WHERE other.user_id = v.user_id AND other.is_active AND NOT other.is_here
    ) AS active_elsewhere,
    c.id AS subscription_id,
    c.status,
    c.end_at,
    v.last_connected_at IS NULL OR marzban_time(CAST(v.last_connected_at AS TEXT)) IS NOT NULL
        AS is_vpn_config_readable,
    c.end_date IS NULL OR c.end_at IS NOT NULL AS is_subscription_readable
FROM chosen c
JOIN account v ON v.user_id = c.user_id AND v.is_here
JOIN users u ON u.id = v.user_id
ORDER BY c.lowest, v.id
