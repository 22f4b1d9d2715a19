-- The columns of the tables as this session finds them by its search_path; a domain counts as what it is made of.
SELECT
    wanted.name AS table_name,
    attribute.attname::text AS column_name,
    coalesce(base.typname, type.typname)::text AS type_name,
    coalesce(base.typtype, type.typtype) = 'e' AS is_enum,
    ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = coalesce(base.oid, type.oid)) AS words,
    format_type(attribute.atttypid, NULL) AS shown_type,
    -- Whether rows are found by it without going through the table; of what is no plain table that is not known.
    class.relkind <> 'r' OR EXISTS (
        SELECT FROM pg_index
        JOIN pg_class AS index ON index.oid = indexrelid
        JOIN pg_am ON pg_am.oid = index.relam
        WHERE indrelid = class.oid AND indkey[0] = attribute.attnum AND indisvalid
            AND indpred IS NULL AND pg_am.amname IN ('btree', 'hash')
    ) AS is_indexed
FROM unnest($1) AS wanted (name)
JOIN pg_class AS class ON class.oid = to_regclass(quote_ident(wanted.name))
JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
JOIN pg_type AS type ON type.oid = attribute.atttypid
LEFT JOIN pg_type AS base ON base.oid = type.typbasetype
WHERE attribute.attnum > 0 AND NOT attribute.attisdropped
