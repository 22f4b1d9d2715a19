//! The port to what the library itself keeps: locks, runs, what is remembered of panel users, and what was changed.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::decide::freshness::last_synced_at;
use crate::model::account::Account;
use crate::model::agreement::Agreement;
use crate::model::outcome::{RunStatus, Stopped};
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{Entry, EntryQuery, EntryRecord};
use crate::port::accounts::AccountStore;
use crate::port::error::StoreError;

/// How many runs of a panel are looked through for one in which an account was in line.
const RUNS_LOOKED_THROUGH: u32 = 200;

/// Keeps what the library needs beside the bot's own tables.
///
/// The three stores of this crate are journals; one of them serves an [`AccountStore`](crate::store::AccountStore) of a
/// bot's own. Runs of jobs that this version does not know are passed over when they are read.
///
/// The time is an argument: no method asks a clock, in Rust or in SQL.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Reads what is remembered of these panel users; one that nothing is remembered of is left out.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError>;

    /// Writes agreements, each by compare-and-set of its revision, and entries of the trail.
    ///
    /// An agreement whose revision has changed is left as it is; one of revision 0 is written where there is none. To
    /// forget one needs no revision.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`; nothing was written then.
    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Takes the lock of a job and a panel, so that one run at a time is under way on any machine.
    ///
    /// The lock lives until it is released, dropped, or its process dies.
    ///
    /// # Errors
    /// `AlreadyRunning` when another run holds it; `Unavailable` when the database cannot be asked.
    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError>;

    /// Notes that a run has begun, in `marzban_sync_runs` with the outcome `running`.
    ///
    /// The caller holds the lock of this job and panel, so a run of theirs that still is `running` is one whose
    /// process died: it becomes `abandoned`, and has no end, as nobody knows when that was.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError>;

    /// Notes how a run ended.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`, the latter also for a run that is not there.
    async fn finish_run(
        &self,
        run: RunId,
        outcome: RunStatus,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Stores one collection of the panel's figures in `marzban_system_stats`.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Deletes the runs of a panel that began, its figures that were collected and its trail that was written before
    /// this moment; returns how many rows that were. Kept are runs under way, and of each job the last one that completed, however old.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError>;

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

/// An [`AccountStore`] that is its own journal, as the stores of this crate are: rows, agreements and trail are written
/// as one.
pub trait Store: AccountStore + Journal {}

impl<S: AccountStore + Journal + ?Sized> Store for S {}

/// A lock that one run of a job holds; dropping it frees it as well.
#[cfg_attr(feature = "test-util", mockall::automock)]
#[async_trait]
pub trait RunLock: Send + Sync {
    /// Makes sure that the lock is still held, before something that cannot be undone.
    ///
    /// # Errors
    /// `LockLost` when it is not, or when that cannot be known.
    async fn verify(&mut self) -> Result<(), StoreError>;

    /// Frees the lock.
    ///
    /// # Errors
    /// `Unavailable` when the database did not confirm; the lock is free all the same, as its connection is closed.
    async fn release(self: Box<Self>) -> Result<(), StoreError>;
}

/// A panel user, by the panel's name and its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PanelUserKey {
    /// The panel's name.
    pub panel: String,
    /// The panel user's name.
    pub username: String,
}

/// What is remembered of a panel user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The panel user.
    pub user: PanelUserKey,
    /// Which write of the agreement this is; the first is 1.
    pub revision: i64,
    /// What.
    pub agreement: Agreement,
}

/// Agreements and entries that belong to rows of another database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The agreements, each with the username, the revision that it replaces, and the new one; none forgets it.
    pub agreements: Vec<(String, i64, Option<Agreement>)>,
    /// The entries.
    pub entries: Vec<Entry>,
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
pub async fn last_ended(journal: &dyn Journal) -> Result<BTreeMap<(String, Job), DateTime<Utc>>, StoreError> {
    let mut last = BTreeMap::new();
    for outcome in [RunStatus::Completed, RunStatus::Stopped, RunStatus::Failed] {
        let runs = journal.latest_runs(Some(outcome)).await?;
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
    journal: &dyn Journal,
    panel: &str,
    account: &Account,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let query = RunQuery {
        panel: Some(panel.to_owned()),
        ..RunQuery::latest(RUNS_LOOKED_THROUGH)
    };
    Ok(last_synced_at(account, &journal.runs(&query).await?))
}
