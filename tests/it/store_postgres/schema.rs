//! What the tables must look like, and what `migrate` adds.

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, PostgresStore};
use marzban_sync_tests::TestDatabase;

use super::{Bot, ONE_ACCOUNT};

const CREATED: [&str; 5] = [
    "vpn_configs.panel",
    "marzban_sync_runs",
    "marzban_system_stats",
    "marzban_sync_agreements",
    "marzban_sync_changes",
];

const COUNT_CREATED: &str = "SELECT count(*)::text FROM pg_tables WHERE tablename LIKE 'marzban%'";

#[tokio::test]
async fn migrating_a_live_database_adds_the_own_tables_and_rewrites_no_row() {
    let Some(bot) = Bot::before_migration().await else {
        return;
    };
    bot.sql(ONE_ACCOUNT).await;
    let before = bot.fingerprint().await;

    let missing = bot.store.verify_schema().await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::Schema);
    assert_eq!(
        missing.to_string(),
        "the database does not fit: column vpn_configs.panel is missing: run migrate; table marzban_sync_runs is missing: run migrate; \
         table marzban_system_stats is missing: run migrate; table marzban_sync_agreements is missing: run migrate; \
         table marzban_sync_changes is missing: run migrate"
    );

    assert_eq!(bot.store.migrate().await.unwrap().created, CREATED);
    bot.store.verify_schema().await.unwrap();
    assert_eq!(bot.store.migrate().await.unwrap().created, [""; 0]);
    assert_eq!(bot.fingerprint().await, before);
}

#[tokio::test]
async fn migrating_adds_the_nullable_columns_that_are_missing() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "ALTER TABLE subscriptions DROP COLUMN updated_at;
         ALTER TABLE vpn_configs DROP COLUMN is_active, DROP COLUMN traffic_used, DROP COLUMN last_connected_at,
             DROP COLUMN updated_at;",
    )
    .await;
    let before = bot.text("SELECT vpn_configs::text FROM vpn_configs").await;
    let missing = bot.store.verify_schema().await.unwrap_err().to_string();
    assert!(
        missing.contains("column vpn_configs.is_active is missing: run migrate"),
        "{missing}"
    );

    let added = [
        "subscriptions.updated_at",
        "vpn_configs.is_active",
        "vpn_configs.traffic_used",
        "vpn_configs.last_connected_at",
        "vpn_configs.updated_at",
    ];
    assert_eq!(bot.store.migrate().await.unwrap().created, added);
    bot.store.verify_schema().await.unwrap();
    assert_eq!(bot.store.migrate().await.unwrap().created, [""; 0]);
    let after = bot.text("SELECT vpn_configs::text FROM vpn_configs").await;
    assert_eq!(
        after,
        before.replace(')', ",,,,)"),
        "the new columns are null and the old ones as they were"
    );
}

#[tokio::test]
async fn an_empty_database_is_told_all_that_is_missing_and_stays_empty() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let store = PostgresStore::new(database.pool(2));
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert_eq!(
        error.to_string(),
        "the database does not fit: table users is missing from the search_path; \
         table subscriptions is missing from the search_path; table vpn_configs is missing from the search_path"
    );
    let tables = database
        .connect()
        .await
        .query_one(COUNT_CREATED, &[])
        .await
        .unwrap();
    assert_eq!(tables.get::<_, &str>(0), "0");
}

#[tokio::test]
async fn a_column_that_cannot_be_added_stops_the_migration_before_it_adds_others() {
    let Some(bot) = Bot::before_migration().await else {
        return;
    };
    bot.sql(
        "ALTER TABLE vpn_configs RENAME COLUMN marzban_user_id TO name; ALTER TABLE users RENAME telegram_id TO chat;
         ALTER TABLE vpn_configs DROP COLUMN is_active",
    )
    .await;
    let said = "the database does not fit: column users.telegram_id is missing; \
                column vpn_configs.marzban_user_id is missing";
    assert_eq!(bot.store.migrate().await.unwrap_err().to_string(), said);
    assert_eq!(bot.text(COUNT_CREATED).await, "0");
    let columns = "SELECT count(*)::text FROM pg_attribute WHERE attrelid = 'vpn_configs'::regclass AND attname = 'is_active'";
    assert_eq!(bot.text(columns).await, "0");
}

