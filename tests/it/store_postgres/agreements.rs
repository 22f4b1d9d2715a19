//! What is remembered beside the rows, and the trail: written with the rows, or not at all.

use std::sync::atomic::{AtomicBool, Ordering};

use marzban_sync_core::account::{Account, SubscriptionStatus};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::plan::{Change, Reason};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, PanelUserKey, PostgresStore, Trail};
use marzban_sync_core::trail::{EntryQuery, EntryRecord};
use marzban_sync_tests::TestDatabase;

use super::races::{at_once, elsewhere};
use super::{Bot, ONE_ACCOUNT, expiry, now};

const RUN: RunId = RunId(5);

const REMEMBERED: &str =
    "SELECT coalesce(string_agg(concat_ws(' ', panel, username, revision, agreement), ','), '')
    FROM marzban_sync_agreements";

fn on_hold() -> Agreement {
    Agreement {
        on_hold: true,
        ..Agreement::default()
    }
}

/// A change that takes away, with something to remember.
fn remembered_expiry(account: &Account) -> Change {
    let mut change = expiry(account);
    change.agreement = Some(on_hold());
    change.reasons = vec![Reason::Shortened, Reason::Expired];
    change
}

/// Remembers the change's own words for another process, which is faster.
fn another_writes(values: &str) -> String {
    format!("INSERT INTO marzban_sync_agreements VALUES ('default', 'alice', {values}, '2025-01-01')")
}

async fn trail(bot: &Bot) -> Vec<EntryRecord> {
    bot.store.entries(&EntryQuery::Run(RUN)).await.unwrap()
}

#[tokio::test]
async fn rows_agreement_and_trail_are_written_in_one_transaction() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    bot.sql("ALTER TABLE marzban_sync_changes ADD CONSTRAINT full_disk CHECK (column_name <> 'vpn_configs.is_active')")
        .await;
    let before = bot.fingerprint().await;
    let changes = [remembered_expiry(&account)];
    bot.store
        .apply(DEFAULT_PANEL, Some(RUN), &changes, now())
        .await
        .unwrap_err();
    assert_eq!(bot.fingerprint().await, before);
    assert_eq!(bot.text(REMEMBERED).await, "");
    assert_eq!(trail(&bot).await, []);

    bot.sql("ALTER TABLE marzban_sync_changes DROP CONSTRAINT full_disk")
        .await;
    let applied = bot.store.apply(DEFAULT_PANEL, Some(RUN), &changes, now()).await;
    assert_eq!(applied.unwrap(), [account.id]);
    assert_eq!(bot.text(REMEMBERED).await, "default alice 1 {\"on_hold\": true}");
    let told: Vec<String> = trail(&bot)
        .await
        .into_iter()
        .map(|EntryRecord { at, entry, .. }| {
            let (old, new) = (entry.old.unwrap(), entry.new.unwrap());
            format!("{at}: {} {old} -> {new}, {}", entry.target.column(), entry.reason)
        })
        .collect();
    assert_eq!(
        told,
        [
            "2025-09-15 00:00:00 UTC: subscriptions.end_date 2025-09-16T00:00:00.000000Z -> 2025-09-15T00:00:00.000000Z, shortened",
            "2025-09-15 00:00:00 UTC: subscriptions.status active -> expired, expired",
            "2025-09-15 00:00:00 UTC: vpn_configs.is_active true -> false, expired",
        ]
    );
}

/// A bot for which another process writes an agreement, once, before the statement of the store that has these words.
async fn overtaken(words: &'static str, values: &str) -> Option<Bot> {
    let database = TestDatabase::new().await?;
    let (url, sql) = (database.url().to_owned(), another_writes(values));
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let pool = database.pool_with(2, move |statement| {
        if statement.contains(words) && !done.swap(true, Ordering::SeqCst) {
            elsewhere(&url, &sql).join().unwrap();
        }
    });
    let bot = Bot::over(database, pool).await;
    bot.sql(ONE_ACCOUNT).await;
    Some(bot)
}

