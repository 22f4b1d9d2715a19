//! Every tick of the schedules is run, once, however many schedulers and workers there are.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;

use crate::stage::{Stage, until};

const EVERY_MINUTE: &str = "* * * * *";

/// A minute of the schedules is 600 ms here, and each has eight ticks: four jobs of two panels.
const SPEED: &str = "100";

const TICKS: i64 = 200;

const UNFINISHED: &str = "SELECT count(*)::text FROM apalis.jobs WHERE status <> 'Done'";

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_and_two_schedulers_run_each_tick_once_and_lose_none() {
    let Some(stage) = Stage::new(&["default", "de"]).await else {
        return;
    };
    stage.insert_customers(0, "default", 1..=5).await;
    stage.insert_customers(1, "de", 101..=105).await;
    let epoch = SystemClock.now().to_rfc3339();
    let every_minute = Job::ALL.map(|job| format!("{job}={EVERY_MINUTE}"));
    let mut clock = vec!["--speed", SPEED, "--epoch", &epoch];
    for schedule in &every_minute {
        clock.extend(["--schedule", schedule]);
    }
    let panels = ["--panel", "default", "--panel", "de"];
    let workers: Vec<_> = (0..3)
        .map(|_| stage.start_worker(&[&panels[..], &["--busy-pause", "100ms"]].concat()))
        .collect();
    let scheduler = [&["--role", "scheduler"], &panels[..], &clock].concat();
    let mut schedulers = [stage.start(&scheduler), stage.start(&scheduler)];

    let done = format!("SELECT (count(*) >= {TICKS})::text FROM apalis.jobs WHERE status = 'Done'");
    stage.until_text(&done, "true").await;
    for scheduler in &mut schedulers {
        scheduler.signal("TERM");
        assert_eq!(scheduler.ended().await, Some(0), "{}", scheduler.log());
    }
    stage.until_text(UNFINISHED, "0").await;

    assert_each_tick_ran_once(&stage).await;
    let begun = workers
        .iter()
        .filter(|worker| worker.log().contains("the task is done"))
        .count();
    assert_eq!(begun, 3, "each worker has its share");
}

/// Compares what was queued and what was run with the schedule's own ticks.
async fn assert_each_tick_ran_once(stage: &Stage) {
    let mut ticks: BTreeMap<(String, String), Vec<DateTime<Utc>>> = BTreeMap::new();
    let queued = "SELECT split_part(idempotency_key, ':', 1), split_part(idempotency_key, ':', 2),
        substr(idempotency_key, length(idempotency_key) - 19) FROM apalis.jobs ORDER BY idempotency_key";
    for row in stage.client.query(queued, &[]).await.unwrap() {
        let tick: String = row.get(2);
        ticks
            .entry((row.get(0), row.get(1)))
            .or_default()
            .push(tick.parse().unwrap());
    }
    assert_eq!(ticks.len(), 8, "{:?}", ticks.keys());
    for ((job, panel), ticks) in &ticks {
        let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
        let schedule = Schedule::new(Job::GetMarzbanSystemStats, EVERY_MINUTE).unwrap();
        let expected: Vec<_> = schedule.ticks(first - TimeDelta::seconds(1), last).collect();
        assert_eq!(*ticks, expected, "{job} of {panel}");
        let runs = format!(
            "SELECT count(*)::text || string_agg(DISTINCT outcome, ',') FROM marzban_sync_runs
            WHERE job = '{job}' AND panel = '{panel}'"
        );
        assert_eq!(
            stage.text(&runs).await,
            format!("{}completed", ticks.len()),
            "{job} of {panel}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_due_while_no_scheduler_lived_is_queued_once() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let epoch = SystemClock.now().to_rfc3339();
    let stats = "get-marzban-system-stats=* * * * *";
    let scheduler = [
        "--role",
        "scheduler",
        "--speed",
        "600",
        "--epoch",
        &epoch,
        "--schedule",
        stats,
    ];
    let count =
        "SELECT count(*)::text FROM apalis.jobs WHERE idempotency_key LIKE 'get_marzban_system_stats:%'";
    let last = "SELECT max(idempotency_key COLLATE \"C\") FROM apalis.jobs WHERE idempotency_key LIKE 'get_marzban_system_stats:%'";

    let mut first = stage.start(&scheduler);
    until("the first tick", async || stage.text(count).await != "0").await;
    first.signal("TERM");
    assert_eq!(first.ended().await, Some(0));
    let (queued, tick) = (stage.text(count).await, stage.text(last).await);
    let tick: DateTime<Utc> = tick.split_once("default:").unwrap().1.parse().unwrap();

    // Ten minutes of the schedule's clock, a second of ours, without a scheduler.
    let begun = SystemClock.now();
    let due = begun + TimeDelta::seconds(1);
    until("ten ticks are missed", async || SystemClock.now() >= due).await;
    let mut second = stage.start(&scheduler);
    let more = (queued.parse::<i64>().unwrap() + 1).to_string();
    until("it goes on", async || {
        stage.text(count).await.parse::<i64>().unwrap() >= more.parse().unwrap()
    })
    .await;
    second.signal("TERM");
    assert_eq!(second.ended().await, Some(0));

    let keys = "SELECT string_agg(substr(idempotency_key, length(idempotency_key) - 19), ',' ORDER BY idempotency_key COLLATE \"C\")
        FROM apalis.jobs WHERE idempotency_key LIKE 'get_marzban_system_stats:%'";
    let keys = stage.text(keys).await;
    let made_good = keys
        .split(',')
        .map(|key| key.parse::<DateTime<Utc>>().unwrap())
        .find(|at| *at > tick)
        .unwrap();
    assert!(
        made_good - tick >= TimeDelta::minutes(10),
        "{made_good} is the latest of what was missed since {tick}"
    );
}
