//! What the bot's database says: accounts and their governing subscriptions.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// `vpn_configs.id`.
    AccountId
}
id! {
    /// `users.id`.
    UserId
}
id! {
    /// `subscriptions.id`.
    SubscriptionId
}

/// One `vpn_configs` row that names a panel user, joined to its user and to the user's governing subscription.
///
/// These are also the values that a [`Change`](crate::plan::Change) was decided from, and a store writes it only
/// while they still hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// `vpn_configs.id`.
    pub id: AccountId,
    /// `users.id`; the accounts of one user share one governing subscription.
    pub user_id: UserId,
    /// `users.telegram_id`, by which reports and logs name the customer.
    pub telegram_id: Option<i64>,
    /// `vpn_configs.marzban_user_id`: the panel user's NAME, its case preserved; never empty.
    pub name: String,
    /// `vpn_configs.is_active`.
    pub is_active: Option<bool>,
    /// `vpn_configs.traffic_used`, in bytes.
    pub traffic_used: Option<i64>,
    /// `vpn_configs.last_connected_at`.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// Whether the user has another account that is active, by its own row, in another panel; what that one gives this
    /// panel cannot know.
    pub active_elsewhere: bool,
    /// The governing subscription of the user, where there is one.
    pub subscription: Option<Subscription>,
}

/// The subscription that decides for a user: an `active` or `trial` one before all others, then the latest end
/// (none = unlimited = latest), then the highest id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// `subscriptions.id`.
    pub id: SubscriptionId,
    /// `subscriptions.status`.
    pub status: SubscriptionStatus,
    /// `subscriptions.end_date`; none means unlimited.
    pub end_date: Option<DateTime<Utc>>,
}

/// `subscriptions.status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionStatus {
    /// `trial`: access without payment, treated as `active`.
    Trial,
    /// `active`: paid for.
    Active,
    /// `expired`: the time is over.
    Expired,
    /// `cancelled`: ended on purpose; never changed by a sync.
    Cancelled,
    /// `pending`: not yet paid for; never changed by a sync.
    Pending,
    /// A status of the bot's own, kept as it is; never changed by a sync, and its account is never deleted.
    Other(String),
}

impl SubscriptionStatus {
    /// The text that the database holds.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Trial => "trial",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Pending => "pending",
            Self::Other(status) => status,
        }
    }

    /// Whether the subscription gives access now: `active` or `trial`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Active | Self::Trial)
    }

    /// Whether the sync of subscriptions may change it: `active`, `trial` or `expired`.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        matches!(self, Self::Active | Self::Trial | Self::Expired)
    }
}

impl From<&str> for SubscriptionStatus {
    fn from(status: &str) -> Self {
        match status {
            "trial" => Self::Trial,
            "active" => Self::Active,
            "expired" => Self::Expired,
            "cancelled" => Self::Cancelled,
            "pending" => Self::Pending,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for SubscriptionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SubscriptionStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
