//! Payments and other writes of the bot while a run is under way: never overwritten.

use std::collections::BTreeMap;

use marzban_sync_core::account::AccountId;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::plan::Reason;
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{at, day, user};
use crate::scripted::{World, pay, problems};

/// Lets the customer 1 pay until the 30th while the panel is asked for the list.
fn paid_meanwhile(world: &World) {
    let store = world.store.clone();
    world.panel.at_call("users ", move || {
        pay(&store, 10, 1, "active", at("2025-09-30 00:00:00"));
    });
}

#[tokio::test]
async fn a_payment_while_the_panel_is_asked_is_not_undone_by_a_late_expired() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-15 00:00:00"));
    world.panel.put(
        "user1",
        PanelUser {
            used_traffic: 500,
            ..user("expired", at("2025-09-15 00:00:00"))
        },
    );
    paid_meanwhile(&world);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 500 null"
    );
    assert_eq!((report.synced, report.errors, report.total), (0, 1, 1));
    assert_eq!(
        report.run.reasons,
        BTreeMap::from([(ProblemReason::PanelBehind, 1)])
    );
}

#[tokio::test]
async fn a_payment_while_the_panel_is_asked_is_not_undone_by_a_late_disabled() {
    let world = World::new();
    world.customer(1, "expired", at("2025-09-01 00:00:00"));
    world
        .panel
        .put("user1", user("disabled", at("2025-09-01 00:00:00")));
    paid_meanwhile(&world);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(
        report.run.reasons,
        BTreeMap::from([(ProblemReason::PanelBehind, 1)])
    );
}

#[tokio::test]
async fn the_status_job_does_not_switch_off_who_pays_meanwhile() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-15 00:00:00"));
    world
        .panel
        .put("user1", user("expired", at("2025-09-15 00:00:00")));
    paid_meanwhile(&world);

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(problems(&report.run), ["1001 user1 Conflict"]);
}

#[tokio::test]
async fn traffic_is_written_whatever_is_paid_meanwhile() {
    let world = World::new();
    world.customer(1, "active", day(5));
    let busy = PanelUser {
        used_traffic: 500,
        ..user("active", day(5))
    };
    world.panel.put("user1", busy);
    paid_meanwhile(&world);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 500 null"
    );
    assert_eq!((report.synced, report.errors), (1, 0));
}

#[tokio::test]
async fn a_change_to_the_customers_good_is_decided_again_from_the_new_row() {
    let world = World::new();
    world.customer(1, "expired", at("2025-09-01 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-10-30 00:00:00")));
    paid_meanwhile(&world);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-10-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!((report.synced, report.errors), (1, 0));
}

#[tokio::test]
async fn an_extension_older_than_the_payment_does_not_shorten_it() {
    let world = World::new();
    world.customer(1, "expired", at("2025-09-01 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-09-20 00:00:00")));
    paid_meanwhile(&world);

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(
        report.run.reasons,
        BTreeMap::from([(ProblemReason::EndsDisagree, 1)])
    );
}

#[tokio::test]
async fn a_new_subscription_that_governs_meanwhile_is_not_touched() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-15 00:00:00"));
    world
        .panel
        .put("user1", user("expired", at("2025-09-15 00:00:00")));
    let store = world.store.clone();
    world.panel.at_call("users ", move || {
        pay(&store, 11, 1, "active", at("2025-09-30 00:00:00"));
    });

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    let rows: Vec<String> = world
        .store
        .subscriptions()
        .iter()
        .map(|row| format!("{} {}", row.status, row.end_date.unwrap()))
        .collect();
    assert_eq!(
        rows,
        ["active 2025-09-15 00:00:00 UTC", "active 2025-09-30 00:00:00 UTC"]
    );
    assert_eq!(world.config(1), "user1 on 100 null");
    assert_eq!(
        report.run.reasons,
        BTreeMap::from([(ProblemReason::PanelBehind, 1)])
    );
}