#[tokio::test]
async fn a_change_whose_agreement_another_process_writes_meanwhile_is_a_conflict_as_a_whole() {
    for words in [
        "FOR UPDATE SKIP LOCKED",
        "sharing AS",
        "INSERT INTO marzban_sync_agreements",
    ] {
        let Some(bot) = overtaken(words, "1, '{\"is_ours\": true}'").await else {
            return;
        };
        let account = bot
            .store
            .reload_accounts(DEFAULT_PANEL, &[], now())
            .await
            .unwrap();
        assert_eq!(account, [], "nobody asks the database about nobody");
        let change = remembered_expiry(&unread(&bot).await);
        let before = bot.fingerprint().await;
        assert_eq!(bot.apply(&[change]).await, [], "{words}");
        assert_eq!(bot.fingerprint().await, before, "{words}");
        assert_eq!(
            bot.text(REMEMBERED).await,
            "default alice 1 {\"is_ours\": true}",
            "{words}"
        );
        assert_eq!(
            bot.text("SELECT count(*)::text FROM marzban_sync_changes").await,
            "0"
        );
    }
}

#[tokio::test]
async fn a_change_whose_agreement_another_process_brought_about_is_none() {
    let Some(bot) = overtaken("sharing AS", "1, '{\"on_hold\": true}'").await else {
        return;
    };
    let change = remembered_expiry(&unread(&bot).await);
    let id = change.account.id;
    assert_eq!(bot.apply(&[change]).await, [id]);
    assert_eq!(bot.text(REMEMBERED).await, "default alice 1 {\"on_hold\": true}");
}

/// The account of a bot with one, read past the store that is watched.
async fn unread(bot: &Bot) -> Account {
    let store = PostgresStore::new(bot.database.pool(1));
    let page = store.page_accounts(DEFAULT_PANEL, None, 1, now()).await.unwrap();
    page.accounts.into_iter().next().unwrap()
}

#[tokio::test]
async fn an_agreement_that_another_transaction_holds_is_a_conflict_and_nobody_waits() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(&another_writes("4, '{}'")).await;
    let account = bot.account().await;
    let mut other = bot.database.connect().await;
    let other = other.transaction().await.unwrap();
    other
        .batch_execute("SELECT FROM marzban_sync_agreements FOR UPDATE")
        .await
        .unwrap();
    let before = bot.fingerprint().await;
    let change = remembered_expiry(&account);
    assert_eq!(at_once(bot.apply(std::slice::from_ref(&change))).await, []);
    assert_eq!(bot.fingerprint().await, before);
    let mut silent = change.clone();
    silent.agreement = None;
    silent.subscription.status = Some(SubscriptionStatus::Active);
    assert_eq!(
        at_once(bot.apply(&[silent])).await,
        [account.id],
        "one that remembers nothing does not mind"
    );
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn of_two_rows_that_name_a_user_the_first_tells_what_is_remembered_and_both_are_written() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(super::laws::SHARED_NAMES).await;
    bot.sql(
        "INSERT INTO users VALUES (2, 22222, 'fa', '2025-01-01');
         INSERT INTO subscriptions (id, user_id, plan_id, price, status) VALUES (2, 2, 7, 9.90, 'active');
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active) VALUES (2, 2, 'vless', 'alice', true);",
    )
    .await;
    let accounts = bot.accounts().await;
    let mut changes: Vec<Change> = accounts.iter().map(remembered_expiry).collect();
    changes[1].agreement = Some(Agreement {
        is_ours: true,
        ..on_hold()
    });
    assert_eq!(bot.apply(&changes).await.len(), 2);
    assert_eq!(bot.text(REMEMBERED).await, "default alice 1 {\"on_hold\": true}");
    assert_eq!(
        bot.text("SELECT count(*)::text FROM vpn_configs WHERE NOT is_active")
            .await,
        "2"
    );
}

#[tokio::test]
async fn a_change_that_only_remembers_does_not_even_lock_a_row_of_the_bot() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let mut change = Change::of(&bot.account().await);
    change.agreement = Some(on_hold());
    let id = change.account.id;
    let mut payment = bot.database.connect().await;
    let payment = payment.transaction().await.unwrap();
    payment
        .batch_execute("SELECT FROM vpn_configs, subscriptions FOR UPDATE")
        .await
        .unwrap();
    let before = bot.fingerprint().await;
    assert_eq!(at_once(bot.apply(&[change])).await, [id]);
    assert_eq!(bot.fingerprint().await, before);
    assert_eq!(bot.text(REMEMBERED).await, "default alice 1 {\"on_hold\": true}");
}

