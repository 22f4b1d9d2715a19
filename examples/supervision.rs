//! One run that ends and can be told of, whatever happens in it: an error, a panic, a database that hangs.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use marzban_sync_core::error::{SyncErrorKind, chain};
use marzban_sync_core::report::{Job, Report, Stopped};
use marzban_sync_core::{Context, jobs};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever judges runs must say what to make of each ending"
)]
pub enum Outcome {
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

    /// The word for it in logs, metrics and answers.
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "these are its facts")]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// What it did; none when nothing was begun, and of a run that was dropped.
    pub report: Option<Report>,
    /// Why it did not complete, in one line and without secrets.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Runs a job to an end.
///
/// A run stops by itself at the deadline of its context; one that does not within `patience` is dropped, which every
/// job allows at any point.
pub async fn run(job: Job, context: &Context, patience: Duration) -> Ended {
    let began = Instant::now();
    let caught = AssertUnwindSafe(jobs::run(job, context)).catch_unwind();
    let (outcome, report, error) = match tokio::time::timeout(patience, caught).await {
        Ok(Ok(Ok(report))) => {
            let error = report.run().and_then(|run| run.withheld_because.clone());
            (outcome(&report), Some(report), error)
        }
        Ok(Ok(Err(error))) => {
            let outcome = match error.kind() {
                SyncErrorKind::AlreadyRunning => Outcome::AlreadyRunning,
                SyncErrorKind::Stopped => Outcome::Cancelled,
                SyncErrorKind::Panel => Outcome::Panel,
                _ => Outcome::Store,
            };
            (outcome, error.report().cloned(), Some(chain(&error)))
        }
        Ok(Err(panic)) => {
            let error = format!("panicked: {}", words_of(panic.as_ref()));
            (Outcome::Panicked, None, Some(error))
        }
        Err(elapsed) => (Outcome::TimedOut, None, Some(elapsed.to_string())),
    };
    Ended {
        outcome,
        report,
        error,
        duration: began.elapsed(),
    }
}

fn outcome(report: &Report) -> Outcome {
    match report.run().and_then(|run| run.stopped) {
        None => Outcome::Completed,
        Some(Stopped::Safety) => Outcome::Safety,
        Some(Stopped::Deadline) => Outcome::Deadline,
        Some(Stopped::Cancelled) => Outcome::Cancelled,
        Some(_) => Outcome::Store,
    }
}

/// The words of a panic, which are its author's and hold no secret unless the author put one there.
#[must_use]
pub fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use marzban_sync_core::panel::MockPanel;
    use marzban_sync_core::store::MemoryStore;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_panic_is_an_outcome_and_the_next_run_finds_the_lock_free() {
        let mut panel = MockPanel::new();
        panel
            .expect_system_stats()
            .times(1)
            .returning(|| panic!("a bug in the adapter"));
        panel
            .expect_system_stats()
            .times(1)
            .returning(|| Ok(marzban_sync_core::report::SystemStats::default()));
        panel.expect_last_date().returning(|| None);
        let context = Context::new(panel, MemoryStore::new());

        let ended = run(Job::GetMarzbanSystemStats, &context, PATIENCE).await;
        assert_eq!(ended.outcome, Outcome::Panicked);
        assert_eq!(ended.error.as_deref(), Some("panicked: a bug in the adapter"));
        let again = run(Job::GetMarzbanSystemStats, &context, PATIENCE).await;
        assert_eq!((again.outcome, again.error), (Outcome::Completed, None));
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own_and_three_are_no_failure() {
        let words: std::collections::BTreeSet<&str> = Outcome::ALL.map(Outcome::as_str).into();
        assert_eq!(words.len(), Outcome::ALL.len());
        let fine: Vec<&str> = Outcome::ALL
            .into_iter()
            .filter(|outcome| !outcome.is_failure())
            .map(Outcome::as_str)
            .collect();
        assert_eq!(fine, ["completed", "cancelled", "already_running"]);
    }
}
