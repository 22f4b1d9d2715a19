use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use crate::jobs::{self, Context};
use crate::model::report::{Job, Report, Stopped};
use crate::port::error::{PanelError, PanelErrorKind, StoreError, SyncErrorKind, chain};

/// How a run on schedule ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RunEnd {
    /// It ran to its end.
    Completed,
    /// A safety limit withheld what it would have taken away.
    Safety,
    /// Its time was up, and it stopped between two requests.
    Deadline,
    /// The process was asked to stop, and it stopped between two requests.
    Cancelled,
    /// Another process runs this job for this panel.
    AlreadyRunning,
    /// The panel did not answer, or refused.
    Panel,
    /// The database failed.
    Store,
    /// It did not even heed its time limit, and was dropped.
    TimedOut,
    /// It panicked, which is a bug.
    Panicked,
}

impl RunEnd {
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

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A run on schedule that has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FinishedRun {
    /// The panel's name.
    pub panel_name: String,
    /// The job.
    pub job: Job,
    /// When it was due.
    pub due_at: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How it ended.
    pub end: RunEnd,
    /// What it did; none when nothing was begun, and of a run that was dropped.
    pub report: Option<Report>,
    /// Why it did not complete, in one line and without secrets.
    pub error: Option<String>,
    /// Whether another attempt may succeed; not after refused credentials, nor with a schema that does not fit.
    pub is_retryable: bool,
    /// How long it took.
    pub duration: Duration,
}

/// Runs a job to an end, whatever happens in it: an error, a panic, a database that hangs.
///
/// For a program that decides by itself when a job runs; a [`Scheduler`](super::Scheduler) does this for each run. A run
/// stops by itself at the deadline of its context; one that does not within `patience` is dropped, which every job allows
/// at any point.
///
/// # Cancel safety
/// May be dropped at any point, as every job.
pub async fn supervise(
    job: Job,
    context: &Context,
    due_at: DateTime<Utc>,
    patience: Duration,
) -> FinishedRun {
    let (began, started_at) = (Instant::now(), context.now());
    let caught = AssertUnwindSafe(jobs::run(job, context)).catch_unwind();
    let mut is_retryable = true;
    let (end, report, error) = match tokio::time::timeout(patience, caught).await {
        Ok(Ok(Ok(report))) => {
            let error = report.run().and_then(|run| run.withheld_because.clone());
            (end_of(&report), Some(report), error)
        }
        Ok(Ok(Err(error))) => {
            let end = match error.kind() {
                SyncErrorKind::AlreadyRunning => RunEnd::AlreadyRunning,
                SyncErrorKind::Stopped => RunEnd::Cancelled,
                SyncErrorKind::Panel => RunEnd::Panel,
                _ => RunEnd::Store,
            };
            is_retryable = may_succeed_later(&error);
            (end, error.report().cloned(), Some(chain(&error)))
        }
        Ok(Err(panic)) => {
            let error = format!("panicked: {}", panic_message(panic.as_ref()));
            (RunEnd::Panicked, None, Some(error))
        }
        Err(elapsed) => (RunEnd::TimedOut, None, Some(elapsed.to_string())),
    };
    FinishedRun {
        panel_name: context.panel_name().to_owned(),
        job,
        due_at,
        started_at,
        end,
        report,
        error,
        is_retryable,
        duration: began.elapsed(),
    }
}

/// Refused credentials and a schema that does not fit need an operator: trying again would only lock accounts out.
fn may_succeed_later(error: &(dyn StdError + 'static)) -> bool {
    let is_refused = |error: &PanelError| error.kind() == PanelErrorKind::Refused;
    let is_permanent = |error: &StoreError| !error.kind().is_retryable();
    !error.downcast_ref().is_some_and(is_refused)
        && !error.downcast_ref().is_some_and(is_permanent)
        && error.source().is_none_or(may_succeed_later)
}

fn end_of(report: &Report) -> RunEnd {
    match report.run().and_then(|run| run.stopped) {
        None => RunEnd::Completed,
        Some(Stopped::Safety) => RunEnd::Safety,
        Some(Stopped::Deadline) => RunEnd::Deadline,
        Some(Stopped::Cancelled) => RunEnd::Cancelled,
        Some(_) => RunEnd::Store,
    }
}

/// The message of a panic, which is its author's and holds no secret unless the author put one there.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::error::{StoreErrorKind, SyncError};

    #[test]
    fn only_what_an_operator_must_settle_is_not_tried_again() {
        let panel = |kind| PanelError::new(kind, "cannot read users");
        let store = |kind| StoreError::new(kind, "cannot read accounts");
        let of_panel = |kind| {
            let source = Box::new(panel(kind));
            SyncError::new(Job::GetMarzbanSystemStats, SyncErrorKind::Panel, source, None)
        };
        let of_store = |kind| {
            let source = Box::new(panel(PanelErrorKind::Unavailable).with_source(store(kind)));
            SyncError::new(Job::GetMarzbanSystemStats, SyncErrorKind::Store, source, None)
        };
        for (error, expected) in [
            (of_panel(PanelErrorKind::Unavailable), true),
            (of_panel(PanelErrorKind::Refused), false),
            (of_store(StoreErrorKind::Contended), true),
            (of_store(StoreErrorKind::Schema), false),
            (of_store(StoreErrorKind::Invalid), false),
        ] {
            assert_eq!(may_succeed_later(&error), expected, "{}", chain(&error));
        }
    }
}
