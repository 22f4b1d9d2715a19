//! The queue `marzban` in apalis's tables, and the statements that apalis has no API for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use apalis::prelude::{TaskBuilder, TaskSink, TaskSinkError};
use apalis_postgres::{Config, PgConnectOptions, PgPool, PostgresStorage};
use chrono::{DateTime, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::report::Job;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;

use crate::cli::Liveness;
use crate::task::{SyncTask, parse_key};

/// The queue's name: tasks of other queues in the same tables are never touched.
pub(crate) const QUEUE: &str = "marzban";

/// How long a connection is waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most connections per role: while one pushes, fetches or beats, another postpones a task.
const MAX_CONNECTIONS: u32 = 4;

/// The newest task of each job and panel is kept: its key records the last tick that was queued, and
/// prevents that tick from being queued again.
const REMOVE_FINISHED: &str = "DELETE FROM apalis.jobs AS old
    WHERE job_type = $1 AND done_at < now() - $2
      AND (status IN ('Done', 'Killed') OR (status = 'Failed' AND attempts >= max_attempts))
      AND (idempotency_key IS NULL OR EXISTS (
          SELECT FROM apalis.jobs AS newer
          WHERE newer.job_type = old.job_type
            AND split_part(newer.idempotency_key, ':', 1) = split_part(old.idempotency_key, ':', 1)
            AND split_part(newer.idempotency_key, ':', 2) = split_part(old.idempotency_key, ':', 2)
            AND newer.idempotency_key COLLATE \"C\" > old.idempotency_key COLLATE \"C\"))";

/// Removes dead workers that no task refers to.
const REMOVE_WORKERS: &str = "DELETE FROM apalis.workers AS gone
    WHERE worker_type = $1 AND last_seen < now() - $2
      AND NOT EXISTS (SELECT FROM apalis.jobs WHERE lock_by = gone.id)";

/// A worker owns a task while the row names it: another worker may have taken the task over after a long silence.
///
/// The id carries the task's age too: each pause between attempts moves `run_at`, and ticks that find another run
/// under way for hours must not pile up.
const CLAIM: &str = "SELECT
        COALESCE(lock_by = $2 AND status IN ('Queued', 'Running'), false),
        idempotency_key IS NOT NULL AND (run_at < now() - $3 OR id COLLATE \"C\" < $4) AND EXISTS (
            SELECT FROM apalis.jobs AS newer
            WHERE newer.job_type = task.job_type
              AND split_part(newer.idempotency_key, ':', 1) = split_part(task.idempotency_key, ':', 1)
              AND split_part(newer.idempotency_key, ':', 2) = split_part(task.idempotency_key, ':', 2)
              AND newer.idempotency_key COLLATE \"C\" > task.idempotency_key COLLATE \"C\")
    FROM apalis.jobs AS task WHERE id = $1";

/// apalis fetches a due task at once, so a pause between attempts is a later `run_at`.
const POSTPONE: &str = "UPDATE apalis.jobs SET run_at = now() + $3, max_attempts = max_attempts + $4
    WHERE id = $1 AND lock_by = $2";

/// apalis fetches a failed task again while it has attempts left.
const FORBID_ATTEMPTS: &str = "UPDATE apalis.jobs SET max_attempts = LEAST(max_attempts, GREATEST($3, 1))
    WHERE id = $1 AND lock_by = $2";

/// A fetch that was under way when its worker stopped may have claimed a task that no worker will run.
const RELEASE: &str = "UPDATE apalis.jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL
    WHERE job_type = $1 AND lock_by = $2 AND status IN ('Queued', 'Running')";

/// Whether a task was put into the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// With this id.
    Queued(String),
    /// Another scheduler was faster.
    AlreadyQueued,
}

/// Whether a fetched task is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is this worker's.
    Held,
    /// Another worker has taken it over.
    Lost,
    /// It waited too long, and a later tick of the same job and panel is in the queue.
    Superseded,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) is_done: bool,
    /// The report under `Ok`, or the reason under `Err`.
    pub(crate) result: Value,
}

/// The queue, over connections of its own.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pool: PgPool,
    max_attempts: u32,
}

