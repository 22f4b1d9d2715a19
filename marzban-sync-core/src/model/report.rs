//! What a run did, as data that serialises.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};

use crate::model::account::Account;
use crate::model::outcome::{Outcome, Stopped};
use crate::model::plan::{Change, Reason};
use crate::model::trail::{Entry, Target};

/// The four jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// `sync_subscriptions_from_marzban`.
    SyncSubscriptionsFromMarzban,
    /// `sync_user_status_from_marzban`.
    SyncUserStatusFromMarzban,
    /// `cleanup_expired_marzban_users`.
    CleanupExpiredMarzbanUsers,
    /// `get_marzban_system_stats`.
    GetMarzbanSystemStats,
}

impl Job {
    /// All of them, in the order in which a full run goes through them.
    pub const ALL: [Self; 4] = [
        Self::SyncSubscriptionsFromMarzban,
        Self::SyncUserStatusFromMarzban,
        Self::CleanupExpiredMarzbanUsers,
        Self::GetMarzbanSystemStats,
    ];

    /// The name of the function, which is also its name in reports, in the database and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncSubscriptionsFromMarzban => "sync_subscriptions_from_marzban",
            Self::SyncUserStatusFromMarzban => "sync_user_status_from_marzban",
            Self::CleanupExpiredMarzbanUsers => "cleanup_expired_marzban_users",
            Self::GetMarzbanSystemStats => "get_marzban_system_stats",
        }
    }

    /// The job of this name, where hyphens may stand for underscores, as on command lines.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::ALL.into_iter().find(|job| job.as_str() == name)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many problems and how many changed values a report names, so that a run over a million accounts stays small.
pub const MAX_PROBLEMS: usize = 1_000;

/// What all reports of jobs over accounts have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The panel's name.
    pub panel: String,
    /// When the run began, UTC.
    #[serde(serialize_with = "seconds")]
    pub started_at: DateTime<Utc>,
    /// When it ended, UTC.
    #[serde(serialize_with = "seconds")]
    pub finished_at: DateTime<Utc>,
    /// Whether nothing was written on purpose.
    pub dry_run: bool,
    /// How many values changed, by reason.
    pub changes: BTreeMap<Reason, u64>,
    /// What could not be brought in line, each with its reason; at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there were; they are counted wherever problems are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub problems_left_out: u64,
    /// How many problems of each kind there were, those left out included.
    pub reasons: BTreeMap<ProblemReason, u64>,
    /// What the run changed, or would change, of subscriptions and access; at most [`MAX_PROBLEMS`].
    pub changed: Vec<Changed>,
    /// How many more changed values there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changed_left_out: u64,
    /// How many panel users were extended to what was paid for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub extended_in_panel: u64,
    /// Rows that no job of this kind looks at.
    #[serde(default, skip_serializing_if = "Ignored::is_empty")]
    pub ignored: Ignored,
    /// A constant difference of ends that looks like a time zone, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How many subscriptions this panel would have ended or shortened, whose user is active in another panel.
    pub kept_for_another_panel: u64,
    /// What ended the run before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// How many changes were not applied because the run was stopped.
    pub withheld: u64,
    /// Why they were withheld, with the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld_because: Option<String>,
    /// How many accounts in scope were never asked for, because the run ended early.
    pub unreached: u64,
    /// What a dry run would have written, or what was withheld.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<Change>,
}

impl Run {
    /// A run that has done nothing yet.
    #[must_use]
    pub fn new(panel: &str, started_at: DateTime<Utc>, dry_run: bool) -> Self {
        Self {
            panel: panel.to_owned(),
            started_at,
            finished_at: started_at,
            dry_run,
            changes: BTreeMap::new(),
            problems: Vec::new(),
            problems_left_out: 0,
            reasons: BTreeMap::new(),
            changed: Vec::new(),
            changed_left_out: 0,
            extended_in_panel: 0,
            ignored: Ignored::default(),
            time_zone: None,
            kept_for_another_panel: 0,
            stopped: None,
            withheld: 0,
            withheld_because: None,
            unreached: 0,
            plan: Vec::new(),
        }
    }
}

/// A value that a run changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// `users.telegram_id`.
    pub telegram_id: Option<i64>,
    /// The panel user's name.
    pub username: String,
    /// `status`, `end_date`, `is_active`, or `expire` and `user` of the panel.
    pub what: Cow<'static, str>,
    /// The old value; none is null.
    pub from: Option<String>,
    /// The new value; none is null.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

impl From<Entry> for Changed {
    fn from(entry: Entry) -> Self {
        Self {
            telegram_id: entry.telegram_id,
            username: entry.username,
            what: Cow::Borrowed(match entry.target {
                Target::Status(_) => "status",
                Target::EndDate(_) => "end_date",
                Target::IsActive => "is_active",
                Target::Username => "marzban_user_id",
                Target::PanelExpire => "expire",
                Target::PanelUser => "user",
            }),
            from: entry.old,
            to: entry.new,
            reason: entry.reason,
        }
    }
}

