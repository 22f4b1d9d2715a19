//! Several accounts of one customer, who has one subscription or one for each.

use marzban_sync_core::account::AccountId;
use marzban_sync_core::agreement::{Agreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed, PanelUser};
use marzban_sync_core::policy::{Answers, PanelBehind};
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::reconcile;

use super::{after, check_customer, decide};
use crate::given::{agreed, at, customer, day, found, now, policy, subscription, user};

// The latest end leads.

#[test]
fn the_subscription_follows_the_account_with_the_latest_end() {
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-25 00:00:00"))),
            [
                found("expired", day(-30)),
                found("active", at("2025-09-30 00:00:00")),
            ],
        ),
        "1: is_active true -> false [Expired] (early)\n\
         2: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]",
    );
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-25 00:00:00"))),
            [
                found("disabled", at("2025-12-31 00:00:00")),
                found("active", at("2025-09-30 00:00:00")),
                found("limited", None),
            ],
        ),
        "1: end_date 2025-09-25 00:00:00 UTC -> 2025-12-31 00:00:00 UTC is_active true -> false [Disabled, Extended]\n\
         3: is_active true -> false [Limited]",
    );
}

#[test]
fn an_unlimited_account_never_leads() {
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-25 00:00:00"))),
            [found("active", at("2025-09-30 00:00:00")), found("active", None)],
        ),
        "1: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]",
    );
}

#[test]
fn an_unlimited_account_that_works_after_the_end_is_ahead_whoever_leads() {
    let ahead = "! PanelAhead: the bot has 2025-09-14 00:00:00 UTC, the panel never: the subscription is over, and the \
                 user still works";
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-14 00:00:00"))),
            [found("expired", at("2025-09-14 00:00:00")), found("active", None)],
        ),
        &format!("1: is_active true -> false [Expired]\n2: {ahead}"),
    );
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-14 00:00:00"))),
            [found("active", None)],
        ),
        &format!("1: {ahead}"),
    );
}

#[test]
fn an_account_on_hold_protects_but_never_leads() {
    // A16: the extension arrives beside a sibling on hold.
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-25 00:00:00"))),
            [
                found("on_hold", day(300)),
                found("active", at("2025-12-14 12:00:00")),
            ],
        ),
        "2: end_date 2025-09-25 00:00:00 UTC -> 2025-12-14 12:00:00 UTC [Extended]",
    );
    check_customer(
        &customer(
            Some(&subscription("active", day(-5))),
            [found("on_hold", None), found("expired", day(-5))],
        ),
        "2: is_active true -> false [Expired]",
    );
}

#[test]
fn another_user_of_a_name_never_leads() {
    // A37: for some hours the second panel's address shows another panel.
    let open = subscription("active", at("2025-09-25 00:00:00"));
    let stranger = Observation::Found(PanelUser {
        created_at: Some(day(-1)),
        ..user("active", at("2035-01-01 00:00:00"))
    });
    let mut customer = customer(
        Some(&open),
        [found("active", at("2025-09-25 00:00:00")), stranger],
    );
    for observed in &mut customer {
        observed.account.agreement = agreed(at("2025-09-25 00:00:00"));
    }
    check_customer(
        &customer,
        "2: ! OtherUser: the bot has 2025-09-25 00:00:00 UTC, the panel 2035-01-01 00:00:00 UTC, but this user was \
         created at another time: another user has the name now",
    );
}

#[test]
fn a_held_user_made_anew_beside_another_account_reopens_at_once() {
    let ended = subscription("expired", day(30));
    let held = Observation::Found(PanelUser {
        created_at: Some(day(-1)),
        ..user("on_hold", None)
    });
    let mut customer = customer(Some(&ended), [held, found("disabled", day(0))]);
    let account = &mut customer[0].account;
    account.agreement = Agreement {
        end: None,
        replaced: Some(Replaced {
            status: "trial".to_owned(),
            end: EndDate::At(day(30)),
        }),
        ..agreed(None)
    };
    check_customer(
        &customer,
        "2: status expired -> trial is_active true -> false [Disabled, Reactivated] ! EndsDisagree: the bot has \
         2025-10-15 12:00:00 UTC, the panel 2025-09-15 12:00:00 UTC: nothing was agreed before, so the later end stands",
    );
}

#[test]
fn an_account_whose_end_cannot_be_one_never_leads() {
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-25 00:00:00"))),
            [
                found("active", at("2025-09-30 00:00:00")),
                found(
                    "active",
                    at("9999-12-31 23:59:59") + chrono::TimeDelta::seconds(1),
                ),
            ],
        ),
        "1: end_date 2025-09-25 00:00:00 UTC -> 2025-09-30 00:00:00 UTC [Extended]\n\
         2: ! ImplausibleEnd: the bot has 2025-09-25 00:00:00 UTC, the panel +10000-01-01 00:00:00 UTC, which cannot be \
         an end: correct it in the panel",
    );
}

