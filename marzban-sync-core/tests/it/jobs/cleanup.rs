//! `cleanup_expired_marzban_users`: who is cleaned, and who never.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use marzban_sync_core::cleanup_expired_marzban_users as cleanup;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::{Job, KeptBecause};

use crate::given::{at, day, user};
use crate::scripted::{World, allowed, problems};

/// A customer whose only subscription ended 30 days ago, in the bot and in the panel.
fn gone(world: &World, id: i64) {
    world.customer(id, "expired", day(-30));
    world.panel.put(&format!("user{id}"), user("expired", day(-30)));
}

/// Twelve of fifty accounts ended long ago; a fifth of them are ten.
fn twelve_of_fifty() -> World {
    let world = World::synced_just_now();
    for id in 1..=50 {
        if id <= 12 {
            gone(&world, id);
        } else {
            world.in_line(id, day(5));
        }
    }
    world
}

#[tokio::test]
async fn a_user_that_ended_long_ago_is_deleted_and_unlinked() {
    let world = World::synced_just_now();
    gone(&world, 1);
    world.in_line(2, day(5));

    let report = run(Job::CleanupExpiredMarzbanUsers, &world.context())
        .await
        .unwrap();

    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["job"], "cleanup_expired_marzban_users");
    assert_eq!(
        ["cleaned", "skipped", "errors", "total"].map(|key| json[key].as_u64().unwrap()),
        [1, 0, 0, 1]
    );
    assert_eq!(
        world.panel.calls(),
        ["users user1", "user user1", "user user1", "delete user1"]
    );
    assert_eq!(
        world.row(1),
        "expired until 2025-08-16 12:00:00 UTC; null off 100 null"
    );
    assert!(!world.panel.has("user1"));
    assert!(world.panel.has("user2"));
    assert_eq!(world.outcomes()[1..], ["cleanup_expired_marzban_users completed"]);
}

#[tokio::test]
async fn a_second_cleanup_finds_nothing_to_do() {
    let world = World::synced_just_now();
    gone(&world, 1);
    let context = world.context();
    cleanup(&context).await.unwrap();
    let rows = world.rows();
    let calls = world.panel.calls();

    world.clock.advance(TimeDelta::days(7));
    let report = cleanup(&context).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 0, 0, 0)
    );
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.calls(), calls);
}

#[tokio::test]
async fn an_account_with_an_old_expired_and_a_new_active_subscription_is_not_deleted() {
    for (status, kept) in [
        ("active", None),
        ("trial", None),
        ("pending", Some(KeptBecause::PendingInvoice)),
        ("grace", None),
    ] {
        let world = World::synced_just_now();
        gone(&world, 1);
        world.subscription(11, 1, status, day(20));

        let report = cleanup(&world.context()).await.unwrap();

        // An invoice never governs where there is another subscription, so the account's own one has ended.
        let skipped: BTreeMap<KeptBecause, u64> = kept.map(|because| (because, 1)).into_iter().collect();
        assert_eq!(report.skipped_because, skipped, "{status}");
        assert_eq!(report.total, skipped.len() as u64, "{status}");
        assert_eq!(world.panel.calls(), Vec::<String>::new(), "{status}");
        assert!(world.panel.has("user1"), "{status}");
    }
}

#[tokio::test]
async fn an_open_subscription_protects_even_when_its_end_is_long_past() {
    for status in ["active", "trial", "pending"] {
        let world = World::synced_just_now();
        world.customer(1, status, day(-300));
        world.panel.put("user1", user("expired", day(-300)));

        let report = cleanup(&world.context()).await.unwrap();

        assert_eq!(report.total, 0, "{status}");
        assert!(world.panel.has("user1"), "{status}");
    }
}

#[tokio::test]
async fn a_subscription_without_an_end_has_not_ended() {
    let world = World::synced_just_now();
    world.customer(1, "expired", None);
    world.panel.put("user1", user("expired", day(-300)));

    assert_eq!(cleanup(&world.context()).await.unwrap().total, 0);
    assert!(world.panel.has("user1"));
}

#[tokio::test]
async fn seven_days_are_a_boundary_to_the_second() {
    let world = World::synced_just_now();
    let cutoff = at("2025-09-08 12:00:00");
    for (id, end_date) in [(1, cutoff - TimeDelta::seconds(1)), (2, cutoff)] {
        world.customer(id, "expired", end_date);
        world.panel.put(&format!("user{id}"), user("expired", end_date));
    }

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.total), (1, 1));
    assert!(!world.panel.has("user1"));
    assert!(world.panel.has("user2"));
}

#[tokio::test]
async fn the_owner_may_choose_another_time() {
    let world = World::synced_just_now();
    gone(&world, 1);
    let context = world.builder().cleanup_after(TimeDelta::days(60)).build();

    assert_eq!(cleanup(&context).await.unwrap().total, 0);
}

