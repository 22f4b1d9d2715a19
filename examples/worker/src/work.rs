//! The worker: fetches tasks, runs them, and records how they ended.

use std::convert::Infallible;
use std::fmt;
use std::future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use apalis::prelude::{
    Attempt, BoxDynError, Data, DeferredError, Event, EventListenerExt, FromRequest, IntervalStrategy,
    PollWith, Task, WorkerBuilder, WorkerBuilderExt, WorkerContext,
};
use marzban_sync_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::cli::{Liveness, Work};
use crate::queue::{Claim, Queue, is_recent};
use crate::retry::NextStep;
use crate::run::{JobRunner, RunResult};
use crate::task::SyncTask;

/// The longest pause before a worker starts a new session after losing its database.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long a worker may take to return its tasks at the end; otherwise others take them over.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a draining worker looks whether its last run has ended.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// What a worker works with; without `Debug`, as the URL holds a password.
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) work: Work,
}

/// What all sessions of a worker share.
struct Shared {
    settings: Settings,
    runner: Arc<JobRunner>,
    /// Cancelled when the process is to end: runs stop between two batches.
    cancellation: CancellationToken,
    /// Cancelled when no more tasks are to be taken; runs under way go on.
    draining: CancellationToken,
    begun: AtomicU64,
}

/// One session of a worker: from its registration to its end or to the loss of its database.
struct WorkerSession {
    name: String,
    queue: Queue,
    shared: Arc<Shared>,
}

