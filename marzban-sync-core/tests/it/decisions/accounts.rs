//! The subscription and the access of one account.

use marzban_sync_core::account::Account;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::policy::Unlimited;
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};

use super::{check, check_by};
use crate::given::{at, day, found, now, policy, second, subscribed, user};

// What is in line stays as it is.

#[test]
fn an_account_in_line_has_no_decision() {
    check(
        subscribed("active", day(5)),
        found("active", day(5)),
        Subscriptions,
        "nothing",
    );
    check(
        subscribed("active", day(5)),
        found("active", day(5)),
        UserStatus,
        "nothing",
    );
    check(
        subscribed("trial", day(5)),
        found("active", day(5)),
        Subscriptions,
        "nothing",
    );
    check(
        subscribed("active", None),
        found("active", None),
        Subscriptions,
        "nothing",
    );
}

#[test]
fn an_ended_account_in_line_has_no_decision() {
    let ended = Account {
        is_active: Some(false),
        ..subscribed("expired", day(-5))
    };
    check(ended.clone(), found("expired", day(-5)), Subscriptions, "nothing");
    check(
        ended.clone(),
        found("disabled", day(-5)),
        Subscriptions,
        "nothing",
    );
    check(ended, found("limited", day(-5)), UserStatus, "nothing");
}

// The end.

#[test]
fn an_extension_in_the_panel_moves_the_end_later() {
    check(
        subscribed("active", at("2025-09-15 00:00:00")),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "end_date 2025-09-15 00:00:00 UTC -> 2025-09-20 00:00:00 UTC [Extended]",
    );
}

#[test]
fn a_shortening_in_the_panel_moves_the_end_earlier_and_is_not_early_while_access_works() {
    check(
        subscribed("active", at("2025-09-30 00:00:00")),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "end_date 2025-09-30 00:00:00 UTC -> 2025-09-20 00:00:00 UTC [Shortened]",
    );
}

#[test]
fn an_unlimited_subscription_gets_the_end_of_the_panel() {
    check(
        subscribed("active", None),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "end_date null -> 2025-09-20 00:00:00 UTC [Shortened]",
    );
}

#[test]
fn a_removed_expire_keeps_the_end_unless_the_policy_clears_it() {
    let clear = policy(|policy| policy.unlimited = Unlimited::Clear);
    let given = || subscribed("active", at("2025-09-20 00:00:00"));
    check(given(), found("active", None), Subscriptions, "nothing");
    check_by(
        clear,
        given(),
        found("active", None),
        Subscriptions,
        "end_date 2025-09-20 00:00:00 UTC -> null [Unlimited]",
    );
    check_by(clear, given(), found("on_hold", None), Subscriptions, "nothing");
    check_by(
        clear,
        subscribed("active", None),
        found("active", None),
        Subscriptions,
        "nothing",
    );
}

#[test]
fn the_end_is_compared_to_the_second() {
    let given = || subscribed("active", at("2025-09-20 00:00:00.999999"));
    check(
        given(),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "nothing",
    );
    check(
        given(),
        found("active", at("2025-09-20 00:00:01")),
        Subscriptions,
        "end_date 2025-09-20 00:00:00.999999 UTC -> 2025-09-20 00:00:01 UTC [Extended]",
    );
    check(
        given(),
        found("active", at("2025-09-19 23:59:59")),
        Subscriptions,
        "end_date 2025-09-20 00:00:00.999999 UTC -> 2025-09-19 23:59:59 UTC [Shortened]",
    );
}

// The status.

#[test]
fn access_ends_in_the_very_second_of_expire() {
    check(
        subscribed("active", second(1)),
        found("active", second(1)),
        Subscriptions,
        "nothing",
    );
    check(
        subscribed("active", now()),
        found("active", now()),
        Subscriptions,
        "status active -> expired is_active true -> false [Expired]",
    );
    check(
        subscribed("trial", second(-1)),
        found("active", second(-1)),
        Subscriptions,
        "status trial -> expired is_active true -> false [Expired]",
    );
}

#[test]
fn the_panel_may_call_a_user_active_whose_time_is_over() {
    check(
        subscribed("active", day(-1)),
        found("active", day(-1)),
        UserStatus,
        "is_active true -> false [Expired]",
    );
}

