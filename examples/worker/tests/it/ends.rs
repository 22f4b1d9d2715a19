//! How runs and processes end: never as a row that stays `Running`.

use std::time::Duration;

use marzban_api::testing::{FakeStatus, Fault};
use serde_json::Value;

use crate::stage::{Stage, hold, until};

const STATS: &str = "get-marzban-system-stats";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_tried_again_and_then_failed() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.panels[0].inject(Fault::Delay(Duration::from_mins(10)).always().path("/api/system"));
    let worker = stage.start_worker(&[
        "--metrics",
        "127.0.0.1:0",
        "--time-limit",
        "300ms",
        "--max-attempts",
        "2",
        "--backoff",
        "100ms",
    ]);
    let address = worker.address().await;
    let ended = stage
        .run(&["enqueue", STATS, "--max-attempts", "2", "--wait"])
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("it took longer than 300ms"), "{ended:?}");
    let row = "SELECT status || ' ' || attempts || ' of ' || max_attempts FROM apalis.jobs";
    assert_eq!(stage.text(row).await, "Failed 2 of 2", "{}", worker.log());
    let scraped = reqwest::get(format!("{address}/metrics")).await.unwrap();
    let scraped = scraped.text().await.unwrap();
    let runs =
        r#"marzban_sync_runs_total{panel="default",job="get_marzban_system_stats",outcome="timed_out"} 2"#;
    assert!(scraped.contains(runs), "{scraped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_waited_out_and_refused_credentials_are_not_tried_again() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.panels[0].inject(Fault::HtmlBody(502).times(5).path("/api/system"));
    let _worker = stage.start_worker(&["--backoff", "50ms"]);
    let task = stage.enqueue(STATS).await;
    stage.until_status(&task, "Done").await;
    let attempts = format!("SELECT attempts::text FROM apalis.jobs WHERE id = '{task}'");
    assert_eq!(stage.text(&attempts).await, "2");

    stage.panels[0].set_password("robot", "changed");
    stage.panels[0].revoke_tokens();
    let task = stage.enqueue(STATS).await;
    let result = stage.until_status(&task, "Failed").await;
    let row = format!("SELECT attempts || ' of ' || max_attempts FROM apalis.jobs WHERE id = '{task}'");
    assert_eq!(stage.text(&row).await, "1 of 1", "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_another_under_way_waits_for_it_and_is_not_failed() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let release = hold(&stage.panels[0], "/api/system", 1);
    let worker = stage.start_worker(&["--busy-pause", "50ms", "--max-attempts", "1"]);
    let first = stage.enqueue(STATS).await;
    until("the first run waits for the panel", async || {
        stage.panels[0].count("GET", "/api/system") == 1
    })
    .await;
    let second = stage.enqueue(STATS).await;
    let tried = format!("SELECT (attempts >= 5)::text FROM apalis.jobs WHERE id = '{second}'");
    stage.until_text(&tried, "true").await;
    release.send_replace(true);
    stage.until_status(&first, "Done").await;
    stage.until_status(&second, "Done").await;
    assert!(worker.log().contains("another run is under way"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_safety_stopped_is_done_with_its_report_and_not_tried_again() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.insert_customers(0, "default", 1..=20).await;
    for id in 1..=15 {
        stage.panels[0].remove_user(&format!("user{id}"));
    }
    let _worker = stage.start_worker(&[]);
    let job = "sync-user-status-from-marzban";
    let ended = stage.run(&["enqueue", job, "--wait"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = ended.json();
    assert_eq!(
        (&report["stopped"], &report["withheld"]),
        (&"safety".into(), &15.into()),
        "{report}"
    );
    assert_eq!(
        stage.text("SELECT status || attempts FROM apalis.jobs").await,
        "Done1"
    );

    let ended = stage
        .run(&["enqueue", job, "--wait", "--allow-mass-changes"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        stage
            .text("SELECT count(*)::text FROM vpn_configs WHERE NOT is_active")
            .await,
        "15"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_is_one_plan_once_and_not_for_long() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.insert_customers(0, "default", 1..=100).await;
    for id in 1..=15 {
        stage.panels[0].remove_user(&format!("user{id}"));
    }
    let _worker = stage.start_worker(&[]);
    let job = "sync_user_status_from_marzban";
    assert_eq!(stage.run(&["enqueue", job, "--wait"]).await.code, Some(1));
    let last_plan = async || stage.text("SELECT max(id)::text FROM marzban_sync_runs").await;
    let now = || ulid::Ulid::generate().to_string();
    let stopped = async |id: String, plan: &str| {
        let insert = format!(
            "INSERT INTO apalis.jobs (id, job_type, job, max_attempts) VALUES ('{id}', 'marzban',
                '{{\"job\": \"{job}\", \"allow_mass_changes\": true, \"plan\": {plan}}}', 3)"
        );
        stage.sql(&insert).await;
        stage.until_status(&id, "Done").await["Ok"]["stopped"].clone()
    };

    let (first, safety) = (last_plan().await, Value::from("safety"));
    let hours_ago = ulid::Ulid::from_parts(ulid::Ulid::generate().timestamp_ms() - 7_200_000, 7);
    assert_eq!(stopped(hours_ago.to_string(), &first).await, safety);
    // That run withheld a plan of its own, which is the last one now.
    assert_eq!(stopped(now(), &first).await, safety);
    assert_eq!(stopped(now(), "\"1\"").await, safety);
    let inactive = "SELECT count(*)::text FROM vpn_configs WHERE NOT is_active";
    assert_eq!(stage.text(inactive).await, "0");

    let plan = last_plan().await;
    assert_eq!(stopped(now(), &plan).await, Value::Null);
    assert_eq!(stage.text(inactive).await, "15");
    for id in 16..=40 {
        stage.panels[0].remove_user(&format!("user{id}"));
    }
    assert_eq!(stopped(now(), &plan).await, safety, "the form was sent twice");
    assert_eq!(stage.text(inactive).await, "15");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_ends_after_its_jobs_and_leaves_the_others_in_the_queue() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    for _ in 0..7 {
        stage.enqueue(STATS).await;
    }
    let mut worker = stage.start_worker(&["--max-jobs", "5", "--concurrency", "1"]);
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());
    let statuses = "SELECT string_agg(status, ',' ORDER BY status) FROM apalis.jobs";
    assert_eq!(
        stage.text(statuses).await,
        "Done,Done,Done,Done,Done,Pending,Pending"
    );

    let mut next = stage.start_worker(&["--max-jobs", "2", "--busy-pause", "50ms"]);
    assert_eq!(next.ended().await, Some(0), "{}", next.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_terminated_gives_its_job_back_within_a_batch() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.insert_customers(0, "default", 1..=2_000).await;
    let release = hold(&stage.panels[0], "/api/users", 2);
    let mut worker = stage.start_worker(&[]);
    let task = stage.enqueue("sync-subscriptions-from-marzban").await;
    until("the run is in its second batch", async || {
        stage.panels[0].count("GET", "/api/users") == 2
    })
    .await;
    worker.signal("TERM");
    until("it takes no more", async || {
        worker.log().contains("no more tasks are taken")
    })
    .await;
    release.send_replace(true);
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());

    let row = format!("SELECT status || ' ' || (run_at <= now()) FROM apalis.jobs WHERE id = '{task}'");
    assert_eq!(stage.text(&row).await, "Pending true", "{}", worker.log());
    assert_eq!(
        stage.text("SELECT outcome FROM marzban_sync_runs").await,
        "stopped"
    );
    let _next = stage.start_worker(&[]);
    let result = stage.until_status(&task, "Done").await;
    assert_eq!(result["Ok"]["synced"], 2_000, "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_end_in_time_is_given_up_and_its_task_given_back() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    // A question that hangs is dropped, a deletion is not: what comes of it has to be written.
    stage.insert_customers(0, "default", 1..=1).await;
    // Without a sync of the last day nothing would be cleaned up.
    let long_ago = "UPDATE subscriptions SET status = 'expired', end_date = '2025-01-01';
        INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
            VALUES ('sync_subscriptions_from_marzban', 'default', now(), now(), 'completed', '{}')";
    stage.sql(long_ago).await;
    let panel = &stage.panels[0];
    panel.update_user("user1", |user| {
        user.status = FakeStatus::Expired;
        user.expire = Some(1_735_689_600);
    });
    panel.inject(Fault::Delay(Duration::from_mins(10)).once().method("DELETE"));
    let mut worker = stage.start_worker(&["--grace", "200ms"]);
    let task = stage.enqueue("cleanup-expired-marzban-users").await;
    until("the run waits for the panel", async || {
        panel.count("DELETE", "/api/user/user1") == 1
    })
    .await;
    worker.signal("TERM");
    assert_eq!(worker.ended().await, Some(0), "{}", worker.log());
    let row = format!("SELECT status || COALESCE(lock_by, '') FROM apalis.jobs WHERE id = '{task}'");
    assert_eq!(stage.text(&row).await, "Pending");
    let _next = stage.start_worker(&["--busy-pause", "50ms"]);
    let result = stage.until_status(&task, "Done").await;
    assert_eq!(result["Ok"]["cleaned"], 1, "{result}");
}
