//! What is to be done: changes with their reasons and with the values that they were decided from.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::account::{Account, SubscriptionStatus};

/// The new values of one account, and the values that they were decided from.
///
/// A store applies it as one: either the row still is as [`account`](Self::account) says and all of it is written,
/// or none of it is and the account is a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The account as it was read: the expected values of the compare-and-set.
    pub account: Account,
    /// What becomes of the `vpn_configs` row.
    pub vpn_config: VpnConfigPatch,
    /// What becomes of the governing subscription.
    pub subscription: SubscriptionPatch,
    /// Why, one for each value that changes.
    pub reasons: Vec<Reason>,
}

/// New values for a `vpn_configs` row; none keeps the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VpnConfigPatch {
    /// The new `is_active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// The new `traffic_used`, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_used: Option<i64>,
    /// The new `last_connected_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_connected_at: Option<DateTime<Utc>>,
}

impl VpnConfigPatch {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// New values for a `subscriptions` row; none keeps the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubscriptionPatch {
    /// The new `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SubscriptionStatus>,
    /// The new `end_date`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<EndDate>,
}

impl SubscriptionPatch {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && self.end_date.is_none()
    }
}

/// A new `end_date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndDate {
    /// Access ends at this moment.
    At(DateTime<Utc>),
    /// Access does not end: the column becomes null.
    Never,
}

impl EndDate {
    /// As the column holds it: null for [`Never`](Self::Never).
    #[must_use]
    pub fn as_column(self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(end_date) => Some(end_date),
            Self::Never => None,
        }
    }
}

/// Why a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// `end_date` moves later, to the panel's `expire`.
    Extended,
    /// `end_date` moves earlier, to the panel's `expire`.
    Shortened,
    /// `end_date` is cleared: the panel's user has no `expire`, and the policy says so.
    Unlimited,
    /// `status` becomes `active`: the panel's user works until a later date.
    Reactivated,
    /// `status` becomes `expired` and access is marked off: the user's time is over.
    Expired,
    /// Access is marked off: the panel's user has used up its data.
    Limited,
    /// Access is marked off: an admin disabled the panel's user.
    Disabled,
    /// Access is marked on: the panel's user works.
    Works,
    /// Access is marked off: the panel's user does not exist.
    Missing,
    /// `traffic_used` grows.
    TrafficUsed,
    /// `traffic_used` falls: the panel counted anew.
    TrafficReset,
    /// `last_connected_at` moves on.
    Connected,
}

impl Reason {
    /// Whether the change takes something from the customer, and so waits for the safety check.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        match self {
            Self::Shortened | Self::Expired | Self::Limited | Self::Disabled | Self::Missing => true,
            Self::Extended
            | Self::Unlimited
            | Self::Reactivated
            | Self::Works
            | Self::TrafficUsed
            | Self::TrafficReset
            | Self::Connected => false,
        }
    }
}

impl Change {
    /// A change of `account` that changes nothing yet.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        Self {
            account: account.clone(),
            vpn_config: VpnConfigPatch::default(),
            subscription: SubscriptionPatch::default(),
            reasons: Vec::new(),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vpn_config.is_empty() && self.subscription.is_empty()
    }

    /// Whether the change is right only while the governing subscription is as it was read.
    ///
    /// Traffic and the last connection are facts of the panel alone; all else must not race a payment.
    #[must_use]
    pub fn depends_on_subscription(&self) -> bool {
        !self.subscription.is_empty() || self.vpn_config.is_active.is_some()
    }

    /// The account as it will be once the change is applied.
    #[must_use]
    pub fn applied(&self) -> Account {
        let mut account = self.account.clone();
        account.is_active = self.vpn_config.is_active.or(account.is_active);
        account.traffic_used = self.vpn_config.traffic_used.or(account.traffic_used);
        account.last_connected_at = self.vpn_config.last_connected_at.or(account.last_connected_at);
        if let Some(subscription) = &mut account.subscription {
            if let Some(status) = &self.subscription.status {
                subscription.status = status.clone();
            }
            if let Some(end_date) = self.subscription.end_date {
                subscription.end_date = end_date.as_column();
            }
        }
        account
    }

    /// Parts the change into what can do no harm, to be applied at once, and what takes something from the
    /// customer, to be applied after it and only when the whole run has passed the safety check.
    ///
    /// Applying the first and then the second is the same as applying the whole.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let mut harmless = Self::of(&self.account);
        let mut destructive = Self::of(&self.account);
        for reason in self.reasons.iter().copied() {
            let half = if reason.is_destructive() {
                &mut destructive
            } else {
                &mut harmless
            };
            half.reasons.push(reason);
            match reason {
                Reason::Extended | Reason::Shortened | Reason::Unlimited => {
                    half.subscription.end_date = self.subscription.end_date;
                }
                Reason::Reactivated => half.subscription.status.clone_from(&self.subscription.status),
                Reason::Works | Reason::Limited | Reason::Missing => {
                    half.vpn_config.is_active = self.vpn_config.is_active;
                }
                Reason::Expired | Reason::Disabled => {
                    half.subscription.status.clone_from(&self.subscription.status);
                    half.vpn_config.is_active = self.vpn_config.is_active;
                }
                Reason::TrafficUsed | Reason::TrafficReset => {
                    half.vpn_config.traffic_used = self.vpn_config.traffic_used;
                }
                Reason::Connected => half.vpn_config.last_connected_at = self.vpn_config.last_connected_at,
            }
        }
        destructive.account = harmless.applied();
        (harmless, destructive)
    }
}

/// Parts the changes of one customer's accounts as [`Change::split`] does each of them.
///
/// The accounts share a subscription, so what takes away expects it as the harmless halves leave it, whichever
/// account brings that about.
#[must_use]
pub fn split(changes: Vec<Change>) -> Vec<(Change, Change)> {
    let mut halves: Vec<(Change, Change)> = changes.into_iter().map(Change::split).collect();
    let harmless = halves
        .iter()
        .find(|(harmless, _)| !harmless.subscription.is_empty());
    if let Some(subscription) = harmless.map(|(harmless, _)| harmless.applied().subscription) {
        for (_, destructive) in &mut halves {
            destructive.account.subscription.clone_from(&subscription);
        }
    }
    halves
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account {
            telegram_id,
            name,
            is_active,
            traffic_used,
            last_connected_at,
            subscription,
            ..
        } = &self.account;
        write!(f, "{} ({name:?}):", Shown(*telegram_id))?;
        if let Some(new) = &self.subscription.status {
            let old = subscription.as_ref().map(|subscription| &subscription.status);
            write!(f, " status {} -> {new}", Shown(old))?;
        }
        if let Some(new) = self.subscription.end_date {
            let old = subscription
                .as_ref()
                .and_then(|subscription| subscription.end_date);
            write!(f, " end_date {} -> {}", Shown(old), Shown(new.as_column()))?;
        }
        if let Some(new) = self.vpn_config.is_active {
            write!(f, " is_active {} -> {new}", Shown(*is_active))?;
        }
        if let Some(new) = self.vpn_config.traffic_used {
            write!(f, " traffic_used {} -> {new}", Shown(*traffic_used))?;
        }
        if let Some(new) = self.vpn_config.last_connected_at {
            write!(f, " last_connected_at {} -> {new}", Shown(*last_connected_at))?;
        }
        write!(f, " {:?}", self.reasons)
    }
}

/// A value that may be null, as SQL writes it.
pub(crate) struct Shown<T>(pub(crate) Option<T>);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}
