//! Addresses, files, migrations and formats.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::sql_types::{Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use marzban_sync_core::account::{AccountId, SubscriptionId};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{StoreErrorKind, chain};
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, SqliteStore};

use super::bot::{Sqlite, TABLES, VpnConfigRow, read};

impl Sqlite {
    /// The one text that a query gives; none is null.
    pub(super) fn text(&self, query: &str) -> Option<String> {
        #[derive(QueryableByName)]
        struct Cell {
            #[diesel(sql_type = Nullable<Text>)]
            cell: Option<String>,
        }
        sql_query(format!("SELECT CAST(({query}) AS TEXT) AS cell"))
            .get_result::<Cell>(&mut self.bot())
            .unwrap()
            .cell
    }
}

pub(super) fn now() -> DateTime<Utc> {
    read("2025-09-15 00:00:00")
}

/// One user with one account and the given texts for times.
pub(super) fn insert_one(sqlite: &Sqlite, end_date: &str, last_connected_at: &str) {
    sqlite
        .bot()
        .batch_execute(&format!(
            "INSERT INTO users (id, telegram_id) VALUES (1, 11);
             INSERT INTO subscriptions (id, user_id, status, end_date) VALUES (1, 1, 'active', {end_date});
             INSERT INTO vpn_configs (id, user_id, marzban_user_id, is_active, traffic_used, last_connected_at)
                 VALUES (1, 1, 'alice', 1, 5, {last_connected_at});"
        ))
        .unwrap();
}

pub(super) async fn accounts(sqlite: &Sqlite) -> Vec<marzban_sync_core::account::Account> {
    sqlite
        .store
        .page_accounts(DEFAULT_PANEL, None, 100, now())
        .await
        .unwrap()
        .accounts
}

#[tokio::test]
async fn a_missing_database_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere.db");
    let error = SqliteStore::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        format!(
            "there is no database {}: check the path, or create it first",
            path.display()
        )
    );
    assert!(!path.exists());
}

#[tokio::test]
async fn every_spelling_of_an_address_opens_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%20c#d?e.db");
    let shown = path.display();
    let store = SqliteStore::create(&path.display().to_string()).await.unwrap();
    drop(store);
    assert!(path.exists(), "the name is taken literally");
    let plain = folder.path().join("bot.db");
    let shown_plain = plain.display();
    SqliteStore::create(&format!("sqlite:{shown_plain}"))
        .await
        .unwrap();
    SqliteConnection::establish(plain.to_str().unwrap())
        .unwrap()
        .batch_execute(TABLES)
        .unwrap();
    for address in [
        format!("sqlite://{shown_plain}"),
        format!("sqlite:{shown_plain}"),
        format!("{shown_plain}"),
    ] {
        SqliteStore::connect(&address)
            .await
            .unwrap()
            .migrate()
            .await
            .unwrap();
    }
    SqliteStore::connect(&shown.to_string()).await.unwrap();
}

#[tokio::test]
async fn creating_keeps_what_is_there() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "NULL", "NULL");
    let again = SqliteStore::create(sqlite.path().to_str().unwrap())
        .await
        .unwrap();
    assert_eq!(again.count_accounts(DEFAULT_PANEL).await.unwrap(), 1);
}

