//! What is written, and with how many statements.

use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal};
use std::sync::{Arc, Mutex};

use marzban_sync_core::report::Job;
use marzban_sync_tests::TestDatabase;
use serde_json::json;

use super::{Bot, ONE_ACCOUNT, customers, expiry, now, traffic};

#[tokio::test]
async fn times_are_naive_utc_whatever_the_time_zone_of_the_session() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let bot = Bot::of(database.in_time_zone("Asia/Tehran").await).await;
    bot.sql(ONE_ACCOUNT).await;
    assert_eq!(
        bot.text("SELECT current_setting('TimeZone')").await,
        "Asia/Tehran"
    );
    let account = bot.account().await;
    assert_eq!(
        account.subscription.as_ref().unwrap().end_date,
        Some(now() + chrono::TimeDelta::days(1))
    );

    let mut change = expiry(&account);
    change.vpn_config.last_connected_at = Some(now());
    assert_eq!(bot.apply(&[change]).await, [account.id]);
    let run = bot
        .store
        .begin_run(Job::SyncSubscriptionsFromMarzban, "main", now())
        .await
        .unwrap();
    bot.store
        .finish_run(run, RunStatus::Completed, &json!({"synced": 1}), now())
        .await
        .unwrap();

    assert_eq!(
        bot.text("SELECT concat_ws('|', end_date, updated_at) FROM subscriptions")
            .await,
        "2025-09-15 00:00:00|2025-09-15 00:00:00"
    );
    assert_eq!(
        bot.text("SELECT concat_ws('|', last_connected_at, updated_at) FROM vpn_configs")
            .await,
        "2025-09-15 00:00:00|2025-09-15 00:00:00"
    );
    assert_eq!(
        bot.text("SELECT concat_ws('|', started_at, finished_at, outcome, report) FROM marzban_sync_runs")
            .await,
        "2025-09-15 03:30:00+03:30|2025-09-15 03:30:00+03:30|completed|{\"synced\": 1}"
    );
}

#[tokio::test]
async fn columns_that_the_library_does_not_know_stay_as_they_are() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    assert_eq!(bot.apply(&[expiry(&account)]).await, [account.id]);
    assert_eq!(
        bot.text("SELECT subscriptions::text FROM subscriptions").await,
        "(1,1,7,9.90,expired,,\"2025-09-15 00:00:00\",\"2025-09-15 00:00:00\")"
    );
    assert_eq!(
        bot.text("SELECT vpn_configs::text FROM vpn_configs").await,
        "(1,1,vless,alice,f,1000,,\"2025-09-15 00:00:00\",)"
    );
}

#[tokio::test]
async fn only_the_row_that_changes_is_written() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let subscription = "SELECT concat(ctid, xmin, s) FROM subscriptions AS s";
    let config = "SELECT concat(ctid, xmin, v) FROM vpn_configs AS v";
    let account = bot.account().await;

    let before = bot.fingerprint().await;
    assert_eq!(bot.apply(&[traffic(&account, 1000)]).await, [account.id]);
    assert_eq!(bot.fingerprint().await, before, "the values were there already");

    let before = bot.text(subscription).await;
    assert_eq!(bot.apply(&[traffic(&account, 2000)]).await, [account.id]);
    assert_eq!(bot.text(subscription).await, before);

    let account = bot.account().await;
    let mut change = expiry(&account);
    change.vpn_config = marzban_sync_core::plan::VpnConfigPatch::default();
    let before = bot.text(config).await.split_once("(1,1").unwrap().1.to_owned();
    assert_eq!(bot.apply(&[change]).await, [account.id]);
    let after = bot.text(config).await.split_once("(1,1").unwrap().1.to_owned();
    assert_eq!(after, before);
}

#[tokio::test]
async fn ten_thousand_changes_take_five_statements_for_each_five_thousand() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let statements = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&statements);
    let pool = database.pool_with(2, move |statement| log.lock().unwrap().push(statement.to_owned()));
    let bot = Bot::over(database, pool).await;
    bot.sql(&customers(10_000)).await;

    statements.lock().unwrap().clear();
    let accounts = bot
        .store
        .page_accounts(DEFAULT_PANEL, None, 10_000, now())
        .await
        .unwrap()
        .accounts;
    let reading = std::mem::take(&mut *statements.lock().unwrap());
    assert_eq!(kinds(&reading), ["WITH"]);

    let changes: Vec<_> = accounts.iter().map(expiry).collect();
    assert_eq!(bot.apply(&changes).await.len(), 10_000);
    let writing = std::mem::take(&mut *statements.lock().unwrap());
    let chunk = ["BEGIN", "--", "WITH", "UPDATE", "UPDATE", "INSERT", "COMMIT"];
    assert_eq!(kinds(&writing), [chunk, chunk].concat());
    let written = "SELECT count(*)::text FROM subscriptions JOIN vpn_configs USING (user_id)
        WHERE status = 'expired' AND end_date = '2025-09-15' AND NOT is_active";
    assert_eq!(bot.text(written).await, "10000");

    assert_eq!(bot.apply(&[]).await, []);
    assert_eq!(
        kinds(&statements.lock().unwrap()),
        [""; 0],
        "nothing to write asks nothing"
    );
}

/// The first word of each statement, but for those by which a pool looks after its connections.
fn kinds(statements: &[String]) -> Vec<&str> {
    let words = statements
        .iter()
        .filter_map(|statement| statement.split_whitespace().next());
    words.filter(|word| *word != "SELECT").collect()
}
