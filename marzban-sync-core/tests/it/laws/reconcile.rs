//! What is decided for a customer.

use marzban_sync_core::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed};
use marzban_sync_core::plan::{Change, Reason};
use marzban_sync_core::policy::{Answer, Answers};
use marzban_sync_core::reconcile::Facet;
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
            SubscriptionStatus::Expired => ("status", differs, &[Reason::Expired]),
            _ => ("status", differs, &[Reason::Reactivated]),
        });
    }
    if let Some(end_date) = change.subscription.end_date {
        let old = subscription
            .as_ref()
            .and_then(|subscription| subscription.end_date);
        values.push(match (old, end_date) {
            (_, EndDate::Never) => ("end_date", old.is_some(), &[Reason::Unlimited]),
            (Some(old), EndDate::At(new)) if new > old => ("end_date", true, &[Reason::Extended]),
            (None, EndDate::At(_)) => ("end_date", true, &[Reason::Shortened, Reason::Begun]),
            (Some(old), EndDate::At(new)) => ("end_date", old != new, &[Reason::Shortened]),
        });
    }
    if let Some(new) = change.vpn_config.is_active {
        let off = &[Reason::Limited, Reason::Disabled, Reason::Missing];
        let is_off_by_status = !new && !change.reasons.iter().any(|reason| off.contains(reason));
        let reasons: &[Reason] = match (new, is_off_by_status) {
            (true, _) => &[Reason::Works],
            (false, true) => &[Reason::Expired],
            (false, false) => off,
        };
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

/// The subscriptions of the customer, as its rows have them.
fn subscriptions(case: &Case) -> Vec<Subscription> {
    let all = case
        .customer
        .iter()
        .flat_map(|observed| observed.account.subscriptions());
    let mut subscriptions: Vec<Subscription> = all.cloned().collect();
    subscriptions.sort_by_key(|subscription| subscription.id);
    subscriptions.dedup();
    subscriptions
}

proptest! {
    #![proptest_config(super::laws_config())]

    #[test]
    fn applying_the_changes_and_deciding_again_changes_no_row(case in case()) {
        let after = case.run();
        prop_assert_eq!(after.writes(), vec![]);
        // What is remembered of accounts that do not lead follows the row by a run.
        prop_assert_eq!(after.run().changes(), vec![]);
    }

    #[test]
    fn an_account_of_its_own_is_in_line_after_one_run(case in case()) {
        let mut case = case;
        case.customer.truncate(1);
        prop_assert_eq!(case.run().changes(), vec![]);
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
        let problems = |case: &Case| {
            let mut problems: Vec<_> = case
                .decisions()
                .into_iter()
                .map(|decision| (decision.account.id, decision.problem, decision.is_cut, decision.push))
                .collect();
            problems.sort_by_key(|(id, ..)| *id);
            problems
        };
        prop_assert_eq!(problems(&shuffled), problems(&case));
    }

    #[test]
    fn subscriptions_that_are_not_synced_are_never_changed(case in case()) {
        let after = subscriptions(&case.run());
        for (before, after) in subscriptions(&case).into_iter().zip(after) {
            if case.facet == Facet::UserStatus || !before.status.is_synced() {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn an_account_that_is_not_known_is_never_changed(case in case()) {
        let changed: Vec<AccountId> = case.writes().iter().map(|change| change.account.id).collect();
        for observed in &case.customer {
            let known = matches!(observed.observation, Observation::Found(_) | Observation::NotFound);
            // Others may carry what their subscription loses, which it does only when all of them are known.
            prop_assert!(known || !changed.contains(&observed.account.id));
        }
    }

    #[test]
    fn a_panel_that_says_nothing_changes_nothing(case in case_of(unknown())) {
        prop_assert_eq!(case.writes(), vec![]);
        let decisions = case.decisions();
        prop_assert_eq!(decisions.len(), case.customer.len());
        prop_assert!(decisions.iter().all(|decision| decision.problem.is_some()));
    }

    #[test]
    fn while_an_account_is_unknown_nothing_is_taken_from_the_subscription(case in case_with(unknown())) {
        let unknown: Vec<SubscriptionId> = case
            .customer
            .iter()
            .filter(|observed| !matches!(observed.observation, Observation::Found(_) | Observation::NotFound))
            .filter_map(|observed| observed.account.subscription.as_ref())
            .map(|subscription| subscription.id)
            .collect();
        for change in case.changes() {
            let id = change.account.subscription.as_ref().map(|subscription| subscription.id);
            if id.is_some_and(|id| unknown.contains(&id)) {
                let (_, destructive) = change.split();
                prop_assert!(destructive.subscription.is_empty(), "{}", destructive);
            }
        }
    }

    #[test]
    fn a_subscription_one_of_whose_users_works_stays_open(case in case_with(working_user())) {
        let working: Vec<SubscriptionId> = case
            .customer
            .iter()
            .filter(|observed| matches!(&observed.observation, Observation::Found(user) if user.works(case.now)))
            .filter_map(|observed| observed.account.subscription.as_ref())
            .map(|subscription| subscription.id)
            .collect();
        for change in case.changes() {
            let ended = change.subscription.status == Some(SubscriptionStatus::Expired);
            let own = change.account.subscription.iter().filter(|_| ended).map(|one| one.id);
            for id in own.chain(change.also_expired.iter().map(|one| one.id)) {
                prop_assert!(!working.contains(&id), "{}", change);
            }
        }
    }

    #[test]
    fn a_subscription_ends_only_by_an_end_that_has_passed(case in case()) {
        let after = case.run();
        for (before, after) in subscriptions(&case).iter().zip(subscriptions(&after)) {
            if before.status != after.status && after.status == SubscriptionStatus::Expired {
                prop_assert!(after.end() <= EndDate::At(case.now), "{after:?}");
            }
        }
    }

    #[test]
    fn a_subscription_comes_back_only_with_an_end_ahead_while_a_user_works(case in case()) {
        for change in case.changes() {
            if !change.reasons.contains(&Reason::Reactivated) {
                continue;
            }
            let after = change.applied().subscription.expect("it comes back");
            prop_assert!(after.is_promised(case.now), "{change}");
            // One of the users that share the subscription.
            let id = change.account.subscription.as_ref().map(|one| one.id);
            let works = case.customer.iter().any(|observed| {
                observed.account.subscription.as_ref().map(|one| one.id) == id
                    && matches!(&observed.observation, Observation::Found(user) if user.works(case.now))
            });
            prop_assert!(works, "{change}");
            prop_assert!(change.account.sharers.is_empty());
        }
    }

    #[test]
    fn nothing_is_taken_from_a_subscription_that_several_share_while_its_end_is_ahead(case in case()) {
        let shares = |account: &Account| {
            let own = |other: &Observed| {
                other.account.id != account.id
                    && other.account.subscription.as_ref().map(|one| one.id)
                        == account.subscription.as_ref().map(|one| one.id)
            };
            account.elsewhere.accounts > 0 || case.customer.iter().any(own)
        };
        for change in case.changes() {
            let Some(before) = &change.account.subscription else { continue };
            let after = change.applied().subscription.expect("the same");
            let begins = change.reasons.contains(&Reason::Begun);
            // An operator may say so of the account with the latest end.
            let is_said = case.answers.of(&change.account.name) == Some(Answer::Panel);
            if before.end() > EndDate::At(case.now) && shares(&change.account) && !begins && !is_said {
                prop_assert!(after.end() >= before.end(), "{}", change);
                prop_assert!(before.status == after.status || after.status.is_open(), "{}", change);
            }
        }
    }

    #[test]
    fn each_value_that_changes_differs_and_has_a_reason(case in case()) {
        for change in case.writes() {
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
    fn what_changes_no_row_has_no_reason(case in case()) {
        for change in case.changes() {
            prop_assert_eq!(change.touches_no_row(), change.reasons.is_empty(), "{}", change);
        }
    }

    #[test]
    fn only_one_account_changes_a_subscription(case in case()) {
        let changes = case.changes();
        let own = changes.iter().filter(|change| !change.subscription.is_empty());
        let mut changed: Vec<SubscriptionId> = own
            .filter_map(|change| change.account.subscription.as_ref())
            .chain(changes.iter().flat_map(|change| change.also_expired.iter()))
            .map(|subscription| subscription.id)
            .collect();
        let count = changed.len();
        changed.sort_unstable();
        changed.dedup();
        // Of several accounts with subscriptions of their own, each may end the same abandoned one.
        let abandoned = changes.iter().filter(|change| !change.also_expired.is_empty()).count() > 1;
        prop_assert!(changed.len() == count || abandoned, "{:?}", changes);
    }

    #[test]
    fn early_are_those_that_lose_access_before_their_own_end(case in case()) {
        for decision in case.decisions() {
            let account = decision.account;
            // As the row is, or as the change leaves it.
            let after = decision.change.as_ref().map(Change::applied);
            let is_ahead = [Some(account), after.as_ref()].into_iter().flatten().any(|account| {
                account.subscription.as_ref().is_none_or(|subscription| !subscription.is_over(case.now))
            });
            let goes_off = decision.change.as_ref().is_some_and(|change| {
                let by_end = [Reason::Expired, Reason::Missing].iter().any(|reason| change.reasons.contains(reason));
                by_end && change.vpn_config.is_active == Some(false) && account.is_active == Some(true)
            });
            prop_assert_eq!(decision.is_off_early, is_ahead && goes_off);
        }
    }

    #[test]
    fn whatever_the_panel_alone_moved_earlier_is_counted_or_never_taken(case in case()) {
        for decision in case.decisions() {
            let shortened = decision
                .change
                .as_ref()
                .is_some_and(|change| change.reasons.contains(&Reason::Shortened));
            prop_assert!(!shortened || decision.is_cut);
        }
    }

    #[test]
    fn without_an_answer_a_row_that_the_bot_moved_later_keeps_its_end(case in case()) {
        let case = Case {
            answers: Answers::default(),
            ..case
        };
        for change in case.changes() {
            let Some(before) = &change.account.subscription else { continue };
            let agreed = change.account.agreement.end;
            let paid = agreed.is_some_and(|agreed| before.end() > agreed)
                && !agreed.is_some_and(|agreed| {
                    marzban_sync_core::merge_ends::is_same(before.end(), agreed, case.policy.tolerance)
                });
            if paid {
                let after = change.applied().subscription.expect("the same");
                prop_assert!(after.end() >= before.end(), "{}", change);
            }
        }
    }

    #[test]
    fn no_change_can_be_left_out(case in case()) {
        let whole = case.run();
        for left_out in 0..case.writes().len() {
            let mut changes = case.writes();
            let change = changes.remove(left_out);
            let short = case.after(&changes);
            prop_assert!(short.rows() != whole.rows(), "{change} changes nothing");
            let made_good: Vec<AccountId> = short.writes().iter().map(|change| change.account.id).collect();
            prop_assert!(!made_good.is_empty(), "{change} is not decided again");
        }
    }

    #[test]
    fn a_push_goes_later_to_the_row_of_a_user_that_is_still_as_agreed(case in case()) {
        for decision in case.decisions() {
            let Some(push) = decision.push else { continue };
            let row = decision.account.subscription.as_ref().map(Subscription::end);
            prop_assert_eq!(row, Some(EndDate::At(push.to)));
            prop_assert!(push.to > push.from && decision.problem.is_some());
            prop_assert!(decision.account.sharers.is_empty());
        }
    }
}
