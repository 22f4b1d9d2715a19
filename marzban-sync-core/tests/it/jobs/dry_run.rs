//! A dry run says what would be done, and does nothing.

use std::sync::{Arc, Mutex};

use marzban_sync_core::event::Event;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::{Job, Report, Run};
use marzban_sync_core::store::Journal;
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::given::{at, day, user};
use crate::scripted::{World, plan};

/// A bot of some customers, each with another fate.
fn bot() -> World {
    let world = World::new();
    world.customer(1, "active", day(1));
    world.panel.put(
        "user1",
        PanelUser {
            used_traffic: 500,
            ..user("active", day(30))
        },
    );
    world.customer(2, "active", day(-1));
    world.panel.put(
        "user2",
        PanelUser {
            used_traffic: 0,
            ..user("expired", day(-1))
        },
    );
    world.customer(3, "active", day(5));
    world.customer(4, "expired", day(-20));
    world.agreed(4, day(-20));
    world.panel.put("user4", user("active", day(20)));
    world.account(5, 4);
    world.panel.put("user5", user("limited", day(20)));
    world.customer(6, "expired", day(-30));
    world.panel.put("user6", user("expired", day(-30)));
    world.customer(7, "expired", day(-30));
    world.in_line(8, day(5));
    world.synced();
    world
}

fn of(report: &Report) -> &Run {
    match report {
        Report::SyncSubscriptionsFromMarzban(report) => &report.run,
        Report::SyncUserStatusFromMarzban(report) => &report.run,
        Report::CleanupExpiredMarzbanUsers(report) => &report.run,
        Report::GetMarzbanSystemStats(_) => panic!("it has no run"),
    }
}

async fn the_plan_is_what_the_real_run_writes(job: Job) {
    let world = bot();
    let rows = world.rows();

    let dry = run(job, &world.builder().dry_run(true).build()).await.unwrap();

    assert_eq!(world.rows(), rows);
    assert_eq!(world.outcomes().len(), 1);
    assert!(
        world
            .panel
            .single_calls()
            .iter()
            .all(|call| !call.starts_with("delete"))
    );
    assert!(of(&dry).dry_run);

    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let observer = move |event: Event<'_>| {
        if let Event::Applied(change) = event {
            seen.lock().unwrap().push(change.to_string());
        }
    };
    let real = run(job, &world.builder().observer(observer).build())
        .await
        .unwrap();

    assert_ne!(plan(of(&dry)), Vec::<String>::new());
    assert_eq!(plan(of(&dry)), *written.lock().unwrap());
    assert_eq!(of(&dry).changes, of(&real).changes);
    assert_eq!(of(&dry).problems, of(&real).problems);
    assert_ne!(world.rows(), rows);
}

#[tokio::test]
async fn the_plan_of_subscriptions_is_what_the_real_run_writes() {
    the_plan_is_what_the_real_run_writes(Job::SyncSubscriptionsFromMarzban).await;
}

#[tokio::test]
async fn the_plan_of_user_status_is_what_the_real_run_writes() {
    the_plan_is_what_the_real_run_writes(Job::SyncUserStatusFromMarzban).await;
}

#[tokio::test]
async fn the_plan_of_a_cleanup_is_what_the_real_run_writes() {
    the_plan_is_what_the_real_run_writes(Job::CleanupExpiredMarzbanUsers).await;
}

#[tokio::test]
async fn the_counts_of_a_dry_run_are_those_of_the_real_run() {
    let world = bot();
    let dry = world.builder().dry_run(true).build();
    let planned = sync_user_status_from_marzban(&dry).await.unwrap();
    let done = sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!(
        (planned.updated, planned.missing, planned.errors, planned.total),
        (done.updated, done.missing, done.errors, done.total)
    );
    assert_eq!((done.missing, done.errors, done.total), (2, 0, 8));
}

#[tokio::test]
async fn a_dry_cleanup_names_whom_it_would_delete() {
    let world = bot();

    let report = cleanup_expired_marzban_users(&world.builder().dry_run(true).build())
        .await
        .unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (2, 2, 0, 4)
    );
    let names: Vec<&str> = report
        .deletions
        .iter()
        .map(|deletion| deletion.name.as_str())
        .collect();
    assert_eq!(names, ["user6", "user7"]);
    assert!(world.panel.has("user6"));
}

#[tokio::test]
async fn a_dry_run_needs_no_lock() {
    let world = bot();
    let _other = world
        .store
        .lock(Job::SyncSubscriptionsFromMarzban, "default")
        .await
        .unwrap();

    let report = sync_subscriptions_from_marzban(&world.builder().dry_run(true).build())
        .await
        .unwrap();

    assert_eq!(report.total, 8);
}

#[tokio::test]
async fn a_dry_run_shows_all_that_a_safety_limit_would_withhold() {
    let world = World::new();
    for id in 1..=10 {
        world.customer(id, "active", at("2025-09-20 00:00:00"));
        world
            .panel
            .put(&format!("user{id}"), user("expired", at("2025-09-01 00:00:00")));
    }

    let report = sync_subscriptions_from_marzban(&world.builder().dry_run(true).build())
        .await
        .unwrap();

    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 10);
    assert_eq!(report.run.plan.len(), 10);
}