/// What makes a bot's table one that cannot be served, and what is said of it.
const MISFITS: [(&str, &str); 5] = [
    (
        "ALTER TABLE vpn_configs ALTER traffic_used TYPE integer",
        "column vpn_configs.traffic_used is integer and must be bigint: \
         ALTER TABLE vpn_configs ALTER COLUMN traffic_used TYPE bigint",
    ),
    (
        "ALTER TABLE subscriptions ALTER end_date TYPE date",
        "column subscriptions.end_date is date and must be timestamp without time zone",
    ),
    (
        "CREATE TYPE state AS ENUM ('active'); ALTER TABLE subscriptions ALTER status TYPE state USING status::state",
        "column subscriptions.status is the enum state, which has no word for expired",
    ),
    (
        "ALTER TABLE users ALTER telegram_id TYPE uuid USING NULL",
        "column users.telegram_id is uuid and must be bigint",
    ),
    (
        "ALTER TABLE vpn_configs ALTER is_active TYPE integer USING is_active::integer",
        "column vpn_configs.is_active is integer and must be boolean",
    ),
];

#[tokio::test]
async fn a_column_of_another_type_is_refused_with_what_to_do() {
    for (alter, problem) in MISFITS {
        let Some(bot) = Bot::new().await else { return };
        bot.sql(alter).await;
        let error = bot.store.verify_schema().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema);
        assert_eq!(error.to_string(), format!("the database does not fit: {problem}"));
    }
}

#[tokio::test]
async fn migrating_changes_nothing_where_a_job_could_not_run_afterwards() {
    const FOUND: &str =
        "SELECT string_agg(concat_ws(' ', attrelid::regclass, attname, atttypid::regtype), ',' ORDER BY 1)
        FROM (SELECT attrelid, attname, atttypid FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
              WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY attrelid, attnum) AS found";
    for (alter, problem) in MISFITS {
        let Some(bot) = Bot::before_migration().await else {
            return;
        };
        bot.sql(alter).await;
        bot.sql("ALTER TABLE vpn_configs DROP COLUMN updated_at").await;
        let before = bot.text(FOUND).await;
        let error = bot.store.migrate().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema);
        assert_eq!(error.to_string(), format!("the database does not fit: {problem}"));
        assert_eq!(bot.text(FOUND).await, before);
    }
}

#[tokio::test]
async fn times_with_a_zone_a_status_of_an_enum_and_telegram_ids_as_text_are_served() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let bot = Bot::of(database.in_time_zone("Asia/Tehran").await).await;
    bot.sql(ONE_ACCOUNT).await;
    bot.sql(
        "CREATE SCHEMA types; CREATE TYPE types.\"Status\" AS ENUM ('TRIAL', 'ACTIVE', 'EXPIRED');
         ALTER TABLE subscriptions ALTER status TYPE types.\"Status\" USING upper(status)::types.\"Status\",
             ALTER start_date TYPE timestamptz USING start_date AT TIME ZONE 'UTC',
             ALTER end_date TYPE timestamptz USING end_date AT TIME ZONE 'UTC',
             ALTER updated_at TYPE timestamptz USING updated_at AT TIME ZONE 'UTC';
         ALTER TABLE vpn_configs ALTER last_connected_at TYPE timestamptz, ALTER updated_at TYPE timestamptz;
         ALTER TABLE users ALTER telegram_id TYPE varchar;
         INSERT INTO users VALUES (2, 'nobody', 'fa', '2025-01-01');
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id) VALUES (2, 2, 'vless', 'bob');",
    )
    .await;
    bot.store.verify_schema().await.unwrap();
    let accounts = bot.accounts().await;
    assert_eq!(
        (accounts[0].telegram_id, accounts[1].telegram_id),
        (Some(11_111), None)
    );
    let subscription = accounts[0].subscription.as_ref().unwrap();
    assert_eq!(
        subscription.end_date,
        Some(super::now() + chrono::TimeDelta::days(1))
    );
    let mut change = super::expiry(&accounts[0]);
    change.vpn_config.last_connected_at = Some(super::now());
    assert_eq!(bot.apply(&[change]).await, [accounts[0].id]);
    bot.sql("SET TIME ZONE 'UTC'").await;
    assert_eq!(
        bot.text("SELECT concat_ws('|', status, end_date, updated_at) FROM subscriptions")
            .await,
        "EXPIRED|2025-09-15 00:00:00+00|2025-09-15 00:00:00+00"
    );
    assert_eq!(
        bot.text("SELECT concat_ws('|', last_connected_at, updated_at) FROM vpn_configs WHERE id = 1")
            .await,
        "2025-09-15 00:00:00+00|2025-09-15 00:00:00+00"
    );
}

