//! Runs that behave worse than the library's own ever should.

use async_trait::async_trait;
use marzban_sync_core::report::Job;
use marzban_sync_tests::TestDatabase;

use super::*;
use crate::queue::Pushed;

/// Does what the name of the panel says.
struct Misbehaving;

#[async_trait]
impl Runner for Misbehaving {
    fn time_limit(&self, task: &SyncTask) -> Duration {
        match task.panel.as_str() {
            "hangs" => Duration::from_millis(100),
            _ => Duration::from_mins(30),
        }
    }

    async fn run(&self, task: SyncTask, _: CancellationToken) -> Ending {
        match task.panel.as_str() {
            "panics" => panic!("the moon is full"),
            "hangs" => future::pending().await,
            _ => Ending::Finished(json!({ "panel": task.panel })),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn panics_and_hangs_end_as_failed_rows_and_the_worker_goes_on() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let queue = Queue::new(database.url(), 2).unwrap();
    queue.migrate().await.unwrap();
    let cancellation = CancellationToken::new();
    let settings = Settings {
        url: database.url().to_owned(),
        liveness: Liveness {
            heartbeat: Duration::from_secs(1),
            missed: 5,
        },
        concurrency: 4,
        max_jobs: None,
        poll: Duration::from_millis(20),
        expires: Duration::from_hours(1),
        grace: Duration::from_secs(1),
        policy: Policy {
            backoff: Duration::from_millis(10),
            busy_pause: Duration::from_millis(10),
        },
    };
    let worker = tokio::spawn(run(settings, Arc::new(Misbehaving), cancellation.clone()));

    for (panel, result) in [
        ("panics", json!({"Err": "it panicked: the moon is full"})),
        ("hangs", json!({"Err": "it took longer than 100ms"})),
        ("behaves", json!({"Ok": {"panel": "behaves"}})),
    ] {
        let task = SyncTask::manual(Job::GetMarzbanSystemStats, panel, false);
        let Pushed::Queued(id) = queue.push(task).await.unwrap() else {
            panic!("a run by hand is always queued");
        };
        let ended = async {
            loop {
                if let Some(ended) = queue.ended(&id).await.unwrap() {
                    return ended;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = timeout(Duration::from_mins(1), ended).await.expect("it ends");
        assert_eq!(ended.result, result);
        assert_eq!(ended.is_done, panel == "behaves");
        let row: (String, i32) = sqlx::query_as("SELECT status, attempts FROM apalis.jobs WHERE id = $1")
            .bind(&id)
            .fetch_one(queue.pool())
            .await
            .unwrap();
        let expected = if ended.is_done { ("Done", 1) } else { ("Failed", 2) };
        assert_eq!((row.0.as_str(), row.1), expected, "{panel}");
    }
    cancellation.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tick_is_one_task_and_a_run_by_hand_always_another() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let queue = Queue::new(database.url(), 3).unwrap();
    queue.migrate().await.unwrap();
    let tick = marzban_sync_core::schedule::Tick {
        at: "2025-09-15T01:00:00Z".parse().unwrap(),
        job: Job::CleanupExpiredMarzbanUsers,
    };
    let scheduled = |panel| queue.push(SyncTask::scheduled(panel, tick));
    let manual = || queue.push(SyncTask::manual(tick.job, "de", false));
    assert!(matches!(scheduled("de").await.unwrap(), Pushed::Queued(_)));
    assert_eq!(scheduled("de").await.unwrap(), Pushed::AlreadyQueued);
    assert!(matches!(scheduled("nl").await.unwrap(), Pushed::Queued(_)));
    assert!(matches!(manual().await.unwrap(), Pushed::Queued(_)));
    assert!(matches!(manual().await.unwrap(), Pushed::Queued(_)));
    assert_eq!(
        queue.last_ticks("de").await.unwrap(),
        [(tick.job, tick.at)].into()
    );
    assert_eq!(queue.last_ticks("fr").await.unwrap(), [].into());
}
