//! Traffic, the last connection, and what is not known.

use marzban_sync_core::account::Account;
use marzban_sync_core::observation::{Observation, Observed, PanelUser};
use marzban_sync_core::policy::{Access, Answers, Policy};
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::reconcile;

use super::{check, check_by};
use crate::given::{account, at, day, found, now, policy, subscribed, user};

// Traffic and the last connection.

#[track_caller]
fn check_traffic(before: Option<i64>, used_traffic: i64, expected: &str) {
    let given = Account {
        traffic_used: before,
        ..subscribed("active", day(5))
    };
    let says = PanelUser {
        used_traffic,
        ..user("active", day(5))
    };
    for facet in [Subscriptions, UserStatus] {
        check(given.clone(), Observation::Found(says.clone()), facet, expected);
    }
}

#[test]
fn traffic_mirrors_the_panel_zero_included() {
    check_traffic(Some(0), 0, "nothing");
    check_traffic(Some(100), 100, "nothing");
    check_traffic(Some(100), 101, "traffic_used 100 -> 101 [TrafficUsed]");
    check_traffic(Some(100), 99, "traffic_used 100 -> 99 [TrafficReset]");
    check_traffic(Some(100), 0, "traffic_used 100 -> 0 [TrafficReset]");
    check_traffic(None, 0, "traffic_used null -> 0 [TrafficUsed]");
    check_traffic(
        Some(0),
        i64::MAX,
        "traffic_used 0 -> 9223372036854775807 [TrafficUsed]",
    );
}

#[track_caller]
fn check_online(before: Option<&str>, online_at: Option<&str>, expected: &str) {
    let given = Account {
        last_connected_at: before.map(at),
        ..subscribed("active", day(5))
    };
    let says = PanelUser {
        online_at: online_at.map(at),
        ..user("active", day(5))
    };
    for facet in [Subscriptions, UserStatus] {
        check(given.clone(), Observation::Found(says.clone()), facet, expected);
    }
}

#[test]
fn the_last_connection_mirrors_online_at_and_is_never_now() {
    check_online(
        None,
        Some("2025-09-14 08:30:00.250000"),
        "last_connected_at null -> 2025-09-14 08:30:00.250 UTC [Connected]",
    );
    check_online(
        Some("2025-09-14 08:30:00"),
        Some("2025-09-14 08:30:00.000001"),
        "last_connected_at 2025-09-14 08:30:00 UTC -> 2025-09-14 08:30:00.000001 UTC [Connected]",
    );
}

#[test]
fn the_last_connection_never_goes_backwards_and_is_never_cleared() {
    check_online(
        Some("2025-09-14 08:30:00"),
        Some("2025-09-14 08:30:00"),
        "nothing",
    );
    check_online(
        Some("2025-09-14 08:30:00"),
        Some("2025-09-14 08:29:59.999999"),
        "nothing",
    );
    check_online(Some("2025-09-14 08:30:00"), None, "nothing");
    check_online(None, None, "nothing");
}

#[test]
fn a_last_connection_that_cannot_be_one_is_left_out() {
    check_online(None, Some("2014-12-31 23:59:59"), "nothing");
    check_online(
        None,
        Some("2015-01-01 00:00:00"),
        "last_connected_at null -> 2015-01-01 00:00:00 UTC [Connected]",
    );
    check_online(
        None,
        Some("2025-09-16 12:00:00"),
        "last_connected_at null -> 2025-09-16 12:00:00 UTC [Connected]",
    );
    check_online(None, Some("2025-09-16 12:00:01"), "nothing");
    check_online(
        Some("2025-09-14 08:30:00"),
        Some("2036-01-01 00:00:00"),
        "nothing",
    );
}

#[test]
fn access_is_whether_the_panel_user_works() {
    let minute = chrono::TimeDelta::minutes(1);
    for (status, expire, works) in [
        ("active", None, true),
        ("active", Some(day(5)), true),
        ("active", Some(day(-1)), true),
        ("active", Some(day(-1) - minute), false),
        ("on_hold", None, true),
        ("on_hold", Some(day(-100)), true),
        ("disabled", Some(day(5)), false),
        ("limited", Some(day(5)), false),
        ("expired", Some(day(5)), false),
    ] {
        for facet in [Subscriptions, UserStatus] {
            for before in [Some(true), Some(false)] {
                let observed = [Observed {
                    account: Account {
                        is_active: before,
                        ..account(1)
                    },
                    observation: found(status, expire),
                }];
                let policy = Policy::default();
                let decisions = reconcile(&observed, facet, policy, &Answers::default(), now());
                let change = decisions.first().and_then(|decision| decision.change.as_ref());
                assert_eq!(
                    change.and_then(|change| change.vpn_config.is_active),
                    (before != Some(works)).then_some(works),
                    "{status} {expire:?} {before:?}"
                );
            }
        }
    }
}

