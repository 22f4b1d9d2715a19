//! The data of the page, read from the database with a few statements.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, NaiveTime, Utc};
use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::run::{RunQuery, RunRecord, SystemStatsRecord};
use marzban_sync_core::store::Journal;
use serde_json::Value;
use sqlx::PgPool;

use super::selection::Selection;
use super::withheld;
use crate::board::BoardState;
use crate::queue::QUEUE;
use crate::task::SyncTask;

/// The time that the database has for a page; after it the page reports the outage.
const PATIENCE: Duration = Duration::from_secs(8);

/// How many older stopped runs are searched for a waiting plan.
const LOOKED_THROUGH: u32 = 20;

/// The most tasks that are shown one by one.
const MAX_WAITING: i64 = 1_000;

const GLANCE: &str = "SELECT
        count(*) FILTER (WHERE status = 'Pending' OR (status = 'Failed' AND attempts < max_attempts)),
        count(*) FILTER (WHERE status IN ('Queued', 'Running')),
        count(*) FILTER (WHERE done_at >= $2
            AND (status = 'Killed' OR (status = 'Failed' AND attempts >= max_attempts)))
    FROM apalis.jobs WHERE job_type = $1";

const WAITING: &str = "SELECT job, status IN ('Queued', 'Running') FROM apalis.jobs
    WHERE job_type = $1 AND (status IN ('Pending', 'Queued', 'Running') OR (status = 'Failed' AND attempts < max_attempts))
    ORDER BY run_at LIMIT $2";

const TASK: &str = "SELECT job, status, attempts < max_attempts, last_result FROM apalis.jobs
    WHERE job_type = $1 AND id = $2";

/// The queue in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) queued: i64,
    pub(crate) running: i64,
    pub(crate) failed_today: i64,
}

/// A task that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) task: SyncTask,
    pub(crate) is_running: bool,
}

/// The state of a run by hand.
#[derive(Clone, Debug)]
pub(crate) struct TaskState {
    pub(crate) task: SyncTask,
    /// As apalis calls it.
    pub(crate) status: String,
    pub(crate) has_attempts_left: bool,
    pub(crate) result: Option<Value>,
}

/// The runs that the page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// The latest of each panel and job.
    pub(crate) latest: Vec<RunRecord>,
    /// The latest good ones.
    pub(crate) completed: Vec<RunRecord>,
    /// The latest that were stopped, those by a safety limit before others.
    pub(crate) stopped: Vec<RunRecord>,
}

/// All data of the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) runs: Runs,
    pub(crate) glance: Glance,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) task: Option<TaskState>,
    /// The figures of the charted panel.
    pub(crate) stats: Vec<SystemStatsRecord>,
}

/// Reads everything for one page.
pub(crate) async fn facts(
    state: &BoardState,
    selection: &Selection,
    task: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<Facts> {
    let shown = selection
        .panel
        .as_deref()
        .or(state.panels.first().map(String::as_str));
    let since = now - selection.range.length();
    let pool = state.queue.pool();
    let figures = async {
        match shown {
            Some(panel) => Ok(state.store.system_stats(panel, since).await?),
            None => Ok(Vec::new()),
        }
    };
    let all = async {
        // Read first, so that the run of a finished task is seen too.
        let task = match task {
            Some(id) => task_state(pool, id).await?,
            None => None,
        };
        let (runs, glance, waiting, figures) =
            tokio::try_join!(runs_of(&state.store), glance(pool, now), waiting(pool), figures)?;
        anyhow::Ok((runs, glance, waiting, task, figures))
    };
    let (runs, glance, waiting, task, figures) = tokio::time::timeout(PATIENCE, all)
        .await
        .context("the database does not answer in time")??;
    Ok(Facts {
        runs,
        glance,
        waiting,
        task,
        stats: figures,
    })
}

/// Reads the runs.
pub(crate) async fn runs(state: &BoardState) -> anyhow::Result<Runs> {
    tokio::time::timeout(PATIENCE, runs_of(&state.store))
        .await
        .context("the database does not answer in time")?
}

async fn runs_of(history: &impl Journal) -> anyhow::Result<Runs> {
    let latest = history.latest_runs(None).await?;
    let completed = history.latest_runs(Some(RunStatus::Completed)).await?;
    let mut stopped = history.latest_runs(Some(RunStatus::Stopped)).await?;
    for run in &mut stopped {
        if withheld::is_withheld(run) || withheld::is_followed(run, &completed) {
            continue;
        }
        let query = RunQuery {
            panel: Some(run.panel.clone()),
            job: Some(run.job),
            status: Some(RunStatus::Stopped),
            limit: LOOKED_THROUGH,
        };
        let older = history.runs(&query).await?;
        if let Some(hidden) = older.into_iter().find(withheld::is_withheld) {
            *run = hidden;
        }
    }
    Ok(Runs {
        latest,
        completed,
        stopped,
    })
}

async fn glance(pool: &PgPool, now: DateTime<Utc>) -> anyhow::Result<Glance> {
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let (queued, running, failed_today) = sqlx::query_as(GLANCE)
        .bind(QUEUE)
        .bind(midnight)
        .fetch_one(pool)
        .await
        .context("the queue cannot be counted")?;
    Ok(Glance {
        queued,
        running,
        failed_today,
    })
}

async fn waiting(pool: &PgPool) -> anyhow::Result<Vec<Waiting>> {
    let rows: Vec<(Vec<u8>, bool)> = sqlx::query_as(WAITING)
        .bind(QUEUE)
        .bind(MAX_WAITING)
        .fetch_all(pool)
        .await
        .context("the queue cannot be read")?;
    let waiting = rows.into_iter().map(|(job, is_running)| Waiting {
        task: task_of(&job),
        is_running,
    });
    Ok(waiting.collect())
}

async fn task_state(pool: &PgPool, id: &str) -> anyhow::Result<Option<TaskState>> {
    let row: Option<(Vec<u8>, String, bool, Option<Value>)> = sqlx::query_as(TASK)
        .bind(QUEUE)
        .bind(id)
        .fetch_optional(pool)
        .await
        .context("the task cannot be read")?;
    Ok(row.map(|(job, status, has_attempts_left, result)| TaskState {
        task: task_of(&job),
        status,
        has_attempts_left,
        result,
    }))
}

/// Reads a task; text that is not JSON becomes a task of an unknown job.
fn task_of(job: &[u8]) -> SyncTask {
    SyncTask::from(serde_json::from_slice::<Value>(job).unwrap_or_default())
}
