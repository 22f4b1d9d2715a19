//! What is to be done: changes with their reasons and with the values that they were decided from.

use crate::model::end_date::EndDate;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::account::{Account, Subscription, SubscriptionStatus};
use crate::model::agreement::Agreement;

/// The new values of one account, and the values that they were decided from.
///
/// A store applies it as one: either the row still is as [`account`](Self::account) says and all of it is written,
/// or none of it is and the account is a conflict.
///
/// # Examples
/// What a bot reads of a change, here of one that a report holds:
///
/// ```
/// use marzban_sync_core::plan::{Change, Reason};
///
/// let change: Change = serde_json::from_str(
///     r#"{"account": {"id": 1, "user_id": 7, "telegram_id": 1001, "name": "anna", "is_active": true,
///         "traffic_used": null, "last_connected_at": null, "subscription": null},
///         "vpn_config": {"is_active": false}, "subscription": {}, "reasons": ["disabled"]}"#,
/// )?;
/// assert!(change.is_destructive());
/// assert_eq!(change.reasons, [Reason::Disabled]);
/// assert_eq!(change.applied().is_active, Some(false));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The account as it was read: the expected values of the compare-and-set.
    pub account: Account,
    /// What becomes of the `vpn_configs` row.
    pub vpn_config: VpnConfigPatch,
    /// What becomes of the account's subscription.
    pub subscription: SubscriptionPatch,
    /// Further subscriptions of the customer that are over and become `expired` with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_expired: Vec<Subscription>,
    /// What is remembered of the panel user from now on; none keeps what is remembered.
    #[serde(skip)]
    pub agreement: Option<Agreement>,
    /// What is remembered as long as only the harmless half is written.
    #[serde(skip)]
    pub interim: Option<Agreement>,
    /// Why, one for each value that changes.
    pub reasons: Vec<Reason>,
}

/// New values for a `vpn_configs` row; none keeps the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VpnConfigPatch {
    /// The new `is_active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// The new `traffic_used`, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_used: Option<i64>,
    /// The new `last_connected_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionPatch {
    /// The new `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SubscriptionStatus>,
    /// The new `end_date`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<EndDate>,
}

impl SubscriptionPatch {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && self.end_date.is_none()
    }
}

