//! The deadline and the cancellation: a run ends between two requests, and what is done stays done.

use chrono::TimeDelta;
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::given::{day, user};
use crate::scripted::{World, problems};

/// 150 accounts, so two requests; the first customer's time is over, all others have used traffic.
fn two_requests() -> World {
    let world = World::new();
    world.customer(1, "active", day(-1));
    world.panel.put(
        "user1",
        PanelUser {
            used_traffic: 500,
            ..user("expired", day(-1))
        },
    );
    for id in 2..=150 {
        world.customer(id, "active", day(5));
        world.panel.put(
            &format!("user{id}"),
            PanelUser {
                used_traffic: 500,
                ..user("active", day(5))
            },
        );
    }
    world
}

async fn ends_after_the_first_request(world: &World, stopped: Stopped) {
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(stopped));
    assert_eq!((report.synced, report.errors, report.total), (99, 51, 150));
    assert_eq!(report.run.unreached, 50);
    assert_eq!(world.panel.calls().len(), 1);
    assert_eq!(
        world.row(1),
        "active until 2025-09-14 12:00:00 UTC; user1 on 500 null"
    );
    assert_eq!(world.config(100), "user100 on 500 null");
    assert_eq!(world.config(101), "user101 on 100 null");
    assert_eq!(report.run.withheld, 1);
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("the run ended before everything had been looked at")
    );
    assert_eq!(problems(&report.run), ["1001 user1 Withheld"]);
    assert_eq!(world.outcomes(), ["sync_subscriptions_from_marzban stopped"]);
}

#[tokio::test]
async fn a_run_whose_time_is_up_keeps_what_is_done_and_takes_nothing_away() {
    let world = two_requests();
    let clock = world.clock.clone();
    world
        .panel
        .at_call("users ", move || clock.advance(TimeDelta::minutes(30)));

    ends_after_the_first_request(&world, Stopped::Deadline).await;
}

#[tokio::test]
async fn a_cancelled_run_keeps_what_is_done_and_takes_nothing_away() {
    let world = two_requests();
    let cancellation = world.cancellation.clone();
    world.panel.at_call("users ", move || cancellation.cancel());

    ends_after_the_first_request(&world, Stopped::Cancelled).await;
}

#[tokio::test]
async fn a_run_that_ends_just_in_time_is_complete() {
    let world = two_requests();
    let clock = world.clock.clone();
    world.panel.at_call("users ", move || {
        clock.advance(TimeDelta::minutes(20) - TimeDelta::seconds(1));
    });

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, None);
    assert_eq!((report.synced, report.errors, report.total), (150, 0, 150));
    assert_eq!(
        report.run.finished_at - report.run.started_at,
        TimeDelta::seconds(1_199)
    );
}

#[tokio::test]
async fn a_time_that_is_up_with_the_last_answer_takes_nothing_away() {
    let world = two_requests();
    let clock = world.clock.clone();
    world
        .panel
        .at_call("users user101", move || clock.advance(TimeDelta::minutes(30)));

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Deadline));
    assert_eq!((report.synced, report.errors, report.total), (149, 1, 150));
    assert_eq!((report.run.withheld, report.run.unreached), (1, 0));
    assert_eq!(
        world.row(1),
        "active until 2025-09-14 12:00:00 UTC; user1 on 500 null"
    );
}

#[tokio::test]
async fn the_next_run_makes_good_what_a_stopped_one_left() {
    let world = two_requests();
    let clock = world.clock.clone();
    world
        .panel
        .at_call("users ", move || clock.advance(TimeDelta::hours(1)));
    let context = world.context();
    sync_subscriptions_from_marzban(&context).await.unwrap();

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (150, 0, 150));
    assert_eq!(
        world.row(1),
        "expired until 2025-09-14 12:00:00 UTC; user1 off 500 null"
    );
    assert_eq!(world.config(101), "user101 on 500 null");
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_it_begins_asks_nothing() {
    let world = two_requests();
    world.cancellation.cancel();

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Cancelled));
    assert_eq!((report.updated, report.errors, report.total), (0, 150, 150));
    assert_eq!(report.run.unreached, 150);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_run_that_ends_among_the_confirmations_marks_nobody() {
    let world = World::new();
    for id in 1..=30 {
        world.in_line(id, day(5));
    }
    world.panel.remove("user2");
    world.panel.remove("user3");
    let cancellation = world.cancellation.clone();
    world.panel.at_call("user user2", move || cancellation.cancel());
    let rows = world.rows();

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Cancelled));
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.single_calls(), ["user user2"]);
    // user2 is known to be gone, user3 is not.
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 1, 2, 30)
    );
    assert_eq!(report.run.withheld, 2);
    assert_eq!(report.run.unreached, 0);
}

