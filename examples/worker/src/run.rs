//! One run of one task: the library's job, within its time, whatever it does.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind, SyncError, chain};
use marzban_sync_core::outcome::{Outcome, RunStatus, Stopped};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::{Job, Report};
use marzban_sync_core::run::RunQuery;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::panic_message;
use marzban_sync_core::store::{Journal, PostgresStore};
use marzban_sync_core::{Context, jobs};
use marzban_sync_examples::policies::Policies;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::page::is_withheld;
use crate::retry::Ending;
use crate::task::SyncTask;

/// How many problems and changed values a task's result keeps; `marzban_sync_runs` keeps as many.
const MAX_KEPT: usize = 100;

/// What a worker runs.
#[async_trait]
pub(crate) trait Runner: Send + Sync + 'static {
    /// How long a run of this task may take.
    fn time_limit(&self, task: &SyncTask) -> Duration;

    /// Runs it, until it ends or its cancellation is asked for.
    async fn run(&self, task: SyncTask, cancellation: CancellationToken) -> Ending;
}

/// Runs a task on a thread of the runtime, and ends with it whatever happens.
///
/// The time limit and the panic are caught here: apalis would write neither into the task's row, which would stay
/// `Running` for as long as its worker lives.
pub(crate) async fn guarded(
    runner: Arc<dyn Runner>,
    task: SyncTask,
    cancellation: CancellationToken,
) -> Ending {
    let failed = |why| Ending::Failed { why, is_final: false };
    let limit = runner.time_limit(&task);
    let run = async move { runner.run(task, cancellation).await }.in_current_span();
    // Dropping the handle ends the run, so that a run never outlives its task.
    let run = AbortOnDropHandle::new(tokio::spawn(run));
    match tokio::time::timeout(limit, run).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(error)) => match error.try_into_panic() {
            Ok(panic) => failed(format!("it panicked: {}", panic_message(&*panic))),
            Err(_) => Ending::Cancelled,
        },
        Err(_) => failed(format!(
            "it took longer than {}",
            humantime::format_duration(limit)
        )),
    }
}

/// Runs the library's jobs.
#[derive(Debug)]
pub(crate) struct JobRunner {
    panels: BTreeMap<String, Arc<MarzbanPanel>>,
    policies: Policies,
    stores: Stores,
    time_limits: BTreeMap<Job, Duration>,
}

impl JobRunner {
    pub(crate) fn new(
        panels: BTreeMap<String, Arc<MarzbanPanel>>,
        policies: Policies,
        stores: Vec<PostgresStore>,
        schedules: &[Schedule],
    ) -> Self {
        let limit =
            |schedule: &Schedule| (schedule.job(), schedule.time_limit().to_std().unwrap_or_default());
        Self {
            panels,
            policies,
            stores: Stores(Mutex::new(stores)),
            time_limits: schedules.iter().map(limit).collect(),
        }
    }

    fn limit(&self, job: Option<Job>) -> Duration {
        let limit = job.and_then(|job| self.time_limits.get(&job).copied());
        limit.unwrap_or(Duration::from_mins(30))
    }
}

#[async_trait]
impl Runner for JobRunner {
    fn time_limit(&self, task: &SyncTask) -> Duration {
        self.limit(task.known_job())
    }

    async fn run(&self, task: SyncTask, cancellation: CancellationToken) -> Ending {
        let Some(job) = task.known_job() else {
            return Ending::Failed {
                why: format!("{:?} is no job of this version", task.job),
                is_final: true,
            };
        };
        let Some(panel) = self.panels.get(&task.panel) else {
            return Ending::Failed {
                why: format!("this worker was not given the panel {:?}", task.panel),
                is_final: false,
            };
        };
        let Some(store) = self.stores.take() else {
            return Ending::Busy;
        };
        let limit = self.limit(Some(job));
        let context = self
            .policies
            .set_up(Context::builder(Arc::clone(panel), store.store.clone()));
        let context = context
            .panel_name(&task.panel)
            .answers(answers(&store.store, job, &task).await)
            // A little less, so that a run out of time ends by itself and keeps its report.
            .deadline(
                chrono::TimeDelta::from_std(limit.mul_f64(29.0 / 30.0)).unwrap_or(chrono::TimeDelta::MAX),
            )
            .cancellation(cancellation)
            .build();
        ending(jobs::run(job, &context).await)
    }
}

/// How many runs are looked through for the one whose plan is to be applied.
const LOOKED_THROUGH: u32 = 20;

/// The operator's answers for a run, as long as the plan that was answered is still the last word.
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

/// Whether no run has come to an end since the one whose plan was answered.
///
/// What a task allows, it allows once: a form that was sent twice, or a task that is run again because its worker died
/// after the run, finds that a later run came to an end.
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
struct Stores(Mutex<Vec<PostgresStore>>);

impl Stores {
    fn take(&self) -> Option<Lent<'_>> {
        let store = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Lent { store, stores: self })
    }
}

/// A store that goes back, also when its run panics.
struct Lent<'a> {
    store: PostgresStore,
    stores: &'a Stores,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut stores = self.stores.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.push(self.store.clone());
    }
}

fn ending(result: Result<Report, SyncError>) -> Ending {
    match result {
        Ok(report)
            if report
                .run()
                .is_some_and(|run| run.stopped == Some(Stopped::Cancelled)) =>
        {
            Ending::Cancelled
        }
        Ok(report) => Ending::Finished(for_result(&report)),
        Err(error) if error.outcome() == Outcome::AlreadyRunning => Ending::Busy,
        Err(error) if matches!(error.outcome(), Outcome::Cancelled | Outcome::Deadline) => Ending::Cancelled,
        Err(error) => Ending::Failed {
            why: chain(&error),
            is_final: is_final(&error),
        },
    }
}

/// Refused credentials and a schema that does not fit are for an operator: trying again would only lock accounts out.
fn is_final(error: &(dyn StdError + 'static)) -> bool {
    let panel = error.downcast_ref::<PanelError>().map(PanelError::kind);
    let store = error.downcast_ref::<StoreError>().map(StoreError::kind);
    panel == Some(PanelErrorKind::Refused)
        || matches!(store, Some(StoreErrorKind::Schema | StoreErrorKind::Invalid))
        || error.source().is_some_and(is_final)
}

/// The report without what could be endless.
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