#[test]
fn a_block_of_the_bots_own_is_only_ever_switched_on() {
    // A20: `is_active` is the bot's block, so the panel gives nobody access back.
    let only_off = policy(|policy| policy.access = Access::OnlyOff);
    let blocked = Account {
        is_active: Some(false),
        ..subscribed("active", day(5))
    };
    for facet in [Subscriptions, UserStatus] {
        check_by(
            only_off,
            blocked.clone(),
            found("active", day(5)),
            facet,
            "nothing",
        );
        check_by(
            only_off,
            subscribed("active", day(5)),
            found("disabled", day(5)),
            facet,
            "is_active true -> false [Disabled]",
        );
    }
}

#[test]
fn null_columns_are_filled_from_the_panel() {
    let empty = Account {
        telegram_id: None,
        is_active: None,
        traffic_used: None,
        subscription: None,
        ..account(1)
    };
    let observed = [Observed {
        account: empty,
        observation: found("limited", None),
    }];
    let decisions = reconcile(
        &observed,
        UserStatus,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    let change = decisions[0]
        .change
        .as_ref()
        .expect("null is not in line with the panel");
    assert_eq!(
        change.to_string(),
        "null (\"user1\"): is_active null -> false traffic_used null -> 100 [Limited, TrafficUsed]"
    );
}

// What is not known.

#[test]
fn what_is_not_known_changes_nothing_and_is_reported() {
    let given = || subscribed("active", day(5));
    for facet in [Subscriptions, UserStatus] {
        check(given(), Observation::NotPermitted, facet, "! NotPermitted");
        check(
            given(),
            Observation::Unreadable("bad row".to_owned()),
            facet,
            "! Unreadable: bad row",
        );
        check(
            given(),
            Observation::Unavailable("timed out".to_owned()),
            facet,
            "! Unavailable: timed out",
        );
        check(
            given(),
            Observation::NotListed,
            facet,
            "! Missing: absent from the panel's answer, not confirmed",
        );
    }
}

#[test]
fn a_missing_user_loses_access_in_the_status_job_only() {
    check(
        subscribed("active", day(5)),
        Observation::NotFound,
        Subscriptions,
        "! Missing",
    );
    check(
        subscribed("active", day(5)),
        Observation::NotFound,
        UserStatus,
        "is_active true -> false [Missing] (early)",
    );
    let unmarked = Account {
        is_active: None,
        ..account(1)
    };
    check(
        unmarked,
        Observation::NotFound,
        UserStatus,
        "is_active null -> false [Missing]",
    );
    let marked = Account {
        is_active: Some(false),
        ..account(1)
    };
    check(marked, Observation::NotFound, UserStatus, "nothing");
}

#[test]
fn access_of_a_user_that_is_missing_before_its_own_end_goes_off_early() {
    for (subscribed, expected) in [
        (
            subscribed("active", day(5)),
            "is_active true -> false [Missing] (early)",
        ),
        (subscribed("active", day(-5)), "is_active true -> false [Missing]"),
        (subscribed("expired", day(5)), "is_active true -> false [Missing]"),
        (
            subscribed("cancelled", day(5)),
            "is_active true -> false [Missing]",
        ),
        (
            subscribed("active", None),
            "is_active true -> false [Missing] (early)",
        ),
        (account(1), "is_active true -> false [Missing] (early)"),
    ] {
        check(subscribed, Observation::NotFound, UserStatus, expected);
    }
}

#[test]
fn a_subscription_that_is_over_ends_although_its_user_is_missing() {
    check(
        subscribed("active", at("2025-09-14 00:00:00")),
        Observation::NotFound,
        Subscriptions,
        "status active -> expired [Expired] ! Missing",
    );
    check(
        subscribed("active", at("2025-09-14 00:00:00")),
        Observation::NotListed,
        Subscriptions,
        "! Missing: absent from the panel's answer, not confirmed",
    );
}
