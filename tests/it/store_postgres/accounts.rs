//! Reading accounts from rows as bots leave them.

use std::sync::{Arc, Mutex};

use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::plan::Change;
use marzban_sync_core::store::{AccountStore, Cursor, DEFAULT_PANEL, PostgresStore};
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
    let accounts = bot.accounts().await;
    assert_eq!(accounts.len(), 1);
    let governing = accounts[0].subscription.as_ref().unwrap();
    assert_eq!(
        (governing.id, &governing.status),
        (SubscriptionId(1), &SubscriptionStatus::Active)
    );
    let others: Vec<i64> = accounts[0]
        .other_subscriptions
        .iter()
        .map(|one| one.id.0)
        .collect();
    assert_eq!(others, [2, 3]);
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
    let ids: Vec<i64> = bot.accounts().await.iter().map(|account| account.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert_eq!(bot.store.count_accounts(DEFAULT_PANEL).await.unwrap(), 5);
}

#[tokio::test]
async fn an_end_beyond_the_calendar_is_no_end_and_one_before_it_is_its_beginning() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    for (end_date, expected) in [
        ("infinity", None),
        ("12345-01-01", None),
        (
            "9999-12-31 23:59:59.999999",
            Some("9999-12-31 23:59:59.999999 UTC"),
        ),
        ("-infinity", Some("0001-01-01 00:00:00 UTC")),
        ("4713-01-01 BC", Some("0001-01-01 00:00:00 UTC")),
    ] {
        bot.sql(&format!(
            "UPDATE subscriptions SET status = 'active', start_date = end_date, end_date = '{end_date}', updated_at = end_date"
        ))
        .await;
        let account = bot.account().await;
        let read = account.subscription.as_ref().unwrap().end_date;
        assert_eq!(
            read.map(|end_date| end_date.to_string()).as_deref(),
            expected,
            "{end_date}"
        );
        assert_eq!(
            bot.apply(&[super::expiry(&account)]).await,
            [account.id],
            "{end_date}"
        );
        let written = bot
            .text("SELECT concat_ws(' ', status, end_date) FROM subscriptions")
            .await;
        assert_eq!(written, "expired 2025-09-15 00:00:00", "{end_date}");
        bot.sql("UPDATE vpn_configs SET is_active = true").await;
    }
}

#[tokio::test]
async fn a_last_connection_that_is_no_moment_of_a_calendar_is_read_as_null_and_not_overwritten() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    for time in ["infinity", "-infinity", "4713-01-01 BC", "294276-12-31"] {
        bot.sql(&format!(
            "UPDATE vpn_configs SET last_connected_at = '{time}', updated_at = '{time}'"
        ))
        .await;
        let account = bot.account().await;
        assert_eq!(
            (account.last_connected_at, account.updated_at),
            (None, None),
            "{time}"
        );
        assert_eq!(bot.apply(&[super::traffic(&account, 2_000)]).await, [], "{time}");

        let mut change = Change::of(&account);
        change.subscription.end_date = Some(EndDate::At(now()));
        assert_eq!(
            bot.apply(&[change]).await,
            [account.id],
            "{time}: the subscription's row is another one"
        );
        bot.sql("UPDATE subscriptions SET end_date = '2025-09-16'").await;
    }
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
}

#[tokio::test]
async fn a_subscription_that_has_not_begun_governs_not_before_the_one_that_has() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO subscriptions (id, user_id, plan_id, price, status, start_date, end_date) VALUES
             (2, 1, 7, 9.90, 'active', '2025-09-17', '2025-10-17'),
             (3, 1, 7, 9.90, 'active', 'infinity', NULL)",
    )
    .await;
    assert_eq!(bot.account().await.subscription.unwrap().id, SubscriptionId(1));
    bot.sql("ALTER TABLE subscriptions DROP COLUMN start_date").await;
    bot.store.verify_schema().await.unwrap();
    assert_eq!(bot.account().await.subscription.unwrap().id, SubscriptionId(3));
}