#[tokio::test]
async fn agreements_and_entries_are_recorded_together_or_not_at_all() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let entry = marzban_sync_core::trail::entries(&expiry(&account)).remove(0);
    let trail = Trail {
        agreements: vec![
            ("alice".to_owned(), 0, Some(on_hold())),
            ("alice".to_owned(), 1, Some(Agreement::default())),
            ("bob".to_owned(), 3, Some(on_hold())),
        ],
        entries: vec![entry],
    };
    bot.sql("ALTER TABLE marzban_sync_changes ADD CONSTRAINT full_disk CHECK (false)")
        .await;
    bot.store
        .record(DEFAULT_PANEL, None, &trail, now())
        .await
        .unwrap_err();
    assert_eq!(bot.text(REMEMBERED).await, "");
    bot.sql("ALTER TABLE marzban_sync_changes DROP CONSTRAINT full_disk")
        .await;
    bot.store
        .record(DEFAULT_PANEL, None, &trail, now())
        .await
        .unwrap();
    assert_eq!(bot.text(REMEMBERED).await, "default alice 2 {}");
    let user = PanelUserKey {
        panel: DEFAULT_PANEL.to_owned(),
        username: "alice".to_owned(),
    };
    assert_eq!(bot.store.agreements(&[user]).await.unwrap()[0].revision, 2);
}

#[tokio::test]
async fn undoing_leaves_what_a_payment_holds_at_this_moment() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let changes = [remembered_expiry(&account)];
    bot.store
        .apply(DEFAULT_PANEL, Some(RUN), &changes, now())
        .await
        .unwrap();
    let entries = trail(&bot).await;
    let mut payment = bot.database.connect().await;
    let payment = payment.transaction().await.unwrap();
    payment
        .batch_execute("SELECT FROM subscriptions FOR UPDATE")
        .await
        .unwrap();
    let undo = bot.store.undo(DEFAULT_PANEL, RUN, &entries, now());
    assert_eq!(
        at_once(undo).await.unwrap(),
        [entries[2].id],
        "the access is in another row"
    );
    payment.rollback().await.unwrap();

    let rest = bot.store.undo(DEFAULT_PANEL, RUN, &entries, now()).await.unwrap();
    assert_eq!(rest, [entries[0].id, entries[1].id]);
    let rows = "SELECT concat_ws(' ', s.status, s.end_date, v.is_active) FROM subscriptions s, vpn_configs v";
    assert_eq!(bot.text(rows).await, "active 2025-09-16 00:00:00 t");
    let undone = trail(&bot).await;
    assert_eq!(
        undone
            .iter()
            .filter(|record| record.entry.reason == "undone")
            .count(),
        3
    );
}

#[tokio::test]
async fn a_subscription_is_put_back_although_its_account_is_unlinked_or_gone() {
    for gone in [
        "UPDATE vpn_configs SET marzban_user_id = NULL",
        "DELETE FROM vpn_configs",
    ] {
        let Some(bot) = Bot::with_one_account().await else {
            return;
        };
        let mut change = Change::of(&bot.account().await);
        change.subscription.end_date = Some(EndDate::At(now()));
        bot.store
            .apply(DEFAULT_PANEL, Some(RUN), &[change], now())
            .await
            .unwrap();
        bot.sql(gone).await;
        let entries = trail(&bot).await;
        assert_eq!(
            bot.store
                .undo(DEFAULT_PANEL, RUN, &entries, now())
                .await
                .unwrap()
                .len(),
            1,
            "{gone}"
        );
        assert_eq!(
            bot.text("SELECT end_date::text FROM subscriptions").await,
            "2025-09-16 00:00:00"
        );
    }
}

/// A store that is only the journal of a bot with other tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_needs_no_table_of_the_bots() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(store.migrate_journal().await.unwrap().created.len(), 4);
    assert!(store.migrate_journal().await.unwrap().created.is_empty());
    let job = Job::SyncSubscriptionsFromMarzban;
    let lock = store.lock(job, DEFAULT_PANEL).await.unwrap();
    let run = store.begin_run(job, DEFAULT_PANEL, now()).await.unwrap();
    let trail = Trail {
        agreements: vec![("alice".to_owned(), 0, Some(on_hold()))],
        ..Trail::default()
    };
    store
        .record(DEFAULT_PANEL, Some(run), &trail, now())
        .await
        .unwrap();
    let user = PanelUserKey {
        panel: DEFAULT_PANEL.to_owned(),
        username: "alice".to_owned(),
    };
    let remembered = store.agreements(&[user]).await.unwrap();
    assert_eq!(remembered.first().map(|one| one.revision), Some(1));
    lock.release().await.unwrap();
}
