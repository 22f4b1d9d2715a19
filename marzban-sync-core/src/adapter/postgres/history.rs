//! Reading the history, and forgetting what is old.

use chrono::{DateTime, Utc};
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;

use super::connection::{Lease, Pool};
use crate::adapter::figures::{self, Figures};
use crate::model::outcome::RunStatus;
use crate::model::report::Job;
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::port::error::StoreError;

#[derive(QueryableByName)]
struct RunRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    job: String,
    #[diesel(sql_type = Text)]
    panel: String,
    #[diesel(sql_type = Timestamptz)]
    started_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    finished_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    report: Option<Value>,
}

impl RunRow {
    /// None for a job or an outcome of another version.
    fn known(self) -> Option<RunRecord> {
        Some(RunRecord {
            id: RunId(self.id),
            job: Job::parse(&self.job)?,
            panel: self.panel,
            started_at: self.started_at,
            finished_at: self.finished_at,
            status: RunStatus::parse(&self.outcome)?,
            report: self.report,
        })
    }
}

pub(super) async fn runs(pool: &Pool, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(
        "SELECT id, job, panel, started_at, finished_at, outcome, report FROM marzban_sync_runs
         WHERE panel = coalesce($1, panel) AND job = coalesce($2, job) AND outcome = coalesce($3, outcome)
           AND job = ANY ($4)
         ORDER BY id DESC LIMIT $5",
    )
    .bind::<Nullable<Text>, _>(query.panel.as_deref())
    .bind::<Nullable<Text>, _>(query.job.map(Job::as_str))
    .bind::<Nullable<Text>, _>(query.status.map(RunStatus::as_str))
    .bind::<Array<Text>, _>(Job::ALL.map(Job::as_str).to_vec())
    .bind::<BigInt, _>(i64::from(query.limit))
    .load::<RunRow>(lease.connection()?)
    .await;
    let rows = lease.done(rows, "cannot read the history of runs").await?;
    Ok(rows.into_iter().filter_map(RunRow::known).collect())
}

pub(super) async fn latest_runs(
    pool: &Pool,
    outcome: Option<RunStatus>,
) -> Result<Vec<RunRecord>, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(
        "SELECT DISTINCT ON (panel, job) id, job, panel, started_at, finished_at, outcome, report
         FROM marzban_sync_runs WHERE outcome = coalesce($1, outcome)
         ORDER BY panel, job, id DESC",
    )
    .bind::<Nullable<Text>, _>(outcome.map(RunStatus::as_str))
    .load::<RunRow>(lease.connection()?)
    .await;
    let rows = lease.done(rows, "cannot read the latest runs").await?;
    let mut runs: Vec<RunRecord> = rows.into_iter().filter_map(RunRow::known).collect();
    // The server's collation may order names otherwise than the other stores.
    runs.sort_by(|one, other| (&one.panel, one.job).cmp(&(&other.panel, other.job)));
    Ok(runs)
}

#[derive(QueryableByName)]
struct StatsRow {
    #[diesel(sql_type = Timestamptz)]
    collected_at: DateTime<Utc>,
    #[diesel(embed)]
    figures: Figures,
}

pub(super) async fn system_stats(
    pool: &Pool,
    panel: &str,
    since: DateTime<Utc>,
) -> Result<Vec<SystemStatsRecord>, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(format!(
        "SELECT collected_at, {} FROM marzban_system_stats WHERE panel = $1 AND collected_at >= $2
         ORDER BY collected_at, id",
        figures::COLUMNS
    ))
    .bind::<Text, _>(panel)
    .bind::<Timestamptz, _>(since)
    .load::<StatsRow>(lease.connection()?)
    .await;
    let rows = lease.done(rows, "cannot read the system statistics").await?;
    let record = |row: StatsRow| SystemStatsRecord {
        panel: panel.to_owned(),
        collected_at: row.collected_at,
        stats: row.figures.into(),
    };
    Ok(rows.into_iter().map(record).collect())
}

#[derive(QueryableByName)]
struct ForgottenRow {
    #[diesel(sql_type = BigInt)]
    forgotten: i64,
}

/// The last completed run is told by its id: one whose clock was years ahead must not pass for it for years.
pub(super) async fn forget(pool: &Pool, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let forgotten = sql_query(
        "WITH
         runs AS (
             DELETE FROM marzban_sync_runs AS old
             WHERE old.panel = $1 AND old.started_at < $2 AND old.outcome <> 'running'
               AND (old.outcome <> 'completed' OR EXISTS (
                   SELECT FROM marzban_sync_runs AS later
                   WHERE later.job = old.job AND later.panel = old.panel AND later.outcome = 'completed'
                     AND later.id > old.id
               ))
             RETURNING 1
         ),
         stats AS (DELETE FROM marzban_system_stats WHERE panel = $1 AND collected_at < $2 RETURNING 1),
         changes AS (DELETE FROM marzban_sync_changes WHERE panel = $1 AND changed_at < $2 RETURNING 1)
         SELECT (SELECT count(*) FROM runs) + (SELECT count(*) FROM stats) + (SELECT count(*) FROM changes)
             AS forgotten",
    )
    .bind::<Text, _>(panel)
    .bind::<Timestamptz, _>(before)
    .get_result::<ForgottenRow>(lease.connection()?)
    .await;
    let row = lease.done(forgotten, "cannot forget what is old").await?;
    Ok(row.forgotten.unsigned_abs())
}
