//! The lock of a run and its connection.

use std::time::Duration;

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, PostgresStore, StoreTimeouts};
use marzban_sync_tests::{Proxy, TestDatabase, Traffic};

use super::Bot;

const JOB: Job = Job::SyncSubscriptionsFromMarzban;

#[tokio::test]
async fn a_lock_dies_with_its_connection_and_says_so() {
    let Some(bot) = Bot::new().await else { return };
    let mut lock = bot.store.lock(JOB, "main").await.unwrap();
    lock.verify().await.unwrap();

    let ended: bool = bot
        .client
        .query_one(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
             WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(ended);
    assert_eq!(lock.verify().await.unwrap_err().kind(), StoreErrorKind::LockLost);
    bot.store
        .lock(JOB, "main")
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert_eq!(
        lock.release().await.unwrap_err().kind(),
        StoreErrorKind::Unavailable
    );
}

#[tokio::test]
async fn a_lock_is_one_for_every_process() {
    let Some(bot) = Bot::new().await else { return };
    let lock = bot.store.lock(JOB, "main").await.unwrap();
    let other = PostgresStore::connect(bot.database.url()).await.unwrap();
    let error = other.lock(JOB, "main").await.err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
    assert_eq!(
        error.to_string(),
        "another run of sync_subscriptions_from_marzban holds the lock of panel \"main\""
    );
    lock.release().await.unwrap();
    other.lock(JOB, "main").await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_released_or_dropped_closes_its_connection() {
    let Some(bot) = Bot::new().await else { return };
    let pool = bot.database.pool(2);
    let store = PostgresStore::new(pool.clone());
    store.lock(JOB, "main").await.unwrap().release().await.unwrap();
    // Another one was asked whether there is a pooler, and waits for its next use.
    assert_eq!((pool.status().size, pool.status().available), (1, 1));
    let (lock, size) = (store.lock(JOB, "main").await.unwrap(), pool.status().size);
    drop(lock);
    assert_eq!((size, pool.status().size, pool.status().available), (2, 1, 1));
}

#[tokio::test]
async fn a_pool_of_one_connection_cannot_hold_a_lock() {
    let Some(bot) = Bot::new().await else { return };
    let store = PostgresStore::new(bot.database.pool(1));
    let error = store.lock(JOB, "main").await.err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "the pool may open one connection only, and a run needs two: one holds its lock, one works"
    );
    assert_eq!(
        store.count_accounts(DEFAULT_PANEL).await.unwrap(),
        0,
        "the rest works"
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_while_the_lock_is_taken_is_not_waited_for() {
    let Some(bot) = Bot::new().await else { return };
    let proxy = Proxy::before_database(bot.database.url()).await;
    let switch = proxy.switch();
    let url = proxy.database_url(bot.database.url());
    let pool = TestDatabase::pool_at(&url, 2, move |statement| {
        if statement.contains("pg_try_advisory_lock") {
            switch.send_replace(Traffic::Stalled);
        }
    });
    let store = PostgresStore::new(pool).with_timeouts(StoreTimeouts {
        call: Duration::from_secs(1),
        ..StoreTimeouts::default()
    });
    let lock = tokio::time::timeout(Duration::from_secs(20), store.lock(JOB, "main"));
    let error = lock.await.expect("the wait has a limit").err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(error.to_string(), "PostgreSQL does not answer");
}

#[tokio::test]
async fn bots_in_two_schemas_of_one_database_have_locks_of_their_own() {
    let Some(bot) = Bot::new().await else { return };
    bot.sql(
        "CREATE SCHEMA other; CREATE TABLE other.vpn_configs (LIKE vpn_configs);
         CREATE SCHEMA tools",
    )
    .await;
    let lock = bot.store.lock(JOB, "main").await.unwrap();
    let name = bot.text("SELECT current_database()::text").await;
    for (path, is_another) in [("other", true), ("public", false), ("tools, public", false)] {
        bot.sql(&format!("ALTER DATABASE {name} SET search_path = {path}"))
            .await;
        let store = PostgresStore::new(bot.database.pool(2));
        match store.lock(JOB, "main").await {
            Ok(lock) => {
                assert!(is_another, "{path}");
                lock.release().await.unwrap();
            }
            Err(error) => {
                assert!(!is_another, "{path}");
                assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
            }
        }
    }
    lock.release().await.unwrap();
}

#[tokio::test]
async fn taking_a_lock_waits_for_no_second_connection() {
    let Some(bot) = Bot::new().await else { return };
    let store = PostgresStore::new(bot.database.pool(2));
    let _held = store.lock(JOB, "main").await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(10), store.lock(JOB, "main"));
    let error = error.await.expect("nobody is waited for").err().unwrap();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
    assert_eq!(store.count_accounts(DEFAULT_PANEL).await.unwrap(), 0);
}