impl Queue {
    /// Connections are opened when they are needed.
    ///
    /// # Errors
    /// When the URL cannot be read; the message does not repeat it.
    pub(crate) fn new(url: &str, max_attempts: u32) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url
            .parse()
            .map_err(|_| anyhow!("the PostgreSQL URL cannot be read by the queue's driver"))?;
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.application_name("marzban-worker"));
        Ok(Self { pool, max_attempts })
    }

    /// Returns the pool, for other queries to the same database.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Creates or updates apalis's tables in its own schema.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        PostgresStorage::<()>::setup(&self.pool).await.context(
            "the tables of the queue cannot be created (they need the extension hstore, of postgresql-contrib)",
        )
    }

    /// Checks that the database answers and has the queue's tables.
    pub(crate) async fn verify(&self) -> anyhow::Result<()> {
        let there: bool = sqlx::query_scalar("SELECT to_regclass('apalis.jobs') IS NOT NULL")
            .fetch_one(&self.pool)
            .await
            .context("the database does not answer")?;
        anyhow::ensure!(
            there,
            "the tables of the queue are missing: run `worker migrate` first"
        );
        Ok(())
    }

    /// Returns the storage for apalis's workers and board.
    pub(crate) fn storage(&self, liveness: Liveness) -> PostgresStorage<SyncTask> {
        let config = Config::default()
            .queue(QUEUE)
            // While apalis holds prefetched tasks, it neither sends heartbeats nor records results.
            .batch_size(1)
            .heartbeat_interval(liveness.heartbeat)
            .missed_heartbeats(usize::try_from(liveness.missed_heartbeats).unwrap_or(usize::MAX));
        PostgresStorage::new(&self.pool).with_config(config)
    }

    /// Puts a task into the queue.
    pub(crate) async fn push(&self, task: SyncTask) -> anyhow::Result<Pushed> {
        let id = ulid::Ulid::generate();
        let key = task.idempotency_key();
        let mut builder = TaskBuilder::new(task)
            .task_id(id.into())
            .max_attempts(usize::try_from(self.max_attempts)?);
        if let Some(key) = &key {
            builder = builder.idempotency_key(key);
        }
        let mut storage = PostgresStorage::new(&self.pool).with_config(Config::default().queue(QUEUE));
        match storage.push_task(builder.build()).await {
            Ok(()) => Ok(Pushed::Queued(id.to_string())),
            Err(error) if key.is_some() && is_duplicate(&error) => Ok(Pushed::AlreadyQueued),
            Err(error) => Err(anyhow::Error::new(error).context("the task cannot be queued")),
        }
    }

    /// Returns the last tick of each job that was queued for this panel.
    pub(crate) async fn last_ticks(&self, panel: &str) -> anyhow::Result<BTreeMap<Job, DateTime<Utc>>> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT max(idempotency_key COLLATE \"C\") FROM apalis.jobs
             WHERE job_type = $1 AND split_part(idempotency_key, ':', 2) = $2
             GROUP BY split_part(idempotency_key, ':', 1)",
        )
        .bind(QUEUE)
        .bind(panel)
        .fetch_all(&self.pool)
        .await
        .context("the last ticks cannot be read")?;
        let ticks = keys.iter().filter_map(|key| parse_key(key));
        Ok(ticks.map(|(job, _, tick)| (job, tick)).collect())
    }

    /// Removes tasks that ended, and workers that were last seen, longer ago than this.
    pub(crate) async fn remove_finished(&self, older_than: Duration) -> anyhow::Result<u64> {
        let mut removed = 0;
        for statement in [REMOVE_FINISHED, REMOVE_WORKERS] {
            let result = sqlx::query(statement)
                .bind(QUEUE)
                .bind(older_than)
                .execute(&self.pool)
                .await;
            removed += result.context("old tasks cannot be removed")?.rows_affected();
        }
        Ok(removed)
    }

    /// Checks whether this worker still has to run a task that it fetched.
    pub(crate) async fn claim(&self, id: &str, worker: &str, expires: Duration) -> anyhow::Result<Claim> {
        let row: Option<(bool, bool)> = sqlx::query_as(CLAIM)
            .bind(id)
            .bind(worker)
            .bind(expires)
            .bind(oldest_id(SystemClock.now(), expires))
            .fetch_optional(&self.pool)
            .await
            .context("the task cannot be claimed")?;
        Ok(match row {
            Some((true, false)) => Claim::Held,
            Some((true, true)) => Claim::Superseded,
            Some((false, _)) | None => Claim::Lost,
        })
    }

    /// Makes a task due again after a pause, once the worker has returned it.
    pub(crate) async fn postpone(
        &self,
        id: &str,
        worker: &str,
        pause: Duration,
        is_free: bool,
    ) -> anyhow::Result<()> {
        sqlx::query(POSTPONE)
            .bind(id)
            .bind(worker)
            .bind(pause)
            .bind(i32::from(is_free))
            .execute(&self.pool)
            .await
            .context("the task cannot be postponed")?;
        Ok(())
    }

    /// Makes a failure final although attempts are left.
    pub(crate) async fn forbid_attempts(&self, id: &str, worker: &str, made: usize) -> anyhow::Result<()> {
        sqlx::query(FORBID_ATTEMPTS)
            .bind(id)
            .bind(worker)
            .bind(i32::try_from(made).unwrap_or(i32::MAX))
            .execute(&self.pool)
            .await
            .context("the task cannot be ended")?;
        Ok(())
    }

    /// Returns the tasks to the queue that a stopped worker still holds.
    pub(crate) async fn release(&self, worker: &str) -> anyhow::Result<u64> {
        let released = sqlx::query(RELEASE)
            .bind(QUEUE)
            .bind(worker)
            .execute(&self.pool)
            .await
            .context("the tasks of the worker cannot be given back")?;
        Ok(released.rows_affected())
    }

    /// Returns how a task ended; none while it has not.
    pub(crate) async fn ended(&self, id: &str) -> anyhow::Result<Option<Ended>> {
        let row: Option<(bool, Option<Value>)> = sqlx::query_as(
            "SELECT status = 'Done', last_result FROM apalis.jobs WHERE id = $1
               AND (status IN ('Done', 'Killed') OR (status = 'Failed' AND attempts >= max_attempts))",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .context("the task cannot be read")?;
        Ok(row.map(|(is_done, result)| Ended {
            is_done,
            result: result.unwrap_or_default(),
        }))
    }
}

/// Returns the least id of a task that was queued within this time; ids are ordered by time.
fn oldest_id(now: DateTime<Utc>, within: Duration) -> String {
    let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let since = now.timestamp_millis().saturating_sub(within);
    ulid::Ulid::from_parts(u64::try_from(since).unwrap_or_default(), 0).to_string()
}

/// Returns whether a task was queued within this time; an id of another program never counts as recent.
pub(crate) fn is_recent(id: &str, now: DateTime<Utc>, within: Duration) -> bool {
    id.parse::<ulid::Ulid>().is_ok() && id >= oldest_id(now, within).as_str()
}

/// Returns whether the database refused a second task with the same key.
fn is_duplicate(error: &TaskSinkError<apalis_postgres::Error>) -> bool {
    let TaskSinkError::PushError(apalis_postgres::Error::Database(error)) = error else {
        return false;
    };
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some("idx_jobs_idempotency_key"))
}