#[test]
fn an_expiry_before_the_own_end_is_early() {
    check(
        subscribed("active", at("2025-09-20 00:00:00")),
        found("expired", at("2025-09-14 00:00:00")),
        Subscriptions,
        "status active -> expired end_date 2025-09-20 00:00:00 UTC -> 2025-09-14 00:00:00 UTC is_active true -> \
         false [Shortened, Expired] (early)",
    );
    check(
        subscribed("active", None),
        found("expired", None),
        Subscriptions,
        "status active -> expired is_active true -> false [Expired] (early)",
    );
    check(
        subscribed("active", second(1)),
        found("expired", second(1)),
        UserStatus,
        "is_active true -> false [Expired] (early)",
    );
}

#[test]
fn an_expiry_at_the_own_end_is_not_early() {
    check(
        subscribed("active", now()),
        found("expired", now()),
        UserStatus,
        "is_active true -> false [Expired]",
    );
}

#[test]
fn a_subscription_ended_by_a_disabled_user_before_its_own_end_is_early() {
    check_by(
        policy(|policy| policy.disabled_ends_subscription = true),
        subscribed("active", day(5)),
        found("disabled", day(5)),
        Subscriptions,
        "status active -> expired is_active true -> false [Disabled] (early)",
    );
}

#[test]
fn a_disabled_or_limited_user_loses_access_but_not_the_subscription() {
    check(
        subscribed("active", day(5)),
        found("disabled", day(5)),
        Subscriptions,
        "is_active true -> false [Disabled]",
    );
    check(
        subscribed("active", day(5)),
        found("limited", day(5)),
        Subscriptions,
        "is_active true -> false [Limited]",
    );
}

#[test]
fn an_extension_made_in_the_panel_brings_an_expired_subscription_back() {
    let ended = || Account {
        is_active: Some(false),
        ..subscribed("expired", at("2025-09-10 00:00:00"))
    };
    check(
        ended(),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "status expired -> active end_date 2025-09-10 00:00:00 UTC -> 2025-09-20 00:00:00 UTC is_active false -> \
         true [Extended, Reactivated, Works]",
    );
    check_by(
        policy(|policy| policy.reactivate = false),
        ended(),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "end_date 2025-09-10 00:00:00 UTC -> 2025-09-20 00:00:00 UTC is_active false -> true [Extended, Works]",
    );
}

#[test]
fn an_unlimited_or_held_user_does_not_bring_an_expired_subscription_back() {
    let ended = || Account {
        is_active: Some(false),
        ..subscribed("expired", day(-5))
    };
    check(
        ended(),
        found("active", None),
        Subscriptions,
        "is_active false -> true [Works]",
    );
    check(
        ended(),
        found("on_hold", None),
        Subscriptions,
        "is_active false -> true [Works]",
    );
}

#[test]
fn a_held_user_with_an_expire_of_an_earlier_period_keeps_working() {
    let given = || subscribed("active", day(5));
    check(given(), found("on_hold", day(-100)), Subscriptions, "nothing");
    check(given(), found("on_hold", now()), UserStatus, "nothing");
    check(given(), found("on_hold", day(100)), Subscriptions, "nothing");
}

#[test]
fn cancelled_and_pending_subscriptions_stay_while_access_and_traffic_are_mirrored() {
    for status in ["cancelled", "pending", "grace", ""] {
        check(
            subscribed(status, day(5)),
            found("active", day(50)),
            Subscriptions,
            "nothing",
        );
        check(
            subscribed(status, day(5)),
            found("expired", day(-5)),
            Subscriptions,
            "is_active true -> false [Expired]",
        );
    }
}

#[test]
fn an_unknown_status_is_reported_and_changes_neither_status_nor_access() {
    check(
        subscribed("active", day(5)),
        found("melted", day(5)),
        Subscriptions,
        "! UnknownStatus: melted",
    );
    check(
        subscribed("active", at("2025-09-20 00:00:00")),
        found("melted", at("2025-09-25 00:00:00")),
        Subscriptions,
        "end_date 2025-09-20 00:00:00 UTC -> 2025-09-25 00:00:00 UTC [Extended] ! UnknownStatus: melted",
    );
    let grown = Observation::Found(PanelUser {
        used_traffic: 7,
        ..user("melted", day(-5))
    });
    check(
        subscribed("active", day(5)),
        grown,
        UserStatus,
        "traffic_used 100 -> 7 [TrafficReset] ! UnknownStatus: melted",
    );
}
