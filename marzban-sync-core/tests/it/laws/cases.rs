//! Any customer, any answer of the panel, any policy and any moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{
    Account, AccountId, Elsewhere, Sharer, Subscription, SubscriptionId, UserId,
};
use marzban_sync_core::agreement::{Agreement, Disagreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed, PanelStatus, PanelUser};
use marzban_sync_core::plan::Change;
use marzban_sync_core::policy::{Access, Answers, PanelBehind, Policy, Reactivate, Trust, Unlimited};
use marzban_sync_core::reconcile::{Decision, Facet, reconcile};
use proptest::prelude::*;
use proptest::sample::select;

use crate::given::{account, created, now, policy};

/// Everything that a decision depends on.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) customer: Vec<Observed>,
    pub(super) facet: Facet,
    pub(super) policy: Policy,
    pub(super) answers: Answers,
    pub(super) now: DateTime<Utc>,
}

/// What of an account is in the bot's rows.
pub(super) type Row = (
    Option<bool>,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<Subscription>,
    Vec<Subscription>,
);

impl Case {
    pub(super) fn decisions(&self) -> Vec<Decision<'_>> {
        reconcile(&self.customer, self.facet, self.policy, &self.answers, self.now)
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        self.decisions()
            .into_iter()
            .filter_map(|decision| decision.change)
            .collect()
    }

    /// Whose change touches a row, and which.
    pub(super) fn writes(&self) -> Vec<Change> {
        let mut changes = self.changes();
        changes.retain(|change| !change.touches_no_row());
        changes
    }

    /// The same case once these changes are in the database; a subscription is one row, whoever of the customer's accounts
    /// has it.
    pub(super) fn after(&self, changes: &[Change]) -> Self {
        let mut case = self.clone();
        for change in changes {
            let applied = change.applied();
            let written: Vec<Subscription> = applied
                .subscription
                .iter()
                .filter(|_| !change.subscription.is_empty())
                .chain(
                    applied
                        .other_subscriptions
                        .iter()
                        .filter(|other| change.also_expired.iter().any(|expired| expired.id == other.id)),
                )
                .cloned()
                .collect();
            let as_written = |subscription: &Subscription| {
                let written = written.iter().find(|written| written.id == subscription.id);
                written.unwrap_or(subscription).clone()
            };
            for Observed { account, .. } in &mut case.customer {
                if account.id == applied.id {
                    *account = Account {
                        subscription: account.subscription.take(),
                        other_subscriptions: Arc::clone(&account.other_subscriptions),
                        ..applied.clone()
                    };
                }
                account.subscription = account.subscription.as_ref().map(as_written);
                account.other_subscriptions = account.other_subscriptions.iter().map(as_written).collect();
            }
        }
        case
    }

    /// The same case once a whole run is in the database.
    pub(super) fn run(&self) -> Self {
        self.after(&self.changes())
    }

    pub(super) fn accounts(&self) -> BTreeMap<AccountId, Account> {
        self.customer
            .iter()
            .map(|observed| (observed.account.id, observed.account.clone()))
            .collect()
    }

    /// The bot's rows, without what the library remembers.
    pub(super) fn rows(&self) -> BTreeMap<AccountId, Row> {
        self.customer
            .iter()
            .map(|Observed { account, .. }| {
                let row = (
                    account.is_active,
                    account.traffic_used,
                    account.last_connected_at,
                    account.subscription.clone(),
                    account.other_subscriptions.to_vec(),
                );
                (account.id, row)
            })
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

pub(super) fn word() -> impl Strategy<Value = &'static str> {
    select(vec![
        "trial",
        "active",
        "ACTIVE",
        "expired",
        "expired",
        "cancelled",
        "pending",
        "grace",
    ])
}

pub(super) fn subscription(id: i64) -> impl Strategy<Value = Subscription> {
    (word(), proptest::option::weighted(0.9, moment()))
        .prop_map(move |(word, end_date)| Subscription::new(SubscriptionId(id), word, end_date))
}

pub(super) fn panel_status() -> impl Strategy<Value = PanelStatus> {
    select(vec![
        PanelStatus::Active,
        PanelStatus::Active,
        PanelStatus::OnHold,
        PanelStatus::Disabled,
        PanelStatus::Limited,
        PanelStatus::Expired,
        PanelStatus::Unknown("melted".to_owned()),
    ])
}