/// Rows that no job of a kind looks at, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// Accounts whose subscription has a status that is never changed, by the bot's word for it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<String, u64>,
    /// Accounts of other panels, by the panel's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub panels: BTreeMap<String, u64>,
}

impl Ignored {
    /// Whether nothing was ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An account that could not be brought in line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `users.telegram_id`.
    pub telegram_id: Option<i64>,
    /// The panel user's name.
    pub name: String,
    /// What kind of problem it is.
    pub reason: ProblemReason,
    /// More words, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Problem {
    /// A problem of an account.
    #[must_use]
    pub fn of(account: &Account, reason: ProblemReason, detail: Option<String>) -> Self {
        Self {
            telegram_id: account.telegram_id,
            name: account.name.clone(),
            reason,
            detail,
        }
    }
}

/// Why an account could not be brought in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemReason {
    /// The panel does not have, or does not show, the user.
    Missing,
    /// The user belongs to another admin of the panel.
    NotPermitted,
    /// The panel cannot render the user, or its answer cannot be understood.
    Unreadable,
    /// The panel gave a status that this version does not know.
    UnknownStatus,
    /// The panel did not answer.
    Unavailable,
    /// The row changed under the run more than once.
    Conflict,
    /// The change was not written: a safety limit withheld it, or the run ended before.
    Withheld,
    /// The database refused the change, for example by a constraint of the bot's.
    Rejected,
    /// The panel user could not be deleted, or it is not known whether it was.
    NotDeleted,
    /// Paid in the bot, not in the panel; the detail says when the customer has no access now.
    PanelBehind,
    /// The end was moved earlier in the bot only, or the subscription is over and the panel user still works.
    PanelAhead,
    /// The two ends differ, and nothing says which one counts: the later one stands.
    EndsDisagree,
    /// The panel's end cannot be one, such as a length where a moment belongs.
    ImplausibleEnd,
    /// Rows of several customers name the panel user.
    SharedUser,
    /// Another user has the name in the panel now.
    OtherUser,
    /// The panel spells the user's name in another case, and its database does not tell the two apart; the account is
    /// brought in line all the same.
    OtherSpelling,
}

impl ProblemReason {
    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotPermitted => "not_permitted",
            Self::Unreadable => "unreadable",
            Self::UnknownStatus => "unknown_status",
            Self::Unavailable => "unavailable",
            Self::Conflict => "conflict",
            Self::Withheld => "withheld",
            Self::Rejected => "rejected",
            Self::NotDeleted => "not_deleted",
            Self::PanelBehind => "panel_behind",
            Self::PanelAhead => "panel_ahead",
            Self::EndsDisagree => "ends_disagree",
            Self::ImplausibleEnd => "implausible_end",
            Self::SharedUser => "shared_user",
            Self::OtherUser => "other_user",
            Self::OtherSpelling => "other_spelling",
        }
    }
}

/// The report of [`sync_subscriptions_from_marzban`](crate::sync_subscriptions_from_marzban).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncSubscriptionsReport {
    /// Accounts that are in line with the panel now.
    pub synced: u64,
    /// Accounts that are not; `synced + errors == total`.
    pub errors: u64,
    /// Accounts in scope.
    pub total: u64,
    /// The run.
    #[serde(flatten)]
    pub run: Run,
}

/// The report of [`sync_user_status_from_marzban`](crate::sync_user_status_from_marzban).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncUserStatusReport {
    /// Accounts of which something was written.
    pub updated: u64,
    /// Accounts whose panel user is confirmed not to exist, whether that was news or not.
    pub missing: u64,
    /// Accounts that could not be brought in line.
    pub errors: u64,
    /// Accounts in scope.
    pub total: u64,
    /// The run.
    #[serde(flatten)]
    pub run: Run,
}

/// The report of [`cleanup_expired_marzban_users`](crate::cleanup_expired_marzban_users).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupReport {
    /// Accounts whose panel user is gone and whose row says so; in a dry run those that would be.
    pub cleaned: u64,
    /// Accounts left alone on purpose, although their own subscription ended long ago.
    pub skipped: u64,
    /// Accounts that could not be cleaned; `cleaned + skipped + errors == total`.
    pub errors: u64,
    /// Accounts in scope.
    pub total: u64,
    /// Why they were left alone.
    pub skipped_because: BTreeMap<KeptBecause, u64>,
    /// The panel users that a dry run would delete, or unlink because they are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletions: Vec<Deletion>,
    /// The run.
    #[serde(flatten)]
    pub run: Run,
}

/// A panel user that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// `users.telegram_id`.
    pub telegram_id: Option<i64>,
    /// The panel user's name.
    pub name: String,
}

