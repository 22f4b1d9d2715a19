//! The library's own tables: runs and system statistics.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Double, Jsonb, Nullable, Text, Timestamptz};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use serde_json::Value;

use super::connection::{Lease, Pool};
use crate::model::outcome::RunStatus;
use crate::model::report::{Job, SystemStats};
use crate::model::run::RunId;
use crate::port::error::{StoreError, StoreErrorKind};

#[derive(QueryableByName)]
struct RunRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

pub(super) async fn begin_run(
    pool: &Pool,
    job: Job,
    panel: &str,
    now: DateTime<Utc>,
) -> Result<RunId, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let row = sql_query(
        "WITH abandoned AS (
             UPDATE marzban_sync_runs SET outcome = 'abandoned' WHERE job = $1 AND panel = $2 AND outcome = 'running'
         )
         INSERT INTO marzban_sync_runs (job, panel, started_at, outcome) VALUES ($1, $2, $3, 'running') RETURNING id",
    )
    .bind::<Text, _>(job.as_str())
    .bind::<Text, _>(panel)
    .bind::<Timestamptz, _>(now)
    .get_result::<RunRow>(lease.connection()?)
    .await;
    let row = lease.done(row, "cannot note the beginning of the run").await?;
    Ok(RunId(row.id))
}

pub(super) async fn finish_run(
    pool: &Pool,
    run: RunId,
    outcome: RunStatus,
    report: &Value,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut lease = Lease::take(pool).await?;
    let written =
        sql_query("UPDATE marzban_sync_runs SET finished_at = $2, outcome = $3, report = $4 WHERE id = $1")
            .bind::<BigInt, _>(run.0)
            .bind::<Timestamptz, _>(now)
            .bind::<Text, _>(outcome.as_str())
            .bind::<Jsonb, _>(report)
            .execute(lease.connection()?)
            .await;
    if lease.done(written, "cannot note the end of the run").await? == 0 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!("marzban_sync_runs has no row {}", run.0),
        ));
    }
    Ok(())
}

pub(super) async fn record_system_stats(
    pool: &Pool,
    panel: &str,
    stats: &SystemStats,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut lease = Lease::take(pool).await?;
    let written = sql_query(
        "INSERT INTO marzban_system_stats (
             panel, collected_at, version, mem_total, mem_used, cpu_cores, cpu_usage,
             total_user, online_users, users_active, users_on_hold, users_disabled, users_expired, users_limited,
             incoming_bandwidth, outgoing_bandwidth, incoming_bandwidth_speed, outgoing_bandwidth_speed
         ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind::<Text, _>(panel)
    .bind::<Timestamptz, _>(now)
    .bind::<Text, _>(&stats.version)
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
    .execute(lease.connection()?)
    .await;
    lease
        .done(written, "cannot store the system statistics")
        .await
        .map(drop)
}
