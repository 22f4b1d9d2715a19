//! Locks and the history of runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use marzban_sync_core::freshness::last_synced_at;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::outcome::{Outcome, RunStatus};
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::run::{RunId, RunRecord};
use marzban_sync_core::store::{AccountStore, Journal, last_ended, synced_at};
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{self, day, now, user};
use crate::scripted::World;
use serde_json::json;

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

    assert_eq!(error.outcome(), Outcome::AlreadyRunning);
    assert_eq!(error.job(), Job::SyncSubscriptionsFromMarzban);
    assert_eq!(
        error.to_string(),
        "sync_subscriptions_from_marzban is already running"
    );
    assert_eq!(error.report(), None);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
    assert_eq!(world.store.recorded_runs(), vec![]);

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
    world.panel.at_call("users ", move || {
        seen.lock().unwrap().extend(store.recorded_runs());
    });
    let context = world.builder().panel_name("berlin").build();

    for job in Job::ALL {
        run(job, &context).await.unwrap();
    }

    let during = during.lock().unwrap();
    assert_eq!(during.len(), 1);
    assert_eq!(
        (during[0].status, during[0].finished_at),
        (RunStatus::Running, None)
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
            .recorded_runs()
            .iter()
            .all(|run| run.finished_at == Some(now()))
    );
}

#[tokio::test]
async fn the_history_holds_the_report_with_what_was_withheld() {
    let world = World::new();
    world.customer(1, "active", day(5));
    world.customer(2, "active", day(5));
    world.panel.put("user1", user("active", day(5)));
    let cancellation = world.cancellation.clone();
    world.panel.at_call("user user2", move || cancellation.cancel());

    let report = run(Job::SyncUserStatusFromMarzban, &world.context())
        .await
        .unwrap();

    let expected = serde_json::to_value(&report).unwrap();
    assert_eq!(expected["plan"].as_array().map(Vec::len), Some(1));
    assert_eq!(expected["stopped"], "cancelled");
    assert_eq!(world.store.recorded_runs()[0].report, Some(expected));
}

