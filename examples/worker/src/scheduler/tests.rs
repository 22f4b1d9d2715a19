//! Every tick of the schedules is run, once, however many schedulers and workers there are: over a real PostgreSQL, by a
//! clock that hurries.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use clap::Parser;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::panel::{MockPanel, Panel};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_examples::policies::Policies;
use marzban_sync_tests::TestDatabase;

use super::*;
use crate::cli::Arguments;
use crate::run::JobRunner;
use crate::work;

/// How long a condition is waited for: far more than it needs, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(150);

/// A clock that runs so many times as fast as the host's; a clone is the same.
#[derive(Clone, Copy, Debug)]
struct HurriedTimer {
    start: DateTime<Utc>,
    begun: Instant,
    speed: i32,
}

impl HurriedTimer {
    fn new(speed: i32) -> Self {
        Self {
            start: SystemClock.now(),
            begun: Instant::now(),
            speed,
        }
    }
}

impl Clock for HurriedTimer {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.begun.elapsed()).unwrap() * self.speed
    }
}

#[async_trait]
impl Timer for HurriedTimer {
    async fn sleep_until(&self, moment: DateTime<Utc>) {
        sleep((moment - self.now()).to_std().unwrap_or_default() / self.speed.unsigned_abs()).await;
    }

    fn note_idle(&self, _: &str, _: Option<DateTime<Utc>>) {}
}

struct Stage {
    database: TestDatabase,
    client: tokio_postgres::Client,
    queue: Queue,
}

impl Stage {
    /// A bot's database without customers; none where there is no PostgreSQL.
    async fn new() -> Option<Self> {
        let database = TestDatabase::new().await?;
        database.create_bot_schema().await;
        let store = PostgresStore::connect(database.url()).await.unwrap();
        store.migrate().await.unwrap();
        let queue = Queue::new(database.url(), 3).unwrap();
        queue.migrate().await.unwrap();
        Some(Self {
            client: database.connect().await,
            database,
            queue,
        })
    }

    fn scheduler(&self, panels: &[&str], schedules: Vec<Schedule>, timer: HurriedTimer) -> Scheduler {
        Scheduler {
            queue: self.queue.clone(),
            panels: panels.iter().map(|panel| (*panel).to_owned()).collect(),
            schedules,
            timer: Arc::new(timer),
            keep_finished: Duration::from_hours(1),
        }
    }

