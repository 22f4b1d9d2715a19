//! What holds for any customer, any answer of the panel, any policy and any moment.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{
    Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId,
};
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::plan::{Change, EndDate, Reason, split};
use marzban_sync_core::policy::{Policy, Unlimited};
use marzban_sync_core::reconcile::{Facet, Observed, reconcile};
use proptest::prelude::*;
use proptest::sample::select;

use crate::given::{now, policy};

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
struct Case {
    customer: Vec<Observed>,
    facet: Facet,
    policy: Policy,
    now: DateTime<Utc>,
}

impl Case {
    fn changes(&self) -> Vec<Change> {
        reconcile(&self.customer, self.facet, self.policy, self.now)
            .into_iter()
            .filter_map(|decision| decision.change)
            .collect()
    }

    /// The same case once these changes are in the database; a customer's accounts share the subscription.
    fn after(&self, changes: &[Change]) -> Self {
        let mut case = self.clone();
        for change in changes {
            let applied = change.applied();
            for observed in &mut case.customer {
                if observed.account.id == applied.id {
                    observed.account = Account {
                        subscription: observed.account.subscription.clone(),
                        ..applied.clone()
                    };
                }
                if !change.subscription.is_empty() {
                    observed.account.subscription.clone_from(&applied.subscription);
                }
            }
        }
        case
    }

    fn accounts(&self) -> BTreeMap<AccountId, Account> {
        self.customer
            .iter()
            .map(|observed| (observed.account.id, observed.account.clone()))
            .collect()
    }
}

/// Moments that meet: around the present and each other, to the second and between.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    let seconds = select(vec![
        -30 * 86_400,
        -8 * 86_400,
        -2,
        -1,
        0,
        1,
        2,
        8 * 86_400,
        30 * 86_400,
    ]);
    (seconds, select(vec![0, 1, 500_000, 999_999]))
        .prop_map(|(seconds, micros)| now() + TimeDelta::seconds(seconds) + TimeDelta::microseconds(micros))
}

fn status() -> impl Strategy<Value = SubscriptionStatus> {
    select(vec![
        "trial",
        "active",
        "expired",
        "cancelled",
        "pending",
        "grace",
    ])
    .prop_map(SubscriptionStatus::from)
}

fn subscription() -> impl Strategy<Value = Subscription> {
    (status(), proptest::option::weighted(0.9, moment())).prop_map(|(status, end_date)| Subscription {
        id: SubscriptionId(10),
        status,
        end_date,
    })
}

fn panel_status() -> impl Strategy<Value = PanelStatus> {
    select(vec![
        PanelStatus::Active,
        PanelStatus::OnHold,
        PanelStatus::Disabled,
        PanelStatus::Limited,
        PanelStatus::Expired,
        PanelStatus::Unknown("melted".to_owned()),
    ])
}

fn panel_user() -> impl Strategy<Value = Observation> {
    let times = (
        proptest::option::weighted(0.8, moment()),
        proptest::option::of(moment()),
    );
    (panel_status(), times, select(vec![0, 100, 200])).prop_map(
        |(status, (expire, online_at), used_traffic)| {
            Observation::Found(PanelUser {
                status,
                expire,
                used_traffic,
                online_at,
                created_at: None,
            })
        },
    )
}

fn unknown() -> impl Strategy<Value = Observation> {
    select(vec![
        Observation::Absent,
        Observation::NotPermitted,
        Observation::Unreadable("bad row".to_owned()),
        Observation::Unavailable("timed out".to_owned()),
    ])
}

fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![6 => panel_user(), 1 => Just(Observation::Missing), 1 => unknown()]
}

fn columns() -> impl Strategy<Value = (Option<bool>, Option<i64>, Option<DateTime<Utc>>)> {
    (
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.8, select(vec![0, 100, 200])),
        proptest::option::of(moment()),
    )
}

