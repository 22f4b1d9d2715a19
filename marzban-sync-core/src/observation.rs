//! What the panel says about one user.

use chrono::{DateTime, Utc};

/// The outcome of asking the panel for one user by name.
///
/// Only [`Found`](Self::Found) and [`Missing`](Self::Missing) are knowledge; every other outcome leaves the
/// account as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The panel returned the user.
    Found(PanelUser),
    /// A batch answered without this name: perhaps deleted, perhaps not ours to see, perhaps a cut answer.
    Absent,
    /// Asked by itself, the panel answered 404 in its own words: the user does not exist.
    Missing,
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

impl PanelUser {
    /// Whether access works at `now`: the panel says `active` or `on_hold`, and `expire` has not come.
    ///
    /// A held user works whatever its `expire` says: the panel starts its time anew with the first connection,
    /// and never expires it before (an `expire` from an earlier period may linger).
    #[must_use]
    pub fn works(&self, now: DateTime<Utc>) -> bool {
        match self.status {
            PanelStatus::Active => self.expire.is_none_or(|expire| expire > now),
            PanelStatus::OnHold => true,
            PanelStatus::Disabled | PanelStatus::Limited | PanelStatus::Expired | PanelStatus::Unknown(_) => {
                false
            }
        }
    }

    /// Whether the user's time is over at `now`, by the panel's word or by its `expire`.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        match self.status {
            PanelStatus::Expired => true,
            PanelStatus::Active | PanelStatus::Disabled | PanelStatus::Limited => {
                self.expire.is_some_and(|expire| expire <= now)
            }
            PanelStatus::OnHold | PanelStatus::Unknown(_) => false,
        }
    }
}
