//! What one run leaves for the next.

use chrono::TimeDelta;
use marzban_sync_core::agreement::{Agreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::policy::{Answers, PanelBehind};
use marzban_sync_core::reconcile::Facet::Subscriptions;
use marzban_sync_core::reconcile::reconcile;

use super::other_panels::also_elsewhere;
use super::{after, check_customer, decide};
use crate::given::{agreed, at, customer, day, found, now, policy, subscription};

#[test]
fn a_lifetime_is_not_cut_by_another_account_once_its_own_user_is_put_on_hold() {
    let mut customer = customer(
        Some(&subscription("active", None)),
        [found("active", day(30)), found("on_hold", None)],
    );
    customer[0].account.agreement = Agreement {
        end: None,
        on_hold: true,
        ..agreed(None)
    };
    customer[1].account.agreement = agreed(None);
    // The first run sees the hold, and the second one remembers it.
    for _ in 0..3 {
        check_customer(
            &customer,
            "1: ! EndsDisagree: the bot has never, the panel 2025-10-15 12:00:00 UTC: another account shares the \
             subscription, so nothing is taken from it (cut)",
        );
        customer = after(&customer);
    }
}

#[test]
fn a_status_that_is_owed_comes_back_though_the_run_that_brings_it_breaks_off() {
    let end = at("2025-09-30 00:00:00");
    let mut customer = customer(
        Some(&subscription("expired", end)),
        [found("active", end), found("active", end)],
    );
    for (place, observed) in customer.iter_mut().enumerate() {
        observed.account.agreement = agreed(end);
        observed.account.traffic_used = Some(1);
        observed.account.agreement.replaced = (place == 1).then(|| Replaced {
            status: "trial".to_owned(),
            end: EndDate::At(end),
        });
    }
    // Only what the second account changes is written.
    let decisions = decide(&customer, Subscriptions);
    let change = decisions[1].change.as_ref().expect("its traffic");
    let written = change.applied();
    assert!(
        decisions[0]
            .change
            .as_ref()
            .is_some_and(|change| !change.subscription.is_empty())
    );
    customer[1].account = written;
    check_customer(
        &customer,
        "1: status expired -> trial traffic_used 1 -> 100 [TrafficUsed, Reactivated]",
    );
}

#[test]
fn a_status_that_is_owed_with_an_end_comes_back_in_the_run_that_brings_it() {
    let end = at("2025-09-30 00:00:00");
    let replaced = || Replaced {
        status: "trial".to_owned(),
        end: EndDate::At(end),
    };
    let customer = || customer(Some(&subscription("expired", day(-1))), [found("active", end)]);
    let mut from_elsewhere = also_elsewhere(customer(), false, &[]);
    from_elsewhere[0].account.elsewhere.replaced = vec![replaced()];
    let mut here = customer();
    here[0].account.agreement = Agreement {
        replaced: Some(replaced()),
        ..agreed(day(-1))
    };
    for customer in [from_elsewhere, here] {
        check_customer(
            &customer,
            "1: status expired -> trial end_date 2025-09-14 12:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended, Reactivated]",
        );
        check_customer(&after(&customer), "");
    }
}

#[test]
fn an_end_that_the_library_wrote_from_another_panel_and_the_bot_rounded_is_not_pushed() {
    let policy = policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = TimeDelta::zero();
    });
    let written = at("2025-10-15 11:59:58");
    for (row, is_pushed) in [
        (at("2025-10-15 11:59:00"), false),
        (at("2025-10-15 12:00:00"), false),
        (at("2025-10-20 12:00:00"), true),
    ] {
        let mut customer = also_elsewhere(
            customer(Some(&subscription("active", row)), [found("active", day(5))]),
            false,
            &[EndDate::At(written)],
        );
        customer[0].account.agreement = agreed(day(5));
        let decisions = reconcile(&customer, Subscriptions, policy, &Answers::default(), now());
        assert_eq!(decisions[0].push.is_some(), is_pushed, "{row}");
        assert!(decisions[0].problem.is_some(), "{row}");
    }
}

#[test]
fn an_extension_of_a_panel_user_is_never_silent() {
    let paid = at("2025-10-15 12:00:00");
    let policy = policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = TimeDelta::zero();
    });
    let mut customer = also_elsewhere(
        customer(Some(&subscription("active", paid)), [found("active", day(5))]),
        true,
        &[],
    );
    customer[0].account.agreement = agreed(day(5));
    customer[0].account.elsewhere.agreed_ends = vec![(EndDate::At(paid), true)];
    let decisions = reconcile(&customer, Subscriptions, policy, &Answers::default(), now());
    assert!(decisions[0].push.is_some() && decisions[0].problem.is_some());
}

#[test]
fn what_was_reopened_by_what_another_account_remembers_stays_closed_once_the_bot_closes_it() {
    let end = at("2025-09-30 00:00:00");
    let mut customer = customer(
        Some(&subscription("expired", end)),
        [found("active", end), found("limited", end)],
    );
    for (place, observed) in customer.iter_mut().enumerate() {
        observed.account.agreement = agreed(end);
        observed.account.agreement.replaced = (place == 1).then(|| Replaced {
            status: "trial".to_owned(),
            end: EndDate::At(end),
        });
    }
    check_customer(
        &customer,
        "1: status expired -> trial [Reactivated]\n2: is_active true -> false [Limited]",
    );
    // A refund, before any other run.
    let mut closed = after(&customer);
    for observed in &mut closed {
        observed.account.subscription = Some(subscription("expired", end));
    }
    for _ in 0..2 {
        check_customer(
            &closed,
            "1: ! PanelAhead: the subscription is expired before its own end, 2025-09-30 00:00:00 UTC, and the user \
             works: open it in the bot, or disable the user",
        );
        closed = after(&closed);
    }
}

#[test]
fn a_tolerance_of_days_hides_no_paid_day_of_a_customer_with_two_panels() {
    let policy = policy(|policy| policy.tolerance = TimeDelta::days(2));
    let mut customer = also_elsewhere(
        customer(Some(&subscription("active", day(6))), [found("active", day(5))]),
        true,
        &[],
    );
    customer[0].account.agreement = agreed(day(5));
    customer[0].account.elsewhere.agreed_ends = vec![(EndDate::At(day(5)), true)];
    let decisions = reconcile(&customer, Subscriptions, policy, &Answers::default(), now());
    let (reason, _) = decisions[0].problem.as_ref().expect("it is reported");
    assert_eq!(format!("{reason:?}"), "PanelBehind");
}

#[test]
fn a_lifetime_whose_user_was_made_anew_on_hold_is_not_cut_by_another_account() {
    let mut customer = customer(
        Some(&subscription("active", None)),
        [found("active", day(30)), found("on_hold", None)],
    );
    customer[0].account.agreement = Agreement {
        end: None,
        on_hold: true,
        ..agreed(None)
    };
    customer[1].account.agreement = Agreement {
        created_at: Some(day(-300)),
        ..agreed(None)
    };
    for _ in 0..3 {
        check_customer(
            &customer,
            "1: ! EndsDisagree: the bot has never, the panel 2025-10-15 12:00:00 UTC: another account shares the \
             subscription, so nothing is taken from it (cut)",
        );
        customer = after(&customer);
    }
}
