//! Connections of the pool, with limits to waiting.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool::managed;
use diesel::QueryResult;
use diesel_async::pooled_connection::PoolError as ManagerError;
use diesel_async::pooled_connection::deadpool::{self as pooled, PoolError};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::catalogue::Catalogue;
use super::errors::failed;
use super::schema;
use crate::port::error::{StoreError, StoreErrorKind};

type Connection = pooled::Object<AsyncPgConnection>;

/// Time limits of a [`PostgresStore`](super::PostgresStore): beyond them a connection is treated as dead, even though no
/// error was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreTimeouts {
    /// For a free connection of the pool; by default 30 seconds.
    pub connection: Duration,
    /// For a call of the store, however many statements it is; by default 2 minutes, and the largest take seconds.
    pub call: Duration,
    /// For the answer whether the lock of a run is held, and that it is freed; by default 30 seconds.
    pub lock: Duration,
}

impl Default for StoreTimeouts {
    fn default() -> Self {
        Self {
            connection: Duration::from_secs(30),
            call: Duration::from_mins(2),
            lock: Duration::from_secs(30),
        }
    }
}

/// The connections, and how long to wait for one and for what it is asked.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) connections: pooled::Pool<AsyncPgConnection>,
    pub(super) timeouts: StoreTimeouts,
    /// What the tables were like when they were last looked at.
    catalogue: Arc<RwLock<Option<Arc<Catalogue>>>>,
}

impl Pool {
    pub(super) fn new(connections: pooled::Pool<AsyncPgConnection>) -> Self {
        Self {
            connections,
            timeouts: StoreTimeouts::default(),
            catalogue: Arc::default(),
        }
    }

    /// What the tables are like; they are looked at when nobody has yet.
    pub(super) async fn catalogue(&self) -> Result<Arc<Catalogue>, StoreError> {
        let known = self
            .catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match known {
            Some(catalogue) => Ok(catalogue),
            None => schema::catalogue(self).await,
        }
    }

    pub(super) fn remember(&self, catalogue: Catalogue) -> Arc<Catalogue> {
        let catalogue = Arc::new(catalogue);
        let mut known = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&catalogue));
        catalogue
    }
}

/// Ends a call that takes too long; what it holds is closed.
pub(super) async fn within<R>(
    limit: Duration,
    call: impl Future<Output = Result<R, StoreError>>,
) -> Result<R, StoreError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|elapsed| {
        let message = "PostgreSQL does not answer";
        Err(StoreError::new(StoreErrorKind::Unavailable, message).with_source(elapsed))
    })
}

/// A free connection of the pool.
pub(super) async fn connection(pool: &Pool) -> Result<Connection, StoreError> {
    let unavailable = |message| StoreError::new(StoreErrorKind::Unavailable, message);
    match tokio::time::timeout(pool.timeouts.connection, pool.connections.get()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(PoolError::Backend(ManagerError::ConnectionError(error)))) => {
            Err(unavailable("cannot connect to PostgreSQL").with_source(error))
        }
        Ok(Err(PoolError::Backend(ManagerError::QueryError(error)))) => {
            Err(unavailable("cannot connect to PostgreSQL").with_source(error))
        }
        Ok(Err(error)) => Err(unavailable("the connection pool gives no connection").with_source(error)),
        Err(elapsed) => Err(unavailable("no connection of the pool became free").with_source(elapsed)),
    }
}

/// A connection in use, whose session may hold an open transaction or a lock.
///
/// It returns to the pool only when it is given back on purpose. Dropped otherwise, as when a future is dropped in the
/// middle of a statement or between two, it is closed: the server rolls back and frees at once what the session held,
/// and nobody is given a connection on which an answer is still awaited.
pub(super) struct Lease(Option<Connection>);

impl Lease {
    pub(super) async fn take(pool: &Pool) -> Result<Self, StoreError> {
        connection(pool).await.map(|connection| Self(Some(connection)))
    }

