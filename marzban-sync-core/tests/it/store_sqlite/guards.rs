//! What the store refuses, what it waits for, and what it never takes for written.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{StoreErrorKind, chain};
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, PanelUserKey, SqliteStore, Trail};
use marzban_sync_core::trail::EntryQuery;

use super::bot::{Sqlite, TABLES};
use super::own::{accounts, insert_one, now};

/// The same tables, but for one thing.
async fn with(from: &str, to: &str) -> Sqlite {
    assert!(TABLES.contains(from), "{from}");
    Sqlite::with_tables(&TABLES.replace(from, to)).await
}

fn schema(sqlite: &Sqlite) -> Option<String> {
    sqlite.text("SELECT group_concat(sql) FROM sqlite_schema")
}

/// Applies a change, and tells whether it was written.
async fn is_applied(sqlite: &Sqlite, change: &Change) -> bool {
    let applied = sqlite
        .store
        .apply(DEFAULT_PANEL, Some(RunId(1)), std::slice::from_ref(change), now());
    !applied.await.unwrap().is_empty()
}

/// Whether the account is, or could be, unlinked.
async fn is_unlinked(sqlite: &Sqlite) -> bool {
    let account = accounts(sqlite).await.remove(0);
    let rehearsed = sqlite
        .store
        .rehearse_unlink(DEFAULT_PANEL, &account, now())
        .await
        .unwrap();
    let unlinked = sqlite
        .store
        .unlink(DEFAULT_PANEL, None, &account, now())
        .await
        .unwrap();
    assert_eq!(rehearsed, unlinked);
    unlinked
}

#[tokio::test]
async fn keys_that_are_no_whole_numbers_are_refused_and_nothing_is_created() {
    for kind in ["VARCHAR(36)", "UUID", "TEXT", "BLOB", "CHAR(32)"] {
        let tables = TABLES.replace(
            "id INTEGER NOT NULL PRIMARY KEY",
            &format!("id {kind} NOT NULL PRIMARY KEY"),
        );
        let sqlite = Sqlite::with_tables(&tables).await;
        let before = schema(&sqlite);
        for error in [
            sqlite.store.migrate().await.unwrap_err(),
            sqlite.store.verify_schema().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Schema);
            assert_eq!(
                error.to_string(),
                format!(
                    "the keys users.id ({kind}), subscriptions.id ({kind}), vpn_configs.id ({kind}) are declared as \
                     something else than whole numbers, by which alone this store finds a row: give the tables \
                     integer keys"
                )
            );
        }
        assert_eq!(schema(&sqlite), before);
    }
    for kind in ["BIGINT", "int", "SERIAL", ""] {
        let tables = TABLES.replace(
            "id INTEGER NOT NULL PRIMARY KEY",
            &format!("id {kind} NOT NULL PRIMARY KEY"),
        );
        let sqlite = Sqlite::with_tables(&tables).await;
        sqlite.store.migrate().await.unwrap();
        sqlite.store.verify_schema().await.unwrap();
    }
}

#[tokio::test]
async fn a_table_of_somebody_else_with_a_name_of_ours_is_refused_and_nothing_is_created() {
    let sqlite = Sqlite::with_tables(&format!(
        "{TABLES} CREATE TABLE marzban_sync_changes (id INTEGER, note TEXT);"
    ))
    .await;
    let before = schema(&sqlite);
    for error in [
        sqlite.store.migrate().await.unwrap_err(),
        sqlite.store.verify_schema().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Schema);
        assert_eq!(
            error.to_string(),
            "the database has marzban_sync_changes, but not as this version makes them: rename what is there, and run \
             `migrate`"
        );
    }
    assert_eq!(schema(&sqlite), before);
}