#[tokio::test]
async fn other_integers_texts_domains_and_schemas_fit() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "CREATE SCHEMA bot; CREATE DOMAIN bot.name AS text;
         ALTER TABLE vpn_configs ALTER id TYPE bigint, ALTER marzban_user_id TYPE bot.name;
         ALTER TABLE users ALTER id TYPE smallint; ALTER TABLE subscriptions ALTER status TYPE text;
         ALTER TABLE users SET SCHEMA bot; ALTER TABLE subscriptions SET SCHEMA bot; ALTER TABLE vpn_configs SET SCHEMA bot;",
    )
    .await;
    let name = bot.text("SELECT current_database()::text").await;
    bot.sql(&format!("ALTER DATABASE {name} SET search_path = bot, public"))
        .await;
    let store = PostgresStore::new(bot.database.pool(2));
    store.verify_schema().await.unwrap();
    let account = store
        .page_accounts(DEFAULT_PANEL, None, 10, super::now())
        .await
        .unwrap()
        .accounts
        .remove(0);
    let applied = store
        .apply(DEFAULT_PANEL, None, &[super::expiry(&account)], super::now())
        .await
        .unwrap();
    assert_eq!(applied, [account.id]);
}

#[tokio::test]
async fn two_migrations_at_once_create_everything_once() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    database.create_bot_schema().await;
    let (one, other) = (
        PostgresStore::new(database.pool(1)),
        PostgresStore::new(database.pool(1)),
    );
    let (one, other) = tokio::join!(one.migrate(), other.migrate());
    let created: Vec<String> = [one.unwrap().created, other.unwrap().created].concat();
    assert_eq!(created, CREATED);
}

#[tokio::test]
async fn an_index_that_is_missing_is_told_of_and_not_created() {
    let Some(bot) = Bot::new().await else { return };
    let indexes =
        "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'";
    bot.sql(
        "DROP INDEX subscriptions_user_id, vpn_configs_user_id;
         ALTER TABLE vpn_configs DROP CONSTRAINT vpn_configs_marzban_user_id_key",
    )
    .await;
    let before = bot.text(indexes).await;
    let told = bot.store.migrate().await.unwrap().missing_indexes;
    assert_eq!(
        told,
        [
            "CREATE INDEX CONCURRENTLY ON subscriptions (user_id)",
            "CREATE INDEX CONCURRENTLY ON vpn_configs (user_id)",
            "CREATE INDEX CONCURRENTLY ON vpn_configs (marzban_user_id)",
        ]
    );
    assert_eq!(bot.text(indexes).await, before);

    for statement in told {
        bot.sql(&statement).await;
    }
    assert_eq!(bot.store.migrate().await.unwrap().missing_indexes, [""; 0]);
}

#[tokio::test]
async fn an_index_of_all_rows_does_that_begins_with_the_column_and_no_other() {
    let told = ["CREATE INDEX CONCURRENTLY ON subscriptions (user_id)"];
    let cases = [
        ("(user_id, status)", &told[..0]),
        ("(user_id DESC NULLS LAST)", &told[..0]),
        ("(status, user_id)", &told[..]),
        ("((user_id + 1), user_id)", &told[..]),
        ("(status) INCLUDE (user_id)", &told[..]),
        ("(user_id) WHERE status = 'active'", &told[..]),
        ("USING brin (user_id)", &told[..]),
    ];
    for (columns, expected) in cases {
        let Some(bot) = Bot::new().await else { return };
        bot.sql(&format!(
            "DROP INDEX subscriptions_user_id; CREATE INDEX ON subscriptions {columns}"
        ))
        .await;
        let told = bot.store.migrate().await.unwrap().missing_indexes;
        assert_eq!(told, expected, "{columns}");
    }
}
