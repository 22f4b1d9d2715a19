//! One run of one job: its lock, its row of history, its end.

use std::error::Error as StdError;

use serde_json::{Map, Value};

use super::Context;
use super::change_writer::ChangeWriter;
use super::panel_reader::PanelReader;
use crate::model::outcome::{Outcome, RunStatus, Stopped};
use crate::model::report::{Job, Report};
use crate::model::run::RunId;
use crate::port::error::{PanelError, StoreError, StoreErrorKind, SyncError, chain};
use crate::port::journal::RunLock;

/// How many problems, and how many changes of a plan, a row of history keeps; the report that is returned has them all.
const MAX_RECORDED: usize = 100;

/// The two halves of a run, which may work at the same time, and what holds them together.
pub(super) struct JobRun<'a> {
    pub(super) context: &'a Context,
    pub(super) reader: PanelReader<'a>,
    pub(super) writer: ChangeWriter<'a>,
    job: Job,
    lock: Option<Box<dyn RunLock>>,
    id: Option<RunId>,
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) enum Interrupt {
    Stopped(Stopped),
    Failed(Failure),
}

/// Why there is no report of a run that was stopped.
#[derive(Debug, thiserror::Error)]
#[error("the run was stopped before there was anything to report")]
struct StoppedEarly;

/// What failed under a run.
#[derive(Debug)]
pub(super) enum Failure {
    Panel(PanelError),
    Store(StoreError),
}

impl Failure {
    fn into_parts(self) -> (Outcome, Box<dyn StdError + Send + Sync>) {
        match self {
            Self::Panel(error) => (Outcome::Panel, error.into()),
            Self::Store(error) if error.kind() == StoreErrorKind::AlreadyRunning => {
                (Outcome::AlreadyRunning, error.into())
            }
            Self::Store(error) => (Outcome::Store, error.into()),
        }
    }

    fn chain(&self) -> String {
        match self {
            Self::Panel(error) => chain(error),
            Self::Store(error) => chain(error),
        }
    }
}

impl From<StoreError> for Interrupt {
    fn from(error: StoreError) -> Self {
        Self::Failed(Failure::Store(error))
    }
}

impl From<PanelError> for Interrupt {
    fn from(error: PanelError) -> Self {
        Self::Failed(Failure::Panel(error))
    }
}

impl<'a> JobRun<'a> {
    /// Checks the schema, takes the lock and notes the beginning; a dry run only checks the schema.
    pub(super) async fn begin(context: &'a Context, job: Job) -> Result<Self, SyncError> {
        let begun = async {
            step!(job_run.verify_schema, context.accounts.verify_schema()).await?;
            if context.options.dry_run {
                return Ok((None, None));
            }
            let lock = step!(job_run.lock, context.journal.lock(job, &context.panel_name)).await?;
            let begin = context
                .journal
                .begin_run(job, &context.panel_name, context.clock.now());
            let id = step!(job_run.begin_run, begin).await?;
            Ok((Some(lock), Some(id)))
        };
        let (lock, id) = begun.await.map_err(|error: StoreError| {
            let (kind, source) = Failure::Store(error).into_parts();
            SyncError::new(job, kind, source, None)
        })?;
        let started_at = context.clock.now();
        Ok(Self {
            context,
            reader: PanelReader::new(context, job, started_at),
            writer: ChangeWriter::new(context, id, started_at),
            job,
            lock,
            id,
        })
    }

    /// Makes sure that no other run has begun, before something that takes away.
    pub(super) async fn verify_lock(&mut self) -> Result<(), Interrupt> {
        match &mut self.lock {
            Some(lock) => Ok(step!(job_run.verify_lock, lock.verify()).await?),
            None => Ok(()),
        }
    }

