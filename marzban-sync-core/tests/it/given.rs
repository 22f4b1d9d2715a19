//! Accounts, panel users and rows in few words; a test says only what it is about.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId, Elsewhere, Subscription, SubscriptionId, UserId};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed, PanelStatus, PanelUser};
use marzban_sync_core::policy::{Access, CleanupAction, PanelBehind, Policy, Reactivate, Unlimited};

/// A moment of UTC, as `2025-09-15 12:00:00`.
#[track_caller]
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .expect("a moment of UTC")
        .and_utc()
}

/// The present of all tests.
pub(crate) fn now() -> DateTime<Utc> {
    at("2025-09-15 12:00:00")
}

/// The present and so many days; negative for the past.
pub(crate) fn day(days: i64) -> DateTime<Utc> {
    now() + TimeDelta::days(days)
}

/// The present and so many seconds; negative for the past.
pub(crate) fn second(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

/// The account `user1` of a customer of the same number, with access and without a subscription.
pub(crate) fn account(id: i64) -> Account {
    Account {
        id: AccountId(id),
        user_id: UserId(id),
        telegram_id: Some(1000 + id),
        name: format!("user{id}"),
        is_active: Some(true),
        traffic_used: Some(100),
        last_connected_at: None,
        updated_at: None,
        subscription: None,
        other_subscriptions: [].into(),
        elsewhere: Elsewhere::default(),
        sharers: [].into(),
        agreement: Agreement::default(),
        revision: 0,
    }
}

/// The account `user1` whose governing subscription has this status and end.
pub(crate) fn subscribed(status: &str, end_date: impl Into<Option<DateTime<Utc>>>) -> Account {
    Account {
        subscription: Some(subscription(status, end_date)),
        ..account(1)
    }
}

pub(crate) fn subscription(status: &str, end_date: impl Into<Option<DateTime<Utc>>>) -> Subscription {
    Subscription::new(SubscriptionId(10), status, end_date.into())
}

/// What is remembered of a [`user`] once both sides have had this end.
pub(crate) fn agreed(end: impl Into<Option<DateTime<Utc>>>) -> Agreement {
    Agreement {
        end: Some(EndDate::from(end.into())),
        created_at: Some(created()),
        ..Agreement::default()
    }
}

/// When every [`user`] was created.
pub(crate) fn created() -> DateTime<Utc> {
    at("2025-01-01 00:00:00")
}

/// A panel user with this status and `expire`, whose traffic is that of [`account`], and who was never online.
pub(crate) fn user(status: &str, expire: impl Into<Option<DateTime<Utc>>>) -> PanelUser {
    PanelUser {
        status: panel_status(status),
        expire: expire.into(),
        used_traffic: 100,
        online_at: None,
        created_at: Some(created()),
        spelling: None,
    }
}

pub(crate) fn found(status: &str, expire: impl Into<Option<DateTime<Utc>>>) -> Observation {
    Observation::Found(user(status, expire))
}

fn panel_status(status: &str) -> PanelStatus {
    match status {
        "active" => PanelStatus::Active,
        "on_hold" => PanelStatus::OnHold,
        "disabled" => PanelStatus::Disabled,
        "limited" => PanelStatus::Limited,
        "expired" => PanelStatus::Expired,
        other => PanelStatus::Unknown(other.to_owned()),
    }
}

/// Accounts of one customer, who shares the subscription of the first; numbered from 1.
pub(crate) fn customer(
    subscription: Option<&Subscription>,
    observations: impl IntoIterator<Item = Observation>,
) -> Vec<Observed> {
    (1..)
        .zip(observations)
        .map(|(id, observation)| Observed {
            account: Account {
                user_id: UserId(1),
                subscription: subscription.cloned(),
                ..account(id)
            },
            observation,
        })
        .collect()
}

/// The default policy but for what the change says.
pub(crate) fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}

/// The policy that turns every choice away from its default.
pub(crate) fn contrary() -> Policy {
    policy(|policy| {
        policy.reactivate = Reactivate::Never;
        policy.unlimited = Unlimited::Clear;
        policy.access = Access::OnlyOff;
        policy.panel_behind = PanelBehind::Extend;
        policy.cleanup = CleanupAction::Disable;
    })
}
