//! What the bot's database says: accounts and their subscriptions.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::model::agreement::{Agreement, Replaced};
use crate::model::end_date::EndDate;

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

/// One `vpn_configs` row that names a panel user, joined to its customer, to its subscription, and to what the library
/// remembers of the panel user.
///
/// These are also the values that a [`Change`](crate::plan::Change) was decided from, and a store writes it only
/// while they still hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `vpn_configs.id`.
    pub id: AccountId,
    /// `users.id`, the customer's.
    pub user_id: UserId,
    /// `users.telegram_id`, by which reports and logs name the customer.
    pub telegram_id: Option<i64>,
    /// `vpn_configs.marzban_user_id`: the panel user's name, its case preserved; never empty.
    pub name: String,
    /// `vpn_configs.is_active`.
    pub is_active: Option<bool>,
    /// `vpn_configs.traffic_used`, in bytes.
    pub traffic_used: Option<i64>,
    /// `vpn_configs.last_connected_at`.
    pub last_connected_at: Option<DateTime<Utc>>,
    /// `vpn_configs.updated_at`.
    #[serde(skip)]
    pub updated_at: Option<DateTime<Utc>>,
    /// The account's subscription: the one that its `subscription_id` names, else the customer's governing one.
    pub subscription: Option<Subscription>,
    /// The customer's other subscriptions, by id.
    #[serde(skip)]
    pub other_subscriptions: Arc<[Subscription]>,
    /// The customer's accounts in other panels that share the subscription.
    #[serde(skip)]
    pub elsewhere: Elsewhere,
    /// Accounts of other customers that name the same panel user.
    #[serde(skip)]
    pub sharers: Arc<[Sharer]>,
    /// What the library remembers of the panel user.
    #[serde(skip)]
    pub agreement: Agreement,
    /// The revision of the agreement; 0 while there is none.
    #[serde(skip)]
    pub revision: i64,
}

/// A row of `subscriptions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// `subscriptions.id`.
    pub id: SubscriptionId,
    /// `subscriptions.status`, as what it means.
    pub status: SubscriptionStatus,
    /// `subscriptions.status`, as the bot spells it.
    #[serde(skip)]
    pub word: String,
    /// `subscriptions.start_date`; none has begun.
    #[serde(skip)]
    pub start_date: Option<DateTime<Utc>>,
    /// `subscriptions.end_date`; none means unlimited.
    pub end_date: Option<DateTime<Utc>>,
    /// `subscriptions.updated_at`.
    #[serde(skip)]
    pub updated_at: Option<DateTime<Utc>>,
    /// Whether an account of the customer names it by `subscription_id`.
    #[serde(skip)]
    pub is_named: bool,
}

/// What a customer has in other panels that shares the account's subscription.
///
/// What those panels would say cannot be asked here; their own syncs have written it into the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// How many accounts.
    pub accounts: u64,
    /// Whether one of them has access, by its row.
    pub is_active: bool,
    /// The ends that those panels and the subscription last both had, and whether the account has access, by its row.
    pub agreed_ends: Vec<(EndDate, bool)>,
    /// The ends that the library wrote into the subscription from those panels.
    pub written_ends: Vec<EndDate>,
    /// The statuses that the library replaced by `expired` because of those panels, or that it owes the subscription
    /// since one of them extended it.
    pub replaced: Vec<Replaced>,
}

/// An account of another customer that names the same panel user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharer {
    /// `vpn_configs.id`.
    pub id: AccountId,
    /// `vpn_configs.updated_at`.
    pub updated_at: Option<DateTime<Utc>>,
    /// All subscriptions of that customer.
    pub subscriptions: Arc<[Subscription]>,
}

