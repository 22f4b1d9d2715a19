//! A panel that is not to be believed: restored from a backup, another one, one with another clock or another zone.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::plan::Reason;
use marzban_sync_core::report::{ProblemReason, Run};
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::given::{at, day, now, user};
use crate::scripted::{World, allowed, pay};

/// So many customers, paid for `ahead` days, as row and panel have agreed; the panel has moved the first ones to `moved`.
fn moved_back(customers: i64, first: i64, ahead: i64, status: &str, moved: DateTime<Utc>) -> World {
    let world = World::new();
    for id in 1..=customers {
        world.in_line(id, day(ahead));
        world.agreed(id, day(ahead));
        if id <= first {
            world.panel.put(&format!("user{id}"), user(status, moved));
        }
    }
    world
}

fn statuses(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in world.store.subscriptions() {
        *counts.entry(row.status.to_string()).or_default() += 1;
    }
    counts
}

fn ends_at(world: &World, end: DateTime<Utc>) -> usize {
    let rows = world.store.subscriptions();
    rows.iter().filter(|row| row.end_date == Some(end)).count()
}

fn reasons(run: &Run) -> Vec<(ProblemReason, u64)> {
    run.reasons
        .iter()
        .map(|(reason, count)| (*reason, *count))
        .collect()
}

#[tokio::test]
async fn forty_ends_that_the_panel_alone_moved_earlier_are_withheld_however_often_the_job_runs() {
    let world = moved_back(40, 40, 60, "active", day(2));
    for hours in [0, 2, 4] {
        world.clock.set(now() + TimeDelta::hours(hours));
        let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
        assert_eq!(report.run.stopped, Some(Stopped::Safety));
        assert_eq!((report.synced, report.errors, report.total), (0, 40, 40));
        assert_eq!(reasons(&report.run), [(ProblemReason::Withheld, 40)]);
        assert_eq!(
            report.run.withheld_because.as_deref(),
            Some("the panel alone moved 40 of 40 ends earlier; is it restored from a backup?")
        );
        assert_eq!(ends_at(&world, day(60)), 40);
    }
}

#[tokio::test]
async fn a_single_end_that_an_administrator_moved_earlier_is_taken() {
    let world = moved_back(40, 1, 60, "active", day(2));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.synced, report.errors), (40, 0));
    assert_eq!(
        world.row(1),
        format!("active until {}; user1 on 100 null", day(2))
    );
}

#[tokio::test]
async fn a_shortened_end_that_was_withheld_stays_open_until_somebody_answers() {
    // Twenty of a hundred: ten are paid for two days more, ten for twelve.
    let world = World::new();
    for id in 1..=100 {
        let end = if id <= 10 { day(2) } else { day(12) };
        world.in_line(id, end);
        world.agreed(id, end);
        if id <= 20 {
            world.panel.put(&format!("user{id}"), user("expired", day(-1)));
        }
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(
        (report.run.stopped, report.run.withheld),
        (Some(Stopped::Safety), 20)
    );
    assert_eq!(statuses(&world), BTreeMap::from([("active".to_owned(), 100)]));

    // The ends of ten pass by themselves, and those are no loss; the ten others are too few for a brake on access.
    world.clock.set(day(3));
    for id in 21..=100 {
        world.panel.put(&format!("user{id}"), user("active", day(12)));
    }
    for _ in 0..3 {
        sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    }
    for id in 1..=10 {
        assert_eq!(
            world.row(id),
            format!("expired until {}; user{id} off 100 null", day(2))
        );
    }
    for id in 11..=20 {
        let row = world.row(id);
        assert!(row.starts_with(&format!("active until {}", day(12))), "{row}");
    }
}

#[tokio::test]
async fn with_two_open_ends_left_the_run_is_not_stopped_and_still_takes_none() {
    let world = moved_back(100, 12, 60, "active", day(2));
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    // Ten of the twelve are corrected in the panel.
    for id in 1..=10 {
        world.panel.put(&format!("user{id}"), user("active", day(60)));
    }
    world.clock.advance(TimeDelta::hours(2));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, None);
    assert_eq!(reasons(&report.run), [(ProblemReason::Withheld, 2)]);
    assert_eq!(ends_at(&world, day(60)), 100);
}

