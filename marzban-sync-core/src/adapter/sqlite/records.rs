//! The library's own tables: the history of runs, and the figures of a panel.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Double, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};
use serde_json::Value;

use super::connection::Connection;
use super::time::zoned;
use crate::model::outcome::RunStatus;
use crate::model::report::{Job, SystemStats};
use crate::model::run::RunId;
use crate::port::error::{StoreError, StoreErrorKind};

/// Notes that a run has begun.
pub(super) async fn begin_run(
    connection: &Connection,
    job: Job,
    panel: &str,
    now: DateTime<Utc>,
) -> Result<RunId, StoreError> {
    #[derive(QueryableByName)]
    struct Begun {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let panel = panel.to_owned();
    let begun = connection
        .write("cannot record the run", move |connection| {
            sql_query(
                "UPDATE marzban_sync_runs SET outcome = 'abandoned' \
                 WHERE job = ?1 AND panel = ?2 AND outcome = 'running'",
            )
            .bind::<Text, _>(job.as_str())
            .bind::<Text, _>(&panel)
            .execute(connection)?;
            sql_query(
                "INSERT INTO marzban_sync_runs (job, panel, started_at, outcome) VALUES (?1, ?2, ?3, 'running') \
                 RETURNING id",
            )
            .bind::<Text, _>(job.as_str())
            .bind::<Text, _>(panel)
            .bind::<Text, _>(zoned(now))
            .get_result::<Begun>(connection)
        })
        .await?;
    Ok(RunId(begun.id))
}

/// Notes how a run ended.
pub(super) async fn finish_run(
    connection: &Connection,
    run: RunId,
    outcome: RunStatus,
    report: &Value,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let report = report.to_string();
    let written = connection
        .write("cannot record the end of the run", move |connection| {
            sql_query(
                "UPDATE marzban_sync_runs SET finished_at = ?1, outcome = ?2, report = ?3 WHERE id = ?4",
            )
            .bind::<Text, _>(zoned(now))
            .bind::<Text, _>(outcome.as_str())
            .bind::<Text, _>(report)
            .bind::<BigInt, _>(run.0)
            .execute(connection)
        })
        .await?;
    if written == 0 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!("there is no run {}", run.0),
        ));
    }
    Ok(())
}

/// Stores one collection of the panel's figures.
pub(super) async fn record_system_stats(
    connection: &Connection,
    panel: &str,
    stats: &SystemStats,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (panel, stats) = (panel.to_owned(), stats.clone());
    connection
        .write("cannot record the panel's figures", move |connection| {
            sql_query(
                "INSERT INTO marzban_system_stats (panel, collected_at, version, mem_total, mem_used, cpu_cores, \
                 cpu_usage, total_user, online_users, users_active, users_on_hold, users_disabled, users_expired, \
                 users_limited, incoming_bandwidth, outgoing_bandwidth, incoming_bandwidth_speed, \
                 outgoing_bandwidth_speed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind::<Text, _>(panel)
            .bind::<Text, _>(zoned(now))
            .bind::<Text, _>(stats.version)
            .bind::<BigInt, _>(stats.mem_total)
            .bind::<BigInt, _>(stats.mem_used)
            .bind::<BigInt, _>(stats.cpu_cores)
            .bind::<Double, _>(stats.cpu_usage)
            .bind::<BigInt, _>(stats.total_user)
            .bind::<Nullable<BigInt>, _>(stats.online_users)
            .bind::<BigInt, _>(stats.users_active)
            .bind::<Nullable<BigInt>, _>(stats.users_on_hold)
            .bind::<Nullable<BigInt>, _>(stats.users_disabled)
            .bind::<Nullable<BigInt>, _>(stats.users_expired)
            .bind::<Nullable<BigInt>, _>(stats.users_limited)
            .bind::<BigInt, _>(stats.incoming_bandwidth)
            .bind::<BigInt, _>(stats.outgoing_bandwidth)
            .bind::<BigInt, _>(stats.incoming_bandwidth_speed)
            .bind::<BigInt, _>(stats.outgoing_bandwidth_speed)
            .execute(connection)
        })
        .await?;
    Ok(())
}
