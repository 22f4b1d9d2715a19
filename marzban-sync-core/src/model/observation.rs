//! What the panel says about one user.

use crate::model::account::Account;
use chrono::{DateTime, TimeDelta, Utc};

/// The outcome of asking the panel for one user by name.
///
/// Only [`Found`](Self::Found) and [`NotFound`](Self::NotFound) are knowledge; every other outcome leaves the
/// account as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The panel returned the user.
    Found(PanelUser),
    /// A batch answered without this name: perhaps deleted, perhaps not ours to see, perhaps a cut answer.
    NotListed,
    /// Asked by itself, the panel answered 404 in its own words: the user does not exist.
    NotFound,
    /// The panel answered 403: the user belongs to another admin.
    NotPermitted,
    /// The panel cannot render this user, or its answer cannot be understood; the text says which.
    Unreadable(String),
    /// The question was not answered: an outage, a time-out, a proxy's page; the text says which.
    Unavailable(String),
}

/// The facts about a panel user that a sync needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelUser {
    /// The panel's own status; it lags its review job, so it is never taken alone (see [`Self::works`]).
    pub status: PanelStatus,
    /// The end of access; none means unlimited, or not yet begun for a held user.
    pub expire: Option<DateTime<Utc>>,
    /// Traffic since the last reset, in bytes.
    pub used_traffic: i64,
    /// The last time the user was seen connected, to the microsecond.
    pub online_at: Option<DateTime<Utc>>,
    /// When the user was made: the only mark that tells it from a later user of the same name.
    pub created_at: Option<DateTime<Utc>>,
    /// How the panel spells the name, where that differs in case from the name that was asked for.
    pub spelling: Option<String>,
}

/// The status that the panel gives a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PanelStatus {
    /// `active`.
    Active,
    /// `on_hold`: paid for, and its time begins with the first connection.
    OnHold,
    /// `disabled` by an admin.
    Disabled,
    /// `limited`: the data limit is used up.
    Limited,
    /// `expired`.
    Expired,
    /// A status that this version does not know.
    Unknown(String),
}

/// How far an `active` user may be past its `expire` and still count as working: the panel's review job lags, and clocks
/// differ a little.
const GRACE: TimeDelta = TimeDelta::days(1);

/// Last connections before this moment are no moments of a connection.
const FIRST_CONNECTION: DateTime<Utc> = DateTime::from_timestamp(1_420_070_400, 0).expect("2015 began");

impl PanelUser {
    /// Whether access works at `now`: the user is on hold, or `active` with an `expire` that is absent or not more than
    /// a day past.
    ///
    /// An on-hold user works whatever its `expire` is: the panel starts its time anew with the first connection,
    /// and never expires it before (an `expire` from an earlier period may linger).
    #[must_use]
    pub fn works(&self, now: DateTime<Utc>) -> bool {
        match self.status {
            PanelStatus::Active => self.expire.is_none_or(|expire| expire >= now - GRACE),
            PanelStatus::OnHold => true,
            PanelStatus::Disabled | PanelStatus::Limited | PanelStatus::Expired | PanelStatus::Unknown(_) => {
                false
            }
        }
    }

    /// Whether the panel calls the user `active` more than a day past its `expire`; several of them mean that the two
    /// clocks disagree.
    #[must_use]
    pub fn is_stale_active(&self, now: DateTime<Utc>) -> bool {
        self.status == PanelStatus::Active && !self.works(now)
    }

    /// The last connection, if it can be one: from 2015 on, and not more than a day ahead.
    #[must_use]
    pub fn last_connection(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.online_at
            .filter(|online_at| (FIRST_CONNECTION..=now + GRACE).contains(online_at))
    }
}

/// An account and what the panel returned for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The account, as the database has it.
    pub account: Account,
    /// The outcome of looking its username up.
    pub observation: Observation,
}

/// The accounts of each customer, which stand together.
pub fn customers(observed: &[Observed]) -> impl Iterator<Item = &[Observed]> {
    observed.chunk_by(|one, next| one.account.user_id == next.account.user_id)
}