#[tokio::test]
async fn an_address_of_something_else_is_refused_without_repeating_it() {
    for address in [
        "postgres://bot:hunter2@db/bot",
        "sqlite://bot.db?key=hunter2",
        "sqlite://",
        "",
        "sqlite:a\0b",
    ] {
        let error = SqliteStore::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{address:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    std::fs::write(
        &path,
        "this is a text, and longer than the header of a database would be: so it is read".repeat(9),
    )
    .unwrap();
    let error = SqliteStore::connect(path.to_str().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(
        chain(&error),
        format!(
            "cannot open the database {}: file is not a database",
            path.display()
        )
    );
    let error = SqliteStore::connect(folder.path().to_str().unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        StoreErrorKind::Unavailable,
        "a folder cannot be opened"
    );
}

#[tokio::test]
async fn a_database_in_memory_is_shared_by_clones_and_by_nobody_else() {
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    let other = SqliteStore::connect("sqlite://:memory:").await.unwrap();
    let job = Job::CleanupExpiredMarzbanUsers;
    let held = store.lock(job, "main").await.unwrap();
    let error = store.clone().lock(job, "main").await.err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
    other.lock(job, "main").await.unwrap().release().await.unwrap();
    held.release().await.unwrap();
    store.clone().lock(job, "main").await.unwrap();
    assert_eq!(
        store.verify_schema().await.unwrap_err().kind(),
        StoreErrorKind::Schema
    );
}

#[tokio::test]
async fn migrating_creates_what_is_missing_once_and_changes_no_value() {
    let sqlite = Sqlite::with_tables(
        "CREATE TABLE Users (ID INTEGER PRIMARY KEY, telegram_id BIGINT NOT NULL UNIQUE);
         CREATE TABLE subscriptions (id INTEGER PRIMARY KEY, user_id INT, status TEXT, end_date DATETIME, plan TEXT NOT NULL);
         CREATE TABLE vpn_configs (id INTEGER PRIMARY KEY, user_id INT, marzban_user_id TEXT, traffic_used BIGINT, protocol TEXT NOT NULL);
         INSERT INTO users VALUES (1, 11);
         INSERT INTO subscriptions VALUES (1, 1, 'active', '2025-09-15T00:00:00Z', 'gold');
         INSERT INTO vpn_configs VALUES (1, 1, 'alice', 5, 'vless');",
    )
    .await;
    let error = sqlite.store.verify_schema().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert_eq!(
        error.to_string(),
        "the database lacks subscriptions.updated_at, vpn_configs.panel, vpn_configs.is_active, \
         vpn_configs.last_connected_at, vpn_configs.updated_at, marzban_sync_runs, marzban_system_stats, \
         marzban_sync_agreements, marzban_sync_changes: run `migrate` to add what is missing"
    );

    let migration = sqlite.store.migrate().await.unwrap();
    assert_eq!(
        serde_json::to_value(&migration).unwrap(),
        serde_json::json!({"created": [
            "subscriptions.updated_at", "vpn_configs.panel", "vpn_configs.is_active",
            "vpn_configs.last_connected_at", "vpn_configs.updated_at", "marzban_sync_runs", "marzban_system_stats",
            "marzban_sync_agreements", "marzban_sync_changes",
        ]})
    );
    sqlite.store.verify_schema().await.unwrap();
    let schema = sqlite.text("SELECT group_concat(sql) FROM sqlite_schema");
    assert_eq!(sqlite.store.migrate().await.unwrap().created, [""; 0]);
    assert_eq!(sqlite.text("SELECT group_concat(sql) FROM sqlite_schema"), schema);

    assert_eq!(
        sqlite.text("SELECT end_date FROM subscriptions").as_deref(),
        Some("2025-09-15T00:00:00Z")
    );
    let account = &accounts(&sqlite).await[0];
    assert_eq!((account.traffic_used, account.is_active), (Some(5), None));
    let mut change = Change::of(account);
    change.vpn_config.is_active = Some(true);
    change.subscription.end_date = Some(EndDate::At(now() + TimeDelta::days(1)));
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .unwrap(),
        [AccountId(1)]
    );
    assert_eq!(
        sqlite.text("SELECT plan FROM subscriptions").as_deref(),
        Some("gold")
    );
    assert_eq!(
        sqlite.text("SELECT protocol FROM vpn_configs").as_deref(),
        Some("vless")
    );
}

#[tokio::test]
async fn what_only_the_bot_can_make_is_named_as_a_whole_and_nothing_is_created() {
    let sqlite = Sqlite::with_tables(
        "CREATE TABLE users (id INTEGER PRIMARY KEY);
         CREATE TABLE vpn_configs (id INTEGER PRIMARY KEY, user_id INT);",
    )
    .await;
    let schema = sqlite.text("SELECT group_concat(sql) FROM sqlite_schema");
    let expected = "the database lacks the column users.telegram_id, the table subscriptions, the column \
                    vpn_configs.marzban_user_id, which are the bot's to make: check that this is its database";
    for error in [
        sqlite.store.migrate().await.unwrap_err(),
        sqlite.store.verify_schema().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Schema);
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(sqlite.text("SELECT group_concat(sql) FROM sqlite_schema"), schema);
}

#[tokio::test]
async fn a_table_that_is_missing_after_all_is_a_schema_error() {
    let store = SqliteStore::connect(":memory:").await.unwrap();
    let error = store.count_accounts(DEFAULT_PANEL).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert_eq!(
        chain(&error),
        "cannot count the accounts: no such table: vpn_configs"
    );
}

#[tokio::test]
async fn times_are_written_as_the_bot_reads_them() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "'2025-09-15 00:00:00.000000'", "NULL");
    for (time, expected) in [
        (now(), "2025-09-15 00:00:00"),
        (now() + TimeDelta::milliseconds(500), "2025-09-15 00:00:00.500000"),
        (now() + TimeDelta::microseconds(7), "2025-09-15 00:00:00.000007"),
    ] {
        let mut change = Change::of(&accounts(&sqlite).await[0]);
        change.vpn_config.last_connected_at = Some(time);
        change.subscription.end_date = Some(EndDate::At(time));
        assert_eq!(
            sqlite
                .store
                .apply(DEFAULT_PANEL, None, &[change], time)
                .await
                .unwrap(),
            [AccountId(1)]
        );
        for column in [
            "end_date FROM subscriptions",
            "updated_at FROM subscriptions",
            "last_connected_at FROM vpn_configs",
        ] {
            assert_eq!(
                sqlite.text(&format!("SELECT {column}")).as_deref(),
                Some(expected),
                "{column}"
            );
        }
    }
}

