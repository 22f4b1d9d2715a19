//! The lock of a run: a session-level advisory lock on a connection of its own.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::connection::{Lease, Pool, Transaction};
use super::errors::{POOLER, failed};
use crate::model::report::Job;
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::RunLock;

/// The key names the schema that the accounts are in, as two bots may share a database.
const TRY_LOCK: &str = "SELECT key, pg_try_advisory_lock(key) AS held
    FROM (
        SELECT hashtextextended('marzban-sync:' || jsonb_build_array(coalesce(
            (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('vpn_configs')),
            current_schema()
        ), $1, $2)::text, 0) AS key
    ) AS lock";

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

/// The server ends the session of a lock that is not heard of for so long, and frees the lock: the network may be cut
/// so that neither side learns of it. Servers before version 14 lack the setting, and rely on the keepalives of TCP.
const BOUND_SESSION: &str = "SELECT set_config(name, CASE name
        WHEN 'idle_session_timeout' THEN '60s'
        WHEN 'tcp_user_timeout' THEN '30s'
        WHEN 'tcp_keepalives_count' THEN '3'
        ELSE '10'
    END, false)
    FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'tcp_user_timeout', 'tcp_keepalives_idle', 'tcp_keepalives_interval',
        'tcp_keepalives_count')";

/// How often the session of a lock is heard of, well within its limit.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Dropping it closes the connection, and the server frees the lock.
struct PostgresRunLock {
    lease: Arc<Mutex<Lease>>,
    key: i64,
    /// How long an answer is waited for.
    patience: Duration,
    heartbeat: AbortHandle,
}

impl Drop for PostgresRunLock {
    fn drop(&mut self) {
        self.heartbeat.abort();
        // In the middle of a heartbeat the connection is closed with the task.
        if let Ok(mut lease) = self.lease.try_lock() {
            lease.close();
        }
    }
}

/// Lets the server hear of the session until the lock is dropped, or its connection fails, which
/// [`verify`](RunLock::verify) then finds out.
async fn beat(lease: Arc<Mutex<Lease>>, patience: Duration) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let mut lease = lease.lock().await;
        let Ok(connection) = lease.connection() else {
            return;
        };
        let answer = tokio::time::timeout(patience, connection.batch_execute("SELECT 1")).await;
        if !matches!(answer, Ok(Ok(()))) {
            tracing::warn!("the connection that holds the lock of a run does not answer");
            return;
        }
    }
}

impl fmt::Debug for PostgresRunLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRunLock")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

pub(super) async fn lock(pool: &Pool, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
    if pool.connections.status().max_size < 2 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "the pool may open one connection only, and a run needs two: one holds its lock, one works",
        ));
    }
    let mut lease = Lease::take(pool).await?;
    refuse_pooler(pool, &mut lease).await?;
    let Held { key, held } = sql_query(TRY_LOCK)
        .bind::<Text, _>(job.as_str())
        .bind::<Text, _>(panel)
        .get_result(lease.connection()?)
        .await
        .map_err(failed("cannot take the lock of the run"))?;
    if held {
        lease
            .connection()?
            .batch_execute(BOUND_SESSION)
            .await
            .map_err(failed("cannot bound the session of the lock"))?;
        let lease = Arc::new(Mutex::new(lease));
        let patience = pool.timeouts.lock;
        let heartbeat = tokio::spawn(beat(Arc::clone(&lease), patience)).abort_handle();
        return Ok(Box::new(PostgresRunLock {
            lease,
            key,
            patience,
            heartbeat,
        }));
    }
    lease.give_back();
    Err(StoreError::new(
        StoreErrorKind::AlreadyRunning,
        format!("another run of {job} holds the lock of panel {panel:?}"),
    ))
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

async fn session(lease: &mut Lease) -> Result<i32, StoreError> {
    sql_query("SELECT pg_backend_pid() AS pid")
        .get_result::<Session>(lease.connection()?)
        .await
        .map(|session| session.pid)
        .map_err(failed("cannot ask which session this is"))
}

/// Refuses a pooler that gives sessions out for a transaction at a time, before anything is locked in one that is
/// somebody else's afterwards. It is noticed when a transaction of another connection gets the session that this
/// connection just had, or leaves it another one; what stays unnoticed, [`RunLock::verify`] finds out. Where no second
/// connection is free, nobody is kept waiting for that.
async fn refuse_pooler(pool: &Pool, lease: &mut Lease) -> Result<(), StoreError> {
    let Some(other) = Lease::spare(pool).await else {
        return Ok(());
    };
    let before = session(lease).await?;
    let mut transaction = Transaction::on(other).await?;
    let elsewhere = session(transaction.lease()).await;
    let after = session(lease).await;
    let elsewhere = transaction.take_back(elsewhere).await?;
    if elsewhere == before || after? != before {
        return Err(StoreError::new(StoreErrorKind::Invalid, POOLER));
    }
    Ok(())
}

impl PostgresRunLock {
    /// Asks the server about the lock.
    async fn ask(&self, question: &str) -> Result<bool, Source> {
        let answer = async {
            let mut lease = self.lease.lock().await;
            let held = sql_query(question)
                .bind::<BigInt, _>(self.key)
                .get_result::<Held>(lease.connection()?)
                .await?;
            Ok(held.held)
        };
        tokio::time::timeout(self.patience, answer).await?
    }
}

type Source = Box<dyn StdError + Send + Sync>;

#[async_trait]
impl RunLock for PostgresRunLock {
    async fn verify(&mut self) -> Result<(), StoreError> {
        let lost = || StoreError::new(StoreErrorKind::LockLost, "the lock of the run is no longer held");
        match self.ask(IS_HELD).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost()),
            Err(error) => Err(lost().with_source(error)),
        }
    }

    async fn release(self: Box<Self>) -> Result<(), StoreError> {
        let unavailable = |message| StoreError::new(StoreErrorKind::Unavailable, message);
        // The connection is closed then: its session has settings that are nobody else's.
        match self.ask(UNLOCK).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unavailable("the lock of the run had been lost before its end")),
            Err(error) => {
                Err(unavailable("cannot confirm that the lock of the run was freed").with_source(error))
            }
        }
    }
}
