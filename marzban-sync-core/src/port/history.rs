//! What the runs of the past say: how a panel and an account are, and for how long nobody has looked.

use crate::decide::freshness::last_synced_at;
use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::account::Account;
use crate::model::outcome::{RunStatus, Stopped};
use crate::model::report::Job;
use crate::model::run::{RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::error::StoreError;

/// How many runs of a panel are looked through for one in which an account was in line.
const RUNS_LOOKED_THROUGH: u32 = 200;

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
    /// so. `latest_runs(Some(RunStatus::Completed))` are the last good runs.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError>;

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
    for outcome in [RunStatus::Completed, RunStatus::Stopped, RunStatus::Failed] {
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
pub async fn synced_at(
    history: &dyn History,
    panel: &str,
    account: &Account,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let query = RunQuery {
        panel: Some(panel.to_owned()),
        ..RunQuery::latest(RUNS_LOOKED_THROUGH)
    };
    Ok(last_synced_at(account, &history.runs(&query).await?))
}
