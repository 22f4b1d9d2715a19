//! A worker that dies or is cut off, and others that take over its job.

use marzban_sync_tests::{Proxy, Traffic};

use crate::stage::{Process, Stage, hold};

const STATS: &str = "get-marzban-system-stats";

async fn holder(stage: &Stage, task: &str) -> String {
    stage
        .text(&format!("SELECT lock_by FROM apalis.jobs WHERE id = '{task}'"))
        .await
}

fn is(process: &Process, worker: &str) -> bool {
    worker.contains(&format!("-{}-", process.id()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_killed_worker_is_finished_by_another() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let release = hold(&stage.panels[0], "/api/system", 1);
    let mut workers = [
        stage.start_worker(&["--busy-pause", "100ms"]),
        stage.start_worker(&["--busy-pause", "100ms"]),
    ];
    let task = stage.enqueue(STATS).await;
    stage
        .until_text(
            "SELECT count(*)::text FROM marzban_sync_runs WHERE outcome = 'running'",
            "1",
        )
        .await;
    stage.until_status(&task, "Running").await;
    let first = holder(&stage, &task).await;
    let victim = workers.iter_mut().find(|worker| is(worker, &first)).unwrap();
    victim.signal("KILL");
    assert_eq!(victim.ended().await, None);

    let result = stage.until_status(&task, "Done").await;
    assert_eq!(result["Ok"]["job"], "get_marzban_system_stats");
    assert_ne!(holder(&stage, &task).await, first);
    assert_eq!(
        stage
            .text("SELECT count(*)::text FROM marzban_sync_runs WHERE outcome = 'completed'")
            .await,
        "1"
    );
    release.send_replace(true);
}

/// The server ends the silent session of the lock after a minute, so this test takes that long.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_does_not_hold_its_job_for_ever() {
    let Some(mut stage) = Stage::new(&["default"]).await else {
        return;
    };
    let release = hold(&stage.panels[0], "/api/system", 1);
    let direct = stage.database.url().to_owned();
    let proxy = Proxy::before_database(&direct).await;
    stage.set("DATABASE_URL", &proxy.database_url(&direct));
    let mut cut_off = stage.start_worker(&[]);
    stage.set("DATABASE_URL", &direct);
    let task = stage.enqueue(STATS).await;
    stage
        .until_text(
            "SELECT count(*)::text FROM marzban_sync_runs WHERE outcome = 'running'",
            "1",
        )
        .await;
    stage.until_status(&task, "Running").await;
    let first = holder(&stage, &task).await;
    assert!(is(&cut_off, &first), "{first}");
    proxy.set(Traffic::Stalled);
    let other = stage.start_worker(&["--busy-pause", "500ms"]);

    let result = stage.until_status(&task, "Done").await;
    assert_eq!(result["Ok"]["job"], "get_marzban_system_stats", "{}", other.log());
    let last = holder(&stage, &task).await;
    assert!(is(&other, &last), "{last}");
    let log = cut_off.log();
    assert!(
        log.contains("could not say in time that it is alive"),
        "it let go of its job: {log}"
    );
    assert_eq!(
        stage
            .text("SELECT count(*)::text FROM marzban_sync_runs WHERE outcome = 'completed'")
            .await,
        "1"
    );

    // What it was doing when the panel answers at last changes nothing.
    release.send_replace(true);
    cut_off.signal("TERM");
    assert_eq!(cut_off.ended().await, Some(0), "{}", cut_off.log());
    assert_eq!(holder(&stage, &task).await, last);
}
