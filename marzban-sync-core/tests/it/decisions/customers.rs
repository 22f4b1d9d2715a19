//! Several accounts of one customer, who has one subscription.

use marzban_sync_core::account::AccountId;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::policy::Policy;
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::{Observed, reconcile};

use super::check_customer;
use crate::given::{at, customer, day, found, now, subscription};

#[test]
fn the_subscription_follows_the_account_that_works() {
    let subscription = subscription("active", at("2025-09-25 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [
                found("expired", day(-30)),
                found("active", at("2025-09-30 00:00:00")),
            ],
        ),
        "1: is_active true -> false [Expired] (early)\n\
         2: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]",
    );
}

#[test]
fn one_that_works_counts_before_one_with_a_later_end_that_does_not() {
    let subscription = subscription("active", at("2025-09-25 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [
                found("disabled", at("2025-12-31 00:00:00")),
                found("active", at("2025-09-30 00:00:00")),
                found("limited", None),
            ],
        ),
        "1: is_active true -> false [Disabled]\n\
         2: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]\n\
         3: is_active true -> false [Limited]",
    );
}

#[test]
fn of_two_that_work_the_later_end_counts_and_no_end_is_the_latest() {
    let subscription = subscription("active", at("2025-09-25 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [
                found("active", at("2025-09-28 00:00:00")),
                found("active", at("2025-09-30 00:00:00")),
            ],
        ),
        "2: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]",
    );
    check_customer(
        &customer(
            Some(&subscription),
            [found("active", day(1)), found("active", None)],
        ),
        "",
    );
}

#[test]
fn of_two_that_say_the_same_the_lowest_number_speaks() {
    let subscription = subscription("active", at("2025-09-25 00:00:00"));
    let mut customer = customer(
        Some(&subscription),
        [
            found("active", at("2025-09-30 00:00:00")),
            found("active", at("2025-09-30 00:00:00")),
        ],
    );
    let expected = "1: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]";
    check_customer(&customer, expected);
    customer.reverse();
    check_customer(&customer, expected);
}

#[test]
fn a_customer_who_used_up_one_account_keeps_the_subscription_of_the_other() {
    let subscription = subscription("active", day(5));
    check_customer(
        &customer(
            Some(&subscription),
            [found("limited", day(5)), found("active", day(5))],
        ),
        "1: is_active true -> false [Limited]",
    );
}

#[test]
fn a_subscription_ends_when_all_accounts_are_over() {
    let subscription = subscription("active", at("2025-09-14 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [
                found("expired", at("2025-09-10 00:00:00")),
                found("expired", at("2025-09-14 00:00:00")),
            ],
        ),
        "1: is_active true -> false [Expired]\n2: status active -> expired is_active true -> false [Expired]",
    );
}

#[test]
fn an_unknown_sibling_blocks_what_takes_away() {
    let subscription = subscription("active", at("2025-09-20 00:00:00"));
    for (unknown, problem) in [
        (
            Observation::Absent,
            "! Missing: absent from the panel's answer, not confirmed",
        ),
        (Observation::NotPermitted, "! NotPermitted"),
        (
            Observation::Unreadable("bad row".to_owned()),
            "! Unreadable: bad row",
        ),
        (
            Observation::Unavailable("timed out".to_owned()),
            "! Unavailable: timed out",
        ),
    ] {
        check_customer(
            &customer(Some(&subscription), [found("expired", day(-30)), unknown]),
            &format!("1: is_active true -> false [Expired] (early)\n2: {problem}"),
        );
    }
}

#[test]
fn an_unknown_sibling_does_not_block_what_gives() {
    let subscription = subscription("expired", at("2025-09-10 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [
                Observation::NotPermitted,
                found("active", at("2025-09-20 00:00:00")),
            ],
        ),
        "1: ! NotPermitted\n\
         2: status expired -> active end_date 2025-09-10 00:00:00 UTC -> 2025-09-20 00:00:00 UTC \
         [Extended, Reactivated]",
    );
}

#[test]
fn a_sibling_of_unknown_status_may_work_so_the_subscription_does_not_end() {
    let subscription = subscription("active", day(5));
    check_customer(
        &customer(
            Some(&subscription),
            [found("expired", day(10)), found("melted", day(5))],
        ),
        "1: is_active true -> false [Expired] (early)\n2: ! UnknownStatus: melted",
    );
}

#[test]
fn a_missing_sibling_is_known_and_blocks_nothing() {
    let subscription = subscription("active", at("2025-09-14 00:00:00"));
    check_customer(
        &customer(
            Some(&subscription),
            [found("expired", at("2025-09-14 00:00:00")), Observation::Missing],
        ),
        "1: status active -> expired is_active true -> false [Expired]\n2: ! Missing",
    );
}

#[test]
fn a_customer_without_any_answer_keeps_everything() {
    let subscription = subscription("active", day(-5));
    let decisions_of = |facet| {
        let customer = customer(
            Some(&subscription),
            [Observation::NotPermitted, Observation::Absent],
        );
        reconcile(&customer, facet, Policy::default(), now())
            .iter()
            .map(|decision| (decision.account.id, decision.change.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        decisions_of(Subscriptions),
        [(AccountId(1), false), (AccountId(2), false)]
    );
    assert_eq!(
        decisions_of(UserStatus),
        [(AccountId(1), false), (AccountId(2), false)]
    );
}

/// The accounts of a customer who is active in another panel as well.
fn also_elsewhere(mut customer: Vec<Observed>) -> Vec<Observed> {
    for observed in &mut customer {
        observed.account.active_elsewhere = true;
    }
    customer
}

#[test]
fn a_user_active_in_another_panel_loses_nothing_of_the_subscription() {
    let open = subscription("active", at("2025-09-25 00:00:00"));
    for (says, expected) in [
        (
            found("expired", day(-30)),
            "1: is_active true -> false [Expired] (early)",
        ),
        (found("active", at("2025-09-20 00:00:00")), "1: "),
        (
            found("limited", at("2025-09-20 00:00:00")),
            "1: is_active true -> false [Limited]",
        ),
    ] {
        let customer = also_elsewhere(customer(Some(&open), [says]));
        check_customer(&customer, expected);
        let decisions = reconcile(&customer, Subscriptions, Policy::default(), now());
        assert!(decisions[0].kept_for_another_panel, "{decisions:?}");
        let decisions = reconcile(&customer, UserStatus, Policy::default(), now());
        assert!(decisions.iter().all(|decision| !decision.kept_for_another_panel));
    }
}

#[test]
fn a_user_active_in_another_panel_is_extended_and_reactivated_all_the_same() {
    check_customer(
        &also_elsewhere(customer(
            Some(&subscription("expired", at("2025-09-10 00:00:00"))),
            [found("active", at("2025-09-30 00:00:00"))],
        )),
        "1: status expired -> active end_date 2025-09-10 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended, Reactivated]",
    );
    let in_line = also_elsewhere(customer(
        Some(&subscription("active", at("2025-09-30 00:00:00"))),
        [found("active", at("2025-09-30 00:00:00"))],
    ));
    assert_eq!(reconcile(&in_line, Subscriptions, Policy::default(), now()), []);
}
