//! What each run leaves behind: the trail of every change, agreements that are written once, lists that are bounded.

use chrono::TimeDelta;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::report::{Job, MAX_PROBLEMS, ProblemReason};
use marzban_sync_core::store::MockStore;
use marzban_sync_core::trail::EntryState;
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::faulty::{over, writes_nothing};
use crate::given::{day, user};
use crate::scripted::World;

fn with(mock: MockStore, world: &World) -> Context {
    Context::builder(world.panel.clone(), over(mock, &world.store))
        .clock(world.clock.clone())
        .build()
}

/// A bot in which something is to be done about everybody but the last.
fn of_all_kinds() -> World {
    let world = World::synced_just_now();
    world.customer(1, "ACTIVE", day(-2));
    world.subscription(11, 1, "Trial", day(-9));
    world.panel.put("user1", user("expired", day(-2)));
    world.customer(2, "expired", day(-1));
    world.agreed(2, day(-1));
    world.panel.put("user2", user("active", day(29)));
    world.in_line(3, day(5));
    world.agreed(3, day(5));
    world.panel.put("user3", user("limited", day(3)));
    world.customer(4, "active", day(5));
    world.customer(5, "expired", day(-60));
    world.panel.put("user5", user("expired", day(-60)));
    for id in 10..=60 {
        world.in_line(id, day(50));
    }
    world
}

#[tokio::test]
async fn every_change_of_a_subscription_and_of_access_leaves_an_entry() {
    let world = of_all_kinds();
    let synced = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let mut trail = world.trail();
    trail.sort();
    let (one, two, three) = ("user1 ", "user2 ", "user3 ");
    let of = |name: &str| -> Vec<&str> { trail.iter().filter_map(|line| line.strip_prefix(name)).collect() };
    assert_eq!(
        of(one),
        [
            "subscriptions.status active -> expired: expired",
            "subscriptions.status trial -> expired: expired",
            "vpn_configs.is_active true -> false: expired",
        ]
    );
    assert_eq!(
        of(two),
        [
            "subscriptions.end_date 2025-09-14T12:00:00.000000Z -> 2025-10-14T12:00:00.000000Z: extended",
            "subscriptions.status expired -> active: reactivated",
        ]
    );
    assert_eq!(
        of(three),
        [
            "subscriptions.end_date 2025-09-20T12:00:00.000000Z -> 2025-09-18T12:00:00.000000Z: shortened",
            "vpn_configs.is_active true -> false: limited",
        ]
    );
    assert_eq!(of("user4 "), Vec::<&str>::new());
    assert_eq!(synced.run.changed.len(), trail.len());
    let run = world.store.recorded_runs().last().unwrap().id;
    assert!(
        world
            .store
            .recorded_entries()
            .iter()
            .all(|record| record.run == Some(run))
    );

    sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert!(
        world
            .trail()
            .contains(&"user4 vpn_configs.is_active true -> false: missing".to_owned())
    );

    cleanup_expired_marzban_users(&world.context()).await.unwrap();
    let entries = world.store.recorded_entries();
    let of_five: Vec<(EntryState, &str)> = entries
        .iter()
        .filter(|record| record.entry.username == "user5")
        .map(|record| (record.entry.state, record.entry.target.column()))
        .collect();
    assert_eq!(
        of_five[of_five.len() - 3..],
        [
            (EntryState::Intended, "panel.user"),
            (EntryState::Done, "panel.user"),
            (EntryState::Done, "vpn_configs.marzban_user_id"),
        ]
    );
    assert!(
        world
            .trail()
            .contains(&"user5 vpn_configs.marzban_user_id user5 -> null: cleaned".to_owned())
    );
}

#[tokio::test]
async fn traffic_and_connections_leave_no_entry() {
    let world = World::new();
    world.in_line(1, day(5));
    let busy = PanelUser {
        used_traffic: 500,
        online_at: Some(day(-1)),
        ..user("active", day(5))
    };
    world.panel.put("user1", busy);
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.changes.values().sum::<u64>(), 2);
    assert_eq!((world.trail(), report.run.changed), (vec![], vec![]));
}

#[tokio::test]
async fn a_second_run_of_any_job_writes_nothing_at_all() {
    let world = of_all_kinds();
    // Everything that a run can only report.
    world.in_line(70, day(20));
    world.panel.put("user70", user("active", day(10)));
    world.in_line(71, day(20));
    world.agreed(71, day(20));
    world.subscription(710, 71, "active", day(40));
    world.customer(72, "active", day(20));
    world.panel.put("user72", user("on_hold", None));
    world.customer(73, "active", day(20));
    world.panel.put("user73", user("active", None));
    world.in_line(74, day(20));
    world.agreed(74, day(20));
    let other = PanelUser {
        created_at: Some(day(-3)),
        ..user("active", day(90))
    };
    world.panel.put("user74", other);
    world.customer(75, "active", day(20));
    world.rename(75, "user10");
    world.customer(76, "cancelled", day(20));
    world.panel.put("user76", user("active", day(20)));
    world
        .panel
        .say("user77", Observation::Unreadable("no proxies".to_owned()));
    world.customer(77, "active", day(20));
    let jobs = [Job::SyncSubscriptionsFromMarzban, Job::SyncUserStatusFromMarzban];
    for job in jobs.into_iter().chain([Job::CleanupExpiredMarzbanUsers]) {
        run(job, &world.context()).await.unwrap();
    }
    // The cleanup has made one customer's account no account.
    let (rows, agreements) = (world.rows(), world.store.recorded_agreements());
    for hours in [1, 2] {
        world.clock.advance(TimeDelta::hours(hours));
        for job in jobs.into_iter().chain([Job::CleanupExpiredMarzbanUsers]) {
            run(job, &with(writes_nothing(), &world)).await.unwrap();
        }
    }
    assert_eq!(world.rows(), rows);
    assert_eq!(world.store.recorded_agreements(), agreements);
}

#[tokio::test]
async fn problems_and_changes_are_listed_up_to_a_thousand_and_counted_beyond() {
    let world = World::new();
    for id in 1..=1_200 {
        world.customer(id, "active", day(5));
        world.agreed(id, day(5));
        world.panel.put(&format!("user{id}"), user("active", day(35)));
    }
    for id in 2_001..=3_100 {
        world.in_line(id, day(40));
        world.panel.put(&format!("user{id}"), user("active", day(20)));
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(
        (report.synced, report.errors, report.total),
        (1_200, 1_100, 2_300)
    );
    assert_eq!(
        (report.run.changed.len(), report.run.changed_left_out),
        (MAX_PROBLEMS, 200)
    );
    assert_eq!(
        (report.run.problems.len(), report.run.problems_left_out),
        (MAX_PROBLEMS, 100)
    );
    assert_eq!(report.run.reasons[&ProblemReason::EndsDisagree], 1_100);
}

#[tokio::test]
async fn rows_that_no_job_of_this_kind_looks_at_are_counted() {
    let world = World::new();
    for (id, status) in [
        (1, "cancelled"),
        (2, "pending"),
        (3, "grace"),
        (4, "grace"),
        (5, "active"),
    ] {
        world.customer(id, status, day(5));
        world.panel.put(&format!("user{id}"), user("active", day(5)));
    }
    world.account(6, 5);
    world.move_to(6, "de.example.com");
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let json = serde_json::to_value(&report.run.ignored).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "statuses": {"cancelled": 1, "pending": 1, "grace": 2},
            "panels": {"de.example.com": 1},
        })
    );
    assert_eq!(report.total, 1);
}
