//! `sync_subscriptions_from_marzban`.

use chrono::TimeDelta;
use marzban_sync_core::account::{SubscriptionId, SubscriptionStatus};
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::report::Job;
use marzban_sync_core::store::MemoryUser;
use marzban_sync_core::sync_subscriptions_from_marzban as sync;

use crate::given::{at, day, user};
use crate::scripted::{World, problems};

#[tokio::test]
async fn subscriptions_are_brought_in_line_with_the_panel() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-15 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-09-20 00:00:00")));
    world.customer(2, "active", at("2025-09-14 00:00:00"));
    world
        .panel
        .put("user2", user("expired", at("2025-09-14 00:00:00")));
    world.customer(3, "expired", at("2025-09-01 00:00:00"));
    world
        .panel
        .put("user3", user("active", at("2025-10-01 00:00:00")));
    world.customer(4, "active", at("2025-10-01 00:00:00"));
    let busy = PanelUser {
        used_traffic: 250,
        online_at: Some(at("2025-09-15 11:59:00.250000")),
        ..user("limited", at("2025-10-01 00:00:00"))
    };
    world.panel.put("user4", busy);

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (4, 0, 4));
    assert_eq!(
        [1, 2, 3, 4].map(|id| world.row(id)),
        [
            "active until 2025-09-20 00:00:00 UTC; user1 on 100 null",
            "expired until 2025-09-14 00:00:00 UTC; user2 off 100 null",
            "active until 2025-10-01 00:00:00 UTC; user3 on 100 null",
            "active until 2025-10-01 00:00:00 UTC; user4 off 250 2025-09-15 11:59:00.250 UTC",
        ]
    );
    assert_eq!(report.run.stopped, None);
    assert_eq!(report.run.withheld, 0);
}

#[tokio::test]
async fn seventeen_accounts_of_which_two_cannot_be_synced() {
    let world = World::new();
    for id in 1..=17 {
        world.in_line(id, day(5));
    }
    world.panel.remove("user3");
    world
        .panel
        .say("user9", Observation::Unreadable("it answers 500".to_owned()));

    let report = run(Job::SyncSubscriptionsFromMarzban, &world.context())
        .await
        .unwrap();

    let json = serde_json::to_string(&report).unwrap();
    let beginning = r#"{"job":"sync_subscriptions_from_marzban","synced":15,"errors":2,"total":17,"#;
    assert!(json.starts_with(beginning), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["panel"], "default");
    assert_eq!(json["started_at"], "2025-09-15T12:00:00Z");
    assert_eq!(json["finished_at"], "2025-09-15T12:00:00Z");
    assert_eq!(json["dry_run"], false);
    assert_eq!(json["unreached"], 0);
    assert_eq!(json["stopped"], serde_json::Value::Null);
    assert_eq!(
        json["problems"],
        serde_json::json!([
            {"telegram_id": 1003, "name": "user3", "reason": "missing"},
            {"telegram_id": 1009, "name": "user9", "reason": "unreadable", "detail": "it answers 500"},
        ])
    );
}

#[tokio::test]
async fn a_second_run_writes_nothing_and_still_syncs_everybody() {
    let world = World::new();
    world.customer(1, "active", day(-1));
    world.panel.put("user1", user("active", day(5)));
    world.customer(2, "trial", day(-1));
    world.panel.put("user2", user("expired", day(-1)));
    let context = world.context();
    let first = sync(&context).await.unwrap();
    assert_eq!(first.run.changes.values().sum::<u64>(), 2);
    let rows = world.rows();

    world.clock.advance(TimeDelta::hours(2));
    let second = sync(&context).await.unwrap();

    assert_eq!((second.synced, second.errors, second.total), (2, 0, 2));
    assert_eq!(second.run.changes.len(), 0);
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn an_unknown_answer_is_an_error_of_its_account_and_stops_no_other() {
    let world = World::new();
    for id in 1..=6 {
        world.customer(id, "active", day(5));
        world.panel.put(&format!("user{id}"), user("active", day(6)));
    }
    world.panel.say("user1", Observation::NotFound);
    world.panel.say("user2", Observation::NotPermitted);
    world
        .panel
        .say("user3", Observation::Unreadable("no proxies".to_owned()));
    world
        .panel
        .say("user4", Observation::Unavailable("timed out".to_owned()));
    world.panel.put("user5", user("melted", day(5)));
    let before = [1, 2, 3, 4, 5].map(|id| world.row(id));

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (1, 5, 6));
    assert_eq!(
        problems(&report.run),
        [
            "1001 user1 Missing",
            "1002 user2 NotPermitted",
            "1003 user3 Unreadable: no proxies",
            "1004 user4 Unavailable: timed out",
            "1005 user5 UnknownStatus: melted",
        ]
    );
    assert_eq!([1, 2, 3, 4, 5].map(|id| world.row(id)), before);
    assert_eq!(
        world.row(6),
        "active until 2025-09-21 12:00:00 UTC; user6 on 100 null"
    );
    assert_eq!(
        world.panel.single_calls(),
        ["user user1"],
        "an absence is asked about"
    );
}

