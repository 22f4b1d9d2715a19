use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use crate::jobs::{self, Context};
use crate::model::outcome::Outcome;
use crate::model::report::{Job, Report};
use crate::port::error::chain;

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
    pub end: Outcome,
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
    let mut is_retryable = None;
    let (end, report, error) = match tokio::time::timeout(patience, caught).await {
        Ok(Ok(Ok(report))) => {
            let error = report.run().and_then(|run| run.withheld_because.clone());
            (report.outcome(), Some(report), error)
        }
        Ok(Ok(Err(error))) => {
            is_retryable = Some(error.is_retryable());
            (error.outcome(), error.report().cloned(), Some(chain(&error)))
        }
        Ok(Err(panic)) => {
            let error = format!("panicked: {}", panic_message(panic.as_ref()));
            (Outcome::Panicked, None, Some(error))
        }
        Err(elapsed) => (Outcome::TimedOut, None, Some(elapsed.to_string())),
    };
    FinishedRun {
        panel_name: context.panel_name().to_owned(),
        job,
        due_at,
        started_at,
        end,
        report,
        error,
        is_retryable: is_retryable.unwrap_or_else(|| end.is_retryable()),
        duration: began.elapsed(),
    }
}

/// The message of a panic, which is its author's and holds no secret unless the author put one there.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
