//! One run of one task: the library's job, supervised by the library.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use marzban_sync_core::Context;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::error::chain;
use marzban_sync_core::outcome::{Outcome, RunStatus};
use marzban_sync_core::panel::Panel;
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::{Job, Report};
use marzban_sync_core::run::RunQuery;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::{self, FinishedRun, metrics};
use marzban_sync_core::store::{Journal, PostgresStore};
use marzban_sync_examples::policies::Policies;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::page::is_withheld;
use crate::task::SyncTask;

/// The most problems and changes that a task's result keeps; `marzban_sync_runs` keeps as many.
const MAX_KEPT: usize = 100;

/// How a run ended, for the row of its task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RunResult {
    /// With a report, also when a safety limit or the deadline stopped it.
    Finished(Value),
    /// Another run of the same job and panel is under way.
    Busy,
    /// The process was asked to end.
    Cancelled,
    /// It failed, and whether another attempt would fail too.
    Failed { why: String, is_final: bool },
}

impl RunResult {
    fn of(run: &FinishedRun, limit: Duration) -> Self {
        let failed = |why: String| Self::Failed {
            why,
            is_final: !run.is_retryable,
        };
        match (run.end, &run.report, &run.error) {
            (Outcome::AlreadyRunning, ..) => Self::Busy,
            (Outcome::Cancelled, ..) => Self::Cancelled,
            (Outcome::TimedOut, ..) | (Outcome::Deadline, None, _) => failed(format!(
                "it took longer than {}",
                humantime::format_duration(limit)
            )),
            (Outcome::Completed | Outcome::Safety | Outcome::Deadline, Some(report), _)
            | (_, Some(report), None) => Self::Finished(for_result(report)),
            (_, _, error) => failed(error.clone().unwrap_or_else(|| run.end.to_string())),
        }
    }
}

/// Runs the library's jobs.
pub(crate) struct JobRunner {
    panels: BTreeMap<String, Arc<dyn Panel>>,
    policies: Policies,
    stores: StorePool,
    time_limits: BTreeMap<Job, Duration>,
}

impl JobRunner {
    pub(crate) fn new(
        panels: BTreeMap<String, Arc<dyn Panel>>,
        policies: Policies,
        stores: Vec<PostgresStore>,
        schedules: &[Schedule],
    ) -> Self {
        let limit =
            |schedule: &Schedule| (schedule.job(), schedule.time_limit().to_std().unwrap_or_default());
        Self {
            panels,
            policies,
            stores: StorePool(Mutex::new(stores)),
            time_limits: schedules.iter().map(limit).collect(),
        }
    }

    /// Runs a task's job until it ends, its time is up, or its cancellation is asked for.
    pub(crate) async fn run(&self, task: SyncTask, cancellation: CancellationToken) -> RunResult {
        let Some(job) = task.known_job() else {
            return RunResult::Failed {
                why: format!("{:?} is no job of this version", task.job),
                is_final: true,
            };
        };
        let Some(panel) = self.panels.get(&task.panel) else {
            return RunResult::Failed {
                why: format!("this worker was not given the panel {:?}", task.panel),
                is_final: false,
            };
        };
        let Some(store) = self.stores.take() else {
            return RunResult::Busy;
        };
        let limit = self
            .time_limits
            .get(&job)
            .copied()
            .unwrap_or(Duration::from_mins(30));
        let context = self
            .policies
            .set_up(Context::builder(Arc::clone(panel), store.store.clone()))
            .panel_name(&task.panel)
            .answers(answers(&store.store, job, &task).await)
            // A little less, so that a run ends by itself when its time is up, with a report.
            .deadline(TimeDelta::from_std(limit.mul_f64(29.0 / 30.0)).unwrap_or(TimeDelta::MAX))
            .cancellation(cancellation)
            .build();
        let due_at = task.tick.unwrap_or_else(|| SystemClock.now());
        let run = scheduler::supervise(job, &context, due_at, limit).await;
        metrics::record(&run, SystemClock.now());
        RunResult::of(&run, limit)
    }
}

/// How many runs are looked through for the one whose plan is to be applied.
const LOOKED_THROUGH: u32 = 20;

/// Returns the operator's answers for a run; none when the plan that was answered is not the latest any more.
async fn answers(history: &dyn Journal, job: Job, task: &SyncTask) -> Answers {
    if !task.has_answers() || !is_last_word(history, job, task).await {
        return Answers::default();
    }
    let trust = |names: &[String]| match names {
        [] => Trust::Nobody,
        names => Trust::Names(names.iter().cloned().collect()),
    };
    Answers {
        trust_panel: trust(&task.trust_panel),
        trust_bot: trust(&task.trust_bot),
        allow_mass_changes: task.allow_mass_changes,
    }
}

/// Returns whether no run has ended since the one whose plan was answered.
///
/// A task allows changes once: a form that was sent twice, or a task that is run again because its worker died
/// after the run, finds that a later run has ended.
async fn is_last_word(history: &dyn Journal, job: Job, task: &SyncTask) -> bool {
    let Some(plan) = task.plan else { return true };
    let query = RunQuery {
        panel: Some(task.panel.clone()),
        job: Some(job),
        ..RunQuery::latest(LOOKED_THROUGH)
    };
    let is_last_word = match history.runs(&query).await {
        Ok(runs) => runs
            .iter()
            .find(|run| run.status == RunStatus::Completed || is_withheld(run))
            .is_some_and(|run| run.id.0 == plan && is_withheld(run)),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the plan that was answered cannot be read");
            false
        }
    };
    if !is_last_word {
        tracing::warn!(
            plan,
            "the plan that was answered is not the last one: the answer does not count"
        );
    }
    is_last_word
}

/// The stores of the runs that may be under way at a time, each with connections of its own: a run holds one for its
/// lock while it works with another, and so many runs could use up those of a single store and wait for each other.
#[derive(Debug)]
struct StorePool(Mutex<Vec<PostgresStore>>);

impl StorePool {
    fn take(&self) -> Option<PooledStore<'_>> {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(PooledStore { store, stores: self })
    }
}

/// A store that returns to the pool, also when its run panics.
struct PooledStore<'a> {
    store: PostgresStore,
    stores: &'a StorePool,
}

impl Drop for PooledStore<'_> {
    fn drop(&mut self) {
        let mut stores = self.stores.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.push(self.store.clone());
    }
}

/// Returns the report with its lists cut to a bounded length.
fn for_result(report: &Report) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(report) = value.as_object_mut() {
        report.remove("plan");
        for list in ["problems", "changed"] {
            if let Some(entries) = report.get_mut(list).and_then(Value::as_array_mut) {
                entries.truncate(MAX_KEPT);
            }
        }
    }
    value
}