/// Why a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// `end_date` moves later, to the panel's `expire`.
    Extended,
    /// `end_date` moves earlier, to the panel's `expire`.
    Shortened,
    /// `end_date` is cleared: the panel's user has no `expire`, and the policy says so.
    Unlimited,
    /// `end_date` is set for the first time: the time of a user that was on hold has begun.
    Begun,
    /// `status` goes back from `expired`: the panel's user works until a later date.
    Reactivated,
    /// `status` becomes `expired`, or access is marked off: the user's time is over.
    Expired,
    /// Access is marked off: the panel's user has used up its data.
    Limited,
    /// Access is marked off: an administrator disabled the panel's user.
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
    /// The word for it in reports and in the trail.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Shortened => "shortened",
            Self::Unlimited => "unlimited",
            Self::Begun => "begun",
            Self::Reactivated => "reactivated",
            Self::Expired => "expired",
            Self::Limited => "limited",
            Self::Disabled => "disabled",
            Self::Works => "works",
            Self::Missing => "missing",
            Self::TrafficUsed => "traffic_used",
            Self::TrafficReset => "traffic_reset",
            Self::Connected => "connected",
        }
    }

    /// Whether the change takes something from the customer, and so waits for the safety check.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        match self {
            Self::Shortened | Self::Expired | Self::Limited | Self::Disabled | Self::Missing => true,
            Self::Extended
            | Self::Unlimited
            | Self::Begun
            | Self::Reactivated
            | Self::Works
            | Self::TrafficUsed
            | Self::TrafficReset
            | Self::Connected => false,
        }
    }

    /// Whether it is a fact that no brake withholds: it takes nothing, and depends on no clock.
    #[must_use]
    pub fn is_fact(self) -> bool {
        matches!(self, Self::TrafficUsed | Self::TrafficReset | Self::Connected)
    }

    /// Whether it is about `end_date`.
    #[must_use]
    pub fn is_of_end(self) -> bool {
        matches!(
            self,
            Self::Extended | Self::Shortened | Self::Unlimited | Self::Begun
        )
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
            also_expired: Vec::new(),
            agreement: None,
            interim: None,
            reasons: Vec::new(),
        }
    }

    /// Whether nothing changes, not even what is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touches_no_row() && self.agreement.is_none()
    }

    /// Whether no row of the bot changes.
    #[must_use]
    pub fn touches_no_row(&self) -> bool {
        self.vpn_config.is_empty() && self.subscription.is_empty() && self.also_expired.is_empty()
    }

    /// Whether the change is right only while the customer's subscriptions are as they were read.
    ///
    /// Traffic and the last connection are facts of the panel alone; all else must not race a payment.
    #[must_use]
    pub fn depends_on_subscription(&self) -> bool {
        !self.subscription.is_empty() || !self.also_expired.is_empty() || self.vpn_config.is_active.is_some()
    }

    /// Whether the change takes something from the customer.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        self.reasons.iter().any(|reason| reason.is_destructive())
    }

    /// Whether the change moves the end earlier.
    pub(crate) fn is_shortened(&self) -> bool {
        self.reasons.contains(&Reason::Shortened)
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
                subscription.word = subscription.spell(status);
                subscription.status = status.clone();
            }
            if let Some(end_date) = self.subscription.end_date {
                subscription.end_date = end_date.as_column();
            }
        }
        if !self.also_expired.is_empty() {
            let expired = |subscription: &Subscription| {
                let mut subscription = subscription.clone();
                if self
                    .also_expired
                    .iter()
                    .any(|expired| expired.id == subscription.id)
                {
                    subscription.word = subscription.spell(&SubscriptionStatus::Expired);
                    subscription.status = SubscriptionStatus::Expired;
                }
                subscription
            };
            account.other_subscriptions = account.other_subscriptions.iter().map(expired).collect();
        }
        if let Some(agreement) = &self.agreement {
            account.agreement.clone_from(agreement);
            account.revision += 1;
        }
        account
    }

    /// The part of the change that has these reasons; what is remembered is left out.
    #[must_use]
    pub fn part(&self, wanted: impl Fn(Reason) -> bool) -> Self {
        let mut part = Self::of(&self.account);
        for reason in self.reasons.iter().copied().filter(|reason| wanted(*reason)) {
            part.reasons.push(reason);
            match reason {
                Reason::Extended | Reason::Shortened | Reason::Unlimited | Reason::Begun => {
                    part.subscription.end_date = self.subscription.end_date;
                }
                Reason::Reactivated => part.subscription.status = self.status_if(false),
                Reason::Works | Reason::Limited | Reason::Disabled | Reason::Missing => {
                    part.vpn_config.is_active = self.vpn_config.is_active;
                }
                Reason::Expired => {
                    part.subscription.status = self.status_if(true);
                    part.also_expired.clone_from(&self.also_expired);
                    part.vpn_config.is_active = self.vpn_config.is_active;
                }
                Reason::TrafficUsed | Reason::TrafficReset => {
                    part.vpn_config.traffic_used = self.vpn_config.traffic_used;
                }
                Reason::Connected => part.vpn_config.last_connected_at = self.vpn_config.last_connected_at,
            }
        }
        part
    }

    /// The new status, if it is `expired` or, as asked, is not: access may go off while the subscription is reopened.
    fn status_if(&self, is_expired: bool) -> Option<SubscriptionStatus> {
        let status = self.subscription.status.clone();
        status.filter(|status| (*status == SubscriptionStatus::Expired) == is_expired)
    }

    /// Parts the change into what can do no harm, to be applied at once, and what takes something from the
    /// customer, to be applied after it and only when the whole run has passed the safety check.
    ///
    /// Applying the first and then the second is the same as applying the whole.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let mut harmless = self.part(|reason| !reason.is_destructive());
        let mut destructive = self.part(Reason::is_destructive);
        if destructive.touches_no_row() {
            harmless.agreement = self.agreement;
        } else {
            let remembered = || self.interim.is_some().then(|| self.account.agreement.clone());
            destructive.agreement = self.agreement.or_else(remembered);
            harmless.agreement = self.interim;
            destructive.account = harmless.applied();
        }
        (harmless, destructive)
    }
}

/// Parts the changes of one customer's accounts as [`Change::split`] does each of them.
///
/// The accounts may share a subscription, so what takes away expects each as the harmless halves leave it, whichever
/// account brings that about.
#[must_use]
pub fn split(changes: Vec<Change>) -> Vec<(Change, Change)> {
    let mut halves: Vec<(Change, Change)> = changes.into_iter().map(Change::split).collect();
    let given: Vec<Subscription> = halves
        .iter()
        .filter(|(harmless, _)| !harmless.subscription.is_empty())
        .filter_map(|(harmless, _)| harmless.applied().subscription)
        .collect();
    let as_given = |subscription: &Subscription| {
        let given = given.iter().find(|given| given.id == subscription.id);
        given.unwrap_or(subscription).clone()
    };
    if !given.is_empty() {
        for (_, destructive) in &mut halves {
            let account = &mut destructive.account;
            account.subscription = account.subscription.as_ref().map(as_given);
            account.other_subscriptions = account.other_subscriptions.iter().map(as_given).collect();
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
        for subscription in &self.also_expired {
            let old = &subscription.status;
            write!(f, " status of {} {old} -> expired", subscription.id)?;
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
