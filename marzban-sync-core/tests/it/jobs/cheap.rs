//! The cheap way of the status job: few are read, nobody is judged by the cheap answers, and doubt reads everybody.

use chrono::TimeDelta;
use marzban_sync_core::Context;
use marzban_sync_core::account::AccountId;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::history::{History, MockHistory, RunQuery, last_in_line};
use marzban_sync_core::jobs::StatusReads;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::report::{Stopped, SyncUserStatusReport};
use marzban_sync_core::store::{DEFAULT_PANEL, Scope, Store};
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::faulty::no_database;
use crate::given::{day, user};
use crate::scripted::World;

/// So many customers in line, and a context whose runs go the cheap way for the next six hours.
async fn in_line(count: i64) -> (World, Context) {
    let world = World::new();
    for id in 1..=count {
        world.in_line(id, day(5));
    }
    let context = context(&world);
    sync_user_status_from_marzban(&context).await.unwrap();
    (world, context)
}

/// A context as a new process would make it.
fn context(world: &World) -> Context {
    let reads = StatusReads::cheap(TimeDelta::hours(6), world.store.clone());
    world.builder().status_reads(reads).build()
}

/// Runs the job, and says whom it read and what it asked besides.
async fn run(world: &World, context: &Context) -> (SyncUserStatusReport, Vec<String>) {
    let before = world.panel.calls().len();
    let report = sync_user_status_from_marzban(context).await.unwrap();
    (report, world.panel.calls().split_off(before))
}

#[tokio::test]
async fn the_first_run_reads_everybody_and_the_next_nobody_where_nothing_has_happened() {
    let (world, context) = in_line(3).await;
    assert_eq!(world.panel.calls(), ["users user1 user2 user3"]);
    world.panel.put("user1", {
        let mut user = user("active", day(5));
        user.used_traffic = 900;
        user
    });
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["census"]);
    assert_eq!((report.updated, report.errors, report.total), (0, 0, 3));
    assert_eq!(report.run.unread, 3);
    assert_eq!(
        world.config(1),
        "user1 on 100 null",
        "traffic is left to the other job"
    );
    sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(world.config(1), "user1 on 900 null");
}

#[tokio::test]
async fn who_is_switched_off_or_on_in_the_panel_is_read_and_written() {
    let (world, context) = in_line(20).await;
    world.panel.put("user2", user("disabled", day(5)));
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls[..2], ["census", "users user2"]);
    assert_eq!((report.updated, report.errors, report.total), (1, 0, 20));
    assert_eq!(world.config(2), "user2 off 100 null");

    world.panel.put("user2", user("active", day(5)));
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["census", "users user2"]);
    assert_eq!((report.updated, report.total), (1, 20));
    assert_eq!(world.config(2), "user2 on 100 null");
}

#[tokio::test]
async fn a_user_whose_time_is_over_is_read_before_the_panel_has_noticed() {
    let (world, context) = in_line(20).await;
    world.subscription(30, 3, "active", day(-1));
    world.panel.put("user3", user("active", day(-1)));
    let (_, calls) = run(&world, &context).await;
    assert_eq!(calls[..2], ["census", "users user3"]);
    assert_eq!(world.config(3), "user3 off 100 null");
}

#[tokio::test]
async fn a_user_that_is_gone_shows_in_the_sums_and_everybody_is_read() {
    let (world, context) = in_line(20).await;
    world.panel.put("user2", user("disabled", day(5)));
    world.panel.remove("user7");
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls[..2], ["census", "users user2"]);
    assert!(calls[2].starts_with("users user1 user3 "), "{calls:?}");
    assert_eq!(calls[3], "user user7");
    assert_eq!((report.updated, report.missing, report.total), (2, 1, 20));
    assert_eq!(world.config(7), "user7 off 100 null");
}

#[tokio::test]
async fn an_absence_that_a_stranger_makes_up_for_is_found_by_a_full_run_and_takes_nothing_before() {
    let (world, _) = in_line(20).await;
    world.panel.remove("user7");
    world.panel.put("stranger", user("active", day(5)));
    for _ in 1..6 {
        world.clock.advance(TimeDelta::hours(1));
        let (report, calls) = run(&world, &context(&world)).await;
        assert_eq!((calls, report.missing), (vec!["census".to_owned()], 0));
        assert_eq!(world.config(7), "user7 on 100 null");
    }
    world.clock.advance(TimeDelta::hours(1));
    let (report, calls) = run(&world, &context(&world)).await;
    assert!(!calls.contains(&"census".to_owned()), "{calls:?}");
    assert_eq!((report.missing, report.run.unread), (1, 0));
    assert_eq!(world.config(7), "user7 off 100 null");
}

#[tokio::test]
async fn without_a_census_everybody_is_read() {
    let (world, context) = in_line(3).await;
    world.panel.give_no_census();
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["census", "users user1 user2 user3"]);
    assert_eq!((report.errors, report.total), (0, 3));
}