#[tokio::test]
async fn times_in_other_forms_are_read_compared_and_ordered_alike() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "'2025-09-15T03:30:00+03:30'", "'2025-09-14T23:59:59.5Z'");
    // As texts the first of these two is the greater, as moments the second is.
    sqlite
        .bot()
        .batch_execute(
            "INSERT INTO subscriptions (id, user_id, status, end_date) VALUES
                 (2, 1, 'active', '2025-09-15T00:00:00.1Z'), (3, 1, 'trial', '2025-09-15 00:00:00.200');",
        )
        .unwrap();
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!(
        account.last_connected_at,
        Some(now() - TimeDelta::milliseconds(500))
    );
    let subscription = account.subscription.clone().unwrap();
    assert_eq!(subscription.id, SubscriptionId(3));
    assert_eq!(subscription.end_date, Some(now() + TimeDelta::milliseconds(200)));

    let mut change = Change::of(&account);
    change.vpn_config.is_active = Some(false);
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .unwrap(),
        [AccountId(1)]
    );
    let kept = sqlite.text("SELECT last_connected_at FROM vpn_configs");
    assert_eq!(
        kept.as_deref(),
        Some("2025-09-14T23:59:59.5Z"),
        "what does not change keeps its form"
    );
}

#[tokio::test]
async fn a_text_that_is_no_time_reads_as_none_and_is_never_overwritten() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "'soon'", "NULL");
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!(account.subscription.as_ref().unwrap().end_date, None);
    let mut dependent = Change::of(&account);
    dependent.subscription.end_date = Some(EndDate::At(now()));
    let mut traffic = Change::of(&account);
    traffic.vpn_config.traffic_used = Some(6);
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[dependent], now())
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[traffic], now())
            .await
            .unwrap(),
        [AccountId(1)]
    );

    sqlite
        .bot()
        .batch_execute("UPDATE vpn_configs SET last_connected_at = 1757894400")
        .unwrap();
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!(account.last_connected_at, None);
    let mut traffic = Change::of(&account);
    traffic.vpn_config.traffic_used = Some(7);
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[traffic], now())
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        sqlite
            .text("SELECT last_connected_at FROM vpn_configs")
            .as_deref(),
        Some("1757894400")
    );
    assert_eq!(
        sqlite.text("SELECT end_date FROM subscriptions").as_deref(),
        Some("soon")
    );
}

#[tokio::test]
async fn a_bot_that_chose_wal_goes_on_reading_what_it_began_to_read_while_the_store_writes() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "NULL", "NULL");
    let mut change = Change::of(&accounts(&sqlite).await[0]);
    change.vpn_config.traffic_used = Some(6);

    let mut bot = sqlite.bot();
    bot.batch_execute("PRAGMA journal_mode = WAL; BEGIN; SELECT * FROM vpn_configs")
        .unwrap();
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .unwrap(),
        [AccountId(1)]
    );
    let row: VpnConfigRow = sql_query("SELECT * FROM vpn_configs")
        .get_result(&mut bot)
        .unwrap();
    assert_eq!(row.traffic_used, Some(5), "the bot's transaction sees one moment");
    bot.batch_execute("COMMIT").unwrap();
    let row: VpnConfigRow = sql_query("SELECT * FROM vpn_configs")
        .get_result(&mut bot)
        .unwrap();
    assert_eq!(row.traffic_used, Some(6));
}

#[tokio::test]
async fn names_that_differ_in_case_alone_are_different_also_in_a_column_that_ignores_case() {
    let tables = TABLES.replace(
        "marzban_user_id VARCHAR(255)",
        "marzban_user_id VARCHAR(255) COLLATE NOCASE",
    );
    let sqlite = Sqlite::with_tables(&tables).await;
    sqlite.store.migrate().await.unwrap();
    insert_one(&sqlite, "NULL", "NULL");
    let mut account = accounts(&sqlite).await.remove(0);
    account.name = "Alice".to_owned();
    let mut change = Change::of(&account);
    change.vpn_config.traffic_used = Some(6);
    assert_eq!(
        sqlite
            .store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .unwrap(),
        []
    );
    assert!(
        !sqlite
            .store
            .unlink(DEFAULT_PANEL, None, &account, now())
            .await
            .unwrap()
    );
    assert_eq!(
        sqlite.text("SELECT marzban_user_id FROM vpn_configs").as_deref(),
        Some("alice")
    );
}

#[tokio::test]
async fn nothing_is_shown_of_a_store_but_its_place() {
    let store = SqliteStore::connect("sqlite::memory:").await.unwrap();
    assert_eq!(format!("{store:?}"), "SqliteStore { location: Memory, .. }");
}

#[tokio::test]
async fn the_journal_mode_stays_as_the_bot_chose_it() {
    let sqlite = Sqlite::fresh().await;
    sqlite.store.verify_schema().await.unwrap();
    assert_eq!(
        sqlite
            .text("SELECT journal_mode FROM pragma_journal_mode")
            .as_deref(),
        Some("delete")
    );
}
