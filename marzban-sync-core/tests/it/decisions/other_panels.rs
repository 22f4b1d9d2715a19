//! What a customer has in another panel.

use marzban_sync_core::account::{Elsewhere, Subscription, SubscriptionId, SubscriptionStatus};
use marzban_sync_core::agreement::{Agreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed};
use marzban_sync_core::plan::split;
use marzban_sync_core::policy::{Answers, Policy, Trust};
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::reconcile;
use marzban_sync_core::trail::entries;

use super::{check_customer, decide};
use crate::given::{agreed, at, customer, day, found, now, subscription};

/// The accounts of a customer who has one in another panel as well.
pub(super) fn also_elsewhere(
    mut customer: Vec<Observed>,
    is_active: bool,
    written_ends: &[EndDate],
) -> Vec<Observed> {
    for observed in &mut customer {
        observed.account.elsewhere = Elsewhere {
            accounts: 1,
            is_active,
            written_ends: written_ends.to_vec(),
            replaced: Vec::new(),
            agreed_ends: Vec::new(),
        };
    }
    customer
}

#[test]
fn a_customer_who_is_active_in_another_panel_loses_nothing_of_the_subscription() {
    let customer = also_elsewhere(
        customer(
            Some(&subscription("active", day(-5))),
            [found("expired", day(-5))],
        ),
        true,
        &[],
    );
    check_customer(&customer, "1: is_active true -> false [Expired]");
    assert!(decide(&customer, Subscriptions)[0].kept_for_another_panel);
    assert!(!decide(&customer, UserStatus)[0].kept_for_another_panel);
}

#[test]
fn two_panels_never_move_one_end_back_and_forth() {
    // A14: over here since 20 days; in another panel limited, and paid until 60 days ahead.
    for is_active in [true, false] {
        let mut customer = also_elsewhere(
            customer(
                Some(&subscription("active", day(60))),
                [found("expired", day(-20))],
            ),
            is_active,
            &[EndDate::At(day(60))],
        );
        for agreement in [agreed(day(-20)), agreed(day(60)), agreed(day(30))] {
            customer[0].account.agreement = agreement;
            let decisions = decide(&customer, Subscriptions);
            let change = decisions[0].change.as_ref().expect("access goes off");
            assert!(change.subscription.is_empty(), "{change}");
        }
    }
}

#[test]
fn a_panel_behind_is_reported_unless_the_other_one_has_the_end_that_was_paid_for() {
    let paid = at("2025-10-15 12:00:00");
    for (agreed_ends, expected) in [
        (vec![(EndDate::At(day(5)), true)], "1: ! PanelBehind"),
        (vec![(EndDate::At(paid), false)], "1: ! PanelBehind"),
        (vec![(EndDate::At(paid), true)], ""),
    ] {
        let mut customer = also_elsewhere(
            customer(Some(&subscription("active", paid)), [found("active", day(5))]),
            true,
            &[],
        );
        customer[0].account.agreement = agreed(day(5));
        customer[0].account.elsewhere.agreed_ends = agreed_ends;
        let decisions = decide(&customer, Subscriptions);
        let problem = decisions
            .first()
            .and_then(|decision| decision.problem.as_ref())
            .map_or_else(String::new, |(reason, _)| format!("1: ! {reason:?}"));
        assert_eq!(problem, expected);
    }
}

#[test]
fn time_that_begins_takes_nothing_from_a_customer_whose_other_account_has_no_end() {
    let unlimited = subscription("active", None);
    let begun = |observations: Vec<Observation>| {
        let mut customer = customer(Some(&unlimited), observations);
        customer[0].account.agreement = Agreement {
            end: None,
            on_hold: true,
            ..agreed(None)
        };
        customer
    };
    let cut = "1: ! EndsDisagree: the bot has never, the panel 2025-10-15 12:00:00 UTC: another account shares the \
               subscription, so nothing is taken from it (cut)";
    check_customer(&begun(vec![found("active", day(30)), found("active", None)]), cut);

    let mut with_missing = begun(vec![found("active", day(30)), Observation::NotListed]);
    with_missing[1].account.agreement = agreed(None);
    check_customer(
        &with_missing,
        &format!("{cut}\n2: ! Missing: absent from the panel's answer, not confirmed"),
    );

    let mut elsewhere = also_elsewhere(begun(vec![found("active", day(30))]), false, &[]);
    elsewhere[0].account.elsewhere.agreed_ends = vec![(EndDate::Never, false)];
    check_customer(&elsewhere, cut);

    // An account in another panel that is still on hold has agreed on nothing.
    let held = also_elsewhere(begun(vec![found("active", day(30))]), false, &[]);
    check_customer(&held, "1: end_date null -> 2025-10-15 12:00:00 UTC [Begun]");
}

