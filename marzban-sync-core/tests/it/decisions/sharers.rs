//! Rows of several customers that name one panel user.

use marzban_sync_core::account::{Account, AccountId, Sharer, Subscription};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::observation::Observed;
use marzban_sync_core::policy::{Answers, Policy, Trust};
use marzban_sync_core::reconcile::Facet::Subscriptions;
use marzban_sync_core::reconcile::reconcile;

use super::{check, check_answered, check_customer};
use crate::given::{account, agreed, at, customer, day, found, now, subscribed, subscription};

/// Another customer with these subscriptions, whose row names the same panel user.
pub(crate) fn sharing(subscriptions: &[Subscription]) -> Sharer {
    Sharer {
        id: AccountId(90),
        updated_at: None,
        subscriptions: subscriptions.into(),
    }
}

/// Another customer who pays until 25 days ahead.
pub(crate) fn paying() -> [Sharer; 1] {
    [sharing(&[subscription("active", day(25))])]
}

fn shared(account: Account, sharers: &[Sharer]) -> Account {
    Account {
        sharers: sharers.into(),
        ..account
    }
}

const SHARED: &str = "! SharedUser: 1 accounts of other customers name this panel user too";

#[test]
fn a_shared_user_extends_an_open_subscription_and_takes_nothing_from_it() {
    for agreement in [Agreement::default(), agreed(at("2025-09-20 00:00:00"))] {
        let given = |status| {
            let account = Account {
                agreement: agreement.clone(),
                ..subscribed(status, at("2025-09-20 00:00:00"))
            };
            shared(account, &paying())
        };
        check(
            given("active"),
            found("active", at("2025-09-25 00:00:00")),
            Subscriptions,
            &format!("end_date 2025-09-20 00:00:00 UTC -> 2025-09-25 00:00:00 UTC [Extended] {SHARED}"),
        );
        check(given("active"), found("active", day(1)), Subscriptions, SHARED);
        check(
            given("expired"),
            found("active", at("2025-09-25 00:00:00")),
            Subscriptions,
            SHARED,
        );
    }
}

#[test]
fn a_trusted_panel_takes_nothing_from_the_rows_of_a_shared_user() {
    let trusted = Answers {
        trust_panel: Trust::Everybody,
        ..Answers::default()
    };
    check_answered(
        Policy::default(),
        &trusted,
        shared(subscribed("active", day(20)), &paying()),
        found("active", day(5)),
        Subscriptions,
        &format!("{SHARED} (cut)"),
    );
}

#[test]
fn a_shared_user_brings_no_ended_subscription_back() {
    let ended = Account {
        is_active: Some(false),
        ..subscribed("expired", day(-5))
    };
    check(
        shared(ended, &paying()),
        found("active", day(30)),
        Subscriptions,
        &format!("is_active false -> true [Works] {SHARED}"),
    );
}

#[test]
fn a_row_of_a_shared_user_ends_by_its_own_end() {
    check(
        shared(subscribed("active", day(-5)), &paying()),
        found("expired", day(-5)),
        Subscriptions,
        &format!("status active -> expired is_active true -> false [Expired] {SHARED}"),
    );
}

#[test]
fn a_shared_user_that_works_although_every_row_is_over_is_told_apart() {
    let over = [sharing(&[subscription("expired", day(-20))])];
    let ended = || Account {
        is_active: Some(true),
        ..subscribed("expired", day(-5))
    };
    check(
        shared(ended(), &over),
        found("active", day(30)),
        Subscriptions,
        &format!("{SHARED}; it works, and every row that names it is over"),
    );
    check(
        shared(ended(), &paying()),
        found("active", day(30)),
        Subscriptions,
        SHARED,
    );
    check(
        shared(ended(), &[sharing(&[])]),
        found("active", day(30)),
        Subscriptions,
        SHARED,
    );
}

#[test]
fn a_shared_user_is_reported_although_another_account_leads() {
    let mut customer = customer(
        Some(&subscription("active", day(5))),
        [found("active", day(5)), found("active", day(2))],
    );
    customer[1].account.sharers = paying().into();
    check_customer(&customer, &format!("2: {SHARED}"));
}

#[test]
fn of_a_shared_user_no_end_no_pair_and_no_status_is_remembered() {
    let mut before = agreed(day(-5));
    before.previous_end = before.end;
    for (row, says) in [
        (subscribed("active", day(-5)), found("expired", day(-5))),
        (subscribed("active", day(5)), found("active", day(25))),
        (subscribed("active", day(25)), found("active", day(5))),
    ] {
        let account = Account {
            agreement: before.clone(),
            ..shared(row, &paying())
        };
        let observed = [Observed {
            account,
            observation: says,
        }];
        let decisions = reconcile(
            &observed,
            Subscriptions,
            Policy::default(),
            &Answers::default(),
            now(),
        );
        let change = decisions[0].change.as_ref().expect("a change");
        let agreement = change.agreement.as_ref().expect("what is remembered");
        assert_eq!(
            (
                &agreement.end,
                &agreement.previous_end,
                &agreement.open,
                &agreement.replaced
            ),
            (&None, &None, &None, &None)
        );
        assert_eq!(agreement.latest_end, Some(day(25)), "the latest of all rows");
        assert_eq!(agreement.over_since, None, "it is over when every row is");
    }
    let all_over = shared(
        Account {
            is_active: Some(false),
            ..subscribed("expired", day(-5))
        },
        &[sharing(&[subscription("cancelled", day(-20))])],
    );
    let observed = [Observed {
        account: all_over,
        observation: found("expired", day(-5)),
    }];
    let decisions = reconcile(
        &observed,
        Subscriptions,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    let change = decisions[0].change.as_ref().expect("a change");
    let agreement = change.agreement.as_ref().expect("what is remembered");
    assert_eq!(agreement.over_since, Some(now()));
}

#[test]
fn a_customer_without_a_subscription_is_no_reason_to_call_the_user_over() {
    let alone = shared(account(1), &paying());
    assert!(!alone.is_over(now()));
}
