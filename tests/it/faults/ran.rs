//! How a run ended, and what it said.

use std::error::Error;

use marzban_sync_core::error::{StoreError, StoreErrorKind, SyncError, chain};
use marzban_sync_core::jobs::Undone;
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::report::{Report, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Stopped,
    Refused,
    Failed,
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub(super) struct Ran {
    end: End,
    /// In a line without anything that differs from run to run.
    pub(super) said: String,
    /// The same without any figure.
    pub(super) words: Vec<String>,
}

impl Ran {
    /// Whether it came to its end, and nothing stopped it.
    pub(super) fn is_ok(&self) -> bool {
        self.end == End::Completed
    }

    /// Whether another one held the lock.
    pub(super) fn is_refused(&self) -> bool {
        self.end == End::Refused
    }

    fn of_error(kind: &str, error: &dyn Error, is_refused: bool) -> Self {
        let cause = error.source().map_or_else(String::new, ToString::to_string);
        Self {
            end: if is_refused { End::Refused } else { End::Failed },
            said: format!("error {kind}: {cause}"),
            words: vec![format!("error: {kind}")],
        }
    }

    fn note(&mut self, report: &Report) {
        let figures = match report {
            Report::SyncSubscriptionsFromMarzban(report) => format!(
                "{} synced, {} errors, {} total",
                report.synced, report.errors, report.total
            ),
            Report::SyncUserStatusFromMarzban(report) => format!(
                "{} updated, {} missing, {} errors, {} total",
                report.updated, report.missing, report.errors, report.total
            ),
            Report::CleanupExpiredMarzbanUsers(report) => format!(
                "{} cleaned, {} skipped, {} errors, {} total",
                report.cleaned, report.skipped, report.errors, report.total
            ),
            Report::GetMarzbanSystemStats(_) => "figures".to_owned(),
        };
        self.say(&figures);
        if let Some(run) = report.run() {
            self.note_run(run);
        }
    }

    fn note_run(&mut self, run: &Run) {
        if let Some(stopped) = run.stopped {
            let stopped = format!("stopped: {stopped:?}").to_lowercase();
            self.say(&stopped);
            if self.end == End::Completed {
                self.end = End::Stopped;
                self.words = vec![stopped];
            }
        }
        if let Some(because) = &run.withheld_because {
            self.say(because);
        }
        for (count, what) in [
            (run.unreached, "unreached"),
            (run.withheld, "withheld"),
            (run.extended_in_panel, "extended in the panel"),
        ] {
            if count > 0 {
                self.say(&format!("{count} {what}"));
            }
        }
        for (reason, count) in &run.reasons {
            self.say(&format!("{count} {}", reason.as_str()));
            self.words.push(reason.as_str().to_owned());
        }
    }

    fn say(&mut self, more: &str) {
        if !self.said.is_empty() {
            self.said.push_str("; ");
        }
        self.said.push_str(more);
    }
}

impl From<Result<Report, SyncError>> for Ran {
    fn from(result: Result<Report, SyncError>) -> Self {
        let mut ran = match &result {
            Ok(_) => Self {
                end: End::Completed,
                said: String::new(),
                words: vec!["completed".to_owned()],
            },
            Err(error) => {
                let outcome = error.outcome();
                Self::of_error(outcome.as_str(), error, outcome == Outcome::AlreadyRunning)
            }
        };
        match &result {
            Ok(report) => ran.note(report),
            Err(error) => {
                if let Some(report) = error.report() {
                    ran.note(report);
                }
            }
        }
        ran
    }
}

impl From<Result<Undone, StoreError>> for Ran {
    fn from(result: Result<Undone, StoreError>) -> Self {
        match result {
            Ok(Undone { undone, kept, .. }) => Self {
                end: End::Completed,
                said: format!("{undone} undone, {kept} kept"),
                words: vec!["undone".to_owned()],
            },
            Err(error) if error.kind() == StoreErrorKind::AlreadyRunning => {
                Self::of_error("already_running", &error, true)
            }
            Err(error) => Self::of_error(&chain(&error), &error, false),
        }
    }
}
