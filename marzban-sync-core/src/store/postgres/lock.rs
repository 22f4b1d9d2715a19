//! The lock of a run: a session-level advisory lock on a connection of its own.

use std::fmt;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::connection::{Lease, PATIENCE, Pool, failed};
use crate::error::{StoreError, StoreErrorKind};
use crate::report::Job;
use crate::store::RunLock;

const TRY_LOCK: &str = "SELECT key, pg_try_advisory_lock(key) AS held \
    FROM (SELECT hashtextextended('marzban-sync:' || $1 || ':' || $2, 0) AS key) AS lock";

/// Asks the server and not only the connection: a pooler between the two may have given this client another session.
const IS_HELD: &str = "SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32) | objid::bigint = $1
    ) AS held, $1 AS key";

const UNLOCK: &str = "SELECT pg_advisory_unlock($1) AS held, $1 AS key";

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = BigInt)]
    key: i64,
    #[diesel(sql_type = Bool)]
    held: bool,
}

/// Dropping it closes the connection, unless [`release`](RunLock::release) gave it back: the server then frees the lock.
struct PostgresRunLock {
    lease: Lease,
    key: i64,
}

impl fmt::Debug for PostgresRunLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRunLock")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

pub(super) async fn lock(pool: &Pool, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
    if pool.status().max_size < 2 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "the pool may open one connection only, and a run needs two: one holds its lock, one works",
        ));
    }
    let mut lease = Lease::take(pool).await?;
    let Held { key, held } = sql_query(TRY_LOCK)
        .bind::<Text, _>(job.as_str())
        .bind::<Text, _>(panel)
        .get_result(lease.connection()?)
        .await
        .map_err(failed("cannot take the lock of the run"))?;
    if held {
        return Ok(Box::new(PostgresRunLock { lease, key }));
    }
    lease.give_back();
    Err(StoreError::new(
        StoreErrorKind::AlreadyRunning,
        format!("another run of {job} holds the lock of panel {panel:?}"),
    ))
}

#[async_trait]
impl RunLock for PostgresRunLock {
    async fn verify(&mut self) -> Result<(), StoreError> {
        let lost = || StoreError::new(StoreErrorKind::LockLost, "the lock of the run is no longer held");
        let question = sql_query(IS_HELD)
            .bind::<BigInt, _>(self.key)
            .get_result::<Held>(self.lease.connection()?);
        match tokio::time::timeout(PATIENCE, question).await {
            Ok(Ok(Held { held: true, .. })) => Ok(()),
            Ok(Ok(Held { held: false, .. })) => Err(lost()),
            Ok(Err(error)) => Err(lost().with_source(error)),
            Err(elapsed) => Err(lost().with_source(elapsed)),
        }
    }

    async fn release(mut self: Box<Self>) -> Result<(), StoreError> {
        const FAILED: &str = "cannot confirm that the lock of the run was freed";
        let unlock = sql_query(UNLOCK)
            .bind::<BigInt, _>(self.key)
            .get_result::<Held>(self.lease.connection()?);
        let freed = tokio::time::timeout(PATIENCE, unlock)
            .await
            .map_err(|elapsed| StoreError::new(StoreErrorKind::Unavailable, FAILED).with_source(elapsed))?
            .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, FAILED).with_source(error))?;
        if !freed.held {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "the lock of the run had been lost before its end",
            ));
        }
        self.lease.give_back();
        Ok(())
    }
}