#[tokio::test]
async fn an_operator_who_has_seen_it_allows_what_was_withheld() {
    let world = moved_back(40, 40, 60, "active", day(2));
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let context = world.builder().answers(allowed()).build();
    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(report.run.stopped, None);
    assert_eq!((report.synced, report.errors), (40, 0));
    assert_eq!(report.run.changes[&Reason::Shortened], 40);
    assert_eq!(ends_at(&world, day(2)), 40);
}

#[tokio::test]
async fn three_paid_months_survive_a_panel_that_was_restored_from_the_night_before() {
    let world = World::new();
    for id in 1..=100 {
        world.in_line(id, day(5));
        world.agreed(id, day(5));
    }
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    // Three renew, in the panel; that is synced, and then the panel goes back.
    for id in 1..=3 {
        world.panel.put(&format!("user{id}"), user("active", day(35)));
    }
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(ends_at(&world, day(35)), 3);
    for id in 1..=3 {
        world.panel.put(&format!("user{id}"), user("active", day(5)));
    }
    for _ in 0..2 {
        let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
        assert_eq!(reasons(&report.run), [(ProblemReason::EndsDisagree, 3)]);
        assert_eq!(ends_at(&world, day(35)), 3);
    }
}

#[tokio::test]
async fn another_panel_of_the_same_naming_scheme_moves_nothing() {
    let world = World::new();
    for id in 1..=100 {
        let (status, end) = if id >= 99 {
            ("expired", day(-40))
        } else {
            ("active", day(20))
        };
        world.customer(id, status, end);
        let stranger = |status: &str, end| PanelUser {
            created_at: Some(at("2024-01-01 00:00:00")),
            ..user(status, end)
        };
        match id {
            71..=90 => world
                .panel
                .put(&format!("user{id}"), stranger("active", day(300))),
            91..=99 => world
                .panel
                .put(&format!("user{id}"), stranger("expired", day(-40))),
            100 => world.panel.put("user100", stranger("active", day(40))),
            _ => {}
        }
    }
    // By their own ends they have no access any more.
    for id in [99, 100] {
        world.switch(id, false);
    }
    let subscriptions = world.store.subscriptions();

    let synced = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
    let cleaned = cleanup_expired_marzban_users(&world.context()).await.unwrap();

    assert_eq!(
        (synced.run.stopped, status.run.stopped),
        (Some(Stopped::Safety), Some(Stopped::Safety))
    );
    assert_eq!((cleaned.cleaned, cleaned.run.stopped), (0, Some(Stopped::Safety)));
    assert_eq!(world.store.subscriptions(), subscriptions);
    let configs = world.store.vpn_configs();
    let off: Vec<i64> = configs
        .iter()
        .filter(|config| config.is_active == Some(false))
        .map(|config| config.id.0)
        .collect();
    assert_eq!(off, [99, 100]);
    assert!(
        world.store.recorded_agreements().is_empty(),
        "strangers are not remembered"
    );
    assert!(world.panel.calls().iter().all(|call| !call.starts_with("delete")));
}

#[tokio::test]
async fn gives_at_first_sight_wait_until_all_accounts_are_counted() {
    // Those who would be extended come first, the absent ones more than a page later.
    let world = World::new();
    for id in 1..=3_000 {
        world.customer(id, "active", day(5));
        if id <= 2_600 {
            world.panel.put(&format!("user{id}"), user("active", day(50)));
        }
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(ends_at(&world, day(5)), 3_000);

    // Once they are there, all is given.
    for id in 2_601..=3_000 {
        world.panel.put(&format!("user{id}"), user("active", day(50)));
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.synced, report.errors), (3_000, 0));
    assert_eq!(ends_at(&world, day(50)), 3_000);
}

