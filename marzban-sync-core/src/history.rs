//! What the runs of the past say: how a panel and an account are, and for how long nobody has looked.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::account::Account;
use crate::error::StoreError;
use crate::report::{Job, Stopped, SystemStats};
use crate::store::{Outcome, RunId};
use crate::trail::{EntryQuery, EntryRecord};

/// How many runs of a panel are looked through for one in which an account was in line.
const RUNS_LOOKED_THROUGH: u32 = 200;

/// A run, as `marzban_sync_runs` keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The job.
    pub job: Job,
    /// The panel's name.
    pub panel: String,
    /// When it began, UTC.
    pub started_at: DateTime<Utc>,
    /// When it ended, UTC; none while it is under way, and for one whose process died.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended, if it has.
    pub outcome: Outcome,
    /// Its report, with at most 100 problems and 100 changes that were withheld.
    pub report: Option<Value>,
}

impl RunRecord {
    /// Why the run was stopped, if it was; none for a reason of another version.
    #[must_use]
    pub fn stopped(&self) -> Option<Stopped> {
        Stopped::deserialize(self.report.as_ref()?.get("stopped")?).ok()
    }
}

/// One collection of a panel's figures, as `marzban_system_stats` keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemStatsRecord {
    /// The panel's name.
    pub panel: String,
    /// When they were collected, UTC.
    pub collected_at: DateTime<Utc>,
    /// The figures.
    pub stats: SystemStats,
}

/// Which runs to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunQuery {
    /// Those of this panel alone.
    pub panel: Option<String>,
    /// Those of this job alone.
    pub job: Option<Job>,
    /// Those that ended so.
    pub outcome: Option<Outcome>,
    /// At most so many, the latest.
    pub limit: u32,
}

impl RunQuery {
    /// The latest runs, of whatever panel and job.
    #[must_use]
    pub fn latest(limit: u32) -> Self {
        Self {
            panel: None,
            job: None,
            outcome: None,
            limit,
        }
    }
}

/// Reads what [`Store`](crate::store::Store) has recorded.
///
/// Runs of jobs that this version does not know are passed over.
#[async_trait]
pub trait History: Send + Sync {
    /// Reads runs, the latest first: by id, so that one run with a clock of the future does not hide the others.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError>;

    /// Reads the latest run of each panel and job, by panel and then by job; given an outcome, the latest that ended
    /// so. `latest_runs(Some(Outcome::Completed))` are the last good runs.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn latest_runs(&self, outcome: Option<Outcome>) -> Result<Vec<RunRecord>, StoreError>;

    /// Reads a panel's figures that were collected at `since` or later, the earliest first.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError>;

    /// Reads the trail of a run or of a customer.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError>;
}

/// When the last run of each panel and job began that came to an end, good or bad: what
/// `schedule::Agenda::resumed` asks for. A run whose process died, or was asked
/// to stop in the middle of it, has answered no tick.
///
/// # Errors
/// `Unavailable` or `Invalid`.
///
/// # Cancel safety
/// Reads only; may be dropped at any point.
pub async fn last_ended(history: &dyn History) -> Result<BTreeMap<(String, Job), DateTime<Utc>>, StoreError> {
    let mut last = BTreeMap::new();
    for outcome in [Outcome::Completed, Outcome::Stopped, Outcome::Failed] {
        let runs = history.latest_runs(Some(outcome)).await?;
        for run in runs
            .into_iter()
            .filter(|run| run.stopped() != Some(Stopped::Cancelled))
        {
            let began = last.entry((run.panel, run.job)).or_insert(run.started_at);
            *began = run.started_at.max(*began);
        }
    }
    Ok(last)
}

/// When an account was last found, or brought, in line with its panel: the age of what its row says.
///
/// # Errors
/// `Unavailable` or `Invalid`.
///
/// # Cancel safety
/// Reads only; may be dropped at any point.
pub async fn in_line_at(
    history: &dyn History,
    panel: &str,
    account: &Account,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let query = RunQuery {
        panel: Some(panel.to_owned()),
        ..RunQuery::latest(RUNS_LOOKED_THROUGH)
    };
    Ok(last_in_line(account, &history.runs(&query).await?))
}

/// When the latest of these runs began that looked at the account and had no problem with it.
///
/// The status job looks at every account; the subscriptions job counts when the account's subscription is one that it
/// looks at. A run that did not read all accounts, or had more problems than its record holds, proves nothing. An
/// account that was made after a run is not told from an older one: the bot knows when it made it.
#[must_use]
pub fn last_in_line(account: &Account, runs: &[RunRecord]) -> Option<DateTime<Utc>> {
    let is_subscribed = account
        .subscription
        .as_ref()
        .is_some_and(|subscription| subscription.status.is_synced());
    runs.iter()
        .filter(|run| match run.job {
            Job::SyncUserStatusFromMarzban => true,
            Job::SyncSubscriptionsFromMarzban => is_subscribed,
            Job::CleanupExpiredMarzbanUsers | Job::GetMarzbanSystemStats => false,
        })
        .filter(|run| matches!(run.outcome, Outcome::Completed | Outcome::Stopped))
        .filter(|run| {
            run.report
                .as_ref()
                .is_some_and(|report| proves(report, &account.name))
        })
        .map(|run| run.started_at)
        .max()
}

/// Whether a report is of a run that read every account of its scope; one without the figures proves nothing.
fn read_everybody(report: &Value) -> bool {
    let number = |key: &str| report.get(key).and_then(Value::as_u64);
    number("unreached") == Some(0)
}

/// Whether a report shows that the account of this name was looked at, and was no problem.
fn proves(report: &Value, name: &str) -> bool {
    let number = |key: &str| report.get(key).and_then(Value::as_u64);
    let Some(problems) = report.get("problems").and_then(Value::as_array) else {
        return false;
    };
    read_everybody(report)
        && number("errors") == Some(problems.len() as u64)
        && !problems
            .iter()
            .any(|problem| problem.get("name").and_then(Value::as_str) == Some(name))
}