#[tokio::test]
async fn a_user_renewed_in_the_panel_is_kept_and_synced() {
    let world = World::synced_just_now();
    world.customer(1, "expired", at("2025-08-01 00:00:00"));
    world.agreed(1, at("2025-08-01 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-10-01 00:00:00")));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 1, 0, 1)
    );
    assert_eq!(
        world.row(1),
        "active until 2025-10-01 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
}

#[tokio::test]
async fn held_unlimited_and_lately_ended_users_are_kept() {
    let world = World::synced_just_now();
    for (id, says) in [
        (1, user("on_hold", day(-100))),
        (2, user("active", None)),
        (3, user("expired", day(-3))),
        (4, user("disabled", None)),
        (5, user("melted", day(-100))),
    ] {
        world.customer(id, "expired", day(-30));
        world.panel.put(&format!("user{id}"), says);
    }

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 5, 0, 5)
    );
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_user_that_is_gone_already_is_cleaned_without_a_deletion() {
    let world = World::synced_just_now();
    world.customer(1, "cancelled", day(-30));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 0, 1)
    );
    assert_eq!(world.panel.calls(), ["users user1", "user user1"]);
    assert_eq!(
        world.row(1),
        "cancelled until 2025-08-16 12:00:00 UTC; null off 100 null"
    );
}

#[tokio::test]
async fn what_the_panel_does_not_tell_is_never_deleted() {
    let world = World::synced_just_now();
    for (id, says) in [
        (1, Observation::NotPermitted),
        (2, Observation::Unreadable("no proxies".to_owned())),
        (3, Observation::Unavailable("timed out".to_owned())),
    ] {
        gone(&world, id);
        world.panel.say(&format!("user{id}"), says);
    }
    gone(&world, 4);
    let rows = [1, 2, 3].map(|id| world.row(id));

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 3, 4)
    );
    assert_eq!(
        problems(&report.run),
        [
            "1001 user1 NotPermitted",
            "1002 user2 Unreadable: no proxies",
            "1003 user3 Unavailable: timed out"
        ]
    );
    assert_eq!([1, 2, 3].map(|id| world.row(id)), rows);
    assert_eq!(
        world.panel.single_calls(),
        ["user user4", "user user4", "delete user4"]
    );
}

#[tokio::test]
async fn a_cleanup_stops_at_its_budget() {
    let world = twelve_of_fifty();

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (10, 2, 0, 12)
    );
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(report.run.withheld, 2);
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("one cleanup may delete 10 panel users")
    );
    assert!(world.panel.has("user11") && world.panel.has("user12"));
    assert_eq!(world.config(11), "user11 on 100 null");
    assert_eq!(world.outcomes()[1..], ["cleanup_expired_marzban_users stopped"]);
}

#[tokio::test]
async fn an_operator_lifts_the_budget() {
    let world = twelve_of_fifty();
    let report = cleanup(&world.builder().answers(allowed()).build())
        .await
        .unwrap();

    assert_eq!((report.cleaned, report.total), (12, 12));
    assert_eq!(report.run.stopped, None);
}

#[tokio::test]
async fn a_dry_cleanup_spends_the_same_budget() {
    let world = twelve_of_fifty();

    let report = cleanup(&world.builder().dry_run(true).build()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.total), (10, 2, 12));
    assert_eq!(report.deletions.len(), 10);
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_panel_that_knows_nobody_who_has_access_is_the_wrong_one_and_nothing_is_cleaned() {
    let world = World::synced_just_now();
    world.customer(1, "active", day(5));
    for id in 2..=4 {
        world.customer(id, "expired", day(-30));
    }
    world.panel.put("somebody_else", user("active", day(5)));
    let rows = world.rows();

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 3, 0, 3)
    );
    assert_eq!(
        (report.run.stopped, report.run.withheld),
        (Some(Stopped::Safety), 3)
    );
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.calls(), ["users user2 user3 user4", "users user1"]);

    // The same panel, once it knows the customer who has access.
    world.panel.put("user1", user("active", day(5)));
    let report = cleanup(&world.builder().answers(allowed()).build())
        .await
        .unwrap();
    assert_eq!((report.cleaned, report.run.stopped), (3, None));
}

#[tokio::test]
async fn a_panel_that_knows_nobody_who_lost_access_lately_is_the_wrong_one_too() {
    let world = World::synced_just_now();
    world.customer(1, "cancelled", day(5));
    world.customer(2, "expired", day(-30));
    // The right panel has renewed the second; this one knows neither.
    world.panel.put("somebody_else", user("active", day(5)));
    let rows = world.rows();

    let report = cleanup(&world.context()).await.unwrap();

    assert_eq!((report.cleaned, report.skipped, report.total), (0, 1, 1));
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.calls(), ["users user2", "users user1"]);
}