/// A moment of a panel's end, in whole seconds.
fn expire() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![
        12 => moment().prop_map(|moment| DateTime::from_timestamp(moment.timestamp(), 0).expect("a moment")),
        1 => Just(DateTime::from_timestamp(2_592_000, 0).expect("a length")),
    ]
}

fn created_at() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    prop_oneof![
        1 => Just(None),
        8 => Just(Some(created())),
        1 => Just(Some(created() + TimeDelta::days(1))),
    ]
}

pub(super) fn panel_user() -> impl Strategy<Value = Observation> {
    let times = (
        proptest::option::weighted(0.85, expire()),
        proptest::option::of(moment()),
        created_at(),
    );
    (panel_status(), times, select(vec![0, 100, 200])).prop_map(
        |(status, (expire, online_at, created_at), used_traffic)| {
            Observation::Found(PanelUser {
                status,
                expire,
                used_traffic,
                online_at,
                created_at,
                spelling: None,
            })
        },
    )
}

pub(super) fn unknown() -> impl Strategy<Value = Observation> {
    select(vec![
        Observation::NotListed,
        Observation::NotPermitted,
        Observation::Unreadable("bad row".to_owned()),
        Observation::Unavailable("timed out".to_owned()),
    ])
}

pub(super) fn observation() -> impl Strategy<Value = Observation> {
    prop_oneof![8 => panel_user(), 1 => Just(Observation::NotFound), 1 => unknown()]
}

fn end() -> impl Strategy<Value = EndDate> {
    proptest::option::weighted(0.9, expire()).prop_map(EndDate::from)
}

fn replaced() -> impl Strategy<Value = Replaced> {
    (select(vec!["trial", "ACTIVE"]), end()).prop_map(|(status, end)| Replaced {
        status: status.to_owned(),
        end,
    })
}

/// Anything that runs may have left, whatever the bot and the panel have done since.
pub(super) fn agreement() -> impl Strategy<Value = Agreement> {
    let ends = (
        proptest::option::weighted(0.7, end()),
        proptest::option::weighted(0.4, end()),
        proptest::option::of(moment()),
        proptest::option::weighted(0.3, (end(), end())),
        proptest::option::weighted(0.3, end()),
    );
    let replaced = proptest::option::weighted(0.3, replaced());
    let since = (proptest::option::of(moment()), proptest::option::of(moment()));
    let flags = (any::<bool>(), proptest::bool::weighted(0.1), any::<bool>());
    (ends, created_at(), replaced, since, flags).prop_map(
        |((end, previous_end, latest_end, open, written_end), created_at, replaced, since, flags)| {
            let (is_ours, on_hold, is_missing) = flags;
            Agreement {
                end: end.filter(|_| !on_hold),
                previous_end,
                is_ours: is_ours && !on_hold,
                written_end,
                latest_end,
                created_at,
                on_hold,
                was_endless: on_hold && is_missing,
                replaced,
                reopened_end: None,
                over_since: since.0,
                own_write_at: since.1,
                open: open
                    .filter(|_| !on_hold)
                    .map(|(row_end, panel_end)| Disagreement {
                        row_end,
                        panel_end,
                        since: now() - TimeDelta::days(2),
                    }),
                extension: None,
                is_missing,
            }
        },
    )
}

/// An account's own row and what is remembered of its user; half of them agree with their row.
fn an_account() -> impl Strategy<Value = Account> {
    let columns = (
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.8, select(vec![0, 100, 200])),
        proptest::option::of(moment()),
        proptest::option::of(moment()),
    );
    let agreement = prop_oneof![1 => Just(Agreement::default()), 3 => agreement()];
    let sharers = prop_oneof![
        9 => Just(Vec::new()),
        1 => proptest::collection::vec(subscription(50), 0..2),
    ];
    let is_shared = any::<bool>();
    (columns, agreement, sharers, is_shared).prop_map(|(columns, agreement, subscriptions, is_shared)| {
        let (is_active, traffic_used, last_connected_at, updated_at) = columns;
        let sharer = Sharer {
            id: AccountId(50),
            updated_at: None,
            subscriptions: subscriptions.clone().into(),
        };
        let is_shared = !subscriptions.is_empty() && is_shared;
        Account {
            is_active,
            traffic_used,
            last_connected_at,
            updated_at,
            agreement,
            sharers: is_shared.then_some(sharer).into_iter().collect(),
            ..account(1)
        }
    })
}

