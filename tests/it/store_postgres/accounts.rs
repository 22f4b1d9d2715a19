//! Reading accounts from rows as bots leave them.

use marzban_sync_core::store::DEFAULT_PANEL;
use std::sync::{Arc, Mutex};

use marzban_sync_core::account::{SubscriptionId, SubscriptionStatus};
use marzban_sync_core::store::{PostgresStore, Scope, Store};
use marzban_sync_tests::TestDatabase;
use serde_json::Value;
use tokio_postgres::types::Type;

use super::{Bot, customers, now};

#[tokio::test]
async fn an_old_expired_and_a_new_active_subscription_are_one_account_with_the_active_one() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date) VALUES
             (2, 1, 7, 9.90, 'expired', '2030-01-01'), (3, 1, 7, 9.90, 'cancelled', NULL)",
    )
    .await;
    for scope in [Scope::All, Scope::Subscribed] {
        let accounts = bot.accounts(scope).await;
        assert_eq!(accounts.len(), 1);
        let governing = accounts[0].subscription.as_ref().unwrap();
        assert_eq!(
            (governing.id, &governing.status),
            (SubscriptionId(1), &SubscriptionStatus::Active)
        );
    }
}

#[tokio::test]
async fn many_subscriptions_and_many_accounts_of_a_user_do_not_multiply() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date)
         SELECT n, 1, 7, 9.90, 'expired', '2025-01-01' FROM generate_series(2, 10) AS n;
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id)
         SELECT n, 1, 'vless', 'alice' || n FROM generate_series(2, 5) AS n;",
    )
    .await;
    let ids: Vec<i64> = bot
        .accounts(Scope::Subscribed)
        .await
        .iter()
        .map(|account| account.id.0)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert_eq!(
        bot.store
            .count_accounts(DEFAULT_PANEL, Scope::Subscribed)
            .await
            .unwrap(),
        5
    );
}

#[tokio::test]
async fn what_is_no_moment_of_a_calendar_is_read_as_null_and_hinders_nobody() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO users VALUES (2, NULL, 'fa', '2025-01-01'), (3, 33333, 'fa', '2025-01-01');
         INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date) VALUES
             (2, 2, 7, 9.90, 'active', 'infinity'), (3, 3, 7, 9.90, 'expired', '-infinity');
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, last_connected_at) VALUES
             (2, 2, 'vless', 'bob', '4713-01-01 BC'), (3, 3, 'vless', 'carol', '294276-12-31');",
    )
    .await;
    let accounts = bot.accounts(Scope::All).await;
    assert_eq!(
        accounts
            .iter()
            .map(|account| account.name.as_str())
            .collect::<Vec<_>>(),
        ["alice", "bob", "carol"]
    );
    for account in &accounts[1..] {
        assert_eq!(account.last_connected_at, None);
        assert_eq!(account.subscription.as_ref().unwrap().end_date, None);
        let change = super::expiry(account);
        assert_eq!(
            bot.apply(&[change]).await,
            [],
            "the value that could not be read is not overwritten"
        );
    }
    let ended = bot.accounts(Scope::Ended { before: now() }).await;
    assert_eq!(ended, [], "nobody is cleaned up for an end that cannot be read");
}

#[tokio::test]
async fn a_subscription_without_a_status_does_not_govern_before_an_open_one() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "ALTER TABLE subscriptions ALTER COLUMN status DROP NOT NULL;
         INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date) VALUES (2, 1, 7, 9.90, NULL, NULL);",
    )
    .await;
    assert_eq!(bot.account().await.subscription.unwrap().id, SubscriptionId(1));
    bot.sql("DELETE FROM subscriptions WHERE id = 1").await;
    assert_eq!(
        bot.account().await.subscription.unwrap().status,
        SubscriptionStatus::Other(String::new())
    );
    assert_eq!(bot.accounts(Scope::Subscribed).await, []);
    assert_eq!(bot.accounts(Scope::Ended { before: now() }).await, []);
}

#[tokio::test]
async fn a_page_of_twenty_thousand_customers_scans_no_table_for_each_of_them() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let statements = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&statements);
    let pool = database.pool_with(2, move |statement| log.lock().unwrap().push(statement.to_owned()));
    let bot = Bot::over(database, pool).await;
    bot.sql(&customers(20_000)).await;
    bot.sql("UPDATE subscriptions SET status = 'cancelled' WHERE id % 2 = 0; ANALYZE subscriptions")
        .await;
    for indexes in ["with the bot's indexes", "without"] {
        for scope in [Scope::All, Scope::Subscribed, Scope::Ended { before: now() }] {
            statements.lock().unwrap().clear();
            bot.store
                .page_accounts(DEFAULT_PANEL, scope, None, 100)
                .await
                .unwrap();
            let page = statements
                .lock()
                .unwrap()
                .iter()
                .find(|sql| sql.contains("vpn_configs"))
                .cloned()
                .unwrap();
            let plan = plan(&bot, page.split("-- binds").next().unwrap()).await;
            assert!(
                !scans_a_table_in_a_loop(&plan, false),
                "{scope:?} {indexes}: {plan:#}"
            );
        }
        bot.sql("DROP INDEX IF EXISTS subscriptions_user_id, vpn_configs_user_id")
            .await;
    }
}

async fn plan(bot: &Bot, page: &str) -> Value {
    let types = [Type::TIMESTAMP, Type::TEXT, Type::INT8, Type::INT8];
    let explain = bot
        .client
        .prepare_typed(&format!("EXPLAIN (FORMAT JSON) {page}"), &types)
        .await
        .unwrap();
    let row = bot
        .client
        .query_one(
            &explain,
            &[&Some(now().naive_utc()), &DEFAULT_PANEL, &0_i64, &101_i64],
        )
        .await
        .unwrap();
    row.get::<_, Value>(0)[0]["Plan"].take()
}

/// Whether a table is read whole once for each row of something else.
fn scans_a_table_in_a_loop(node: &Value, in_loop: bool) -> bool {
    if in_loop && node["Node Type"] == "Seq Scan" {
        return true;
    }
    // What is hashed, sorted, materialized or a CTE is read once, however often it is looked into.
    let is_read_once = ["Hash", "Sort", "Materialize"]
        .iter()
        .any(|kind| node["Node Type"] == *kind);
    let joins_row_by_row = node["Node Type"] == "Nested Loop";
    let children = node["Plans"].as_array().into_iter().flatten();
    children.enumerate().any(|(number, child)| {
        let of_cte = child["Parent Relationship"] == "InitPlan";
        let looped = !of_cte && (joins_row_by_row && number == 1 || in_loop && !is_read_once);
        scans_a_table_in_a_loop(child, looped)
    })
}

#[tokio::test]
async fn a_store_of_its_own_pool_reads_the_same() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let store = PostgresStore::connect(bot.database.url()).await.unwrap();
    assert_eq!(
        store
            .page_accounts(DEFAULT_PANEL, Scope::All, None, 10)
            .await
            .unwrap()
            .accounts,
        [bot.account().await]
    );
}