#[tokio::test]
async fn customers_of_whom_only_some_accounts_were_asked_for_are_not_decided_on() {
    let world = World::new();
    for id in 1..=99 {
        world.in_line(id, day(5));
    }
    // The first account of the last customer falls into the first request, the second into the second.
    world.customer(100, "active", day(5));
    world.account(101, 100);
    world.panel.put(
        "user100",
        PanelUser {
            used_traffic: 500,
            ..user("expired", day(-9))
        },
    );
    world.panel.put("user101", user("active", day(5)));
    let rows = world.rows();
    let cancellation = world.cancellation.clone();
    world.panel.at_call("users ", move || cancellation.cancel());

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (99, 2, 101));
    assert_eq!(report.run.unreached, 2);
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn a_cleanup_ends_between_two_users() {
    let world = World::synced_just_now();
    for id in 1..=3 {
        world.customer(id, "expired", day(-30));
        world.panel.put(&format!("user{id}"), user("expired", day(-30)));
    }
    let cancellation = world.cancellation.clone();
    world.panel.at_call("delete user1", move || cancellation.cancel());

    let report = cleanup_expired_marzban_users(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Cancelled));
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 2, 3)
    );
    assert_eq!(report.run.unreached, 2);
    assert_eq!(world.config(1), "null off 100 null");
    assert!(!world.panel.has("user1"));
    assert!(world.panel.has("user2") && world.panel.has("user3"));
    assert_eq!(
        world.panel.single_calls(),
        ["user user1", "user user1", "delete user1"]
    );
}

#[tokio::test]
async fn absences_that_cannot_all_be_asked_for_in_time_keep_nobody_else_from_being_written() {
    let world = World::new();
    for id in 1..=20 {
        world.in_line(id, day(5));
    }
    // Two customers with a second account each, which is gone; asking for the first takes the time for looking.
    for id in [1, 2] {
        world.account(30 + id, id);
    }
    world.customer(40, "active", day(-1));
    world.panel.put("user40", user("expired", day(-1)));
    let clock = world.clock.clone();
    world
        .panel
        .at_call("user user31", move || clock.advance(TimeDelta::minutes(21)));

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, None);
    assert_eq!(world.panel.single_calls()[0], "user user31");
    assert_eq!(
        problems(&report.run),
        ["1002 user32 Missing: absent from the panel's answer, not confirmed"]
    );
    assert_eq!(world.config(31), "user31 off 100 null");
    assert_eq!(world.config(32), "user32 on 100 null");
    assert_eq!(world.config(40), "user40 off 100 null");
}

#[tokio::test]
async fn what_a_run_gives_at_first_sight_is_given_although_the_time_for_looking_was_too_short() {
    let world = two_requests();
    for id in 2..=5 {
        world.panel.put(&format!("user{id}"), user("active", day(35)));
    }
    world.panel.put("user6", user("limited", day(35)));
    let clock = world.clock.clone();
    world
        .panel
        .at_call("users ", move || clock.advance(TimeDelta::minutes(21)));

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Deadline));
    assert_eq!(report.run.unreached, 50);
    for id in 2..=5 {
        let row = world.row(id);
        assert!(row.starts_with(&format!("active until {}", day(35))), "{row}");
    }
    // Nothing is taken before everybody has been seen.
    assert!(world.row(6).contains("user6 on"), "{}", world.row(6));
    assert!(world.row(1).starts_with("active"), "{}", world.row(1));
}