impl fmt::Debug for WorkerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerSession")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Works until it is cancelled, or until `max_jobs` runs have ended.
pub(crate) async fn run(
    settings: Settings,
    runner: Arc<JobRunner>,
    cancellation: CancellationToken,
) -> anyhow::Result<()> {
    let shared = Arc::new(Shared {
        settings,
        runner,
        draining: cancellation.child_token(),
        cancellation,
        begun: AtomicU64::new(0),
    });
    let mut pause = Duration::from_secs(1);
    loop {
        // Each session has new connections, as the old ones may be stuck, and a new name, so that it owns no old rows.
        let session = Arc::new(WorkerSession {
            name: unique_name(),
            queue: Queue::new(&shared.settings.url, 1)?,
            shared: Arc::clone(&shared),
        });
        let begun_at = Instant::now();
        let ended = run_session(&session).await;
        if shared.draining.is_cancelled() {
            return Ok(());
        }
        if begun_at.elapsed() > MAX_PAUSE {
            pause = Duration::from_secs(1);
        }
        let error = ended.err().map(|error| format!("{error:#}"));
        tracing::warn!(
            worker = session.name,
            error,
            pause_ms = pause.as_millis(),
            "the worker begins anew"
        );
        tokio::select! {
            () = sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            () = shared.draining.cancelled() => return Ok(()),
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Returns a name from host, process and chance: two processes must never share a row of the table of workers.
fn unique_name() -> String {
    let host = gethostname::gethostname();
    format!(
        "{}-{}-{:08x}",
        host.to_string_lossy(),
        std::process::id(),
        fastrand::u32(..)
    )
}

async fn run_session(session: &Arc<WorkerSession>) -> anyhow::Result<()> {
    let work = &session.shared.settings.work;
    let context = WorkerContext::new(&session.name);
    let (beat, heard) = watch::channel(Instant::now());
    let storage = session.queue.storage(work.liveness);
    let worker = WorkerBuilder::new(&context)
        .backend(PollWith::new(storage, IntervalStrategy::new(work.poll)))
        .data(Arc::clone(session))
        .concurrency(usize::from(work.concurrency))
        .on_event(move |_, event| {
            if matches!(event, Event::HeartBeat) {
                beat.send_replace(Instant::now());
            }
        })
        .build(handle);
    // Boxed, as apalis's future is large.
    let ended = tokio::select! {
        ended = Box::pin(worker.run()) => ended.map_err(|error| anyhow!("the queue failed: {error}")),
        () = watch_heartbeat(heard, work.liveness) => Err(anyhow!("it could not say in time that it is alive")),
        () = drain(&context, &session.shared) => Ok(()),
    };
    match timeout(RELEASE_TIMEOUT, session.queue.release(&session.name)).await {
        Ok(Ok(released)) => tracing::debug!(worker = session.name, released, "the worker has ended"),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(
                worker = session.name,
                "others will take over what this worker held"
            );
        }
    }
    ended
}

/// Completes when no heartbeat has succeeded for almost as long as it takes others to declare this worker dead.
///
/// They then take over its tasks, so it must stop. Otherwise, on a connection that silently drops
/// bytes, it would go on until the operating system gives up.
async fn watch_heartbeat(heard: watch::Receiver<Instant>, liveness: Liveness) {
    let patience = liveness.patience().saturating_sub(liveness.heartbeat / 2);
    loop {
        let until = *heard.borrow() + patience;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// Stops a worker in order once no more tasks are to be taken; completes only when it gives up waiting for runs.
///
/// A paused worker still sends heartbeats and records results, which a stopped one does not.
async fn drain(context: &WorkerContext, shared: &Shared) {
    shared.draining.cancelled().await;
    tracing::info!(
        worker = context.name(),
        runs = context.task_count(),
        "no more tasks are taken"
    );
    if context.pause().is_err() {
        return;
    }
    let over = async {
        shared.cancellation.cancelled().await;
        sleep(shared.settings.work.grace).await;
    };
    let idle = async {
        while context.has_pending_tasks() {
            sleep(DRAIN_INTERVAL).await;
        }
    };
    tokio::select! {
        () = idle => {}
        () = over => {
            tracing::warn!(runs = context.task_count(), "the runs under way are given up");
            return;
        }
    }
    if context.stop().is_ok() {
        future::pending::<()>().await;
    }
}

/// A task's metadata in apalis.
#[derive(Clone, Debug)]
struct TaskMeta {
    id: String,
    /// Counted up when the run begins.
    attempt: Attempt,
    max_attempts: usize,
}

impl FromRequest<Task<SyncTask>> for TaskMeta {
    type Error = Infallible;

    async fn from_request(task: &Task<SyncTask>) -> Result<Self, Self::Error> {
        let context = task.ctx();
        Ok(Self {
            id: context.task_id().map(ToString::to_string).unwrap_or_default(),
            attempt: context.raw_attempt().clone(),
            max_attempts: context.max_attempts().unwrap_or(1),
        })
    }
}

/// Runs a task on the runtime's threads and always returns a result.
///
/// A panic is caught here: apalis would not write it into the task's row, which would stay `Running` for as long as its
/// worker lives.
async fn run_guarded(runner: Arc<JobRunner>, task: SyncTask, cancellation: CancellationToken) -> RunResult {
    let run = async move { runner.run(task, cancellation).await }.in_current_span();
    // Dropping the handle ends the run, so that a run never outlives its task.
    match AbortOnDropHandle::new(tokio::spawn(run)).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => RunResult::Cancelled,
        Err(error) => RunResult::Failed {
            why: error.to_string(),
            is_final: false,
        },
    }
}

/// Runs one task; apalis writes what it returns into the task's row.
async fn handle(
    task: SyncTask,
    meta: TaskMeta,
    session: Data<Arc<WorkerSession>>,
) -> Result<Value, BoxDynError> {
    let attempt = meta.attempt.current();
    let span = tracing::info_span!(
        "task",
        task.id = meta.id,
        job = task.job,
        panel = task.panel,
        tick = task.tick.map(tracing::field::display),
        attempt
    );
    session.perform(task, &meta).instrument(span).await
}

impl WorkerSession {
    async fn perform(&self, mut task: SyncTask, meta: &TaskMeta) -> Result<Value, BoxDynError> {
        let Shared { settings, runner, .. } = &*self.shared;
        let made = meta.attempt.current();
        if task.has_answers() && !is_recent(&meta.id, SystemClock.now(), settings.work.expires) {
            tracing::warn!("what was allowed and answered was so too long ago: it does not count");
            task = task.without_answers();
        }
        let result = if !self.may_begin() {
            RunResult::Cancelled
        } else if made > meta.max_attempts {
            let why = format!("{} workers ended while they ran it", made - 1);
            RunResult::Failed { why, is_final: true }
        } else {
            match self
                .queue
                .claim(&meta.id, &self.name, settings.work.expires)
                .await
            {
                Ok(Claim::Held) => {
                    run_guarded(Arc::clone(runner), task, self.shared.cancellation.clone()).await
                }
                // The row belongs to another worker, so nothing is written.
                Ok(Claim::Lost) => return Err("another worker has taken it over".into()),
                Ok(Claim::Superseded) => {
                    RunResult::Finished(json!({ "skipped": "a later tick is in the queue" }))
                }
                Err(error) => RunResult::Failed {
                    why: format!("{error:#}"),
                    is_final: false,
                },
            }
        };
        let step = settings
            .work
            .retries
            .decide(result, made, meta.max_attempts, fastrand::f64());
        self.conclude(step, meta).await
    }

    /// Counts a run; the last one that `max_jobs` allows starts the draining.
    fn may_begin(&self) -> bool {
        let Shared {
            settings,
            cancellation,
            draining,
            begun,
            ..
        } = &*self.shared;
        let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
        if settings.work.max_jobs.is_some_and(|most| number >= most) {
            draining.cancel();
        }
        !cancellation.is_cancelled() && settings.work.max_jobs.is_none_or(|most| number <= most)
    }

    async fn conclude(&self, step: NextStep, meta: &TaskMeta) -> Result<Value, BoxDynError> {
        match step {
            NextStep::Done(report) => {
                tracing::info!("the task is done");
                Ok(report)
            }
            NextStep::Postpone { why, pause, is_free } => {
                tracing::info!(why, pause_ms = pause.as_millis(), "the task is tried again later");
                self.queue.postpone(&meta.id, &self.name, pause, is_free).await?;
                Err(DeferredError::new(why).into())
            }
            NextStep::Fail(why) => {
                tracing::error!(why, "the task has failed");
                let made = meta.attempt.current();
                self.queue.forbid_attempts(&meta.id, &self.name, made).await?;
                Err(why.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
