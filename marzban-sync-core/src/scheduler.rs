//! The jobs on schedule: what a bot, or a program beside it, runs for as long as it lives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::decide::schedule::Schedule;
use crate::jobs::Context;
use crate::model::report::Job;
use crate::port::clock::Clock;
use crate::port::error::StoreError;
use crate::port::journal::last_ended;

mod health;
#[cfg(feature = "metrics")]
pub mod metrics;
mod panel_loop;
mod supervision;
mod timer;

pub use health::{Health, HealthStatus, JobHealth, SchedulerHealth};
use panel_loop::PanelLoop;
pub use supervision::{FinishedRun, panic_message, supervise};
pub use timer::{SystemTimer, Timer};

/// How long the runs under way may take to stop in order, unless said otherwise.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The longest random wait before each run, unless said otherwise.
const JITTER: Duration = Duration::from_secs(10);

type OnFinished = Arc<dyn Fn(&FinishedRun) + Send + Sync>;

/// Runs the four jobs on schedule, for one panel or several, until it is asked to stop.
///
/// # Rules
/// - *Missed runs coalesce.* What a downtime missed is made good once; a job that never ran waits for its next tick.
/// - *Runs do not overlap.* The three jobs over accounts of a panel run one after the other, in the order of a full run;
///   panels do not wait for each other. Other processes may do the same: a run whose lock is taken ends as
///   [`Outcome::AlreadyRunning`](crate::outcome::Outcome::AlreadyRunning), which is no failure.
/// - *A run ends whatever happens in it.* A panic is caught, and a run that does not heed its time limit is dropped a
///   minute later; both are failures of that run alone.
/// - *A job is unhealthy* when its last run failed, or when it has not run for two ticks and a time limit.
///
/// All times are UTC; the time comes from the [`Timer`], which replaces the clock of each context.
///
/// # Examples
///
/// ```
/// use marzban_sync_core::scheduler::Scheduler;
/// # use marzban_sync_core::{Context, panel::MockPanel, store::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let context = Context::new(MockPanel::new(), MemoryStore::new());
/// let scheduler = Scheduler::new(context);
/// let health = scheduler.health();
/// // A bot passes `tokio::signal::ctrl_c()` or what else ends it.
/// scheduler.run(async {}).await?;
/// assert!(health.now().is_healthy);
/// # Ok(())
/// # }
/// ```
#[must_use = "a scheduler does nothing until it is run"]
pub struct Scheduler {
    contexts: Vec<Context>,
    schedules: Vec<Schedule>,
    timer: Arc<dyn Timer>,
    jitter: Duration,
    run_now: bool,
    until: Option<DateTime<Utc>>,
    stop_within: Duration,
    on_finished: Option<OnFinished>,
    health: SchedulerHealth,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("contexts", &self.contexts)
            .field("schedules", &self.schedules)
            .field("jitter", &self.jitter)
            .field("run_now", &self.run_now)
            .field("until", &self.until)
            .field("stop_within", &self.stop_within)
            .finish_non_exhaustive()
    }
}