#[test]
fn of_two_that_say_the_same_the_lowest_number_speaks_in_any_order() {
    let mut customer = customer(
        Some(&subscription("active", at("2025-09-25 00:00:00"))),
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
fn whoever_carries_the_status_is_the_same_in_any_order() {
    for says in [found("expired", None), Observation::NotFound] {
        let mut customer = customer(
            Some(&subscription("active", day(-5))),
            [Observation::NotFound, says.clone(), says],
        );
        let carriers = |customer: &[Observed]| -> Vec<AccountId> {
            decide(customer, Subscriptions)
                .iter()
                .filter(|decision| {
                    let change = decision.change.as_ref();
                    change.is_some_and(|change| !change.subscription.is_empty())
                })
                .map(|decision| decision.account.id)
                .collect()
        };
        let first = carriers(&customer);
        assert_eq!(first.len(), 1);
        customer.reverse();
        assert_eq!(carriers(&customer), first);
    }
}

// Nothing is taken from a shared subscription while its own end is ahead.

#[test]
fn a_shortening_of_the_latest_account_takes_nothing_from_a_shared_subscription() {
    let mut customer = customer(
        Some(&subscription("active", at("2025-09-25 00:00:00"))),
        [
            found("active", at("2025-09-20 00:00:00")),
            found("active", at("2025-09-18 00:00:00")),
        ],
    );
    customer[0].account.agreement = agreed(at("2025-09-25 00:00:00"));
    let problem = "1: ! EndsDisagree: the bot has 2025-09-25 00:00:00 UTC, the panel 2025-09-20 00:00:00 UTC: another \
                   account shares the subscription, so nothing is taken from it (cut)";
    check_customer(&customer, problem);
    let later = after(&after(&customer));
    assert_eq!(
        later[0].account.subscription, customer[0].account.subscription,
        "however often it runs"
    );
    let open = later[0].account.agreement.open.expect("it is left open");
    assert_eq!(open.panel_end, EndDate::At(at("2025-09-20 00:00:00")));
}

#[test]
fn a_long_dead_sibling_takes_nothing_from_the_customer_whose_paid_account_is_missing() {
    // A13.
    let paid = subscription("active", at("2025-09-25 00:00:00"));
    let mut customer = customer(Some(&paid), [Observation::NotFound, found("expired", day(-30))]);
    customer[0].account.agreement = agreed(at("2025-09-25 00:00:00"));
    customer[1].account.agreement = agreed(at("2025-08-16 12:00:00"));
    let behind = "! PanelBehind: the bot has 2025-09-25 00:00:00 UTC, the panel 2025-08-16 12:00:00 UTC: extend the \
                  user in the panel; the customer paid and has no access now";
    check_customer(
        &customer,
        &format!("1: ! Missing\n2: is_active true -> false [Expired] {behind} (early)"),
    );
}

#[test]
fn an_end_that_was_written_from_one_account_is_never_given_to_another() {
    // A39: ten years by mistake on one account of two.
    let extend = policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = chrono::TimeDelta::zero();
    });
    let mut customer = customer(
        Some(&subscription("active", day(3_650))),
        [Observation::NotFound, found("active", day(5))],
    );
    customer[0].account.agreement = agreed(day(3_650));
    customer[1].account.agreement = agreed(day(5));
    let push = |customer: &[Observed]| {
        reconcile(customer, Subscriptions, extend, &Answers::default(), now())
            .iter()
            .find_map(|decision| decision.push)
    };
    assert!(push(&customer).is_some(), "the bot wrote it");
    customer[0].account.agreement.written_end = Some(EndDate::At(day(3_650)));
    assert_eq!(push(&customer), None);
}

#[test]
fn a_subscription_ends_when_its_end_has_passed_and_no_account_works() {
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-14 00:00:00"))),
            [
                found("expired", at("2025-09-10 00:00:00")),
                found("expired", at("2025-09-14 00:00:00")),
            ],
        ),
        "1: is_active true -> false [Expired]\n2: status active -> expired is_active true -> false [Expired]",
    );
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-14 00:00:00"))),
            [found("expired", at("2025-09-14 00:00:00")), Observation::NotFound],
        ),
        "1: status active -> expired is_active true -> false [Expired]\n2: ! Missing",
    );
}

#[test]
fn a_sibling_that_is_not_known_blocks_what_takes_away_and_not_what_gives() {
    for (unknown, problem) in [
        (
            Observation::NotListed,
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
            &customer(
                Some(&subscription("active", at("2025-09-14 00:00:00"))),
                [found("expired", at("2025-09-14 00:00:00")), unknown.clone()],
            ),
            &format!("1: is_active true -> false [Expired]\n2: {problem}"),
        );
        check_customer(
            &customer(
                Some(&subscription("expired", at("2025-09-10 00:00:00"))),
                [unknown, found("active", at("2025-09-20 00:00:00"))],
            ),
            &format!(
                "1: {problem}\n2: status expired -> active end_date 2025-09-10 00:00:00 UTC -> 2025-09-20 00:00:00 UTC \
                 [Extended, Reactivated]"
            ),
        );
    }
    check_customer(
        &customer(
            Some(&subscription("active", at("2025-09-14 00:00:00"))),
            [
                found("expired", at("2025-09-14 00:00:00")),
                found("melted", at("2025-09-14 00:00:00")),
            ],
        ),
        "1: is_active true -> false [Expired]\n2: ! UnknownStatus: melted",
    );
}

#[test]
fn a_customer_without_any_answer_keeps_everything() {
    let customer = customer(
        Some(&subscription("active", day(-5))),
        [Observation::NotPermitted, Observation::NotListed],
    );
    for facet in [Subscriptions, UserStatus] {
        let decisions: Vec<_> = decide(&customer, facet)
            .iter()
            .map(|decision| (decision.account.id, decision.change.is_some()))
            .collect();
        assert_eq!(decisions, [(AccountId(1), false), (AccountId(2), false)]);
    }
}
