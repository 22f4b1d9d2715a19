//! Payments that commit while a sync writes.

use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, PostgresStore};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_tests::TestDatabase;
use tokio::sync::Notify;
use tokio_postgres::NoTls;

use super::{Bot, ONE_ACCOUNT, expiry, now, traffic};

const EXTEND: &str = "UPDATE subscriptions SET end_date = '2025-10-16' WHERE id = 1";

const RENEW: &str = "INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date)
    VALUES (2, 1, 7, 9.90, 'active', '2025-10-16')";

const ROWS: &str =
    "SELECT concat((SELECT string_agg(concat_ws(' ', id, status, end_date::date), ', ' ORDER BY id)
    FROM subscriptions), '; ', (SELECT concat_ws(' ', is_active, traffic_used) FROM vpn_configs))";

/// Fails instead of hanging where something waits for what never comes.
pub(super) async fn at_once<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future)
        .await
        .expect("nothing is waited for")
}

#[tokio::test]
async fn a_payment_under_way_is_a_conflict_and_nobody_waits() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let mut payment = bot.database.connect().await;
    let payment = payment.transaction().await.unwrap();
    payment.batch_execute(EXTEND).await.unwrap();

    assert_eq!(at_once(bot.apply(&[expiry(&account)])).await, []);
    assert_eq!(
        at_once(bot.apply(&[traffic(&account, 2000)])).await,
        [account.id],
        "traffic needs no subscription"
    );
    payment.commit().await.unwrap();
    assert_eq!(bot.text(ROWS).await, "1 active 2025-10-16; t 2000");
}

#[tokio::test]
async fn a_locked_config_is_a_conflict_and_nobody_waits() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let mut other = bot.database.connect().await;
    let other = other.transaction().await.unwrap();
    other
        .batch_execute("SELECT FROM vpn_configs FOR UPDATE")
        .await
        .unwrap();
    assert_eq!(
        at_once(bot.apply(&[expiry(&account), traffic(&account, 2000)])).await,
        []
    );
    other.rollback().await.unwrap();
    assert_eq!(bot.text(ROWS).await, "1 active 2025-09-16; t 1000");
}

#[tokio::test]
async fn an_account_is_not_locked_when_somebody_else_holds_its_subscription() {
    const FREE: &str =
        "SELECT count(*) FROM (SELECT FROM vpn_configs FOR NO KEY UPDATE SKIP LOCKED) AS config";
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let free = Arc::new(Mutex::new(Vec::new()));
    let (seen, url) = (Arc::clone(&free), bot.database.url().to_owned());
    let pool = bot.database.pool_with(2, move |statement| {
        if statement == "COMMIT" {
            seen.lock().unwrap().push(elsewhere(&url, FREE).join().unwrap());
        }
    });
    let store = PostgresStore::new(pool);

    let mut other = bot.database.connect().await;
    let other = other.transaction().await.unwrap();
    let hold = "SELECT FROM subscriptions FOR NO KEY UPDATE";
    other.batch_execute(hold).await.unwrap();
    let changes = [expiry(&account)];
    let apply = || at_once(store.apply(DEFAULT_PANEL, None, &changes, now()));
    assert_eq!(apply().await.unwrap(), []);
    other.rollback().await.unwrap();
    assert_eq!(apply().await.unwrap(), [account.id]);
    assert_eq!(*free.lock().unwrap(), ["1", "0"]);
}

#[tokio::test]
async fn a_payment_between_reading_and_writing_is_a_conflict() {
    for payment in [EXTEND, RENEW] {
        let Some(bot) = Bot::with_one_account().await else {
            return;
        };
        let account = bot.account().await;
        bot.sql(payment).await;
        let before = bot.fingerprint().await;
        assert_eq!(bot.apply(&[expiry(&account)]).await, [], "{payment}");
        assert_eq!(bot.fingerprint().await, before);
        assert_eq!(bot.apply(&[traffic(&account, 2000)]).await, [account.id]);
    }
}

/// A bot whose sync is interrupted, once, after it has locked the rows and before it reads them again; its sessions are serializable by default,
/// where a transaction sees nothing that was committed after its first statement.
async fn interrupted(before_reading: impl Fn(&str) + Send + Sync + 'static) -> Option<Bot> {
    let database = TestDatabase::new().await?;
    let url = database.url().to_owned();
    let is_locked = AtomicBool::new(false);
    let interrupt = Arc::new(move |statement: &str| {
        if statement.contains("SKIP LOCKED") {
            is_locked.store(true, Ordering::SeqCst);
        } else if is_locked.swap(false, Ordering::SeqCst) {
            before_reading(&url);
        }
    });
    let serializable = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$";
    database
        .connect()
        .await
        .batch_execute(serializable)
        .await
        .unwrap();
    let pool = database.pool_with(2, move |statement| interrupt(statement));
    let bot = Bot::over(database, pool).await;
    bot.sql(ONE_ACCOUNT).await;
    Some(bot)
}