#[tokio::test]
async fn a_bot_without_beginnings_and_subscription_ids_is_served() {
    let tables = TABLES.replace("        start_date DATETIME,\n", "").replace(
        "        subscription_id INTEGER REFERENCES subscriptions (id),\n",
        "",
    );
    let sqlite = Sqlite::with_tables(&tables).await;
    let created = sqlite.store.migrate().await.unwrap().created;
    assert_eq!(
        created,
        [
            "vpn_configs.panel",
            "marzban_sync_runs",
            "marzban_system_stats",
            "marzban_sync_agreements",
            "marzban_sync_changes"
        ]
    );
    insert_one(&sqlite, "'2025-09-20 00:00:00'", "NULL");
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!(account.subscription.unwrap().start_date, None);

    // The bot's next version has them, while the store is open.
    sqlite
        .bot()
        .batch_execute(
            "ALTER TABLE subscriptions ADD COLUMN start_date DATETIME;
             ALTER TABLE vpn_configs ADD COLUMN subscription_id INTEGER;
             INSERT INTO subscriptions (id, user_id, status, start_date) VALUES (2, 1, 'expired', '2025-09-01 00:00:00');
             UPDATE vpn_configs SET subscription_id = 2;",
        )
        .unwrap();
    let subscription = accounts(&sqlite).await.remove(0).subscription.unwrap();
    assert_eq!(
        (subscription.id, subscription.is_named),
        (SubscriptionId(2), true)
    );
    assert_eq!(
        subscription.start_date,
        Some(super::bot::read("2025-09-01 00:00:00"))
    );
}

#[tokio::test]
async fn a_lock_of_the_bot_is_waited_for_as_long_as_the_store_is_told() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "NULL", "NULL");
    let mut bot = sqlite.bot();
    bot.batch_execute("BEGIN IMMEDIATE").unwrap();
    let short = sqlite
        .store
        .clone()
        .with_busy_timeout(Duration::from_millis(20))
        .await
        .unwrap();
    let job = Job::SyncUserStatusFromMarzban;
    let error = short.begin_run(job, "main", now()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended);
    assert_eq!(chain(&error), "cannot record the run: database is locked");

    let patient = short.with_busy_timeout(Duration::from_secs(30)).await.unwrap();
    let begun = tokio::spawn(async move { patient.begin_run(job, "main", now()).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!begun.is_finished());
    bot.batch_execute("COMMIT").unwrap();
    begun.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_row_that_the_database_did_not_write_is_a_conflict_as_a_whole() {
    for table in ["vpn_configs", "subscriptions"] {
        let sqlite = Sqlite::fresh().await;
        insert_one(&sqlite, "'2025-09-20 00:00:00'", "NULL");
        let ignore =
            format!("CREATE TRIGGER ignored BEFORE UPDATE ON {table} BEGIN SELECT RAISE(IGNORE); END");
        sqlite.bot().batch_execute(&ignore).unwrap();
        let mut change = Change::of(&accounts(&sqlite).await[0]);
        change.vpn_config.traffic_used = Some(6);
        change.subscription.status = Some(SubscriptionStatus::Expired);
        change.agreement = Some(Agreement {
            on_hold: true,
            ..Agreement::default()
        });
        assert!(!is_applied(&sqlite, &change).await, "{table}");
        assert_eq!(
            sqlite.text("SELECT traffic_used FROM vpn_configs").as_deref(),
            Some("5"),
            "{table}"
        );
        assert_eq!(
            sqlite.text("SELECT status FROM subscriptions").as_deref(),
            Some("active"),
            "{table}"
        );
        assert_eq!(
            sqlite.store.entries(&EntryQuery::Run(RunId(1))).await.unwrap(),
            []
        );
        assert_eq!(accounts(&sqlite).await[0].revision, 0);
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_unlinked_is_known_by_its_rehearsal() {
    let sqlite = with(
        "marzban_user_id VARCHAR(255)",
        "marzban_user_id VARCHAR(255) NOT NULL",
    )
    .await;
    sqlite.store.migrate().await.unwrap();
    insert_one(&sqlite, "NULL", "NULL");
    let account = accounts(&sqlite).await.remove(0);
    for _ in 0..2 {
        let error = sqlite
            .store
            .rehearse_unlink(DEFAULT_PANEL, &account, now())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert_eq!(
            chain(&error),
            "cannot rehearse to unlink the account: NOT NULL constraint failed: vpn_configs.marzban_user_id"
        );
        assert_eq!(accounts(&sqlite).await, std::slice::from_ref(&account));
    }
}

#[tokio::test]
async fn whatever_cannot_be_read_of_a_row_keeps_it_as_it_is() {
    let unreadable = [
        ("UPDATE vpn_configs SET updated_at = 'yesterday'", false),
        ("UPDATE subscriptions SET updated_at = '1757894400'", true),
        ("UPDATE subscriptions SET start_date = 'soon'", true),
    ];
    for (spoil, is_traffic_written) in unreadable {
        let sqlite = Sqlite::fresh().await;
        insert_one(&sqlite, "'2025-09-10 00:00:00'", "NULL");
        sqlite.bot().batch_execute(spoil).unwrap();
        let account = accounts(&sqlite).await.remove(0);
        let [mut traffic, mut end] = [(); 2].map(|()| Change::of(&account));
        end.subscription.end_date = Some(EndDate::At(now()));
        traffic.vpn_config.traffic_used = Some(6);
        assert!(!is_applied(&sqlite, &end).await, "{spoil}");
        assert_eq!(is_applied(&sqlite, &traffic).await, is_traffic_written, "{spoil}");
        assert!(!is_unlinked(&sqlite).await, "{spoil}");
    }
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "'2025-09-10 00:00:00'", "NULL");
    assert!(is_unlinked(&sqlite).await);
}

#[tokio::test]
async fn what_cannot_be_read_of_somebody_who_shares_the_user_keeps_it_linked() {
    for spoil in [
        "UPDATE vpn_configs SET updated_at = 'yesterday' WHERE id = 2",
        "UPDATE subscriptions SET end_date = 'soon' WHERE id = 2",
    ] {
        let sqlite = Sqlite::fresh().await;
        insert_one(&sqlite, "'2025-09-10 00:00:00'", "NULL");
        sqlite
            .bot()
            .batch_execute(&format!(
                "INSERT INTO users (id, telegram_id) VALUES (2, 22);
                 INSERT INTO subscriptions (id, user_id, status, end_date) VALUES (2, 2, 'expired', NULL);
                 INSERT INTO vpn_configs (id, user_id, marzban_user_id) VALUES (2, 2, 'alice');
                 {spoil}"
            ))
            .unwrap();
        assert!(!is_unlinked(&sqlite).await, "{spoil}");
    }
}

#[tokio::test]
async fn infinity_is_no_end() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "'infinity'", "NULL");
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!(account.subscription.as_ref().unwrap().end(), EndDate::Never);
    let mut change = Change::of(&account);
    change.subscription.end_date = Some(EndDate::At(now()));
    assert!(is_applied(&sqlite, &change).await);
}