#[tokio::test]
async fn accounts_in_step_are_no_errors_of_a_run_that_a_brake_stopped() {
    let world = World::new();
    for id in 1..=50 {
        world.customer(id, "active", day(5));
        if id <= 40 {
            world.panel.put(&format!("user{id}"), user("active", day(5)));
        }
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!((report.synced, report.errors, report.total), (40, 10, 50));
}

#[tokio::test]
async fn rows_in_local_time_are_a_time_zone_and_none_of_them_moves() {
    for hours in [3, -3] {
        let world = World::new();
        for id in 1..=40 {
            let end = day(30 + id);
            world.customer(id, "active", end + TimeDelta::hours(hours));
            world.panel.put(&format!("user{id}"), user("active", end));
        }
        let rows = world.rows();
        let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
        assert_eq!(
            reasons(&report.run),
            [(ProblemReason::EndsDisagree, 40)],
            "{hours}"
        );
        let zone = report.run.time_zone.unwrap();
        let sign = if hours > 0 { '+' } else { '-' };
        assert!(zone.contains(&format!("{sign}03:00")), "{zone}");
        assert_eq!(world.rows(), rows, "{hours}");
    }
}

#[tokio::test]
async fn payments_of_different_lengths_are_no_time_zone() {
    let world = World::new();
    for id in 1..=10 {
        world.customer(id, "active", day(5));
        world
            .panel
            .put(&format!("user{id}"), user("active", day(5 + 30 * id)));
    }
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.synced, report.run.time_zone), (10, None));
}

/// A bot with one of each: to be extended, over, limited, and long gone.
fn all_kinds() -> World {
    let world = World::synced_just_now();
    world.in_line(1, day(5));
    world.agreed(1, day(5));
    let renewed = PanelUser {
        used_traffic: 500,
        ..user("active", day(50))
    };
    world.panel.put("user1", renewed);
    world.customer(2, "active", day(-2));
    world.panel.put("user2", user("expired", day(-2)));
    world.in_line(3, day(5));
    world.panel.put("user3", user("limited", day(5)));
    world.customer(4, "expired", day(-40));
    world.panel.put("user4", user("expired", day(-40)));
    world
}

#[tokio::test]
async fn with_a_clock_an_hour_off_only_traffic_is_written_and_nobody_deleted() {
    for minutes in [61, -61] {
        let world = all_kinds();
        world.panel.set_last_date(now() + TimeDelta::minutes(minutes));
        let synced = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
        let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
        world.synced();
        let cleaned = cleanup_expired_marzban_users(&world.builder().answers(allowed()).build())
            .await
            .unwrap();
        for run in [&synced.run, &status.run, &cleaned.run] {
            assert_eq!(run.stopped, Some(Stopped::Safety), "{minutes}");
            assert!(
                run.withheld_because
                    .as_ref()
                    .unwrap()
                    .starts_with("the clocks disagree")
            );
        }
        assert_eq!(
            [1, 2, 3, 4].map(|id| world.row(id)),
            [
                format!("active until {}; user1 on 500 null", day(5)),
                format!("active until {}; user2 on 100 null", day(-2)),
                format!("active until {}; user3 on 100 null", day(5)),
                format!("expired until {}; user4 on 100 null", day(-40)),
            ]
        );
        assert!(world.panel.has("user4"));
    }
}

#[tokio::test]
async fn a_clock_within_an_hour_counts() {
    let world = all_kinds();
    world.panel.set_last_date(now() + TimeDelta::minutes(60));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, None);
    assert_eq!(
        world.row(1),
        format!("active until {}; user1 on 500 null", day(50))
    );
}

