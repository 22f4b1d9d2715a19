//! The brakes in a run: what takes away is withheld, what does no harm is written.

use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{day, user};
use crate::scripted::{World, allowed};

/// A bot of a hundred, whose first accounts the panel has lost; the others have used traffic since.
fn lost(count: i64) -> World {
    let world = World::new();
    for id in 1..=100 {
        world.customer(id, "active", day(5));
        if id > count {
            world.panel.put(
                &format!("user{id}"),
                PanelUser {
                    used_traffic: 500,
                    ..user("active", day(5))
                },
            );
        }
    }
    world
}

/// A bot of fifty, the first of whom the panel calls expired before their end, and all have used traffic.
fn expired_early(count: i64) -> World {
    let world = World::new();
    for id in 1..=50 {
        world.customer(id, "active", day(5));
        let status = if id <= count { "expired" } else { "active" };
        world.panel.put(
            &format!("user{id}"),
            PanelUser {
                used_traffic: 500,
                ..user(status, day(5))
            },
        );
    }
    world
}

fn switched_off(world: &World) -> usize {
    let configs = world.store.vpn_configs();
    configs
        .iter()
        .filter(|config| config.is_active == Some(false))
        .count()
}

#[tokio::test]
async fn a_tenth_of_the_users_may_be_missing() {
    let world = lost(10);

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.updated, report.missing, report.errors), (100, 10, 0));
    assert_eq!(report.run.stopped, None);
    assert_eq!(switched_off(&world), 10);
}

#[tokio::test]
async fn more_than_a_tenth_missing_are_withheld_and_traffic_is_written() {
    let world = lost(11);

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (89, 11, 11, 100)
    );
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 11);
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("11 of 100 users with something to lose are absent from the panel; is it the right panel?")
    );
    assert_eq!(report.run.plan.len(), 11);
    assert!(
        report
            .run
            .problems
            .iter()
            .all(|problem| problem.reason == ProblemReason::Withheld)
    );
    assert_eq!(switched_off(&world), 0);
    assert_eq!(
        world.row(12),
        "active until 2025-09-20 12:00:00 UTC; user12 on 500 null"
    );
    assert_eq!(world.outcomes(), ["sync_user_status_from_marzban stopped"]);
}

#[tokio::test]
async fn an_operator_who_has_looked_overrides_the_brake() {
    let world = lost(11);
    let context = world.builder().answers(allowed()).build();

    let report = sync_user_status_from_marzban(&context).await.unwrap();

    assert_eq!((report.updated, report.missing, report.errors), (100, 11, 0));
    assert_eq!(report.run.stopped, None);
    assert_eq!(switched_off(&world), 11);
}

#[tokio::test]
async fn a_panel_that_answers_with_an_empty_list_marks_nobody_and_is_not_asked_further() {
    let world = lost(100);
    let rows = world.rows();

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 0, 100, 100)
    );
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 100);
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("the panel returned none of the 100 users; is it the right panel?")
    );
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_empty_list_is_not_believed_even_of_a_single_user() {
    let world = World::new();
    world.customer(1, "active", day(5));
    let rows = world.rows();

    let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
    let subscriptions = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(status.run.stopped, Some(Stopped::Safety));
    assert_eq!(subscriptions.run.stopped, Some(Stopped::Safety));
    assert_eq!(
        (subscriptions.synced, subscriptions.errors, subscriptions.total),
        (0, 1, 1)
    );
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn a_wrong_panel_is_not_asked_for_every_user_by_itself() {
    let world = World::new();
    for id in 1..=1_000 {
        world.customer(id, "active", day(5));
    }
    world.panel.put("user1", user("active", day(5)));
    let rows = world.rows();

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 999);
    assert_eq!((report.errors, report.total), (999, 1_000));
    assert_eq!(world.rows(), rows);
    // Until the brake is sure: a tenth of the accounts and one.
    assert_eq!(world.panel.single_calls().len(), 101);
}

#[tokio::test]
async fn a_tenth_may_lose_access_before_their_end() {
    let world = expired_early(5);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors), (50, 0));
    assert_eq!(
        world.row(5),
        "active until 2025-09-20 12:00:00 UTC; user5 off 500 null"
    );
}

#[tokio::test]
async fn more_than_a_tenth_that_would_lose_access_before_their_end_are_withheld() {
    let world = expired_early(6);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (44, 6, 50));
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 6);
    assert_eq!(switched_off(&world), 0);
    assert_eq!(
        world.row(1),
        "active until 2025-09-20 12:00:00 UTC; user1 on 500 null"
    );
}

#[tokio::test]
async fn expiries_at_their_own_end_are_never_withheld() {
    let world = World::new();
    for id in 1..=50 {
        world.customer(id, "active", day(-1));
        world.panel.put(&format!("user{id}"), user("expired", day(-1)));
    }

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors), (50, 0));
    assert_eq!(switched_off(&world), 50);
}

#[tokio::test]
async fn a_withheld_run_shows_what_it_would_have_taken() {
    let world = expired_early(6);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        report.run.plan[0].to_string(),
        "1001 (\"user1\"): is_active true -> false [Expired]"
    );
}