fn customer_of(observation: impl Strategy<Value = Observation>) -> impl Strategy<Value = Vec<Observed>> {
    let accounts = proptest::collection::vec((columns(), observation), 1..=3);
    let subscription = proptest::option::weighted(0.9, subscription());
    (accounts, subscription, proptest::bool::weighted(0.1)).prop_map(|(accounts, subscription, elsewhere)| {
        (1..)
            .zip(accounts)
            .map(
                |(id, ((is_active, traffic_used, last_connected_at), observation))| Observed {
                    account: Account {
                        id: AccountId(id),
                        user_id: UserId(1),
                        telegram_id: Some(1001),
                        name: format!("user{id}"),
                        is_active,
                        traffic_used,
                        last_connected_at,
                        active_elsewhere: elsewhere,
                        subscription: subscription.clone(),
                    },
                    observation,
                },
            )
            .collect()
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(reactivate, disabled_ends, clear)| {
        policy(|policy| {
            policy.reactivate = reactivate;
            policy.disabled_ends_subscription = disabled_ends;
            policy.unlimited = if clear { Unlimited::Clear } else { Unlimited::Keep };
        })
    })
}

fn case_of(observation: impl Strategy<Value = Observation>) -> impl Strategy<Value = Case> {
    let facet = select(vec![Facet::Subscriptions, Facet::UserStatus]);
    (customer_of(observation), facet, any_policy(), moment()).prop_map(|(customer, facet, policy, now)| {
        Case {
            customer,
            facet,
            policy,
            now,
        }
    })
}

fn case() -> impl Strategy<Value = Case> {
    case_of(observation())
}

/// A case one of whose observations is of this kind.
fn case_with(special: impl Strategy<Value = Observation>) -> impl Strategy<Value = Case> {
    (case(), special, any::<prop::sample::Index>()).prop_map(|(mut case, special, index)| {
        let position = index.index(case.customer.len());
        case.customer[position].observation = special;
        case
    })
}

/// A user that works at each of the moments that a case may have.
fn working_user() -> impl Strategy<Value = Observation> {
    let held = (Just(PanelStatus::OnHold), proptest::option::of(moment()));
    let active = (
        Just(PanelStatus::Active),
        select(vec![None, Some(now() + TimeDelta::days(365))]),
    );
    prop_oneof![held, active].prop_map(|(status, expire)| {
        Observation::Found(PanelUser {
            status,
            expire,
            used_traffic: 0,
            online_at: None,
            created_at: None,
        })
    })
}

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

/// Whether an account has lost something.
fn lost(before: &Account, after: &Account) -> bool {
    let (was, is) = (&before.subscription, &after.subscription);
    let access = after.is_active == Some(false) && before.is_active != Some(false);
    let status = was
        .as_ref()
        .zip(is.as_ref())
        .is_some_and(|(was, is)| was.status != is.status && is.status == SubscriptionStatus::Expired);
    let end = was
        .as_ref()
        .zip(is.as_ref())
        .is_some_and(|(was, is)| match (was.end_date, is.end_date) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(was), Some(is)) => is < was,
        });
    access || status || end
}

fn halves(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    split(changes).into_iter().unzip()
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
    fn the_harmless_half_and_then_the_destructive_half_are_the_whole(case in case()) {
        for change in case.changes() {
            let whole = change.applied();
            let count = change.reasons.len();
            let (harmless, destructive) = change.clone().split();
            prop_assert_eq!(&harmless.account, &change.account);
            prop_assert_eq!(&destructive.account, &harmless.applied());
            prop_assert_eq!(destructive.applied(), whole);
            prop_assert_eq!(harmless.reasons.len() + destructive.reasons.len(), count);
            prop_assert!(harmless.is_empty() == harmless.reasons.is_empty());
            prop_assert!(destructive.is_empty() == destructive.reasons.is_empty());
        }
    }

    #[test]
    fn what_takes_away_expects_the_rows_as_the_harmless_halves_leave_them(case in case()) {
        let (harmless, destructive) = halves(case.changes());
        let between = case.after(&harmless).accounts();
        for change in destructive {
            prop_assert_eq!(&change.account, &between[&change.account.id]);
        }
    }

    #[test]
    fn the_harmless_half_never_takes_away(case in case()) {
        let (harmless, _) = halves(case.changes());
        let before = case.accounts();
        for (id, after) in case.after(&harmless).accounts() {
            prop_assert!(!lost(&before[&id], &after), "{:?} became {:?}", before[&id], after);
        }
    }

    #[test]
    fn the_destructive_half_is_empty_unless_it_takes_away(case in case()) {
        let (harmless, destructive) = halves(case.changes());
        let between = case.after(&harmless);
        let after = between.after(&destructive).accounts();
        for change in destructive.iter().filter(|change| !change.is_empty()) {
            let id = change.account.id;
            prop_assert!(lost(&between.accounts()[&id], &after[&id]), "{change}");
        }
    }

    #[test]
    fn a_run_that_ends_after_any_of_its_changes_is_made_good_by_the_next(case in case(), cut in 0_usize..7) {
        let whole = case.after(&case.changes()).accounts();
        let (harmless, destructive) = halves(case.changes());
        let steps: Vec<Change> = harmless.into_iter().chain(destructive).collect();
        let cut = &steps[..cut.min(steps.len())];
        // The steps of a customer share the subscription: applying them one by one is what a store does.
        let broken_off = cut.iter().fold(case.clone(), |case, step| case.after(std::slice::from_ref(step)));
        prop_assert_eq!(broken_off.after(&broken_off.changes()).accounts(), whole);
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
}
