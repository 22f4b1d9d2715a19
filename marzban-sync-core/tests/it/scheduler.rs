//! The jobs on schedule, by a clock that jumps from one wait to the next.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::Context;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::error::PanelError;
use marzban_sync_core::observation::Observation;
use marzban_sync_core::outcome::{Outcome, RunStatus};
use marzban_sync_core::panel::{ExpectedUser, MockPanel, Panel, UpdateOutcome};
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::{HealthStatus, Scheduler, SchedulerError, SchedulerHealth, Timer};
use marzban_sync_core::store::{Journal, MemoryStore};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::given::at;

const STATS: Job = Job::GetMarzbanSystemStats;

/// A clock that goes by the paused time of the test's runtime.
#[derive(Clone, Copy)]
struct PausedTimer {
    start: DateTime<Utc>,
    since: Instant,
}

impl PausedTimer {
    fn new(start: &str) -> Self {
        Self {
            start: at(start),
            since: Instant::now(),
        }
    }
}

impl Clock for PausedTimer {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.since.elapsed()).expect("a test is short")
    }
}

#[async_trait]
impl Timer for PausedTimer {
    async fn sleep_until(&self, moment: DateTime<Utc>) {
        tokio::time::sleep((moment - self.now()).to_std().unwrap_or_default()).await;
    }

    fn note_idle(&self, _panel_name: &str, _until: Option<DateTime<Utc>>) {}
}

/// A panel each of whose figures comes from this.
fn panel(figures: impl Fn() -> SystemStats + Send + 'static) -> MockPanel {
    let mut panel = MockPanel::new();
    panel.expect_system_stats().returning(move || Ok(figures()));
    panel.expect_last_date().returning(|| None);
    panel
}

fn well() -> MockPanel {
    panel(SystemStats::default)
}

/// A panel that never answers, and says when it was asked.
fn silent() -> (Silent, Arc<Notify>) {
    let asked = Arc::new(Notify::new());
    (Silent(Arc::clone(&asked)), asked)
}

struct Silent(Arc<Notify>);

#[async_trait]
impl Panel for Silent {
    async fn users(&self, _names: &[String]) -> Result<Vec<Observation>, PanelError> {
        std::future::pending().await
    }

    async fn user(&self, _name: &str) -> Result<Observation, PanelError> {
        std::future::pending().await
    }

    async fn delete_user(&self, _name: &str) -> Result<(), PanelError> {
        std::future::pending().await
    }

    async fn extend_user(
        &self,
        _name: &str,
        _expected: &ExpectedUser,
        _end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        std::future::pending().await
    }