/// Why a [`Scheduler`] ended other than in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The database did not say when the jobs last ran, so nothing was begun.
    #[error("cannot read when the jobs last ran")]
    Store(#[source] StoreError),
    /// Two contexts are of the same panel.
    #[error("two contexts have the panel name {0:?}: give each its own by `panel_name`")]
    SamePanel(String),
    /// Runs under way did not stop in time, and were dropped. What they had written stays.
    #[error("the runs did not stop within {} seconds and were dropped", .0.as_secs())]
    NotStopped(Duration),
    /// The loop of a panel panicked, which is a bug; those of the other panels went on.
    #[error("the loop of a panel ended")]
    LoopEnded(#[source] tokio::task::JoinError),
}

impl Scheduler {
    /// Creates a scheduler with the default schedules of all four jobs.
    pub fn new(context: Context) -> Self {
        let schedules = Schedule::defaults();
        let timer: Arc<dyn Timer> = Arc::new(SystemTimer);
        let health = SchedulerHealth::new(&[context.panel_name()], &schedules, &timer);
        Self {
            contexts: vec![context],
            schedules,
            timer,
            jitter: JITTER,
            run_now: false,
            until: None,
            stop_within: STOP_WITHIN,
            on_finished: None,
            health,
        }
    }

    fn watched(self) -> Self {
        let panels: Vec<&str> = self.contexts.iter().map(Context::panel_name).collect();
        self.health.watch(&panels, &self.schedules, &self.timer);
        self
    }

    /// Adds another panel, whose context has a panel name of its own.
    ///
    /// Give its store a pool of its own too: the runs of a panel that hangs hold connections that the other's need.
    pub fn panel(mut self, context: Context) -> Self {
        self.contexts.push(context);
        self.watched()
    }

    /// Replaces the schedule of one job.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedules.retain(|other| other.job() != schedule.job());
        self.schedules.push(schedule);
        self.schedules.sort_by_key(Schedule::job);
        self.watched()
    }

    /// Leaves a job out.
    pub fn without(mut self, job: Job) -> Self {
        self.schedules.retain(|schedule| schedule.job() != job);
        self.watched()
    }

    /// Sets the longest random wait before each run, by default 10 seconds, so that many bots do not ask their panels at
    /// the same second.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Runs every job once at the start, whether it is due or not.
    pub fn run_now(mut self, run_now: bool) -> Self {
        self.run_now = run_now;
        self
    }

    /// Ends after the last tick up to this moment.
    pub fn until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    /// Sets how long the runs under way may take to stop in order, by default 30 seconds; after it they are dropped.
    pub fn stop_within(mut self, stop_within: Duration) -> Self {
        self.stop_within = stop_within;
        self
    }

    /// Sets where the time comes from, by default the host's clock.
    pub fn timer(mut self, timer: impl Timer + 'static) -> Self {
        self.timer = Arc::new(timer);
        self.watched()
    }

    /// Calls this with each run that ended; it must return at once.
    pub fn on_finished(mut self, on_finished: impl Fn(&FinishedRun) + Send + Sync + 'static) -> Self {
        self.on_finished = Some(Arc::new(on_finished));
        self
    }

    /// Returns a handle that tells whether every job does what it should, also while the scheduler runs.
    #[must_use]
    pub fn health(&self) -> SchedulerHealth {
        self.health.clone()
    }

    /// Runs what is due until `shutdown` completes, or until the moment of [`until`](Self::until) has passed.
    ///
    /// Runs under way then finish their batch and free their locks.
    ///
    /// # Errors
    /// [`SchedulerError::Store`] and [`SchedulerError::SamePanel`] before anything was begun, the others at the end.
    ///
    /// # Cancel safety
    /// May be dropped at any point: runs under way are dropped with it, as every job allows.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), SchedulerError> {
        let mut names: Vec<&str> = self.contexts.iter().map(Context::panel_name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(SchedulerError::SamePanel(
                twice.first().copied().unwrap_or_default().to_owned(),
            ));
        }
        let stop_within = self.stop_within;
        let stop = CancellationToken::new();
        let mut loops = self.loops(&stop).await?;
        let stopped = async {
            shutdown.await;
            tracing::info!("stopping: runs finish their batch");
            stop.cancel();
            tokio::time::sleep(stop_within).await;
        };
        tokio::select! {
            all = finish(&mut loops) => all,
            () = stopped => Err(SchedulerError::NotStopped(stop_within)),
        }
    }

    /// Starts the loops of all panels, once it is known when the jobs of each last ran.
    async fn loops(self, stop: &CancellationToken) -> Result<JoinSet<()>, SchedulerError> {
        let now = self.timer.now();
        let mut prepared = Vec::new();
        for context in self.contexts {
            let clock = Arc::clone(&self.timer) as Arc<dyn Clock>;
            let last_runs = last_ended(context.journal())
                .await
                .map_err(SchedulerError::Store)?;
            let name = context.panel_name().to_owned();
            let last_run = |job| last_runs.get(&(name.clone(), job)).copied();
            prepared.push(PanelLoop {
                agenda: panel_loop::agenda(self.schedules.clone(), now, self.run_now, last_run),
                context: context.on_schedule(clock),
                timer: Arc::clone(&self.timer),
                jitter: self.jitter,
                until: self.until,
                stop: stop.clone(),
                health: self.health.clone(),
                on_finished: self.on_finished.clone(),
                under_way: JoinSet::new(),
                jobs: BTreeMap::new(),
            });
        }
        let mut loops = JoinSet::new();
        for one in prepared {
            loops.spawn(one.run());
        }
        Ok(loops)
    }
}

async fn finish(loops: &mut JoinSet<()>) -> Result<(), SchedulerError> {
    let mut ended = Ok(());
    while let Some(joined) = loops.join_next().await {
        // The others go on, and the health says that this one does not.
        if let Err(error) = joined {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the loop of a panel ended"
            );
            ended = Err(SchedulerError::LoopEnded(error));
        }
    }
    ended
}