impl Account {
    /// All subscriptions of the customer: the account's own one first.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscription.iter().chain(self.other_subscriptions.iter())
    }

    /// Whether the sync of subscriptions looks at it: its subscription is `active`, `trial` or `expired`.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.subscription
            .as_ref()
            .is_some_and(|subscription| subscription.status.is_synced())
    }

    /// Whether the customer can lose something: an open subscription with an end ahead, or access.
    #[must_use]
    pub fn can_lose(&self, now: DateTime<Utc>) -> bool {
        self.is_active == Some(true)
            || self
                .subscription
                .as_ref()
                .is_some_and(|subscription| subscription.is_promised(now))
    }

    /// Whether what the subscription promises is still ahead; where nothing says that it is over, it is.
    #[must_use]
    pub fn is_promise_ahead(&self, now: DateTime<Utc>) -> bool {
        self.subscription
            .as_ref()
            .is_none_or(|subscription| !subscription.is_over(now))
    }

    /// Whether every subscription of every customer whose row names the panel user is over.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        let all = |subscriptions: &mut dyn Iterator<Item = &Subscription>| {
            let mut any = false;
            let over = subscriptions
                .inspect(|_| any = true)
                .all(|subscription| subscription.is_closed() && subscription.is_over(now));
            over && any
        };
        all(&mut self
            .subscriptions()
            .filter(|one| one.status != SubscriptionStatus::Pending))
            && self.sharers.iter().all(|sharer| {
                all(&mut sharer
                    .subscriptions
                    .iter()
                    .filter(|one| one.status != SubscriptionStatus::Pending))
            })
    }
}

impl Subscription {
    /// A subscription with this status, in the bot's spelling, and this end.
    #[must_use]
    pub fn new(id: SubscriptionId, word: impl Into<String>, end_date: Option<DateTime<Utc>>) -> Self {
        let word = word.into();
        Self {
            id,
            status: SubscriptionStatus::from(word.as_str()),
            word,
            start_date: None,
            end_date,
            updated_at: None,
            is_named: false,
        }
    }

    /// The end in whole seconds, where none is the latest.
    #[must_use]
    pub fn end(&self) -> EndDate {
        EndDate::from(self.end_date)
    }

    /// Whether it has begun at `now`, or begins within a day.
    #[must_use]
    pub fn has_begun(&self, now: DateTime<Utc>) -> bool {
        self.start_date
            .is_none_or(|start_date| start_date <= now + TimeDelta::days(1))
    }

    /// Whether it is open and its end is ahead.
    #[must_use]
    pub fn is_promised(&self, now: DateTime<Utc>) -> bool {
        self.status.is_open() && self.end() > EndDate::At(now)
    }

    /// Whether it is `expired` or `cancelled`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(
            self.status,
            SubscriptionStatus::Expired | SubscriptionStatus::Cancelled
        )
    }

    /// Whether its time is over: it is `expired` or `cancelled`, or its end has passed.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.is_closed() || self.end() <= EndDate::At(now)
    }

    /// Whether it is closed and its end was before this moment.
    #[must_use]
    pub fn ended_before(&self, moment: DateTime<Utc>) -> bool {
        self.is_closed() && self.end_date.is_some_and(|end_date| end_date < moment)
    }

    /// Another status, spelled as the bot spells the present one: `EXPIRED` beside `ACTIVE`.
    #[must_use]
    pub fn spell(&self, status: &SubscriptionStatus) -> String {
        let mut letters = self.word.chars().filter(|letter| letter.is_alphabetic());
        let first_is_capital = letters.next().is_some_and(char::is_uppercase);
        let word = status.as_str();
        if first_is_capital && letters.all(char::is_uppercase) {
            return word.to_uppercase();
        }
        let mut spelled = word.chars();
        match spelled.next() {
            Some(first) if first_is_capital => first.to_uppercase().chain(spelled).collect(),
            _ => word.to_owned(),
        }
    }
}

/// `subscriptions.status`, compared without regard to case.
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
    /// The text that the database holds, in small letters.
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
        let known = [
            Self::Trial,
            Self::Active,
            Self::Expired,
            Self::Cancelled,
            Self::Pending,
        ];
        known
            .into_iter()
            .find(|known| status.eq_ignore_ascii_case(known.as_str()))
            .unwrap_or_else(|| Self::Other(status.to_owned()))
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

impl<'de> Deserialize<'de> for SubscriptionStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}
