//! What is decided for a customer.

use marzban_sync_core::account::{Account, AccountId, SubscriptionStatus};
use marzban_sync_core::observation::Observation;
use marzban_sync_core::plan::{Change, EndDate, Reason};
use marzban_sync_core::reconcile::{Facet, reconcile};
use proptest::prelude::*;

use super::cases::{Case, case, case_of, case_with, unknown, working_user};

/// The values that a change sets, each with the reasons that may explain it; the old value must differ.
fn explained(change: &Change) -> Vec<(&'static str, bool, &'static [Reason])> {
    let Account {
        is_active,
        traffic_used,
        last_connected_at,
        subscription,
        ..
    } = &change.account;
    let mut values: Vec<(&'static str, bool, &'static [Reason])> = Vec::new();
    if let Some(status) = &change.subscription.status {
        let differs = subscription
            .as_ref()
            .is_some_and(|subscription| subscription.status != *status);
        values.push(match status {
            SubscriptionStatus::Active => ("status", differs, &[Reason::Reactivated]),
            _ => ("status", differs, &[Reason::Expired, Reason::Disabled]),
        });
    }
    if let Some(end_date) = change.subscription.end_date {
        let old = subscription
            .as_ref()
            .and_then(|subscription| subscription.end_date);
        values.push(match (old, end_date) {
            (_, EndDate::Never) => ("end_date", old.is_some(), &[Reason::Unlimited]),
            (Some(old), EndDate::At(new)) if new > old => ("end_date", true, &[Reason::Extended]),
            (_, EndDate::At(new)) => ("end_date", old != Some(new), &[Reason::Shortened]),
        });
    }
    if let Some(new) = change.vpn_config.is_active {
        let off = &[
            Reason::Expired,
            Reason::Limited,
            Reason::Disabled,
            Reason::Missing,
        ];
        let reasons: &[Reason] = if new { &[Reason::Works] } else { off };
        values.push(("is_active", *is_active != Some(new), reasons));
    }
    if let Some(new) = change.vpn_config.traffic_used {
        let fell = traffic_used.is_some_and(|old| old > new);
        let reason: &[Reason] = if fell {
            &[Reason::TrafficReset]
        } else {
            &[Reason::TrafficUsed]
        };
        values.push(("traffic_used", *traffic_used != Some(new), reason));
    }
    if let Some(new) = change.vpn_config.last_connected_at {
        values.push((
            "last_connected_at",
            Some(new) > *last_connected_at,
            &[Reason::Connected],
        ));
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn applying_the_changes_and_deciding_again_changes_nothing(case in case()) {
        let after = case.after(&case.changes());
        prop_assert_eq!(after.changes(), vec![]);
    }

    #[test]
    fn a_problem_stays_the_same_problem_when_the_changes_are_applied(case in case()) {
        let problems = |case: &Case| -> Vec<_> {
            reconcile(&case.customer, case.facet, case.policy, case.now)
                .into_iter()
                .filter_map(|decision| decision.problem.map(|problem| (decision.account.id, problem)))
                .collect()
        };
        prop_assert_eq!(problems(&case.after(&case.changes())), problems(&case));
    }

    #[test]
    fn the_order_of_the_accounts_does_not_matter(
        (case, shuffled) in case().prop_flat_map(|case| {
            let customer = Just(case.customer.clone()).prop_shuffle();
            (Just(case), customer)
        })
    ) {
        let shuffled = Case { customer: shuffled, ..case.clone() };
        let sorted = |case: &Case| {
            let mut changes = case.changes();
            changes.sort_by_key(|change| change.account.id);
            changes
        };
        prop_assert_eq!(sorted(&shuffled), sorted(&case));
    }

    #[test]
    fn subscriptions_that_are_not_synced_are_never_changed(case in case()) {
        let before = case.accounts();
        for (id, after) in case.after(&case.changes()).accounts() {
            let subscription = &before[&id].subscription;
            let is_synced = subscription.as_ref().is_some_and(|subscription| subscription.status.is_synced());
            if case.facet == Facet::UserStatus || !is_synced {
                prop_assert_eq!(&after.subscription, subscription);
            }
        }
    }

    #[test]
    fn an_account_that_is_not_known_is_never_changed(case in case()) {
        let changed: Vec<AccountId> = case.changes().iter().map(|change| change.account.id).collect();
        for observed in &case.customer {
            let missing_is_news = case.facet == Facet::UserStatus;
            let known = match observed.observation {
                Observation::Found(_) => true,
                Observation::Missing => missing_is_news,
                _ => false,
            };
            prop_assert!(known || !changed.contains(&observed.account.id));
        }
    }

    #[test]
    fn a_panel_that_says_nothing_changes_nothing(case in case_of(unknown())) {
        prop_assert_eq!(case.changes(), vec![]);
        let decisions = reconcile(&case.customer, case.facet, case.policy, case.now);
        prop_assert_eq!(decisions.len(), case.customer.len());
        prop_assert!(decisions.iter().all(|decision| decision.problem.is_some()));
    }

    #[test]
    fn while_an_account_is_unknown_nothing_is_taken_from_the_subscription(case in case_with(unknown())) {
        for change in case.changes() {
            let (_, destructive) = change.split();
            prop_assert!(destructive.subscription.is_empty(), "{}", destructive);
        }
    }

    #[test]
    fn a_customer_one_of_whose_users_works_keeps_the_subscription_open(case in case_with(working_user())) {
        for change in case.changes() {
            prop_assert!(change.subscription.status != Some(SubscriptionStatus::Expired), "{}", change);
        }
    }

    #[test]
    fn each_value_that_changes_differs_and_has_exactly_one_reason(case in case()) {
        for change in case.changes() {
            let values = explained(&change);
            prop_assert!(!values.is_empty());
            let mut unused = change.reasons.clone();
            for (value, differs, reasons) in values {
                prop_assert!(differs, "{value} is written and does not change: {change}");
                let given: Vec<&Reason> =
                    change.reasons.iter().filter(|reason| reasons.contains(reason)).collect();
                prop_assert_eq!(given.len(), 1, "{}: {}", value, &change);
                unused.retain(|reason| !reasons.contains(reason));
            }
            prop_assert_eq!(unused, vec![], "reasons without a value: {}", change);
        }
    }

    #[test]
    fn only_one_account_of_a_customer_changes_the_subscription(case in case()) {
        let changes = case.changes();
        let count = changes.iter().filter(|change| !change.subscription.is_empty()).count();
        prop_assert!(count <= 1, "{:?}", changes);
    }

    #[test]
    fn early_are_those_that_lose_access_or_status_before_their_own_end(case in case()) {
        for decision in reconcile(&case.customer, case.facet, case.policy, case.now) {
            let open = decision.account.subscription.as_ref().is_some_and(|subscription| {
                subscription.status.is_open() && subscription.end_date.is_none_or(|end_date| end_date > case.now)
            });
            let ends = decision.change.as_ref().is_some_and(|change| {
                change.subscription.status == Some(SubscriptionStatus::Expired)
                    || change.reasons.contains(&Reason::Expired)
            });
            prop_assert_eq!(decision.expired_early, open && ends);
        }
    }

    #[test]
    fn no_change_can_be_left_out(case in case()) {
        let whole = case.after(&case.changes()).accounts();
        for left_out in 0..case.changes().len() {
            let mut changes = case.changes();
            let change = changes.remove(left_out);
            let short = case.after(&changes);
            prop_assert!(short.accounts() != whole, "{change} changes nothing");
            let made_good: Vec<AccountId> = short.changes().iter().map(|change| change.account.id).collect();
            prop_assert!(made_good.contains(&change.account.id), "{change} is not decided again");
        }
    }
}
