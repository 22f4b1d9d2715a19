//! What becomes of a run that was missed while the process was down.

use chrono::TimeDelta;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{Journal, SqliteStore};
use serde_json::json;

use super::panels::{bot, extended, panel, with_panel};
use super::{Scheduler, scheduler, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_missed_in_a_downtime_runs_once_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let names = || ["user1".to_owned()];
    let (bot, panel) = (bot(folder.path(), names()).await, panel(names()).await);
    let store = SqliteStore::connect(&bot.url()).await.unwrap();
    let job = Job::SyncSubscriptionsFromMarzban;
    // Two ticks of every two hours have passed since, and the other jobs have never run.
    let then = SystemClock.now() - TimeDelta::hours(5);
    let run = store.begin_run(job, "default", then).await.unwrap();
    store
        .finish_run(run, RunStatus::Completed, &json!({}), then)
        .await
        .unwrap();

    // The other jobs have no tick in the next minutes, whatever the time of day.
    let never = [
        "sync-user-status-from-marzban",
        "get-marzban-system-stats",
        "cleanup-expired-marzban-users",
    ]
    .map(|job| format!("{job}=0 0 29 2 *"));
    let mut arguments = vec!["--jitter", "0"];
    for schedule in &never {
        arguments.extend(["--schedule", schedule]);
    }
    let mut command = scheduler(folder.path(), &arguments);
    command.env("DATABASE_URL", bot.url());
    with_panel(&mut command, "MARZBAN", &panel.url());
    let process = Scheduler::start(command);
    wait_until("the missed run ended", || {
        let (_, health) = process.health();
        let jobs = health["jobs"].as_array().unwrap();
        jobs.iter()
            .any(|entry| entry["job"] == job.as_str() && entry["outcome"] == "completed")
            .then_some(())
    });
    assert_eq!(extended(&bot), 1);

    let (code, _, stderr) = process.stop();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr.matches("the run ended").count(), 1, "{stderr}");
}