#[tokio::test]
async fn a_cancellation_meanwhile_is_final() {
    let world = World::new();
    world.customer(1, "active", day(5));
    world.panel.put("user1", user("active", day(50)));
    let store = world.store.clone();
    world
        .panel
        .at_call("users ", move || pay(&store, 10, 1, "cancelled", day(5)));

    sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "cancelled until 2025-09-20 12:00:00 UTC; user1 on 100 null"
    );
}

#[tokio::test]
async fn an_account_that_is_renamed_meanwhile_gets_nothing_of_the_old_user() {
    let world = World::new();
    world.customer(1, "active", day(5));
    world.panel.put(
        "user1",
        PanelUser {
            used_traffic: 500,
            ..user("limited", day(5))
        },
    );
    let store = world.store.clone();
    world.panel.at_call("users ", move || {
        let mut config = store.vpn_config(AccountId(1)).unwrap();
        config.marzban_user_id = Some("renamed".to_owned());
        store.insert_vpn_config(config);
    });

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(world.config(1), "renamed on 100 null");
    assert_eq!(report.updated, 0);
}

#[tokio::test]
async fn a_row_written_twice_in_one_run_counts_once() {
    let world = World::new();
    for id in 1..=2 {
        world.customer(id, "active", day(5));
        world.panel.put(
            &format!("user{id}"),
            PanelUser {
                used_traffic: 500,
                ..user("limited", day(5))
            },
        );
    }
    // After the harmless half of user1 and before the other half, the bot clears the traffic.
    let store = world.store.clone();
    world.customer(3, "active", day(5));
    world.panel.at_call("user user3", move || {
        let mut config = store.vpn_config(AccountId(1)).unwrap();
        config.traffic_used = Some(0);
        store.insert_vpn_config(config);
    });

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    // Traffic is no payment: the last look has seen it, and written it again.
    assert_eq!(world.config(1), "user1 off 500 null");
    assert_eq!(problems(&report.run), [""; 0]);
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (3, 1, 0, 3)
    );
}

#[tokio::test]
async fn a_user_that_the_panel_renews_under_the_run_keeps_its_access() {
    for facet in ["subscriptions", "user status"] {
        let world = World::new();
        world.customer(1, "active", at("2025-09-14 00:00:00"));
        world
            .panel
            .put("user1", user("expired", at("2025-09-14 00:00:00")));
        world.customer(2, "active", day(5));
        // The first list says that the time of user1 is over; before the second an admin renews it.
        let panel = world.panel.clone();
        world
            .panel
            .at_call("user user2", move || panel.put("user1", user("active", day(30))));

        let run = match facet {
            "subscriptions" => {
                sync_subscriptions_from_marzban(&world.context())
                    .await
                    .unwrap()
                    .run
            }
            _ => sync_user_status_from_marzban(&world.context()).await.unwrap().run,
        };

        assert_eq!(world.config(1), "user1 on 100 null", "{facet}");
        assert!(
            world.row(1).starts_with("active until "),
            "{facet}: {}",
            world.row(1)
        );
        assert!(!run.changes.contains_key(&Reason::Expired), "{facet}");
        assert_eq!(run.withheld, 0, "{facet}");
    }
}

#[tokio::test]
async fn a_panel_that_falls_silent_before_the_last_look_takes_nothing() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-14 00:00:00"));
    world
        .panel
        .put("user1", user("expired", at("2025-09-14 00:00:00")));
    world.customer(2, "active", day(5));
    let panel = world.panel.clone();
    world.panel.at_call("user user2", move || {
        panel.say("user1", Observation::Unavailable("timed out".to_owned()));
    });

    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-14 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(
        problems(&report.run),
        ["1001 user1 Unavailable: timed out", "1002 user2 Missing"]
    );
    assert_eq!((report.synced, report.errors, report.total), (0, 2, 2));
}

