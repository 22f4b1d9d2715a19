//! Locks and the history of runs.

use std::sync::{Arc, Mutex};

use marzban_sync_core::error::SyncErrorKind;
use marzban_sync_core::jobs::run;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::Store;
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{day, now};
use crate::scripted::World;

#[tokio::test]
async fn a_second_run_of_the_same_job_does_nothing() {
    let world = World::new();
    world.in_line(1, day(5));
    let first = world
        .store
        .lock(Job::SyncSubscriptionsFromMarzban, "default")
        .await
        .unwrap();

    let error = sync_subscriptions_from_marzban(&world.context())
        .await
        .unwrap_err();

    assert_eq!(error.kind(), SyncErrorKind::AlreadyRunning);
    assert_eq!(error.job(), Job::SyncSubscriptionsFromMarzban);
    assert_eq!(
        error.to_string(),
        "sync_subscriptions_from_marzban is already running"
    );
    assert_eq!(error.report(), None);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
    assert_eq!(world.store.runs(), vec![]);

    first.release().await.unwrap();
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.synced, 1);
}

#[tokio::test]
async fn other_jobs_and_other_panels_have_locks_of_their_own() {
    let world = World::new();
    world.in_line(1, day(5));
    world.in_line(2, day(5));
    world.move_to(2, "elsewhere");
    let _first = world
        .store
        .lock(Job::SyncSubscriptionsFromMarzban, "default")
        .await
        .unwrap();

    let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
    let elsewhere = world.builder().panel_name("elsewhere").build();
    let subscriptions = sync_subscriptions_from_marzban(&elsewhere).await.unwrap();

    assert_eq!((status.total, subscriptions.total), (1, 1));
}

#[tokio::test]
async fn every_run_is_noted_when_it_begins_and_when_it_ends() {
    let world = World::new();
    world.customer(1, "active", day(5));
    world.customer(2, "expired", day(-30));
    world.move_to(1, "berlin");
    world.move_to(2, "berlin");
    let during = Arc::new(Mutex::new(Vec::new()));
    let (store, seen) = (world.store.clone(), Arc::clone(&during));
    world
        .panel
        .at_call("users ", move || seen.lock().unwrap().extend(store.runs()));
    let context = world.builder().panel_name("berlin").build();

    for job in Job::ALL {
        run(job, &context).await.unwrap();
    }

    let during = during.lock().unwrap();
    assert_eq!(during.len(), 1);
    assert_eq!(
        (during[0].outcome.as_str(), during[0].finished_at),
        ("running", None)
    );
    assert_eq!(
        (during[0].panel.as_str(), during[0].started_at),
        ("berlin", now())
    );
    assert_eq!(
        world.outcomes(),
        [
            "sync_subscriptions_from_marzban stopped",
            "sync_user_status_from_marzban stopped",
            "cleanup_expired_marzban_users stopped",
            "get_marzban_system_stats completed",
        ]
    );
    assert!(
        world
            .store
            .runs()
            .iter()
            .all(|run| run.finished_at == Some(now()))
    );
}

#[tokio::test]
async fn the_history_holds_the_report_without_its_plan() {
    let world = World::new();
    world.customer(1, "active", day(5));
    world.customer(2, "active", day(5));
    world.panel.put("user1", crate::given::user("active", day(5)));
    let cancellation = world.cancellation.clone();
    world.panel.at_call("user user2", move || cancellation.cancel());

    let report = run(Job::SyncUserStatusFromMarzban, &world.context())
        .await
        .unwrap();

    let mut expected = serde_json::to_value(&report).unwrap();
    let plan = expected.as_object_mut().unwrap().remove("plan");
    assert_eq!(plan.and_then(|plan| plan.as_array().map(Vec::len)), Some(1));
    assert_eq!(expected["stopped"], "cancelled");
    assert_eq!(world.store.runs()[0].report, Some(expected));
}

#[tokio::test]
async fn the_history_keeps_a_hundred_problems_and_the_report_all() {
    let world = World::new();
    world.in_line(1, day(5));
    for id in 2..=150 {
        world.customer(id, "active", day(5));
    }

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.problems.len(), 149);
    let history = world.store.runs().remove(0).report.unwrap();
    assert_eq!(history["problems"].as_array().map(Vec::len), Some(100));
    assert_eq!(history["errors"], 149);
}