    /// Writes the end of the run into the history, and frees the lock.
    pub(super) async fn end(self, result: Result<(), Interrupt>, report: Report) -> Result<(), SyncError> {
        let outcome = match (result, self.writer.run.stopped) {
            (Err(Interrupt::Failed(failure)), _) => return Err(self.fail(failure, Some(report)).await),
            (Err(Interrupt::Stopped(_)), _) | (Ok(()), Some(_)) => RunStatus::Stopped,
            (Ok(()), None) => RunStatus::Completed,
        };
        let job = self.job;
        let recorded = self.close(outcome, for_history(Some(&report), None)).await;
        recorded.map_err(|error| SyncError::new(job, Outcome::Store, error.into(), Some(report)))
    }

    /// The same for a run that failed; the failure counts, whatever becomes of the history.
    pub(super) async fn fail(self, failure: Failure, report: Option<Report>) -> SyncError {
        let job = self.job;
        let history = for_history(report.as_ref(), Some(failure.chain()));
        if let Err(error) = self.close(RunStatus::Failed, history).await {
            tracing::warn!(%job, error = chain(&error), "the end of the run was not recorded");
        }
        let (kind, source) = failure.into_parts();
        SyncError::new(job, kind, source, report)
    }

    /// The same for a run that was stopped before it had anything to report.
    pub(super) async fn stop(self, stopped: Stopped) -> SyncError {
        let job = self.job;
        let history = for_history(None, Some(StoppedEarly.to_string()));
        match self.close(RunStatus::Stopped, history).await {
            Ok(()) => SyncError::new(job, stopped.into(), StoppedEarly.into(), None),
            Err(error) => SyncError::new(job, Outcome::Store, error.into(), None),
        }
    }

    async fn close(self, outcome: RunStatus, report: Value) -> Result<(), StoreError> {
        let mut recorded = Ok(());
        if let Some(id) = self.id {
            let Context { journal, clock, .. } = self.context;
            let finish = journal.finish_run(id, outcome, &report, clock.now());
            recorded = step!(job_run.finish_run, finish).await;
        }
        if let Some(lock) = self.lock
            && let Err(error) = step!(job_run.release, lock.release()).await
        {
            // The lock is free all the same: its connection is closed.
            tracing::warn!(job = %self.job, error = chain(&error), "the lock was not released in order");
        }
        recorded
    }
}

/// The report as a row of history keeps it: with the error, and without what could be endless.
fn for_history(report: Option<&Report>, error: Option<String>) -> Value {
    let mut object = match serde_json::to_value(report) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    };
    for list in ["problems", "plan", "changed"] {
        if let Some(entries) = object.get_mut(list).and_then(Value::as_array_mut) {
            entries.truncate(MAX_RECORDED);
        }
    }
    if let Some(error) = error {
        object.insert("error".to_owned(), Value::String(error));
    }
    let mut report = Value::Object(object);
    without_nul(&mut report);
    report
}

/// PostgreSQL keeps no NUL, and whatever the panel said must not keep the end of a run out of the history.
fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\0') => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(values) => values.iter_mut().for_each(without_nul),
        Value::Object(object) => object.values_mut().for_each(without_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nul_of_the_panel_reaches_the_history() {
        let mut run = crate::model::report::Run::new("default", chrono::DateTime::UNIX_EPOCH, false);
        run.problems.push(crate::model::report::Problem {
            telegram_id: None,
            name: "a\0b".to_owned(),
            reason: crate::model::report::ProblemReason::Unavailable,
            detail: Some("\0".to_owned()),
        });
        let report = Report::SyncUserStatusFromMarzban(crate::model::report::SyncUserStatusReport {
            updated: 0,
            missing: 0,
            errors: 1,
            total: 1,
            run,
        });
        let kept = for_history(Some(&report), Some("the panel said \0".to_owned()));
        assert!(!kept.to_string().contains("\\u0000"), "{kept}");
        assert_eq!(kept["error"], "the panel said \u{fffd}");
        assert_eq!(kept["problems"][0]["name"], "a\u{fffd}b");
    }
}
