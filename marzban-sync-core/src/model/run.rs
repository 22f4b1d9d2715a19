//! A run of a job, as the database keeps it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::report::{Job, Stopped, SystemStats};

/// The id of a row of `marzban_sync_runs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

/// How a run ended, as `marzban_sync_runs.outcome` holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// `running`: it is under way, or its process died and no later run has noticed.
    Running,
    /// `completed`: everything in scope was looked at, and nothing was withheld.
    Completed,
    /// `stopped`: a safety limit, the deadline or a cancellation ended it early.
    Stopped,
    /// `failed`: the panel or the database failed.
    Failed,
    /// `abandoned`: its process died, or lost its lock; what it had written stays, and the next run did the rest.
    Abandoned,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Completed,
        Self::Stopped,
        Self::Failed,
        Self::Abandoned,
    ];

    /// The text that the database holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    /// The outcome of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

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
