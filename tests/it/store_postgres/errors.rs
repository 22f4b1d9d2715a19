//! Errors that pass, and errors that stay.

use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::plan::Change;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, Journal, PostgresStore, Trail};

use super::races::at_once;
use super::{Bot, expiry, now};

#[tokio::test]
async fn a_key_that_another_transaction_is_about_to_take_is_not_waited_for_long() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql("CREATE UNIQUE INDEX one_of_each_status ON subscriptions (user_id, status)")
        .await;
    let account = bot.account().await;
    let mut payment = bot.database.connect().await;
    let payment = payment.transaction().await.unwrap();
    let expired =
        "INSERT INTO subscriptions (id, user_id, plan_id, price, status) VALUES (2, 1, 7, 9.90, 'expired')";
    payment.batch_execute(expired).await.unwrap();
    let changes = [expiry(&account)];
    let error = at_once(bot.store.apply(DEFAULT_PANEL, None, &changes, now()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended);
    payment.commit().await.unwrap();
    let error = bot
        .store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .unwrap_err();
    assert_eq!(
        error.kind(),
        StoreErrorKind::Invalid,
        "now it is taken, and stays so"
    );
}

#[tokio::test]
async fn rows_that_a_child_row_is_just_being_made_for_are_a_conflict_and_no_deadlock() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "CREATE UNIQUE INDEX one_of_each_status ON subscriptions (user_id, status);
         ALTER TABLE subscriptions ADD UNIQUE (id, status);
         CREATE TABLE payments (subscription_id integer REFERENCES subscriptions (id))",
    )
    .await;
    let account = bot.account().await;
    let mut payment = bot.database.connect().await;
    let payment = payment.transaction().await.unwrap();
    payment
        .batch_execute("INSERT INTO payments VALUES (1)")
        .await
        .unwrap();
    assert_eq!(at_once(bot.apply(&[expiry(&account)])).await, []);
    payment.commit().await.unwrap();
    assert_eq!(bot.apply(&[expiry(&account)]).await, [account.id]);
}

/// What makes every write of an account take this long.
fn slow(seconds: u32) -> String {
    format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_sleep({seconds}); RETURN new; END $$;
         CREATE TRIGGER slow BEFORE UPDATE ON vpn_configs FOR EACH ROW EXECUTE FUNCTION slow()"
    )
}

#[tokio::test]
async fn a_statement_that_is_cancelled_or_a_session_that_is_ended_is_unavailable() {
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        let Some(bot) = Bot::with_one_account().await else {
            return;
        };
        bot.sql(&slow(30)).await;
        let account = bot.account().await;
        let changes = [expiry(&account)];
        let ended = format!(
            "SELECT {end}(pid)::text FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'"
        );
        let ending = async {
            // It ends when the write sleeps: one that is still being parsed would not notice.
            while bot.client.query(&ended, &[]).await.unwrap().is_empty() {}
        };
        let apply = bot.store.apply(DEFAULT_PANEL, None, &changes, now());
        let (applied, ()) = at_once(async { tokio::join!(apply, ending) }).await;
        assert_eq!(applied.unwrap_err().kind(), StoreErrorKind::Unavailable, "{end}");
        assert_eq!(bot.account().await, account, "{end}");
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_for_the_server_is_unavailable() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let name = bot.text("SELECT current_database()::text").await;
    bot.sql(&format!("ALTER DATABASE {name} SET statement_timeout = '200ms'"))
        .await;
    bot.sql(&slow(9)).await;
    let store = PostgresStore::new(bot.database.pool(2));
    let changes = [expiry(&bot.account().await)];
    let error = store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_table_that_somebody_holds_locked_is_contended() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    let account = bot.account().await;
    let entries = marzban_sync_core::trail::entries(&expiry(&account));
    let mut other = bot.database.connect().await;
    let other = other.transaction().await.unwrap();
    other
        .batch_execute("LOCK TABLE marzban_sync_changes, vpn_configs")
        .await
        .unwrap();
    let mut traffic = Change::of(&account);
    traffic.vpn_config.traffic_used = Some(1);
    let error = at_once(bot.store.apply(DEFAULT_PANEL, None, &[traffic], now()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended);
    let trail = Trail {
        agreements: Vec::new(),
        entries,
    };
    let error = at_once(bot.store.record(DEFAULT_PANEL, None, &trail, now()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Contended);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_matter_of_the_schema() {
    let Some(bot) = Bot::before_migration().await else {
        return;
    };
    let error = bot
        .store
        .page_accounts(DEFAULT_PANEL, None, 1, now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
}

#[tokio::test]
async fn a_row_that_a_trigger_keeps_from_being_written_does_not_count_as_written() {
    let Some(bot) = Bot::with_one_account().await else {
        return;
    };
    bot.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER keep BEFORE UPDATE ON subscriptions FOR EACH ROW EXECUTE FUNCTION keep()",
    )
    .await;
    let before = bot.fingerprint().await;
    let changes = [expiry(&bot.account().await)];
    let error = bot
        .store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "the database wrote 0 of 1 rows of subscriptions: is there a trigger that keeps them?"
    );
    assert_eq!(bot.fingerprint().await, before);
}
