//! The rows of the bot's tables and of the store's own, as data.

use chrono::{DateTime, Utc};

use crate::adapter::rows::AccountRow;
use crate::adapter::semantics::stored;
use crate::model::account::{AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};

/// A row of `users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryUser {
    /// `id`.
    pub id: UserId,
    /// `telegram_id`.
    pub telegram_id: Option<i64>,
}

/// A row of `subscriptions`; the times are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySubscription {
    /// `id`.
    pub id: SubscriptionId,
    /// `user_id`.
    pub user_id: UserId,
    /// `status`; a known word in another spelling, as `ACTIVE`, is kept as [`spelled`](Self::spelled) gives it.
    pub status: SubscriptionStatus,
    /// `start_date`.
    pub start_date: Option<DateTime<Utc>>,
    /// `end_date`; none is unlimited.
    pub end_date: Option<DateTime<Utc>>,
    /// `updated_at`.
    pub updated_at: Option<DateTime<Utc>>,
}

impl MemorySubscription {
    /// What [`status`](Self::status) is of a column that holds this word: `Other` also for a known word in another
    /// spelling, so that the spelling is not lost.
    #[must_use]
    pub fn spelled(word: &str) -> SubscriptionStatus {
        let status = SubscriptionStatus::from(word);
        if status.as_str() == word {
            return status;
        }
        SubscriptionStatus::Other(word.to_owned())
    }

    pub(super) fn as_subscription(&self) -> Subscription {
        Subscription {
            start_date: self.start_date,
            updated_at: self.updated_at,
            ..Subscription::new(self.id, self.status.as_str(), self.end_date)
        }
    }

    pub(super) fn stored(mut self) -> Self {
        self.start_date = self.start_date.map(stored);
        self.end_date = self.end_date.map(stored);
        self.updated_at = self.updated_at.map(stored);
        self
    }
}

/// A row of `vpn_configs`; the times are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryVpnConfig {
    /// `id`.
    pub id: AccountId,
    /// `user_id`.
    pub user_id: UserId,
    /// `panel`, the panel's name; none is the default panel.
    pub panel: Option<String>,
    /// `subscription_id`; none leaves the account to the customer's governing subscription.
    pub subscription_id: Option<SubscriptionId>,
    /// `marzban_user_id`, the panel user's name; a row without one is no account.
    pub marzban_user_id: Option<String>,
    /// `is_active`.
    pub is_active: Option<bool>,
    /// `traffic_used`, in bytes.
    pub traffic_used: Option<i64>,
    /// `last_connected_at`.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// `updated_at`.
    pub updated_at: Option<DateTime<Utc>>,
}

impl MemoryVpnConfig {
    pub(super) fn as_login(&self) -> AccountRow {
        AccountRow {
            id: self.id,
            panel: self.panel.clone(),
            name: self.marzban_user_id.clone(),
            is_active: self.is_active,
            traffic_used: self.traffic_used,
            last_connected_at: self.last_connected_at,
            updated_at: self.updated_at,
            subscription_id: self.subscription_id,
        }
    }

    pub(super) fn stored(mut self) -> Self {
        self.last_connected_at = self.last_connected_at.map(stored);
        self.updated_at = self.updated_at.map(stored);
        self
    }
}
