//! What a run changed, as rows of `marzban_sync_changes`: nothing is lost without a trace.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::model::account::{Account, AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::plan::{Change, Reason};
use crate::model::run::RunId;

/// One value that changed, or one thing that was done to the panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `vpn_configs.id` of the account.
    pub account: AccountId,
    /// The panel user's name.
    pub username: String,
    /// `users.id` of the customer.
    pub customer: UserId,
    /// `users.telegram_id` of the customer.
    pub telegram_id: Option<i64>,
    /// What changed.
    pub target: Target,
    /// The old value; none is null.
    pub old: Option<String>,
    /// The new value; none is null.
    pub new: Option<String>,
    /// Why.
    pub reason: String,
    /// Whether it was done, or only meant to be.
    pub state: EntryState,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `subscriptions.status` of this row.
    Status(SubscriptionId),
    /// `subscriptions.end_date` of this row, in RFC 3339.
    EndDate(SubscriptionId),
    /// `vpn_configs.is_active` of the account.
    IsActive,
    /// `vpn_configs.marzban_user_id` of the account.
    Username,
    /// The panel user's `expire`, in RFC 3339.
    PanelExpire,
    /// The panel user itself: `exists`, `disabled` or null.
    PanelUser,
}

impl Target {
    /// The column as `marzban_sync_changes` names it.
    #[must_use]
    pub fn column(self) -> &'static str {
        match self {
            Self::Status(_) => "subscriptions.status",
            Self::EndDate(_) => "subscriptions.end_date",
            Self::IsActive => "vpn_configs.is_active",
            Self::Username => "vpn_configs.marzban_user_id",
            Self::PanelExpire => "panel.expire",
            Self::PanelUser => "panel.user",
        }
    }

    /// The id of the row of the bot that it is about; the account's where it is about no subscription.
    #[must_use]
    pub fn row(self, account: AccountId) -> i64 {
        match self {
            Self::Status(SubscriptionId(id)) | Self::EndDate(SubscriptionId(id)) => id,
            Self::IsActive | Self::Username | Self::PanelExpire | Self::PanelUser => account.0,
        }
    }

    /// The target of this column and row.
    #[must_use]
    pub fn parse(column: &str, row: i64) -> Option<Self> {
        Some(match column {
            "subscriptions.status" => Self::Status(SubscriptionId(row)),
            "subscriptions.end_date" => Self::EndDate(SubscriptionId(row)),
            "vpn_configs.is_active" => Self::IsActive,
            "vpn_configs.marzban_user_id" => Self::Username,
            "panel.expire" => Self::PanelExpire,
            "panel.user" => Self::PanelUser,
            _ => return None,
        })
    }

    /// Whether `undo` can put the old value back: it is a value of the bot's rows, and not a link that is gone.
    #[must_use]
    pub fn can_be_undone(self) -> bool {
        matches!(self, Self::Status(_) | Self::EndDate(_) | Self::IsActive)
    }
}

/// Whether an entry was done, or only meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// It was about to be done; without a `done` of the same run it is not known whether it was.
    Intended,
    /// It was done.
    Done,
}

impl EntryState {
    /// The text that the database holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
        }
    }

    /// The state of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Intended, Self::Done]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// An entry as `marzban_sync_changes` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryRecord {
    /// Its id; later entries have higher ones.
    pub id: i64,
    /// The run that made it.
    pub run: Option<RunId>,
    /// The panel's name.
    pub panel: String,
    /// When, UTC.
    pub at: DateTime<Utc>,
    /// What changed.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Which entries to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryQuery {
    /// All of a run, the earliest first.
    Run(RunId),
    /// The latest of a customer, by telegram id or username, the latest first.
    Customer {
        /// `users.telegram_id`, or the panel user's name.
        name: String,
        /// At most so many.
        limit: u32,
    },
}

/// The reason of an entry that an `undo` made.
pub const UNDONE: &str = "undone";

impl Entry {
    /// An entry about an account.
    #[must_use]
    pub fn of(account: &Account, target: Target, reason: &str) -> Self {
        Self {
            account: account.id,
            username: account.name.clone(),
            customer: account.user_id,
            telegram_id: account.telegram_id,
            target,
            old: None,
            new: None,
            reason: reason.to_owned(),
            state: EntryState::Done,
        }
    }

    /// The same entry with its values.
    #[must_use]
    pub fn values(mut self, old: Option<String>, new: Option<String>) -> Self {
        self.old = old;
        self.new = new;
        self
    }
}

/// A moment as an entry holds it, to the microsecond.
#[must_use]
pub fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The moment that an entry holds.
#[must_use]
pub fn parse_moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// The entries of an account that is unlinked: its name, and its access where that was not off.
#[must_use]
pub fn unlinked(account: &Account) -> Vec<Entry> {
    let mut entries =
        vec![Entry::of(account, Target::Username, "cleaned").values(Some(account.name.clone()), None)];
    if account.is_active != Some(false) {
        entries.push(Entry::of(account, Target::IsActive, "cleaned").values(
            account.is_active.map(|is_active| is_active.to_string()),
            Some(false.to_string()),
        ));
    }
    entries
}

/// The entries of a change that is written: every value of a subscription and of `is_active`; traffic and the last
/// connection are not recorded.
#[must_use]
pub fn entries(change: &Change) -> Vec<Entry> {
    let account = &change.account;
    let because = |wanted: &dyn Fn(Reason) -> bool| {
        let reason = change.reasons.iter().copied().find(|reason| wanted(*reason));
        reason.map_or("", Reason::as_str)
    };
    let mut entries = Vec::new();
    if let Some(subscription) = &account.subscription {
        if let Some(end_date) = change.subscription.end_date {
            let entry = Entry::of(
                account,
                Target::EndDate(subscription.id),
                because(&Reason::is_of_end),
            );
            entries.push(entry.values(
                subscription.end_date.map(moment),
                end_date.as_column().map(moment),
            ));
        }
        if let Some(status) = &change.subscription.status {
            let reason = match status {
                SubscriptionStatus::Expired => Reason::Expired,
                _ => Reason::Reactivated,
            };
            let entry = Entry::of(account, Target::Status(subscription.id), reason.as_str());
            entries.push(entry.values(Some(subscription.word.clone()), Some(subscription.spell(status))));
        }
    }
    for subscription in &change.also_expired {
        let entry = Entry::of(account, Target::Status(subscription.id), Reason::Expired.as_str());
        entries.push(entry.values(
            Some(subscription.word.clone()),
            Some(subscription.spell(&SubscriptionStatus::Expired)),
        ));
    }
    if let Some(is_active) = change.vpn_config.is_active {
        let is_access = |reason| {
            matches!(
                reason,
                Reason::Works | Reason::Expired | Reason::Limited | Reason::Disabled | Reason::Missing
            )
        };
        let entry = Entry::of(account, Target::IsActive, because(&is_access));
        entries.push(entry.values(
            account.is_active.map(|is_active| is_active.to_string()),
            Some(is_active.to_string()),
        ));
    }
    entries
}