/// The report of [`get_marzban_system_stats`](crate::get_marzban_system_stats).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemStatsReport {
    /// When the figures were collected, UTC, to the second.
    #[serde(serialize_with = "seconds")]
    pub timestamp: DateTime<Utc>,
    /// The panel's name.
    pub panel: String,
    /// The figures.
    pub stats: SystemStats,
}

/// The figures of a panel and its host, as `GET /api/system` gives them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemStats {
    /// The panel's version, such as `0.8.4`.
    pub version: String,
    /// Memory of the host, in bytes.
    pub mem_total: i64,
    /// Memory in use, in bytes.
    pub mem_used: i64,
    /// Cores of the host.
    pub cpu_cores: i64,
    /// CPU load, in percent.
    pub cpu_usage: f64,
    /// Users of the panel; of the admin alone when it is not sudo.
    pub total_user: i64,
    /// Users seen connected lately; none before 0.8.
    pub online_users: Option<i64>,
    /// Users whose status is `active`.
    pub users_active: i64,
    /// Users whose status is `on_hold`; none before 0.8.
    pub users_on_hold: Option<i64>,
    /// Users whose status is `disabled`; none before 0.8.
    pub users_disabled: Option<i64>,
    /// Users whose status is `expired`; none before 0.8.
    pub users_expired: Option<i64>,
    /// Users whose status is `limited`; none before 0.8.
    pub users_limited: Option<i64>,
    /// Bytes received since the panel counts.
    pub incoming_bandwidth: i64,
    /// Bytes sent since the panel counts.
    pub outgoing_bandwidth: i64,
    /// Bytes received per second.
    pub incoming_bandwidth_speed: i64,
    /// Bytes sent per second.
    pub outgoing_bandwidth_speed: i64,
}

/// The report of any job: one JSON object that begins with the job's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Report {
    /// Of [`sync_subscriptions_from_marzban`](crate::sync_subscriptions_from_marzban).
    SyncSubscriptionsFromMarzban(SyncSubscriptionsReport),
    /// Of [`sync_user_status_from_marzban`](crate::sync_user_status_from_marzban).
    SyncUserStatusFromMarzban(SyncUserStatusReport),
    /// Of [`cleanup_expired_marzban_users`](crate::cleanup_expired_marzban_users).
    CleanupExpiredMarzbanUsers(CleanupReport),
    /// Of [`get_marzban_system_stats`](crate::get_marzban_system_stats).
    GetMarzbanSystemStats(SystemStatsReport),
}

impl Report {
    /// How the run ended. Of a run that failed the report does not hold whether it was the panel or the database, and
    /// this returns `Store`; [`SyncError::outcome`](crate::error::SyncError::outcome) tells them apart.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let stopped = self.run().and_then(|run| run.stopped);
        stopped.map_or(Outcome::Completed, Outcome::from)
    }

    /// The run over accounts, which the statistics do not have.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::SyncSubscriptionsFromMarzban(report) => Some(&report.run),
            Self::SyncUserStatusFromMarzban(report) => Some(&report.run),
            Self::CleanupExpiredMarzbanUsers(report) => Some(&report.run),
            Self::GetMarzbanSystemStats(_) => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn seconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Why a panel user is not deleted although its own subscription ended long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeptBecause {
    /// A subscription of a customer whose row names the user is open, has a status that is not known, or ended lately.
    OtherSubscription,
    /// An invoice of the last 30 days is not paid yet.
    PendingInvoice,
    /// While the library looked, one side had a later end.
    LaterEndSeen,
    /// The rows were written within the last 7 days, and the library has not seen the account over for as long.
    NotRested,
    /// The customer is active in another panel.
    ActiveElsewhere,
    /// Another account of the customer works, or ended lately.
    OtherAccount,
    /// The panel user works, is on hold, or has a status that is not known.
    InUse,
    /// The panel user's end is absent, lies ahead, is of the last 7 days, or cannot be an end.
    PanelEnd,
    /// Another user has the name now.
    OtherUser,
    /// The panel spells the name in another case, or another row does and the panel does not tell the two apart.
    OtherSpelling,
    /// Its name is exempt.
    Exempt,
    /// A safety limit withheld the deletion.
    Withheld,
}

impl KeptBecause {
    /// The word for it in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherSubscription => "other_subscription",
            Self::PendingInvoice => "pending_invoice",
            Self::LaterEndSeen => "later_end_seen",
            Self::NotRested => "not_rested",
            Self::ActiveElsewhere => "active_elsewhere",
            Self::OtherAccount => "other_account",
            Self::InUse => "in_use",
            Self::PanelEnd => "panel_end",
            Self::OtherUser => "other_user",
            Self::OtherSpelling => "other_spelling",
            Self::Exempt => "exempt",
            Self::Withheld => "withheld",
        }
    }
}

impl fmt::Display for KeptBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
