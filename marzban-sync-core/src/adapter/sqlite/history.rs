//! Reading the history, and forgetting what is old.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};
use serde_json::Value;

use super::connection::Connection;
use super::time::{parse, zoned};
use crate::adapter::figures::{self, Figures};
use crate::model::outcome::RunStatus;
use crate::model::report::Job;
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::port::error::{StoreError, StoreErrorKind};

#[derive(QueryableByName)]
struct RunRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    job: String,
    #[diesel(sql_type = Text)]
    panel: String,
    #[diesel(sql_type = Text)]
    started_at: String,
    #[diesel(sql_type = Nullable<Text>)]
    finished_at: Option<String>,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Nullable<Text>)]
    report: Option<String>,
}

impl RunRow {
    /// None for a job or an outcome of another version.
    fn known(self) -> Option<Result<RunRecord, StoreError>> {
        let (job, outcome) = (Job::parse(&self.job)?, RunStatus::parse(&self.outcome)?);
        Some(self.record(job, outcome))
    }

    fn record(self, job: Job, outcome: RunStatus) -> Result<RunRecord, StoreError> {
        let report = self
            .report
            .map(|report| serde_json::from_str::<Value>(&report))
            .transpose();
        Ok(RunRecord {
            id: RunId(self.id),
            job,
            panel: self.panel,
            started_at: time(&self.started_at)?,
            finished_at: self.finished_at.as_deref().map(time).transpose()?,
            status: outcome,
            report: report.map_err(|error| {
                StoreError::new(StoreErrorKind::Invalid, "a report of the history is no JSON")
                    .with_source(error)
            })?,
        })
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, StoreError> {
    parse(text).ok_or_else(|| StoreError::new(StoreErrorKind::Invalid, "a time of the history is no time"))
}

pub(super) async fn runs(connection: &Connection, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
    let query = query.clone();
    let jobs = Job::ALL.map(|job| format!("'{job}'")).join(", ");
    let rows = connection
        .run("cannot read the history of runs", move |connection| {
            sql_query(format!(
                "SELECT id, job, panel, started_at, finished_at, outcome, report FROM marzban_sync_runs \
                 WHERE panel = coalesce(?1, panel) AND job = coalesce(?2, job) AND outcome = coalesce(?3, outcome) \
                 AND job IN ({jobs}) ORDER BY id DESC LIMIT ?4",
            ))
            .bind::<Nullable<Text>, _>(query.panel)
            .bind::<Nullable<Text>, _>(query.job.map(Job::as_str))
            .bind::<Nullable<Text>, _>(query.status.map(RunStatus::as_str))
            .bind::<BigInt, _>(i64::from(query.limit))
            .load::<RunRow>(connection)
        })
        .await?;
    rows.into_iter().filter_map(RunRow::known).collect()
}

pub(super) async fn latest_runs(
    connection: &Connection,
    outcome: Option<RunStatus>,
) -> Result<Vec<RunRecord>, StoreError> {
    let rows = connection
        .run("cannot read the latest runs", move |connection| {
            sql_query(
                "SELECT id, job, panel, started_at, finished_at, outcome, report FROM ( \
                     SELECT *, row_number() OVER (PARTITION BY panel, job ORDER BY id DESC) AS place \
                     FROM marzban_sync_runs WHERE outcome = coalesce(?1, outcome) \
                 ) WHERE place = 1",
            )
            .bind::<Nullable<Text>, _>(outcome.map(RunStatus::as_str))
            .load::<RunRow>(connection)
        })
        .await?;
    let mut runs: Vec<RunRecord> = rows
        .into_iter()
        .filter_map(RunRow::known)
        .collect::<Result<_, _>>()?;
    runs.sort_by(|one, other| (&one.panel, one.job).cmp(&(&other.panel, other.job)));
    Ok(runs)
}

#[derive(QueryableByName)]
struct StatsRow {
    #[diesel(sql_type = Text)]
    collected_at: String,
    #[diesel(embed)]
    figures: Figures,
}

pub(super) async fn system_stats(
    connection: &Connection,
    panel: &str,
    since: DateTime<Utc>,
) -> Result<Vec<SystemStatsRecord>, StoreError> {
    let wanted = panel.to_owned();
    let rows = connection
        .run("cannot read the panel's figures", move |connection| {
            sql_query(format!(
                "SELECT collected_at, {} FROM marzban_system_stats WHERE panel = ?1 AND collected_at >= ?2 \
                 ORDER BY collected_at, id",
                figures::COLUMNS
            ))
            .bind::<Text, _>(wanted)
            .bind::<Text, _>(zoned(since))
            .load::<StatsRow>(connection)
        })
        .await?;
    let record = |row: StatsRow| {
        Ok(SystemStatsRecord {
            panel: panel.to_owned(),
            collected_at: time(&row.collected_at)?,
            stats: row.figures.into(),
        })
    };
    rows.into_iter().map(record).collect()
}

pub(super) async fn forget(
    connection: &Connection,
    panel: &str,
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let (panel, before) = (panel.to_owned(), zoned(before));
    let forgotten = connection
        .write("cannot forget old history", move |connection| {
            let runs = sql_query(
                "DELETE FROM marzban_sync_runs AS old \
                 WHERE old.panel = ?1 AND old.started_at < ?2 AND old.outcome <> 'running' \
                 AND (old.outcome <> 'completed' OR EXISTS ( \
                     SELECT 1 FROM marzban_sync_runs AS later \
                     WHERE later.job = old.job AND later.panel = old.panel AND later.outcome = 'completed' \
                     AND later.id > old.id \
                 ))",
            )
            .bind::<Text, _>(&panel)
            .bind::<Text, _>(&before)
            .execute(connection)?;
            let stats = sql_query("DELETE FROM marzban_system_stats WHERE panel = ?1 AND collected_at < ?2")
                .bind::<Text, _>(&panel)
                .bind::<Text, _>(&before)
                .execute(connection)?;
            let entries = sql_query("DELETE FROM marzban_sync_changes WHERE panel = ?1 AND changed_at < ?2")
                .bind::<Text, _>(&panel)
                .bind::<Text, _>(&before)
                .execute(connection)?;
            Ok(runs + stats + entries)
        })
        .await?;
    Ok(forgotten as u64)
}