#[tokio::test]
async fn a_subscription_id_that_is_no_number_is_no_link() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date) VALUES (2, 1, 7, 9.90, 'active', NULL);
         ALTER TABLE vpn_configs ADD subscription_id varchar DEFAULT 'sub_1'",
    )
    .await;
    bot.store.verify_schema().await.unwrap();
    assert_eq!(bot.account().await.subscription.unwrap().id, SubscriptionId(2));
    bot.sql("ALTER TABLE vpn_configs DROP subscription_id, ADD subscription_id bigint DEFAULT 1")
        .await;
    bot.store.verify_schema().await.unwrap();
    let account = bot.account().await;
    assert_eq!(account.subscription.unwrap().id, SubscriptionId(1));
    assert!(!account.other_subscriptions[0].is_named);
}

#[tokio::test]
async fn customers_who_only_share_a_panel_user_are_no_accounts_of_the_page() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(super::laws::SHARED_NAMES).await;
    bot.sql(
        "INSERT INTO users VALUES (2, 22222, 'fa', '2025-01-01'), (3, 33333, 'fa', '2025-01-01');
         INSERT INTO subscriptions (id, user_id, plan_id, price, status) VALUES (2, 2, 7, 9.90, 'active');
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, panel) VALUES
             (2, 2, 'vless', 'alice', ''), (3, 3, 'vless', 'Alice', NULL), (4, 3, 'vless', 'alice', 'nl');",
    )
    .await;
    let page = bot
        .store
        .page_accounts(DEFAULT_PANEL, None, 1, now())
        .await
        .unwrap();
    let [account] = &page.accounts[..] else {
        panic!("{page:?}");
    };
    let [sharer] = &account.sharers[..] else {
        panic!("{account:?}");
    };
    assert_eq!((account.id, sharer.id), (AccountId(1), AccountId(2)));
    assert_eq!(sharer.subscriptions[0].id, SubscriptionId(2));
    assert_eq!(page.next, Some(Cursor(AccountId(1))));
}

#[tokio::test]
async fn an_agreement_that_cannot_be_understood_is_none_and_is_replaced() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "INSERT INTO marzban_sync_agreements VALUES ('default', 'alice', 7, '{\"end\": \"tomorrow\"}', '2025-01-01')",
    )
    .await;
    let account = bot.account().await;
    assert!(account.agreement.is_new());
    let mut change = Change::of(&account);
    change.agreement = Some(Agreement {
        on_hold: true,
        ..Agreement::default()
    });
    assert_eq!(bot.apply(&[change]).await, [account.id]);
    let account = bot.account().await;
    assert_eq!((account.revision, account.agreement.on_hold), (8, true));
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
    bot.sql(
        "UPDATE subscriptions SET status = 'cancelled' WHERE id % 2 = 0;
         INSERT INTO marzban_sync_agreements
         SELECT 'default', 'user' || n, 1, '{}', '2025-01-01' FROM generate_series(1, 20000) AS n;
         ANALYZE subscriptions, marzban_sync_agreements",
    )
    .await;
    for indexes in ["with the bot's indexes", "without"] {
        statements.lock().unwrap().clear();
        bot.store
            .page_accounts(DEFAULT_PANEL, None, 100, now())
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
        assert!(!scans_a_table_in_a_loop(&plan, false), "{indexes}: {plan:#}");
        bot.sql(
            "DROP INDEX IF EXISTS subscriptions_user_id, vpn_configs_user_id;
             ALTER TABLE vpn_configs DROP CONSTRAINT IF EXISTS vpn_configs_marzban_user_id_key",
        )
        .await;
    }
}

async fn plan(bot: &Bot, page: &str) -> Value {
    let types = [Type::TEXT, Type::INT8, Type::INT8];
    let explain = bot
        .client
        .prepare_typed(&format!("EXPLAIN (FORMAT JSON) {page}"), &types)
        .await
        .unwrap();
    let row = bot
        .client
        .query_one(&explain, &[&DEFAULT_PANEL, &0_i64, &101_i64])
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
    node["Plans"].as_array().into_iter().flatten().any(|child| {
        let is_inner = child["Parent Relationship"] == "Inner";
        let of_cte = child["Parent Relationship"] == "InitPlan";
        let looped = !of_cte && (joins_row_by_row && is_inner || in_loop && !is_read_once);
        scans_a_table_in_a_loop(child, looped)
    })
}

#[tokio::test]
async fn a_store_of_its_own_pool_reads_the_same() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let store = PostgresStore::connect(bot.database.url()).await.unwrap();
    let page = store.page_accounts(DEFAULT_PANEL, None, 10, now()).await.unwrap();
    assert_eq!(page.accounts, [bot.account().await]);
}
