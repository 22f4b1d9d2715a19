//! Runs that meet other writers, other runs, and the past.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use marzban_api::testing::FakeStatus;
use marzban_sync_core::Context;
use marzban_sync_core::error::StoreError;
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{Journal, PostgresStore};
use marzban_sync_tests::client;

use super::over_both_stores;
use super::tables::Tables;
use super::world::{World, day, payment, problems, reasons, skipped, stopped, user};

over_both_stores! {
    a24_a_user_made_while_others_are_asked_for_is_not_missing
    b02_who_is_known_to_be_missing_is_not_asked_for_again
    b05_a_row_that_the_bots_own_rule_refuses_stops_no_other
    b06_payments_during_a_list_are_no_loss
    b07_rows_deleted_or_cancelled_under_the_run_are_not_in_line
    b08_a_run_of_the_future_is_not_the_last_one
    b08_a_clock_of_the_future_forgets_no_history
}

const NOTHING: [&str; 0] = [];

/// Does this to the bot's tables once, in the middle of the first list.
fn during_the_first_list(world: &World, sql: String) {
    let (tables, sql): (Tables, Arc<str>) = (world.tables.clone(), sql.into());
    let is_done = Arc::new(AtomicBool::new(false));
    world.panel.on_request(move |_, request| {
        let (tables, sql, is_done) = (tables.clone(), Arc::clone(&sql), Arc::clone(&is_done));
        async move {
            if request.path == "/api/users" && !is_done.swap(true, Ordering::SeqCst) {
                tables.sql(&sql).await;
            }
        }
    });
}