#[tokio::test]
async fn a_history_that_cannot_be_read_stops_no_run() {
    let (world, _) = in_line(3).await;
    let mut history = MockHistory::new();
    history.expect_runs().returning(|_| Err(no_database()));
    let reads = StatusReads::cheap(TimeDelta::hours(6), history);
    let context = world.builder().status_reads(reads).build();
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["users user1 user2 user3"]);
    assert_eq!((report.errors, report.total), (0, 3));
}

#[tokio::test]
async fn a_user_that_cannot_be_shown_makes_up_for_nobody() {
    let (world, context) = in_line(20).await;
    let mut config = world.store.vpn_config(AccountId(2)).unwrap();
    config.is_active = Some(false);
    world.store.insert_vpn_config(config);
    world
        .panel
        .say("user2", Observation::Unreadable("500".to_owned()));
    world.panel.remove("user7");
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls[..2], ["census", "users user2"]);
    assert_eq!((report.errors, report.missing, report.total), (1, 1, 20));
    assert_eq!(world.config(7), "user7 off 100 null");
}

#[tokio::test]
async fn the_cheap_way_withholds_what_the_full_one_does() {
    let (world, context) = in_line(40).await;
    for id in 1..=6 {
        world.panel.remove(&format!("user{id}"));
    }
    let (report, _) = run(&world, &context).await;
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!((report.missing, report.run.withheld, report.total), (6, 6, 40));
    assert!(
        world
            .store
            .vpn_configs()
            .iter()
            .all(|config| config.is_active == Some(true))
    );
}

#[tokio::test]
async fn another_panel_with_as_many_active_users_takes_nothing() {
    let (world, context) = in_line(3).await;
    // Paid for in the panel, which the bot has yet to hear of.
    world.subscription(30, 3, "active", day(-1));
    for id in 1..=3 {
        world.panel.remove(&format!("user{id}"));
    }
    for stranger in ["one", "two"] {
        world.panel.put(stranger, user("active", day(5)));
    }
    let (report, _) = run(&world, &context).await;
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!((report.updated, report.run.withheld, report.total), (0, 3, 3));
    assert_eq!(world.config(3), "user3 on 100 null");
}

#[tokio::test]
async fn the_safety_limits_count_those_too_whom_strangers_make_up_for() {
    let (world, context) = in_line(40).await;
    world.subscription(10, 1, "active", day(-1));
    for id in 1..=6 {
        world.panel.remove(&format!("user{id}"));
    }
    for id in 2..=6 {
        world.panel.put(&format!("stranger{id}"), user("active", day(5)));
    }
    let (report, _) = run(&world, &context).await;
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!((report.missing, report.run.withheld, report.total), (6, 6, 40));
    assert_eq!(world.config(1), "user1 on 100 null");
}

#[tokio::test]
async fn early_ends_count_together_with_the_absences_that_strangers_make_up_for() {
    let (world, context) = in_line(60).await;
    for id in 1..=4 {
        world.panel.remove(&format!("user{id}"));
        world.panel.put(&format!("stranger{id}"), user("active", day(5)));
        world
            .panel
            .put(&format!("user{}", 10 + id), user("expired", day(-1)));
    }
    let before = world.rows();
    let (report, _) = run(&world, &context).await;
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!((report.missing, report.run.withheld, report.total), (4, 8, 60));
    assert_eq!(world.rows(), before);
}

#[tokio::test]
async fn the_accounts_of_a_customer_are_read_together() {
    let (world, context) = in_line(3).await;
    world.account(4, 1);
    world.panel.put("user4", user("limited", day(5)));
    let (_, calls) = run(&world, &context).await;
    assert_eq!(calls[..2], ["census", "users user1 user4"]);
    assert_eq!(
        world.store.vpn_config(AccountId(4)).unwrap().is_active,
        Some(false)
    );
}

#[tokio::test]
async fn users_who_are_known_to_be_gone_stop_no_cheap_run() {
    let (world, context) = in_line(3).await;
    world.customer(4, "active", day(5));
    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["census", "users user1 user2 user3 user4", "user user4"]);
    assert_eq!((report.updated, report.missing, report.run.unread), (1, 1, 0));

    let (report, calls) = run(&world, &context).await;
    assert_eq!(calls, ["census", "users user4", "user user4"]);
    assert_eq!((report.updated, report.missing, report.run.unread), (0, 1, 3));
    assert_eq!((report.total, report.run.stopped), (4, None));
}

#[tokio::test]
async fn a_cheap_run_is_no_proof_of_how_old_a_row_is() {
    let (world, context) = in_line(3).await;
    let began = world.clock.now();
    world.clock.advance(TimeDelta::hours(1));
    run(&world, &context).await;
    let runs = world.store.runs(&RunQuery::latest(10)).await.unwrap();
    assert_eq!(runs.len(), 2);
    let first = [AccountId(1)];
    let accounts = world.store.reload_accounts(DEFAULT_PANEL, Scope::All, &first);
    let account = accounts.await.unwrap().remove(0);
    assert_eq!(last_in_line(&account, &runs), Some(began));
}