#[test]
fn what_was_reopened_for_another_panel_is_not_reopened_for_it_again() {
    let renewed = at("2025-09-30 00:00:00");
    let mut customer = customer(
        Some(&subscription("expired", renewed)),
        [found("active", renewed)],
    );
    customer[0].account.agreement = agreed(renewed);
    customer[0].account.elsewhere = Elsewhere {
        accounts: 1,
        replaced: vec![Replaced {
            status: "active".to_owned(),
            end: EndDate::At(renewed),
        }],
        ..Elsewhere::default()
    };
    check_customer(&customer, "1: status expired -> active [Reactivated]");
    let change = decide(&customer, Subscriptions)
        .remove(0)
        .change
        .expect("it comes back");
    // An administrator of the bot closes it, or an operator undoes the run.
    customer[0].account.agreement = change.applied().agreement;
    check_customer(
        &customer,
        "1: ! PanelAhead: the subscription is expired before its own end, 2025-09-30 00:00:00 UTC, and the user works: \
         open it in the bot, or disable the user",
    );
}

#[test]
fn an_operator_may_shorten_a_shared_subscription_by_the_account_with_the_latest_end() {
    let mut customer = customer(
        Some(&subscription("active", day(30))),
        [found("active", day(20)), found("active", day(10))],
    );
    for observed in &mut customer {
        observed.account.agreement = agreed(day(30));
    }
    let shortened = |customer: &[Observed], names: &[&str]| {
        let answers = Answers {
            trust_panel: Trust::Names(names.iter().map(|name| (*name).to_owned()).collect()),
            ..Answers::default()
        };
        let decisions = reconcile(customer, Subscriptions, Policy::default(), &answers, now());
        let ends = decisions
            .iter()
            .filter_map(|decision| decision.change.as_ref()?.subscription.end_date);
        ends.collect::<Vec<_>>()
    };
    assert_eq!(shortened(&customer, &[]), []);
    assert_eq!(shortened(&customer, &["user2"]), [], "it does not lead");
    assert_eq!(shortened(&customer, &["user1", "user2"]), [EndDate::At(day(20))]);
    let elsewhere = also_elsewhere(customer.clone(), true, &[]);
    assert_eq!(
        shortened(&elsewhere, &["user1", "user2"]),
        [],
        "the other panel may know better"
    );
    customer[1].observation = Observation::Unavailable("timed out".to_owned());
    assert_eq!(
        shortened(&customer, &["user1", "user2"]),
        [],
        "nobody knows of the other one"
    );
}

#[test]
fn access_that_goes_off_while_the_subscription_is_reopened_is_told_apart_from_it() {
    // The leader's own review lags; the other account works.
    let customer = customer(
        Some(&subscription("expired", day(-1))),
        [found("expired", day(30)), found("active", day(10))],
    );
    let change = decide(&customer, Subscriptions).remove(0).change.expect("both");
    let (harmless, destructive) = change.clone().split();
    assert_eq!(harmless.subscription.status, Some(SubscriptionStatus::Active));
    assert_eq!(destructive.subscription.status, None);
    assert_eq!(destructive.vpn_config.is_active, Some(false));
    let lines: Vec<String> = entries(&change)
        .iter()
        .map(|entry| format!("{:?} {}", entry.new, entry.reason))
        .collect();
    assert_eq!(
        lines[1..],
        ["Some(\"active\") reactivated", "Some(\"false\") expired"]
    );
}

#[test]
fn a_user_active_in_another_panel_is_extended_and_reactivated_all_the_same() {
    check_customer(
        &also_elsewhere(
            customer(
                Some(&subscription("expired", at("2025-09-10 00:00:00"))),
                [found("active", at("2025-09-30 00:00:00"))],
            ),
            true,
            &[],
        ),
        "1: status expired -> active end_date 2025-09-10 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended, Reactivated]",
    );
}