#[tokio::test]
async fn a_bot_whose_clock_is_a_year_ahead_ends_and_deletes_nobody() {
    let world = World::new();
    for id in 1..=40 {
        world.in_line(id, day(id));
        world.agreed(id, day(id));
    }
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let rows = world.rows();
    world.clock.advance(TimeDelta::days(365));

    let synced = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let status = sync_user_status_from_marzban(&world.context()).await.unwrap();
    let cleaned = cleanup_expired_marzban_users(&world.context()).await.unwrap();

    assert_eq!(
        synced.run.withheld_because.as_deref(),
        Some("the clocks disagree: 40 of 40 users are active more than a day past their expire")
    );
    assert_eq!(status.run.stopped, Some(Stopped::Safety));
    assert_eq!(cleaned.cleaned, 0);
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn five_payments_during_one_list_are_no_safety_stop() {
    let world = World::new();
    for id in 1..=40 {
        world.in_line(id, day(5));
        world.agreed(id, day(5));
    }
    // The panel calls five of them expired; while it answers, they pay.
    for id in 1..=5 {
        world.panel.put(&format!("user{id}"), user("expired", day(5)));
    }
    let (store, panel) = (world.store.clone(), world.panel.clone());
    world.panel.at_call("users ", move || {
        for id in 1..=5 {
            pay(&store, 10 * id, id, "active", day(35));
        }
    });
    world
        .panel
        .at_call("users user1 user2 user3 user4 user5", move || {
            for id in 1..=5 {
                panel.put(&format!("user{id}"), user("active", day(35)));
            }
        });

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(report.run.stopped, None);
    assert_eq!(report.run.withheld, 0);
    assert_eq!(ends_at(&world, day(35)), 5);
    for id in 1..=5 {
        assert_eq!(world.config(id), format!("user{id} on 100 null"));
    }
}

#[tokio::test]
async fn what_ends_by_its_own_end_is_written_although_a_brake_is_tripped() {
    let world = moved_back(40, 20, 60, "active", day(2));
    world.customer(50, "active", day(-1));
    world.panel.put("user50", user("expired", day(-1)));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(
        world.row(50),
        format!("expired until {}; user50 off 100 null", day(-1))
    );
    assert_eq!(ends_at(&world, day(60)), 40);
}

#[tokio::test]
async fn a_brake_that_was_tripped_is_told_although_the_time_ran_out_afterwards() {
    let world = moved_back(40, 40, 60, "active", day(2));
    for id in 201..=800 {
        world.customer(id, "active", day(-1));
        world.panel.put(&format!("user{id}"), user("expired", day(-1)));
    }
    // Five hundred who are over are looked at once more and written; the last question takes all the time that is left.
    let clock = world.clock.clone();
    world
        .panel
        .at_call("users user601", move || clock.advance(TimeDelta::minutes(31)));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(statuses(&world)["expired"], 500);
    assert_eq!(report.run.withheld, 40 + 100);
}

#[tokio::test]
async fn what_is_given_at_first_sight_is_given_although_a_brake_is_tripped() {
    let world = moved_back(40, 20, 60, "active", day(2));
    world.customer(50, "active", day(5));
    world.panel.put("user50", user("limited", day(35)));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    // Its access is something that is still ahead.
    assert_eq!(
        world.row(50),
        format!("active until {}; user50 on 100 null", day(35))
    );
    assert_eq!(report.run.reasons[&ProblemReason::Withheld], 21);
}

#[tokio::test]
async fn a_shortening_that_a_total_brake_withheld_stays_open() {
    let world = World::new();
    for id in 1..=40 {
        world.in_line(id, day(20));
        world.agreed(id, day(20));
    }
    world.panel.put("user1", user("active", day(5)));
    for id in 31..=40 {
        world.panel.remove(&format!("user{id}"));
    }
    let stopped = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(stopped.run.stopped, Some(Stopped::Safety));

    (31..=40).for_each(|id| world.panel.put(&format!("user{id}"), user("active", day(20))));
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.run.stopped, report.errors), (None, 1));
    assert!(
        world.row(1).contains(&day(20).format("%Y-%m-%d").to_string()),
        "{}",
        world.row(1)
    );
}