#[tokio::test]
async fn cancelled_pending_and_foreign_subscriptions_are_out_of_scope() {
    let world = World::new();
    for (id, status) in [(1, "cancelled"), (2, "pending"), (3, "grace")] {
        world.customer(id, status, day(5));
        world.panel.put(&format!("user{id}"), user("expired", day(-5)));
    }
    let rows = world.rows();

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (0, 0, 0));
    assert_eq!(world.rows(), rows);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn users_made_by_hand_in_the_panel_are_never_asked_for() {
    let world = World::new();
    world.in_line(1, day(5));
    world.panel.put("made_by_hand", user("active", None));
    world.store.insert_user(MemoryUser {
        id: marzban_sync_core::account::UserId(7),
        telegram_id: Some(1007),
    });

    sync(&world.context()).await.unwrap();

    assert_eq!(world.panel.calls(), ["users user1"]);
}

#[tokio::test]
async fn an_expired_panel_user_ends_all_open_subscriptions_that_are_over_and_no_other() {
    let world = World::new();
    world.customer(1, "active", day(-1));
    world.subscription(11, 1, "active", day(-40));
    world.subscription(12, 1, "pending", day(40));
    world.subscription(13, 1, "cancelled", day(-50));
    world.panel.put("user1", user("expired", day(-1)));

    sync(&world.context()).await.unwrap();

    let statuses: Vec<String> = world
        .store
        .subscriptions()
        .iter()
        .map(|subscription| subscription.status.to_string())
        .collect();
    assert_eq!(statuses, ["expired", "expired", "pending", "cancelled"]);
}

#[tokio::test]
async fn two_accounts_of_a_customer_whose_first_works_keep_one_subscription_open() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-20 00:00:00"));
    world.account(2, 1);
    world
        .panel
        .put("user1", user("active", at("2025-09-30 00:00:00")));
    world
        .panel
        .put("user2", user("expired", at("2025-09-01 00:00:00")));

    let report = sync(&world.context()).await.unwrap();

    assert_eq!(problems(&report.run), Vec::<String>::new());
    assert_eq!((report.synced, report.errors, report.total), (2, 0, 2));
    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(world.config(2), "user2 off 100 null");
}

#[tokio::test]
async fn two_accounts_that_are_over_end_the_subscription_together() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-10 00:00:00"));
    world.account(2, 1);
    world
        .panel
        .put("user1", user("expired", at("2025-09-14 00:00:00")));
    world
        .panel
        .put("user2", user("expired", at("2025-09-01 00:00:00")));

    let report = sync(&world.context()).await.unwrap();

    assert_eq!(problems(&report.run), Vec::<String>::new());
    assert_eq!(
        world.row(1),
        "expired until 2025-09-14 00:00:00 UTC; user1 off 100 null"
    );
    assert_eq!(world.config(2), "user2 off 100 null");
}

#[tokio::test]
async fn names_are_asked_for_a_hundred_at_a_time_in_their_own_case() {
    let world = World::new();
    for id in 1..=205 {
        world.in_line(id, day(5));
    }

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.total), (205, 205));
    let sizes: Vec<usize> = world
        .panel
        .calls()
        .iter()
        .map(|call| call.split(' ').count() - 1)
        .collect();
    assert_eq!(sizes, [100, 100, 5]);
}

#[tokio::test]
async fn an_account_that_the_panel_no_longer_has_does_not_keep_a_subscription_open() {
    let world = World::new();
    world.customer(1, "active", day(-1));
    world.account(2, 1);
    world.panel.put("user2", user("expired", day(-1)));
    world.in_line(3, day(5));
    world.in_line(4, day(5));

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (3, 1, 4));
    assert_eq!(problems(&report.run), ["1001 user1 Missing"]);
    assert_eq!(
        world.store.subscription(SubscriptionId(10)).unwrap().status,
        SubscriptionStatus::Expired
    );
}

#[tokio::test]
async fn the_other_account_of_a_user_is_synced_however_many_are_absent() {
    let world = World::new();
    for customer in 1..=40 {
        world.customer(customer, "active", day(5));
        // The absent one has no access by its row, so that nobody loses any.
        world.switch(customer, false);
        world.account(100 + customer, customer);
        world
            .panel
            .put(&format!("user{}", 100 + customer), user("active", day(20)));
    }

    let report = sync(&world.context()).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (40, 40, 80));
    assert_eq!(world.panel.single_calls().len(), 25, "a few are asked for");
    for customer in 1..=40 {
        let row = world.row(customer);
        assert!(row.starts_with(&format!("active until {}", day(20))), "{row}");
    }
}