#[test]
fn an_extension_that_another_panel_brought_reopens_what_the_library_ended() {
    let renewed = at("2025-09-30 00:00:00");
    let ended = |end: &str| {
        let mut customer = customer(
            Some(&subscription("expired", renewed)),
            [found("active", at("2025-09-30 00:00:00"))],
        );
        customer[0].account.agreement = agreed(renewed);
        customer[0].account.elsewhere = Elsewhere {
            accounts: 1,
            replaced: vec![Replaced {
                status: "trial".to_owned(),
                end: EndDate::At(at(end)),
            }],
            ..Elsewhere::default()
        };
        customer
    };
    check_customer(
        &ended("2025-09-30 00:00:00"),
        "1: status expired -> trial [Reactivated]",
    );
    // The row is not as the library left it: ending it is the bot's own word.
    check_customer(
        &ended("2025-09-29 00:00:00"),
        "1: ! PanelAhead: the subscription is expired before its own end, 2025-09-30 00:00:00 UTC, and the user works: \
         open it in the bot, or disable the user",
    );
}

// A subscription for each account.

fn numbered(id: i64, status: &str, end: chrono::DateTime<chrono::Utc>) -> Subscription {
    Subscription {
        id: SubscriptionId(id),
        is_named: true,
        ..subscription(status, end)
    }
}

/// The accounts of a customer, each of which names a subscription of its own.
fn each(accounts: &[(Subscription, Observation)]) -> Vec<Observed> {
    let observations = accounts.iter().map(|(_, observation)| observation.clone());
    let mut customer = customer(None, observations);
    for (position, observed) in customer.iter_mut().enumerate() {
        observed.account.subscription = Some(accounts[position].0.clone());
        observed.account.other_subscriptions = accounts
            .iter()
            .map(|(subscription, _)| subscription.clone())
            .filter(|subscription| subscription.id != accounts[position].0.id)
            .collect();
    }
    customer
}

#[test]
fn each_account_speaks_for_the_subscription_that_it_names() {
    // A17: the phone has 95 days, the router 30.
    let customer = each(&[
        (
            numbered(10, "active", at("2025-09-25 00:00:00")),
            found("active", at("2025-12-19 00:00:00")),
        ),
        (
            numbered(11, "active", at("2025-10-15 00:00:00")),
            found("active", at("2025-10-15 00:00:00")),
        ),
    ]);
    check_customer(
        &customer,
        "1: end_date 2025-09-25 00:00:00 UTC -> 2025-12-19 00:00:00 UTC [Extended]",
    );
}

#[test]
fn what_is_given_to_one_account_never_becomes_what_another_is_to_lose() {
    let customer = each(&[
        (
            numbered(10, "active", at("2025-09-25 00:00:00")),
            found("active", at("2025-12-19 00:00:00")),
        ),
        (
            numbered(11, "active", at("2025-09-14 00:00:00")),
            found("expired", at("2025-09-14 00:00:00")),
        ),
    ]);
    let changes = decide(&customer, Subscriptions)
        .into_iter()
        .filter_map(|decision| decision.change)
        .collect();
    let halves = split(changes);
    let (_, router) = &halves[1];
    let expected = router.account.subscription.as_ref().expect("a subscription");
    assert_eq!(expected.id, SubscriptionId(11));
    let others: Vec<_> = router
        .account
        .other_subscriptions
        .iter()
        .map(|other| (other.id, other.end_date))
        .collect();
    assert_eq!(
        others,
        [(SubscriptionId(10), Some(at("2025-12-19 00:00:00")))],
        "as the first half leaves it"
    );
}

#[test]
fn a_subscription_that_another_account_speaks_for_does_not_end_with_this_one() {
    // The second account names none and speaks for the governing one, whose user the panel has not yet reviewed.
    let mut customer = each(&[
        (
            numbered(10, "active", at("2025-09-14 00:00:00")),
            found("expired", at("2025-09-14 00:00:00")),
        ),
        (
            numbered(11, "active", at("2025-09-15 00:00:00")),
            found("active", at("2025-09-15 00:00:00")),
        ),
    ]);
    for observed in &mut customer {
        let account = &mut observed.account;
        let subscriptions = account.subscription.iter_mut();
        for subscription in subscriptions.filter(|one| one.id == SubscriptionId(11)) {
            subscription.is_named = false;
        }
        account.other_subscriptions = account
            .other_subscriptions
            .iter()
            .map(|other| Subscription {
                is_named: other.id == SubscriptionId(10),
                ..other.clone()
            })
            .collect();
    }
    check_customer(
        &customer,
        "1: status active -> expired is_active true -> false [Expired]",
    );
}