    async fn worker(&self, panels: &[&str]) -> (work::Settings, Arc<JobRunner>) {
        let panel = |name: &&str| {
            let mut panel = MockPanel::new();
            panel.expect_last_date().return_const(None);
            panel
                .expect_system_stats()
                .returning(|| Ok(SystemStats::default()));
            ((*name).to_owned(), Arc::new(panel) as Arc<dyn Panel>)
        };
        let flags = ["worker", "--poll", "50ms", "--busy-pause", "100ms"];
        let settings = work::Settings {
            url: self.database.url().to_owned(),
            work: Arguments::parse_from(flags).run.work,
        };
        let panels = panels.iter().map(panel).collect();
        let mut stores = Vec::new();
        for _ in 0..settings.work.concurrency {
            stores.push(PostgresStore::connect(self.database.url()).await.unwrap());
        }
        let runner = JobRunner::new(panels, Policies::default(), stores, &Schedule::defaults());
        (settings, Arc::new(runner))
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn until(&self, what: &str, sql: &str, is_reached: impl Fn(i64) -> bool + Send + Sync) {
        let reached = async {
            while !is_reached(self.number(sql).await) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "not within {PATIENCE:?}: {what}");
    }

    /// The ticks that were queued, by job and panel.
    async fn ticks(&self) -> BTreeMap<(String, String), Vec<DateTime<Utc>>> {
        let mut ticks = BTreeMap::<_, Vec<_>>::new();
        let queued = "SELECT idempotency_key FROM apalis.jobs ORDER BY idempotency_key COLLATE \"C\"";
        for row in self.client.query(queued, &[]).await.unwrap() {
            let (job, panel, tick) = crate::task::parse_key(row.get(0)).unwrap();
            ticks
                .entry((job.to_string(), panel.to_owned()))
                .or_default()
                .push(tick);
        }
        ticks
    }
}

fn every_minute(job: Job) -> Schedule {
    Schedule::new(job, "* * * * *").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_and_two_schedulers_run_each_tick_once_and_lose_none() {
    let Some(stage) = Stage::new().await else {
        return;
    };
    let panels = ["default", "de"];
    // A minute of the schedules is 600 ms here, and each has eight ticks: four jobs of two panels.
    let timer = HurriedTimer::new(100);
    let (schedulers_end, workers_end) = (CancellationToken::new(), CancellationToken::new());
    let mut workers = Vec::new();
    for _ in 0..3 {
        let (settings, runner) = stage.worker(&panels).await;
        workers.push(tokio::spawn(work::run(settings, runner, workers_end.clone())));
    }
    let schedulers = [(); 2].map(|()| {
        let scheduler = stage.scheduler(&panels, Job::ALL.map(every_minute).into(), timer);
        tokio::spawn(scheduler.run(schedulers_end.clone()))
    });
    let done = "SELECT count(*) FROM apalis.jobs WHERE status = 'Done'";
    stage.until("200 ticks are done", done, |done| done >= 200).await;
    schedulers_end.cancel();
    for scheduler in schedulers {
        scheduler.await.unwrap().unwrap();
    }
    let unfinished = "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'";
    stage
        .until("the others are", unfinished, |unfinished| unfinished == 0)
        .await;
    let shares = "SELECT count(DISTINCT lock_by) FROM apalis.jobs";
    assert_eq!(stage.number(shares).await, 3, "each worker has its share");
    workers_end.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }

    let ticks = stage.ticks().await;
    assert_eq!(ticks.len(), 8, "{:?}", ticks.keys());
    for ((job, panel), ticks) in &ticks {
        let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
        let schedule = every_minute(Job::GetMarzbanSystemStats);
        let expected: Vec<_> = schedule.ticks(first - TimeDelta::seconds(1), last).collect();
        assert_eq!(*ticks, expected, "{job} of {panel}");
        let runs = format!(
            "SELECT count(*) FILTER (WHERE outcome = 'completed') - 1000 * count(*) FILTER (WHERE outcome <> 'completed')
             FROM marzban_sync_runs WHERE job = '{job}' AND panel = '{panel}'"
        );
        assert_eq!(
            stage.number(&runs).await,
            i64::try_from(ticks.len()).unwrap(),
            "{job} of {panel}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_due_while_no_scheduler_lived_is_queued_once() {
    let Some(stage) = Stage::new().await else {
        return;
    };
    let timer = HurriedTimer::new(600);
    let count = "SELECT count(*) FROM apalis.jobs";
    let run_until = async |least: i64| {
        let end = CancellationToken::new();
        let stats = vec![every_minute(Job::GetMarzbanSystemStats)];
        let scheduler = stage.scheduler(&["default"], stats, timer);
        let scheduler = tokio::spawn(scheduler.run(end.clone()));
        stage
            .until("a tick is queued", count, |count| count >= least)
            .await;
        end.cancel();
        scheduler.await.unwrap().unwrap();
        stage.ticks().await.into_values().next().unwrap()
    };
    let before = run_until(1).await;
    let tick = before[before.len() - 1];

    // Ten minutes of this clock, a second of ours, without a scheduler.
    timer.sleep_until(timer.now() + TimeDelta::minutes(10)).await;
    let after = run_until(i64::try_from(before.len()).unwrap() + 1).await;
    let made_good = after[before.len()];
    assert!(
        made_good - tick >= TimeDelta::minutes(10),
        "{made_good} is the latest of what was missed since {tick}"
    );
}

#[test]
fn ticks_that_pile_up_coalesce_by_job_and_panel() {
    let tick = |minute: u32, job| Tick {
        at: format!("2025-09-15T00:{minute:02}:00Z").parse().unwrap(),
        job,
    };
    let mut outbox = Outbox::default();
    for minute in [0, 15, 30] {
        outbox.put("de", tick(minute, Job::GetMarzbanSystemStats));
    }
    outbox.put("de", tick(30, Job::SyncUserStatusFromMarzban));
    outbox.put("nl", tick(0, Job::GetMarzbanSystemStats));
    let waiting: Vec<_> = outbox
        .0
        .into_iter()
        .map(|((panel, job), at)| (panel, job, at))
        .collect();
    let expected = [
        ("de", 30, Job::SyncUserStatusFromMarzban),
        ("de", 30, Job::GetMarzbanSystemStats),
        ("nl", 0, Job::GetMarzbanSystemStats),
    ]
    .map(|(panel, minute, job)| (panel.to_owned(), job, tick(minute, job).at));
    assert_eq!(waiting, expected);
}