#[tokio::test]
async fn what_another_version_has_remembered_or_told_is_understood_as_far_as_it_goes() {
    let sqlite = Sqlite::fresh().await;
    insert_one(&sqlite, "NULL", "NULL");
    sqlite
        .bot()
        .batch_execute(
            r#"INSERT INTO marzban_sync_agreements VALUES
                   ('default', 'alice', 7, '{"on_hold": true, "of_a_later_version": 1}', '2025-09-15 00:00:00.000000+00:00');
               INSERT INTO marzban_sync_changes (run_id, panel, account_id, customer_id, username, column_name, row_id,
                   reason, state, changed_at) VALUES
                   (1, 'default', 1, 1, 'alice', 'of.a_later_version', 1, '', 'done', '2025-09-15 00:00:00.000000+00:00');"#,
        )
        .unwrap();
    let account = accounts(&sqlite).await.remove(0);
    assert_eq!((account.revision, account.agreement.on_hold), (7, true));
    assert_eq!(
        sqlite.store.entries(&EntryQuery::Run(RunId(1))).await.unwrap(),
        []
    );

    sqlite
        .bot()
        .batch_execute("UPDATE marzban_sync_agreements SET agreement = 'broken'")
        .unwrap();
    let error = sqlite
        .store
        .reload_accounts(DEFAULT_PANEL, &[AccountId(1)], now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}

/// A store that is only the journal of a bot with other tables.
#[tokio::test]
async fn a_journal_needs_no_table_of_the_bots() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let store = SqliteStore::create(path.to_str().unwrap()).await.unwrap();
    assert_eq!(store.migrate().await.unwrap_err().kind(), StoreErrorKind::Schema);
    assert_eq!(store.migrate_journal().await.unwrap().created.len(), 4);
    assert!(store.migrate_journal().await.unwrap().created.is_empty());

    let user = PanelUserKey {
        panel: "default".to_owned(),
        username: "anna".to_owned(),
    };
    let trail = Trail {
        agreements: vec![("anna".to_owned(), 0, Some(Agreement::default()))],
        ..Trail::default()
    };
    store.record("default", None, &trail, now()).await.unwrap();
    let remembered = store.agreements(&[user]).await.unwrap();
    assert_eq!(remembered.first().map(|one| one.revision), Some(1));
}