/// Runs SQL on a connection and a thread of its own, where the caller is not async.
pub(super) fn elsewhere(url: &str, sql: &str) -> thread::JoinHandle<String> {
    let (url, sql) = (url.to_owned(), sql.to_owned());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let messages = client.simple_query(&sql).await.unwrap();
            messages
                .into_iter()
                .find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                })
                .unwrap_or_default()
        })
    })
}

#[tokio::test]
async fn a_renewal_that_commits_after_the_rows_are_locked_is_seen() {
    let Some(bot) = interrupted(|url| {
        elsewhere(url, RENEW).join().unwrap();
    })
    .await
    else {
        return;
    };
    let account = bot.account().await;
    assert_eq!(at_once(bot.apply(&[expiry(&account)])).await, []);
    assert_eq!(
        bot.text(ROWS).await,
        "1 active 2025-09-16, 2 active 2025-10-16; t 1000"
    );
}

#[tokio::test]
async fn a_payment_that_writes_a_locked_row_comes_after_the_sync_as_a_whole() {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let payment = Arc::new(Mutex::new(None));
    let begun = Arc::clone(&payment);
    let Some(bot) = interrupted(move |url| {
        let sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; {RENEW}; UPDATE vpn_configs SET is_active = true WHERE id = 1; COMMIT");
        *begun.lock().unwrap() = Some(elsewhere(url, &sql));
        // Each look takes a new connection, so this is no busy loop; it ends when the payment waits for the sync.
        while elsewhere(url, WAITING).join().unwrap() != "1" {}
    })
    .await
    else {
        return;
    };
    let account = bot.account().await;
    assert_eq!(at_once(bot.apply(&[expiry(&account)])).await, [account.id]);
    payment.lock().unwrap().take().unwrap().join().unwrap();
    assert_eq!(
        bot.text(ROWS).await,
        "1 expired 2025-09-15, 2 active 2025-10-16; t 1000"
    );
}

#[tokio::test]
async fn a_dropped_call_leaves_no_row_locked() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let writing = Arc::new(Notify::new());
    let notify = Arc::clone(&writing);
    let pool = database.pool_with(2, move |statement| {
        if statement.contains("UPDATE vpn_configs") {
            notify.notify_one();
        }
    });
    let bot = Bot::over(database, pool).await;
    bot.sql(ONE_ACCOUNT).await;
    let account = bot.account().await;
    let changes = [expiry(&account)];
    tokio::select! {
        biased;
        () = writing.notified() => {}
        _ = bot.store.apply(DEFAULT_PANEL, None, &changes, now()) => panic!("the call was not dropped in time"),
    }
    at_once(
        bot.sql("UPDATE subscriptions SET end_date = '2025-10-16'; UPDATE vpn_configs SET traffic_used = 1;"),
    )
    .await;
    assert_eq!(bot.text(ROWS).await, "1 active 2025-10-16; t 1");
    assert_eq!(bot.account().await.traffic_used, Some(1), "the pool goes on");
}

#[tokio::test]
async fn a_refused_write_holds_no_row_when_its_error_is_returned() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql("ALTER TABLE subscriptions ADD CONSTRAINT kept CHECK (status <> 'expired')")
        .await;
    let account = bot.account().await;
    for _ in 0..20 {
        let refused = bot
            .store
            .apply(DEFAULT_PANEL, None, &[expiry(&account)], now())
            .await;
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Invalid);
        // NOWAIT fails where a session that is about to end still holds the row.
        bot.sql("BEGIN; SELECT FROM subscriptions FOR UPDATE NOWAIT; COMMIT")
            .await;
    }
}

#[tokio::test]
async fn an_account_whose_customer_pays_is_not_unlinked_whether_or_not_the_payment_is_over() {
    for payment in [EXTEND, RENEW, "UPDATE subscriptions SET status = 'trial'"] {
        for is_over in [true, false] {
            let Some(bot) = Bot::with_one_account().await else {
                return;
            };
            let account = bot.account().await;
            let mut payer = bot.database.connect().await;
            let transaction = payer.transaction().await.unwrap();
            transaction.batch_execute(payment).await.unwrap();
            // One that is under way holds its subscription; a new row of one is seen only when it is over.
            if is_over {
                transaction.commit().await.unwrap();
            } else if payment == RENEW {
                continue;
            }
            let unlink = bot.store.unlink(DEFAULT_PANEL, None, &account, now());
            assert!(!at_once(unlink).await.unwrap(), "{payment} {is_over}");
            let name = "SELECT marzban_user_id FROM vpn_configs";
            assert_eq!(bot.text(name).await, "alice", "{payment} {is_over}");
        }
    }
}