    /// A connection that can be had without waiting for somebody to give one back; none otherwise.
    pub(super) async fn spare(pool: &Pool) -> Option<Self> {
        let at_once = managed::Timeouts {
            wait: Some(Duration::ZERO),
            ..managed::Timeouts::default()
        };
        let connection = pool.connections.timeout_get(&at_once).await;
        connection.ok().map(|connection| Self(Some(connection)))
    }

    pub(super) fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        match &mut self.0 {
            Some(connection) => Ok(&mut *connection),
            None => Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "the connection was given back",
            )),
        }
    }

    pub(super) fn give_back(mut self) {
        self.0 = None;
    }

    /// Ends the use with a statement's result; after a failure of the connection itself it is closed.
    pub(super) async fn done<R>(
        mut self,
        result: QueryResult<R>,
        message: &'static str,
    ) -> Result<R, StoreError> {
        let error = match result.map_err(failed(message)) {
            Ok(value) => {
                self.give_back();
                return Ok(value);
            }
            Err(error) => error,
        };
        match error.kind() {
            StoreErrorKind::Unavailable => Err(error),
            _ if self.connection()?.batch_execute("SELECT 1").await.is_err() => Err(lost(error)),
            _ => {
                self.give_back();
                Err(error)
            }
        }
    }
}

/// An error after which the connection was closed: the server has gone, whatever it said.
fn lost(error: StoreError) -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "the connection to PostgreSQL was lost",
    )
    .with_source(error)
}

impl Lease {
    /// Closes the connection; what its session held is free then.
    pub(super) fn close(&mut self) {
        if let Some(connection) = self.0.take() {
            tracing::debug!("closing a PostgreSQL connection whose session holds something");
            drop(Connection::take(connection));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.close();
    }
}

/// A transaction; dropping it uncommitted closes its connection, which rolls it back.
pub(super) struct Transaction(Lease);

impl Transaction {
    /// Begins one in which each statement sees what was committed before it began, and in which a timestamp means UTC,
    /// whatever the role's defaults are. Should this process be cut off in the middle of it, the server ends it within
    /// a minute, so that no row stays locked. Where a lock has to be waited for, as for a key that another transaction
    /// is about to take, that takes a second at most.
    pub(super) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        Self::on(Lease::take(pool).await?).await
    }

    /// The same, on a connection that is there already.
    pub(super) async fn on(mut lease: Lease) -> Result<Self, StoreError> {
        lease
            .connection()?
            .batch_execute(
                "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL TIME ZONE 'UTC'; \
                 SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL lock_timeout = '1s'",
            )
            .await
            .map_err(failed("cannot begin a transaction"))?;
        Ok(Self(lease))
    }

    pub(super) fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        self.0.connection()
    }

    pub(super) fn lease(&mut self) -> &mut Lease {
        &mut self.0
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        self.connection()?
            .batch_execute("COMMIT")
            .await
            .map_err(failed("cannot commit a transaction"))?;
        self.0.give_back();
        Ok(())
    }

    /// Commits what was done; after a refusal it rolls back and waits for that, so that whoever tries again does not
    /// find the rows still locked by a session that is about to end.
    pub(super) async fn end<R>(self, result: Result<R, StoreError>) -> Result<R, StoreError> {
        match result {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => self.take_back(Err(error)).await,
        }
    }

    /// Rolls back, and waits for that.
    pub(super) async fn take_back<R>(mut self, result: Result<R, StoreError>) -> Result<R, StoreError> {
        let rolled_back = self.connection()?.batch_execute("ROLLBACK").await;
        match (rolled_back, result) {
            (Ok(()), result) => {
                self.0.give_back();
                result
            }
            // What was written is taken back by the end of the session too.
            (Err(_), Ok(value)) => Ok(value),
            (Err(_), Err(error)) if error.kind() == StoreErrorKind::Unavailable => Err(error),
            (Err(_), Err(error)) => Err(lost(error)),
        }
    }
}
