//! `sync_user_status_from_marzban`.

use chrono::TimeDelta;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::report::Job;
use marzban_sync_core::sync_user_status_from_marzban as sync;

use crate::given::{at, day, user};
use crate::scripted::{World, problems};

#[tokio::test]
async fn a_user_that_is_gone_from_the_panel_is_asked_for_and_marked_inactive() {
    let world = World::new();
    for id in 1..=4 {
        world.in_line(id, day(5));
    }
    world.panel.remove("user2");

    let report = run(Job::SyncUserStatusFromMarzban, &world.context())
        .await
        .unwrap();

    let json = serde_json::to_string(&report).unwrap();
    let beginning = r#"{"job":"sync_user_status_from_marzban","updated":1,"missing":1,"errors":0,"total":4,"#;
    assert!(json.starts_with(beginning), "{json}");
    assert_eq!(
        world.row(2),
        "active until 2025-09-20 12:00:00 UTC; user2 off 100 null"
    );
    assert_eq!(
        world.panel.calls(),
        ["users user1 user2 user3 user4", "user user2"]
    );
}

#[tokio::test]
async fn a_user_missing_again_is_counted_but_not_written_again() {
    let world = World::new();
    world.in_line(1, day(5));
    world.customer(2, "active", day(5));
    let context = world.context();
    sync(&context).await.unwrap();
    let rows = world.rows();
    world.clock.advance(TimeDelta::hours(1));

    let report = sync(&context).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 1, 0, 2)
    );
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn a_user_that_a_list_lacked_and_that_is_there_by_itself_is_synced() {
    let world = World::new();
    world.in_line(1, day(5));
    world.customer(2, "active", day(5));
    world.panel.put(
        "user2",
        PanelUser {
            used_traffic: 500,
            ..user("active", day(5))
        },
    );
    world.panel.hide("user2");

    let report = sync(&world.context()).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (1, 0, 0, 2)
    );
    assert_eq!(world.config(2), "user2 on 500 null");
}

#[tokio::test]
async fn only_a_confirmed_absence_marks_a_user_inactive() {
    let world = World::new();
    world.in_line(1, day(5));
    for (id, says) in [
        (2, Observation::NotPermitted),
        (3, Observation::Unreadable("no proxies".to_owned())),
        (4, Observation::Unavailable("a proxy's page".to_owned())),
    ] {
        world.customer(id, "active", day(5));
        world.panel.say(&format!("user{id}"), says);
        world.panel.hide(&format!("user{id}"));
    }
    let rows = world.rows();

    let report = sync(&world.context()).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 0, 3, 4)
    );
    assert_eq!(
        problems(&report.run),
        [
            "1002 user2 NotPermitted",
            "1003 user3 Unreadable: no proxies",
            "1004 user4 Unavailable: a proxy's page",
        ]
    );
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn subscriptions_are_left_to_the_other_job() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-20 00:00:00"));
    world
        .panel
        .put("user1", user("expired", at("2025-09-01 00:00:00")));
    world.customer(2, "expired", at("2025-09-01 00:00:00"));
    world
        .panel
        .put("user2", user("active", at("2025-10-01 00:00:00")));

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.updated, report.errors), (1, 0));
    assert_eq!(
        [1, 2].map(|id| world.row(id)),
        [
            "active until 2025-09-20 00:00:00 UTC; user1 off 100 null",
            "expired until 2025-09-01 00:00:00 UTC; user2 on 100 null",
        ]
    );
}

#[tokio::test]
async fn every_account_is_in_scope_whatever_its_subscription() {
    let world = World::new();
    for (id, status) in [(1, "cancelled"), (2, "pending"), (3, "expired"), (4, "grace")] {
        world.customer(id, status, day(-50));
        world.panel.put(
            &format!("user{id}"),
            PanelUser {
                used_traffic: 0,
                ..user("active", None)
            },
        );
    }

    let report = sync(&world.context()).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (4, 0, 0, 4)
    );
    assert_eq!(
        world.row(1),
        "cancelled until 2025-07-27 12:00:00 UTC; user1 on 0 null"
    );
}

#[tokio::test]
async fn the_two_syncs_agree_and_do_not_fight_over_a_row() {
    let world = World::new();
    for (id, status, days) in [
        (1, "active", 5),
        (2, "expired", -1),
        (3, "limited", 5),
        (4, "on_hold", -9),
    ] {
        world.customer(id, "active", day(2));
        world.panel.put(&format!("user{id}"), user(status, day(days)));
    }
    let context = world.context();
    marzban_sync_core::sync_subscriptions_from_marzban(&context)
        .await
        .unwrap();
    let rows = world.rows();

    world.clock.advance(TimeDelta::minutes(30));
    let report = sync(&context).await.unwrap();
    marzban_sync_core::sync_subscriptions_from_marzban(&context)
        .await
        .unwrap();

    assert_eq!((report.updated, report.errors), (0, 0));
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn an_account_with_a_harmless_and_a_harmful_change_counts_once() {
    let world = World::new();
    world.in_line(1, day(5));
    world.customer(2, "active", day(5));
    world.panel.put(
        "user2",
        PanelUser {
            used_traffic: 500,
            ..user("limited", day(5))
        },
    );

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.updated, report.errors, report.total), (1, 0, 2));
    assert_eq!(world.config(2), "user2 off 500 null");
}
