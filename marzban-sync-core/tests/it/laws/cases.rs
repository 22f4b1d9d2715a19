//! Any customer, any answer of the panel, any policy and any moment.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{
    Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId,
};
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::plan::Change;
use marzban_sync_core::policy::{Policy, Unlimited};
use marzban_sync_core::reconcile::{Facet, Observed, reconcile};
use proptest::prelude::*;
use proptest::sample::select;

use crate::given::{now, policy};

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) customer: Vec<Observed>,
    pub(super) facet: Facet,
    pub(super) policy: Policy,
    pub(super) now: DateTime<Utc>,
}

impl Case {
    pub(super) fn changes(&self) -> Vec<Change> {
        reconcile(&self.customer, self.facet, self.policy, self.now)
            .into_iter()
            .filter_map(|decision| decision.change)
            .collect()
    }

    /// The same case once these changes are in the database; a customer's accounts share the subscription.
    pub(super) fn after(&self, changes: &[Change]) -> Self {
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

    pub(super) fn accounts(&self) -> BTreeMap<AccountId, Account> {
        self.customer
            .iter()
            .map(|observed| (observed.account.id, observed.account.clone()))
            .collect()
    }
}

/// Moments that meet: around the present and each other, to the second and between.
pub(super) fn moment() -> impl Strategy<Value = DateTime<Utc>> {
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

pub(super) fn status() -> impl Strategy<Value = SubscriptionStatus> {
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

pub(super) fn subscription() -> impl Strategy<Value = Subscription> {
    (status(), proptest::option::weighted(0.9, moment())).prop_map(|(status, end_date)| Subscription {
        id: SubscriptionId(10),
        status,
        end_date,
    })
}

pub(super) fn panel_status() -> impl Strategy<Value = PanelStatus> {
    select(vec![
        PanelStatus::Active,
        PanelStatus::OnHold,
        PanelStatus::Disabled,
        PanelStatus::Limited,
        PanelStatus::Expired,
        PanelStatus::Unknown("melted".to_owned()),
    ])
}

pub(super) fn panel_user() -> impl Strategy<Value = Observation> {
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

pub(super) fn unknown() -> impl Strategy<Value = Observation> {
    select(vec![
        Observation::Absent,
        Observation::NotPermitted,
        Observation::Unreadable("bad row".to_owned()),
        Observation::Unavailable("timed out".to_owned()),
    ])
}

pub(super) fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![6 => panel_user(), 1 => Just(Observation::Missing), 1 => unknown()]
}

pub(super) fn columns() -> impl Strategy<Value = (Option<bool>, Option<i64>, Option<DateTime<Utc>>)> {
    (
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.8, select(vec![0, 100, 200])),
        proptest::option::of(moment()),
    )
}

pub(super) fn customer_of(
    observation: impl Strategy<Value = Observation>,
) -> impl Strategy<Value = Vec<Observed>> {
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

pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(reactivate, disabled_ends, clear)| {
        policy(|policy| {
            policy.reactivate = reactivate;
            policy.disabled_ends_subscription = disabled_ends;
            policy.unlimited = if clear { Unlimited::Clear } else { Unlimited::Keep };
        })
    })
}

pub(super) fn case_of(observation: impl Strategy<Value = Observation>) -> impl Strategy<Value = Case> {
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

pub(super) fn case() -> impl Strategy<Value = Case> {
    case_of(observation())
}

/// A case one of whose observations is of this kind.
pub(super) fn case_with(special: impl Strategy<Value = Observation>) -> impl Strategy<Value = Case> {
    (case(), special, any::<prop::sample::Index>()).prop_map(|(mut case, special, index)| {
        let position = index.index(case.customer.len());
        case.customer[position].observation = special;
        case
    })
}

/// A user that works at each of the moments that a case may have.
pub(super) fn working_user() -> impl Strategy<Value = Observation> {
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