    async fn disable_user(&self, _name: &str, _expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        std::future::pending().await
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// The runs that ended, as `job panel due end`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The figures alone on schedule, without jitter, until this moment.
fn figures_until(context: Context, timer: PausedTimer, until: &str) -> (Scheduler, Log) {
    let log = Log::default();
    let lines = Arc::clone(&log.0);
    let scheduler = Scheduler::new(context)
        .without(Job::SyncSubscriptionsFromMarzban)
        .without(Job::SyncUserStatusFromMarzban)
        .without(Job::CleanupExpiredMarzbanUsers)
        .timer(timer)
        .jitter(Duration::ZERO)
        .until(at(until))
        .on_finished(move |run| {
            let due = run.due_at.format("%H:%M");
            lines
                .lock()
                .unwrap()
                .push(format!("{} {due} {}", run.panel_name, run.end));
        });
    (scheduler, log)
}

async fn never() {
    std::future::pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn each_tick_is_one_run_and_the_last_one_ends_it() {
    let store = MemoryStore::new();
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let (scheduler, log) = figures_until(Context::new(well(), store.clone()), timer, "2025-09-15 00:45:00");
    let health = scheduler.health();
    scheduler.run(never()).await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "default 00:15 completed",
            "default 00:30 completed",
            "default 00:45 completed"
        ]
    );
    let job = &health.now().jobs[0];
    assert_eq!(
        (job.status, job.outcome),
        (HealthStatus::Healthy, Some(Outcome::Completed))
    );
    assert_eq!(job.last_run, Some(at("2025-09-15 00:45:00")));
    assert_eq!(store.recorded_runs().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_downtime_missed_is_made_good_once() {
    let store = MemoryStore::new();
    let before = PausedTimer::new("2025-09-15 00:01:00");
    let context = Context::new(well(), store.clone());
    let (scheduler, _) = figures_until(context.clone(), before, "2025-09-15 00:15:00");
    scheduler.run(never()).await.unwrap();

    // Five hours later the process is back: of twenty ticks the latest is answered, at once.
    let after = PausedTimer::new("2025-09-15 05:17:00");
    let (scheduler, log) = figures_until(context, after, "2025-09-15 05:30:00");
    scheduler.run(never()).await.unwrap();
    assert_eq!(
        log.lines(),
        ["default 05:15 completed", "default 05:30 completed"]
    );
    let runs = store.latest_runs(Some(RunStatus::Completed)).await.unwrap();
    assert_eq!(runs[0].started_at, at("2025-09-15 05:30:00"));
}

#[tokio::test(start_paused = true)]
async fn every_job_runs_at_once_only_when_asked_to() {
    for (run_now, expected) in [(false, 0), (true, 4)] {
        let mut panel = well();
        panel
            .expect_users()
            .returning(|names| Ok(vec![Observation::NotListed; names.len()]));
        let timer = PausedTimer::new("2025-09-15 00:01:00");
        let ended = Arc::new(Mutex::new(Vec::new()));
        let jobs = Arc::clone(&ended);
        Scheduler::new(Context::new(panel, MemoryStore::new()))
            .timer(timer)
            .jitter(Duration::ZERO)
            .run_now(run_now)
            .until(at("2025-09-15 00:10:00"))
            .on_finished(move |run| jobs.lock().unwrap().push(run.job))
            .run(never())
            .await
            .unwrap();
        assert_eq!(ended.lock().unwrap().len(), expected, "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_run_and_the_next_finds_the_lock_free() {
    let mut panel = MockPanel::new();
    panel.expect_last_date().returning(|| None);
    let figures = || Ok(SystemStats::default());
    panel
        .expect_system_stats()
        .times(1)
        .returning(|| panic!("a bug in the adapter"));
    panel.expect_system_stats().times(1).returning(figures);
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let (scheduler, log) = figures_until(
        Context::new(panel, MemoryStore::new()),
        timer,
        "2025-09-15 00:30:00",
    );
    scheduler.run(never()).await.unwrap();
    assert_eq!(log.lines(), ["default 00:15 panicked", "default 00:30 completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_heed_its_time_limit_is_dropped() {
    let (panel, _) = silent();
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let (scheduler, log) = figures_until(
        Context::new(panel, MemoryStore::new()),
        timer,
        "2025-09-15 00:15:00",
    );
    let limited = Schedule::default_of(STATS).with_time_limit(TimeDelta::minutes(5));
    let scheduler = scheduler.schedule(limited);
    let health = scheduler.health();
    scheduler.run(never()).await.unwrap();
    assert_eq!(log.lines(), ["default 00:15 timed_out"]);
    assert_eq!(health.now().jobs[0].status, HealthStatus::Failed);
    // Its limit, and the minute of grace.
    assert_eq!(timer.now(), at("2025-09-15 00:21:00"));
}

#[tokio::test(start_paused = true)]
async fn a_panel_that_hangs_keeps_no_other_waiting() {
    let (hanging, _) = silent();
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let first = Context::new(well(), MemoryStore::new());
    let (scheduler, log) = figures_until(first, timer, "2025-09-15 00:45:00");
    let second = Context::builder(hanging, MemoryStore::new())
        .panel_name("de")
        .build();
    scheduler.panel(second).run(never()).await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "default 00:15 completed",
            "default 00:30 completed",
            "default 00:45 completed",
            "de 00:15 timed_out",
            "de 00:45 timed_out"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_under_way_ends_in_order_when_the_process_is_to_stop() {
    let (panel, asked) = silent();
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let (scheduler, log) = figures_until(
        Context::new(panel, MemoryStore::new()),
        timer,
        "2025-09-15 09:00:00",
    );
    scheduler
        .run(async move { asked.notified().await })
        .await
        .unwrap();
    assert_eq!(log.lines(), ["default 00:15 cancelled"]);
    assert_eq!(timer.now(), at("2025-09-15 00:15:00"));
}

#[tokio::test(start_paused = true)]
async fn a_context_that_is_cancelled_ends_its_panel_alone() {
    let token = tokio_util::sync::CancellationToken::new();
    token.cancel();
    let ended = Context::builder(well(), MemoryStore::new())
        .panel_name("de")
        .cancellation(token);
    let timer = PausedTimer::new("2025-09-15 00:01:00");
    let first = Context::new(well(), MemoryStore::new());
    let (scheduler, log) = figures_until(first, timer, "2025-09-15 00:15:00");
    scheduler.panel(ended.build()).run(never()).await.unwrap();
    assert_eq!(log.lines(), ["default 00:15 completed"]);
}

#[tokio::test]
async fn two_panels_of_one_name_are_refused_before_anything_runs() {
    let context = || Context::new(MockPanel::new(), MemoryStore::new());
    let error = Scheduler::new(context())
        .panel(context())
        .run(never())
        .await
        .unwrap_err();
    assert!(matches!(&error, SchedulerError::SamePanel(name) if name == "default"));
    assert_eq!(
        error.to_string(),
        "two contexts have the panel name \"default\": give each its own by `panel_name`"
    );
}

#[test]
fn a_handle_that_was_taken_early_watches_what_the_scheduler_became() {
    let scheduler = Scheduler::new(Context::new(MockPanel::new(), MemoryStore::new()));
    let early = scheduler.health();
    let second = Context::builder(MockPanel::new(), MemoryStore::new()).panel_name("second");
    let scheduler = scheduler
        .panel(second.build())
        .without(Job::CleanupExpiredMarzbanUsers);
    let watched = |health: &SchedulerHealth| {
        let jobs = health.now().jobs;
        jobs.into_iter()
            .map(|job| (job.panel, job.job))
            .collect::<Vec<_>>()
    };
    assert_eq!(watched(&early), watched(&scheduler.health()));
    assert_eq!(watched(&early).len(), 6);
}
