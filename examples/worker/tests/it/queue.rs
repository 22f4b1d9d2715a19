//! The queue among others in the same tables, and what lies in it.

use crate::stage::Stage;

// The ids of tasks are ULIDs: apalis reads no others.

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_other_queues_are_left_alone() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, run_at, done_at, status)
             VALUES ('other', 'other', '{}', now() - interval '1 year', NULL, 'Pending'),
                    ('other-done', 'other', '{}', now() - interval '1 year', now() - interval '1 year', 'Done')").await;
    let _all = stage.start(&["--listen", "127.0.0.1:0", "--poll", "50ms"]);
    let task = stage.enqueue("get-marzban-system-stats").await;
    stage.until_status(&task, "Done").await;
    let others =
        "SELECT string_agg(id || ' ' || status, ',' ORDER BY id) FROM apalis.jobs WHERE job_type = 'other'";
    assert_eq!(stage.text(others).await, "other Pending,other-done Done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_task_fails_by_itself_and_hinders_no_other() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, max_attempts)
             VALUES ('01K5000000000000000000000A', 'marzban', '{\"job\": \"reboot\", \"color\": \"red\"}', 3),
                    ('01K5000000000000000000000B', 'marzban', '{\"job\": \"get_marzban_system_stats\", \"panel\": \"nl\"}', 1),
                    ('01K5000000000000000000000C', 'marzban', '{\"job\": \"get_marzban_system_stats\"}', 3)").await;
    let _worker = stage.start_worker(&[]);
    let result = stage.until_status("01K5000000000000000000000A", "Failed").await;
    assert_eq!(result["Err"], "\"reboot\" is no job of this version");
    let result = stage.until_status("01K5000000000000000000000B", "Failed").await;
    assert_eq!(result["Err"], "this worker was not given the panel \"nl\"");
    stage.until_status("01K5000000000000000000000C", "Done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_its_workers_with_it_is_not_run_for_ever() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, attempts, max_attempts)
             VALUES ('01K5000000000000000000000D', 'marzban', '{\"job\": \"get_marzban_system_stats\"}', 3, 3)").await;
    let _worker = stage.start_worker(&[]);
    let result = stage.until_status("01K5000000000000000000000D", "Failed").await;
    assert_eq!(result["Err"], "3 workers ended while they ran it");
    assert_eq!(
        stage.text("SELECT count(*)::text FROM marzban_sync_runs").await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tasks_go_and_the_last_tick_of_each_job_and_panel_stays() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, done_at, idempotency_key)
             SELECT id, 'marzban', '{}', status, attempts, 3, now() - age::interval, key
             FROM (VALUES
                ('old-tick', 'Done', 1, '8 days', 'cleanup_expired_marzban_users:de:2025-09-08T01:00:00Z'),
                ('last-tick', 'Done', 1, '8 days', 'cleanup_expired_marzban_users:de:2025-09-15T01:00:00Z'),
                ('other-panel', 'Done', 1, '8 days', 'cleanup_expired_marzban_users:nl:2025-09-08T01:00:00Z'),
                ('recent', 'Done', 1, '6 days', 'cleanup_expired_marzban_users:de:2025-09-01T01:00:00Z'),
                ('manual', 'Done', 1, '8 days', NULL),
                ('failed', 'Failed', 3, '8 days', NULL),
                ('retried', 'Failed', 2, '8 days', NULL),
                ('running', 'Running', 1, '8 days', NULL)
             ) AS task (id, status, attempts, age, key);
             INSERT INTO apalis.workers (id, worker_type, storage_name, last_seen)
             VALUES ('gone', 'marzban', 'PgStorage', now() - interval '8 days'),
                    ('elsewhere', 'other', 'PgStorage', now() - interval '8 days')").await;
    let _scheduler = stage.start(&["--role", "scheduler"]);
    stage
        .until_text(
            "SELECT string_agg(id, ',' ORDER BY id) FROM apalis.workers",
            "elsewhere",
        )
        .await;
    let left = "SELECT string_agg(id, ',' ORDER BY id) FROM apalis.jobs WHERE job_type = 'marzban'";
    assert_eq!(
        stage.text(left).await,
        "last-tick,other-panel,recent,retried,running"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_waited_too_long_is_left_out_when_a_later_one_is_there() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, run_at, max_attempts, idempotency_key)
             SELECT id, 'marzban', '{\"job\": \"get_marzban_system_stats\"}', now() - age::interval, 3,
                'get_marzban_system_stats:default:' || tick
             FROM (VALUES ('01K5000000000000000000000E', '3 hours', '2025-09-15T00:00:00Z'), ('01K5000000000000000000000F', '2 hours', '2025-09-15T01:00:00Z'))
                AS task (id, age, tick)").await;
    let _worker = stage.start_worker(&[]);
    let result = stage.until_status("01K5000000000000000000000E", "Done").await;
    assert_eq!(result["Ok"]["skipped"], "a later tick is in the queue");
    let result = stage.until_status("01K5000000000000000000000F", "Done").await;
    assert_eq!(result["Ok"]["job"], "get_marzban_system_stats");
    assert_eq!(
        stage.text("SELECT count(*)::text FROM marzban_sync_runs").await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_that_were_put_off_for_hours_are_left_out_too() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.sql("INSERT INTO apalis.jobs (id, job_type, job, run_at, attempts, max_attempts, idempotency_key)
             SELECT id, 'marzban', '{\"job\": \"get_marzban_system_stats\"}', now() - interval '1 second', 400, 403,
                'get_marzban_system_stats:default:' || tick
             FROM (VALUES ('01K5000000000000000000000E', '2025-09-15T00:00:00Z'),
                          ('01K5000000000000000000000F', '2025-09-15T01:00:00Z')) AS task (id, tick)").await;
    let _worker = stage.start_worker(&[]);
    let result = stage.until_status("01K5000000000000000000000E", "Done").await;
    assert_eq!(result["Ok"]["skipped"], "a later tick is in the queue");
    let result = stage.until_status("01K5000000000000000000000F", "Done").await;
    assert_eq!(result["Ok"]["job"], "get_marzban_system_stats");
}
