//! How a run ended: to its caller, in its report, and in the history.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run stands, as `marzban_sync_runs.outcome` holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunStatus {
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

impl RunStatus {
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

    /// The status of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran to its end.
    Completed,
    /// A safety limit withheld what it would have taken away.
    Safety,
    /// Its time was up, and it stopped between two requests; the next run does the rest.
    Deadline,
    /// The process was asked to stop, and it stopped between two requests.
    Cancelled,
    /// Another process runs this job for this panel.
    AlreadyRunning,
    /// The panel did not answer, or refused; only rows of users that it had reported on were changed.
    Panel,
    /// The database failed; nothing more was done in the panel.
    Store,
    /// It did not even heed its time limit, and was dropped.
    TimedOut,
    /// It panicked, which is a bug.
    Panicked,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Completed,
        Self::Safety,
        Self::Deadline,
        Self::Cancelled,
        Self::AlreadyRunning,
        Self::Panel,
        Self::Store,
        Self::TimedOut,
        Self::Panicked,
    ];

    /// The word for it in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Safety => "safety",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::AlreadyRunning => "already_running",
            Self::Panel => "panel",
            Self::Store => "store",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }

    /// What the run's row in `marzban_sync_runs` says; none for a run that has no row of its own.
    #[must_use]
    pub fn status(self) -> Option<RunStatus> {
        match self {
            Self::Completed => Some(RunStatus::Completed),
            Self::Safety | Self::Deadline | Self::Cancelled => Some(RunStatus::Stopped),
            Self::Panel | Self::Store => Some(RunStatus::Failed),
            Self::TimedOut | Self::Panicked => Some(RunStatus::Abandoned),
            Self::AlreadyRunning => None,
        }
    }

    /// Whether the same run may end better a little later, without anybody doing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Completed | Self::Safety => false,
            Self::Deadline
            | Self::Cancelled
            | Self::AlreadyRunning
            | Self::Panel
            | Self::Store
            | Self::TimedOut
            | Self::Panicked => true,
        }
    }

    /// Whether somebody should look: neither the work was done, nor is somebody else doing it.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::AlreadyRunning => false,
            Self::Safety | Self::Deadline | Self::Panel | Self::Store | Self::TimedOut | Self::Panicked => {
                true
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What ended a run before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// A safety limit.
    Safety,
    /// The time was up.
    Deadline,
    /// The caller cancelled.
    Cancelled,
    /// The panel or the database failed; the error says how.
    Failed,
}

impl From<Stopped> for Outcome {
    /// `Store` for a run that failed, as the word does not tell whether it was the panel or the database.
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Safety => Self::Safety,
            Stopped::Deadline => Self::Deadline,
            Stopped::Cancelled => Self::Cancelled,
            Stopped::Failed => Self::Store,
        }
    }
}