pub(super) async fn a24_a_user_made_while_others_are_asked_for_is_not_missing(world: &mut World) {
    world.in_step(3..=40, 60).await;
    world.customer(1, "anna", "active", Some(30)).await;
    world.customer(2, "boris", "active", Some(30)).await;
    let clock = world.clock.clone();
    world.panel.on_request(move |panel, request| {
        let clock = clock.clone();
        async move {
            if request.path == "/api/user/boris" {
                panel.insert_user(user("anna", FakeStatus::Active, Some(30)));
                clock.advance(TimeDelta::minutes(2));
            }
        }
    });
    let run = world.status().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(
        world.asked(),
        [
            "GET /api/users of 40",
            "GET /api/user/anna",
            "GET /api/user/boris",
            "GET /api/user/anna"
        ]
    );
    assert_eq!(world.accounts().await[..2], ["1 anna on", "2 boris off"]);
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn b02_who_is_known_to_be_missing_is_not_asked_for_again(world: &mut World) {
    world.long_over(1..=1_000, -3).await;
    world.restore(Vec::new());
    world.in_step(1_001..=1_030, 60).await;
    let alone = |asked: Vec<String>| {
        asked
            .iter()
            .filter(|line| line.starts_with("GET /api/user/"))
            .count()
    };

    assert_eq!(stopped(&world.status().await), "-");
    assert_eq!(alone(world.asked()), 1_000);
    for now in [0, 1] {
        world.on_day(now);
        world.syncs().await;
        let asked = world.asked();
        assert!(!asked.is_empty());
        assert_eq!(alone(asked), 0);
    }

    // One that is made again is seen by the list.
    world.user("user7", FakeStatus::Active, Some(60));
    world.syncs().await;
    assert_eq!(world.account_of(7).await, "user7 on");
    assert_eq!(alone(world.asked()), 0);
    world.assert_settled().await;
    assert_eq!(world.sent(), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn b03_bots_in_two_schemas_do_not_share_their_locks() {
    let Some(world) = World::postgres().await else {
        return;
    };
    world.in_step(1..=3, 60).await;
    let url = world.postgres_database().unwrap().url().to_owned();
    world.sql("CREATE SCHEMA other").await;
    let copies = ["users", "subscriptions", "vpn_configs"]
        .map(|table| format!("CREATE TABLE other.{table} (LIKE public.{table} INCLUDING ALL)"));
    world.sql(&copies.join(";")).await;
    let separator = if url.contains('?') { '&' } else { '?' };
    let other = PostgresStore::connect(&format!("{url}{separator}options=-csearch_path%3Dother"))
        .await
        .unwrap();
    other.migrate().await.unwrap();

    let job = Job::SyncSubscriptionsFromMarzban;
    let first = PostgresStore::connect(&url).await.unwrap();
    let lock = first.lock(job, "default").await.unwrap();
    let panel = MarzbanPanel::new(client(&world.panel.url(), "admin", "admin"));
    let context = Context::builder(panel, other).clock(world.clock.clone()).build();
    assert_eq!(
        marzban_sync_core::sync_subscriptions_from_marzban(&context)
            .await
            .unwrap()
            .total,
        0
    );
    let error = world.try_run(job).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::AlreadyRunning);
    lock.release().await.unwrap();
    assert_eq!(stopped(&world.sync().await), "-");
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_a_server_that_restarts_is_no_lasting_failure() {
    let Some(mut world) = World::postgres().await else {
        return;
    };
    world.in_step(1..=20, 30).await;
    world.syncs().await;
    let restart = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    world.sql(restart).await;
    world.syncs().await;

    world.set_expire("user1", 60);
    during_the_first_list(&world, restart.to_owned());
    if let Err(error) = world.try_run(Job::SyncSubscriptionsFromMarzban).await {
        assert_eq!(error.outcome(), Outcome::Store);
        let cause = std::error::Error::source(&error)
            .unwrap()
            .downcast_ref::<StoreError>()
            .unwrap();
        assert!(cause.kind().is_retryable(), "{cause:?}");
    }
    world.panel.clear_hooks();
    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(world.subscription_of(1).await, "active +60d");
    world.status().await;
    world.assert_settled().await;
    world.asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_no_write_waits_for_a_payment() {
    let Some(world) = World::postgres().await else {
        return;
    };
    world.in_step(1..=20, 30).await;
    world.long_over(21..=22, -40).await;
    world.syncs().await;
    world.set_expire("user1", 90);
    world.set_expire("user2", 90);

    let bot = world.postgres_database().unwrap().connect().await;
    bot.batch_execute(&format!("BEGIN; {}", payment(1, 60)))
        .await
        .unwrap();
    bot.batch_execute("UPDATE vpn_configs SET traffic_used = 0 WHERE id = 21")
        .await
        .unwrap();
    let run = world.sync().await;
    assert_eq!(
        (stopped(&run), problems(&run)),
        ("-".to_owned(), vec!["user1 conflict".to_owned()])
    );
    assert_eq!(
        world.subscriptions().await[..2],
        ["1 active +30d", "2 active +90d"]
    );
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, cleanup.errors),
        (1, 1),
        "{:?}",
        cleanup.run.problems
    );
    assert_eq!(world.sent(), ["DELETE /api/user/user22"]);
    bot.batch_execute("COMMIT").await.unwrap();

    world.syncs().await;
    assert_eq!(world.subscription_of(1).await, "active +90d");
    assert_eq!(world.cleanup().await.cleaned, 1);
    assert_eq!(
        world.sent(),
        ["DELETE /api/user/user22", "DELETE /api/user/user21"]
    );
}

pub(super) async fn b05_a_row_that_the_bots_own_rule_refuses_stops_no_other(world: &mut World) {
    world.in_step(1..=3, 1).await;
    world.in_step(4..=20, 90).await;
    world.subscription(100, 1, "expired", Some(-60)).await;
    world
        .sql("CREATE UNIQUE INDEX one_of_each ON subscriptions (user_id, status)")
        .await;
    world.syncs().await;
    world.on_day(2);
    for _ in 0..2 {
        let run = world.sync().await;
        assert_eq!(
            (stopped(&run), problems(&run)),
            ("-".to_owned(), vec!["user1 rejected".to_owned()])
        );
        assert_eq!(
            world.subscriptions().await[..3],
            ["1 active +1d", "2 expired +1d", "3 expired +1d"]
        );
    }
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn b06_payments_during_a_list_are_no_loss(world: &mut World) {
    world.in_step(1..=6, 1).await;
    world.in_step(7..=20, 90).await;
    world.syncs().await;
    world.on_day(1);
    let payments: Vec<String> = (1..=6).map(|id| payment(id, 31)).collect();
    during_the_first_list(world, payments.join(";"));
    let run = world.sync().await;
    assert_eq!(
        (stopped(&run), reasons(&run)),
        ("-".to_owned(), vec!["panel_behind 6".to_owned()])
    );
    for id in 1..=6 {
        assert_eq!(world.subscription_of(id).await, "active +31d");
        assert_eq!(world.account_of(id).await, format!("user{id} on"));
    }
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn b07_rows_deleted_or_cancelled_under_the_run_are_not_in_line(world: &mut World) {
    world.in_step(1..=3, 1).await;
    world.in_step(4..=20, 90).await;
    world.syncs().await;
    world.on_day(1);
    world.set_expire("user1", 31);
    world.set_expire("user3", 31);
    let sql = "DELETE FROM vpn_configs WHERE id = 1; UPDATE subscriptions SET status = 'cancelled' WHERE id IN (2, 3)";
    during_the_first_list(world, sql.to_owned());
    let run = world.sync().await;
    assert_eq!(
        (stopped(&run), problems(&run)),
        (
            "-".to_owned(),
            vec![
                "user1 conflict".to_owned(),
                "user2 conflict".to_owned(),
                "user3 conflict".to_owned()
            ]
        )
    );
    assert_eq!(
        world.subscriptions().await[..3],
        ["1 active +1d", "2 cancelled +1d", "3 cancelled +1d"]
    );
    world.panel.clear_hooks();

    let run = world.sync().await;
    assert_eq!((stopped(&run), reasons(&run)), ("-".to_owned(), vec![]));
    assert_eq!(run.ignored.statuses.get("cancelled"), Some(&2));

    // The same under the status job, which would switch off the access of both.
    world.status().await;
    for name in ["user4", "user5"] {
        world
            .panel
            .update_user(name, |user| user.status = FakeStatus::Disabled);
    }
    let sql =
        "DELETE FROM vpn_configs WHERE id = 4; UPDATE vpn_configs SET marzban_user_id = NULL WHERE id = 5";
    during_the_first_list(world, sql.to_owned());
    assert_eq!(
        problems(&world.status().await),
        ["user4 conflict", "user5 conflict"]
    );
    assert_eq!(world.sent(), NOTHING);
}

pub(super) async fn b08_a_run_of_the_future_is_not_the_last_one(world: &mut World) {
    // Before there is anybody: nothing speaks against the time.
    world.on_day(3_650);
    world.syncs().await;
    world.on_day(0);
    world.in_step(1..=20, 60).await;
    world.long_over(21..=22, -40).await;
    let cleanup = world.cleanup().await;
    assert_eq!(
        (cleanup.cleaned, skipped(&cleanup), stopped(&cleanup.run)),
        (0, vec!["withheld 2".to_owned()], "safety".to_owned())
    );

    // A run that was stopped in the future does not forbid what is done now.
    world.clock.set(day(3_650));
    assert_eq!(stopped(&world.sync().await), "safety");
    world.on_day(0);
    world.syncs().await;
    let cleanup = world.cleanup().await;
    assert_eq!((cleanup.cleaned, stopped(&cleanup.run)), (2, "-".to_owned()));
    assert_eq!(
        world.sent(),
        ["DELETE /api/user/user21", "DELETE /api/user/user22"]
    );
}

pub(super) async fn b08_a_clock_of_the_future_forgets_no_history(world: &mut World) {
    world.in_step(1..=3, 60).await;
    world.syncs().await;
    let runs = "SELECT CAST(count(*) AS text) AS text FROM marzban_sync_runs WHERE job LIKE 'sync%'";
    assert_eq!(world.tables.texts(runs).await, ["2"]);
    world.on_day(1);
    world.syncs().await;
    world.clock.set(day(3_650));
    world.try_run(Job::GetMarzbanSystemStats).await.unwrap();
    assert_eq!(world.tables.texts(runs).await, ["4"]);

    world.on_day(100);
    world.syncs().await;
    world.try_run(Job::GetMarzbanSystemStats).await.unwrap();
    assert_eq!(world.tables.texts(runs).await, ["2"]);
}