#[tokio::test]
async fn the_history_keeps_a_hundred_problems_and_changes_and_the_report_all() {
    let world = World::new();
    world.in_line(1, day(5));
    for id in 2..=150 {
        world.customer(id, "active", day(5));
    }

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.problems.len(), 149);
    let history = world.store.recorded_runs().remove(0).report.unwrap();
    assert_eq!(history["problems"].as_array().map(Vec::len), Some(100));
    assert_eq!(history["errors"], 149);

    for id in 2..=150 {
        world.panel.put(&format!("user{id}"), user("expired", day(-1)));
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!((report.run.withheld, report.run.plan.len()), (149, 149));
    let history = world.store.recorded_runs().remove(1).report.unwrap();
    assert_eq!(history["plan"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn a_run_whose_process_died_is_found_abandoned_by_the_next() {
    let world = World::new();
    world.in_line(1, day(5));
    let job = Job::SyncUserStatusFromMarzban;
    world.store.begin_run(job, "default", day(-1)).await.unwrap();

    sync_user_status_from_marzban(&world.context()).await.unwrap();

    let outcomes: Vec<_> = world
        .store
        .recorded_runs()
        .iter()
        .map(|run| (run.status, run.finished_at.is_some()))
        .collect();
    assert_eq!(
        outcomes,
        [(RunStatus::Abandoned, false), (RunStatus::Completed, true)]
    );
}

#[tokio::test]
async fn history_is_kept_for_ninety_days_or_as_long_as_is_said() {
    for (keep, expected) in [
        (None, 1),
        (Some(Some(TimeDelta::days(400))), 3),
        (Some(None), 3),
        (Some(Some(TimeDelta::MAX)), 3),
        (Some(Some(TimeDelta::zero())), 1),
    ] {
        let world = World::new();
        for age in [91, 365] {
            let then = now() - TimeDelta::days(age);
            let run = world
                .store
                .begin_run(Job::SyncUserStatusFromMarzban, "default", then)
                .await
                .unwrap();
            world
                .store
                .finish_run(run, RunStatus::Failed, &json!({}), then)
                .await
                .unwrap();
            world
                .store
                .record_system_stats("default", &SystemStats::default(), then)
                .await
                .unwrap();
        }
        let builder = match keep {
            None => world.builder(),
            Some(keep) => world.builder().history_retention(keep),
        };

        run(Job::GetMarzbanSystemStats, &builder.build()).await.unwrap();

        let kept = (
            world.store.recorded_runs().len(),
            world.store.recorded_system_stats().len(),
        );
        assert_eq!(kept, (expected, expected), "{keep:?}");
    }
}

#[tokio::test]
async fn an_account_is_as_stale_as_the_last_run_that_had_it_in_line() {
    let world = World::new();
    for id in 1..=3 {
        world.in_line(id, day(5));
    }
    world.customer(4, "pending", day(5));
    world.panel.put("user4", user("active", day(5)));
    let hour = |hours| now() + TimeDelta::hours(hours);
    for (hours, job) in [
        (0, Job::SyncUserStatusFromMarzban),
        (1, Job::SyncSubscriptionsFromMarzban),
        (2, Job::SyncSubscriptionsFromMarzban),
        (3, Job::GetMarzbanSystemStats),
    ] {
        if hours == 2 {
            world
                .panel
                .say("user2", Observation::Unreadable("no proxies".to_owned()));
        }
        world.clock.set(hour(hours));
        run(job, &world.context()).await.unwrap();
    }
    let page = world.store.page_accounts("default", None, 10, now()).await;
    let mut found = Vec::new();
    for account in page.unwrap().accounts {
        let at = synced_at(&world.store, "default", &account).await.unwrap();
        found.push((account.name, at));
    }
    let expected = [
        ("user1", Some(hour(2))),
        ("user2", Some(hour(1))),
        ("user3", Some(hour(2))),
        ("user4", Some(hour(0))),
    ];
    assert_eq!(found, expected.map(|(name, at)| (name.to_owned(), at)));
}

#[tokio::test]
async fn the_last_run_that_ended_is_what_an_agenda_goes_on_from() {
    let world = World::new();
    let job = Job::SyncUserStatusFromMarzban;
    for (days, outcome) in [
        (-5, Some(RunStatus::Completed)),
        (-4, Some(RunStatus::Failed)),
        (-3, Some(RunStatus::Stopped)),
        (-2, None),
        (-1, None),
    ] {
        let run = world.store.begin_run(job, "default", day(days)).await.unwrap();
        if let Some(outcome) = outcome {
            world
                .store
                .finish_run(run, outcome, &json!({}), day(days))
                .await
                .unwrap();
        }
    }
    let cancelled = Job::CleanupExpiredMarzbanUsers;
    let run = world
        .store
        .begin_run(cancelled, "default", day(-1))
        .await
        .unwrap();
    let report = json!({"stopped": "cancelled"});
    world
        .store
        .finish_run(run, RunStatus::Stopped, &report, day(-1))
        .await
        .unwrap();
    let last = last_ended(&world.store).await.unwrap();
    assert_eq!(last, BTreeMap::from([(("default".to_owned(), job), day(-3))]));
}

#[test]
fn a_run_that_proves_nothing_makes_no_account_fresh() {
    let account = given::account(1);
    let proof = json!({"errors": 0, "unreached": 0, "problems": []});
    let problem = json!({"errors": 1, "unreached": 0, "problems": [{"name": "user1"}]});
    let other = json!({"errors": 1, "unreached": 0, "problems": [{"name": "user2"}]});
    let cut = json!({"errors": 101, "unreached": 0, "problems": []});
    let early = json!({"errors": 0, "unreached": 1, "problems": []});
    for (outcome, report, is_fresh) in [
        (RunStatus::Completed, Some(proof.clone()), true),
        (RunStatus::Stopped, Some(proof.clone()), true),
        (RunStatus::Completed, Some(other), true),
        (RunStatus::Completed, Some(problem), false),
        (RunStatus::Completed, Some(cut), false),
        (RunStatus::Stopped, Some(early), false),
        (RunStatus::Failed, Some(proof.clone()), false),
        (RunStatus::Running, None, false),
        (RunStatus::Abandoned, None, false),
        (RunStatus::Completed, Some(json!({})), false),
    ] {
        let run = RunRecord {
            id: RunId(1),
            job: Job::SyncUserStatusFromMarzban,
            panel: "default".to_owned(),
            started_at: now(),
            finished_at: None,
            status: outcome,
            report,
        };
        let at = last_synced_at(&account, std::slice::from_ref(&run));
        assert_eq!(at.is_some(), is_fresh, "{run:?}");
    }
}

#[tokio::test]
async fn a_clock_of_the_future_forgets_no_history() {
    let world = World::new();
    for days in [-30, -1] {
        let report = json!({});
        world.ran(
            Job::SyncUserStatusFromMarzban,
            "default",
            day(days),
            RunStatus::Completed,
            &report,
        );
    }
    world.panel.set_last_date(now());
    world.clock.set(day(3_650));
    run(Job::GetMarzbanSystemStats, &world.context()).await.unwrap();
    assert_eq!(world.outcomes().len(), 3);
    world.panel.set_last_date(day(3_650));
    run(Job::GetMarzbanSystemStats, &world.context()).await.unwrap();
    assert!(world.outcomes().len() < 4);
}
