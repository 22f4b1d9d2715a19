//! Panels that behave worse than any should, and the key of a tick.

use clap::Parser;
use marzban_sync_core::panel::{MockPanel, Panel};
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::store::PostgresStore;
use marzban_sync_examples::policies::Policies;
use marzban_sync_tests::TestDatabase;

use super::*;
use crate::cli::Arguments;
use crate::queue::Pushed;

fn panel(answer: impl Fn() -> SystemStats + Send + 'static) -> Arc<dyn Panel> {
    let mut panel = MockPanel::new();
    panel.expect_last_date().return_const(None);
    panel.expect_system_stats().returning(move || Ok(answer()));
    Arc::new(panel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_as_a_failed_row_and_the_worker_goes_on() {
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    database.create_bot_schema().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    let queue = Queue::new(database.url(), 1).unwrap();
    queue.migrate().await.unwrap();
    let panels = [
        ("panics".to_owned(), panel(|| panic!("the moon is full"))),
        ("behaves".to_owned(), panel(SystemStats::default)),
    ];
    let runner = JobRunner::new(panels.into(), Policies::default(), vec![store; 4], &[]);
    let cancellation = CancellationToken::new();
    let flags = ["worker", "--poll", "20ms", "--backoff", "10ms", "--grace", "1s"];
    let settings = Settings {
        url: database.url().to_owned(),
        work: Arguments::parse_from(flags).run.work,
    };
    let worker = tokio::spawn(run(settings, Arc::new(runner), cancellation.clone()));

    for (panel, pointer, result, row) in [
        ("panics", "/Err", "panicked: the moon is full", ("Failed", 1)),
        ("behaves", "/Ok/job", "get_marzban_system_stats", ("Done", 1)),
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
        assert_eq!(ended.result.pointer(pointer), Some(&json!(result)), "{ended:?}");
        let (status, attempts): (String, i32) =
            sqlx::query_as("SELECT status, attempts FROM apalis.jobs WHERE id = $1")
                .bind(&id)
                .fetch_one(queue.pool())
                .await
                .unwrap();
        assert_eq!((status.as_str(), attempts), row, "{panel}");
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