pub(super) fn customer_of(
    observation: impl Strategy<Value = Observation>,
) -> impl Strategy<Value = Vec<Observed>> {
    let accounts = proptest::collection::vec((an_account(), observation), 1..=3);
    let subscriptions = (
        proptest::option::weighted(0.9, subscription(10)),
        proptest::collection::vec(subscription(11), 0..=1),
    );
    let elsewhere = (
        proptest::bool::weighted(0.15),
        any::<bool>(),
        end(),
        proptest::option::of(replaced()),
    );
    let is_each_its_own = proptest::bool::weighted(0.25);
    (accounts, subscriptions, elsewhere, is_each_its_own, any::<bool>()).prop_map(
        |(accounts, (own, others), (is_elsewhere, is_active, written, replaced), is_each_its_own, agrees)| {
            let elsewhere = Elsewhere {
                accounts: u64::from(is_elsewhere),
                is_active: is_elsewhere && is_active,
                written_ends: if is_elsewhere { vec![written] } else { Vec::new() },
                replaced: replaced.filter(|_| is_elsewhere).into_iter().collect(),
                agreed_ends: if is_elsewhere {
                    vec![(written, is_active)]
                } else {
                    Vec::new()
                },
            };
            let ids: Vec<i64> = (1..).take(accounts.len()).collect();
            // With `subscription_id` each account names a subscription of its own, else all share the governing one.
            let named = |id: i64| {
                own.clone().map(|own| Subscription {
                    id: SubscriptionId(20 + id),
                    is_named: true,
                    ..own
                })
            };
            (1..)
                .zip(accounts)
                .map(|(id, (account, observation))| {
                    let mut account = Account {
                        id: AccountId(id),
                        user_id: UserId(1),
                        name: format!("user{id}"),
                        elsewhere: elsewhere.clone(),
                        subscription: if is_each_its_own { named(id) } else { own.clone() },
                        other_subscriptions: others
                            .iter()
                            .cloned()
                            .chain(
                                ids.iter()
                                    .copied()
                                    .filter(|_| is_each_its_own)
                                    .filter(|other| *other != id)
                                    .filter_map(named),
                            )
                            .collect(),
                        ..account
                    };
                    if agrees && let Some(subscription) = &account.subscription {
                        account.agreement.end = Some(subscription.end());
                        account.agreement.on_hold = false;
                    }
                    Observed { account, observation }
                })
                .collect()
        },
    )
}

pub(super) fn any_policy() -> impl Strategy<Value = Policy> {
    let reactivate = select(vec![
        Reactivate::Always,
        Reactivate::Never,
        Reactivate::AtLeast(TimeDelta::days(10)),
    ]);
    (reactivate, any::<[bool; 3]>()).prop_map(|(reactivate, [clears, only_off, extends])| {
        policy(|policy| {
            policy.reactivate = reactivate;
            policy.unlimited = if clears { Unlimited::Clear } else { Unlimited::Keep };
            policy.access = if only_off { Access::OnlyOff } else { Access::Mirror };
            policy.panel_behind = if extends {
                PanelBehind::Extend
            } else {
                PanelBehind::Report
            };
            policy.extend_after = TimeDelta::zero();
        })
    })
}

pub(super) fn any_answers() -> impl Strategy<Value = Answers> {
    let trust = || {
        prop_oneof![
            3 => Just(Trust::Nobody),
            1 => Just(Trust::Everybody),
            1 => Just(Trust::Names(["user1".to_owned()].into())),
        ]
    };
    (trust(), trust(), proptest::bool::weighted(0.2)).prop_map(
        |(trust_panel, trust_bot, allow_mass_changes)| Answers {
            trust_panel,
            trust_bot,
            allow_mass_changes,
        },
    )
}

pub(super) fn case_of(observation: impl Strategy<Value = Observation>) -> impl Strategy<Value = Case> {
    let facet = select(vec![
        Facet::Subscriptions,
        Facet::Subscriptions,
        Facet::UserStatus,
    ]);
    (
        customer_of(observation),
        facet,
        any_policy(),
        any_answers(),
        moment(),
    )
        .prop_map(|(customer, facet, policy, answers, now)| Case {
            customer,
            facet,
            policy,
            answers,
            now,
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
            created_at: Some(created()),
            spelling: None,
        })
    })
}
