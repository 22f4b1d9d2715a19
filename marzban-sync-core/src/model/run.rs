//! A run of a job, as the database keeps it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::outcome::{RunStatus, Stopped};
use crate::model::report::{Job, SystemStats};

/// The time that a run may take, unless said otherwise.
pub const RUN_DEADLINE: TimeDelta = TimeDelta::minutes(30);

/// The id of a row of `marzban_sync_runs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

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
    /// Whether it has ended, and how.
    pub status: RunStatus,
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
    pub status: Option<RunStatus>,
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
            status: None,
            limit,
        }
    }
}