#[tokio::test]
async fn a_payment_during_the_last_look_is_safe_from_what_is_taken_away_at_the_end() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-15 00:00:00"));
    world
        .panel
        .put("user1", user("expired", at("2025-09-15 00:00:00")));
    world.customer(2, "active", day(5));
    let store = world.store.clone();
    world.panel.at_call("user user2", move || {
        pay(&store, 10, 1, "active", at("2025-09-30 00:00:00"));
    });

    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-09-30 00:00:00 UTC; user1 on 100 null"
    );
    assert_eq!(world.config(2), "user2 off 100 null");
    assert_eq!((report.updated, report.missing, report.errors), (1, 1, 1));
    assert_ne!(report.run.stopped, Some(Stopped::Safety));
}

#[tokio::test]
async fn a_row_that_is_deleted_or_closed_before_it_was_written_is_no_success() {
    const GONE: &str = "1001 user1 Conflict: the row was deleted or closed while the run looked at it";
    for (change, waits) in [
        ("deleted", false),
        ("deleted", true),
        ("cancelled", false),
        ("cancelled", true),
    ] {
        let world = World::new();
        for id in 2..=5 {
            world.in_line(id, day(5));
        }
        world.customer(1, "active", day(-1));
        world.agreed(1, day(-1));
        // What takes something waits for the second look, what gives is written at once.
        let end = if waits { day(-1) } else { day(20) };
        let status = if waits { "expired" } else { "active" };
        world.panel.put("user1", user(status, end));
        let store = world.store.clone();
        world.panel.at_call("users user1", move || {
            if change == "deleted" {
                store.remove_vpn_config(AccountId(1));
            } else {
                pay(&store, 10, 1, "cancelled", day(-1));
            }
        });

        let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();

        assert_eq!(
            (report.synced, report.errors, report.total),
            (4, 1, 5),
            "{change} {waits}"
        );
        assert_eq!(problems(&report.run), [GONE], "{change} {waits}");
        if change == "cancelled" {
            assert!(world.row(1).starts_with("cancelled"), "{}", world.row(1));
        }
    }
}

#[tokio::test]
async fn a_row_that_is_deleted_while_its_absent_user_is_asked_for_is_no_success() {
    let world = World::new();
    for id in 1..=20 {
        world.in_line(id, day(5));
    }
    world.panel.remove("user1");
    let store = world.store.clone();
    world
        .panel
        .at_call("user user1", move || store.remove_vpn_config(AccountId(1)));
    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.updated, report.errors, report.total), (0, 1, 20));
    assert_eq!(
        problems(&report.run),
        ["1001 user1 Conflict: the row was deleted or closed while the run looked at it"]
    );
}

#[tokio::test]
async fn a_row_with_a_problem_of_its_own_is_decided_again_too_when_it_changes() {
    // The panel is behind, which is a problem; while it answers, the bot also writes the traffic.
    let world = World::new();
    for id in 2..=5 {
        world.in_line(id, day(5));
    }
    world.customer(1, "active", day(35));
    world.agreed(1, day(5));
    let busy = PanelUser {
        used_traffic: 500,
        ..user("active", day(5))
    };
    world.panel.put("user1", busy);
    let store = world.store.clone();
    world.panel.at_call("users ", move || {
        let mut config = store.vpn_config(AccountId(1)).unwrap();
        config.traffic_used = Some(300);
        store.insert_vpn_config(config);
    });
    let report = sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!((report.updated, report.errors), (1, 0));
    let store = world.store.clone();
    world.panel.put(
        "user1",
        PanelUser {
            used_traffic: 900,
            ..user("active", day(5))
        },
    );
    world.panel.at_call("users ", move || {
        let mut config = store.vpn_config(AccountId(1)).unwrap();
        config.traffic_used = Some(700);
        store.insert_vpn_config(config);
    });
    let report = sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_eq!(
        report.run.reasons,
        BTreeMap::from([(ProblemReason::PanelBehind, 1)])
    );
    assert_eq!(world.config(1), "user1 on 900 null");
}
