//! Connections of the pool, with limits to waiting, and errors in this crate's terms.

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError as ManagerError;
use diesel_async::pooled_connection::deadpool::{self as pooled, PoolError};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use crate::error::{StoreError, StoreErrorKind};

pub(super) type Pool = pooled::Pool<AsyncPgConnection>;
pub(super) type Connection = pooled::Object<AsyncPgConnection>;

/// How long to wait for a free connection, and for the answer to a question that takes no time.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A free connection of the pool, for statements that stand alone.
pub(super) async fn connection(pool: &Pool) -> Result<Connection, StoreError> {
    let unavailable = |message| StoreError::new(StoreErrorKind::Unavailable, message);
    match tokio::time::timeout(PATIENCE, pool.get()).await {
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

/// A connection that holds something in its session: an open transaction, or a lock.
///
/// It returns to the pool only when it is given back on purpose. Dropped otherwise, as when a future is dropped between
/// two statements, it is closed, so that the server rolls back and frees at once what the session held.
pub(super) struct Lease(Option<Connection>);

impl Lease {
    pub(super) async fn take(pool: &Pool) -> Result<Self, StoreError> {
        connection(pool).await.map(|connection| Self(Some(connection)))
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            tracing::debug!("closing a PostgreSQL connection in the middle of its work");
            drop(Connection::take(connection));
        }
    }
}

/// A transaction; dropping it uncommitted closes its connection, which rolls it back.
pub(super) struct Transaction(Lease);

impl Transaction {
    /// Begins one in which each statement sees what was committed before it began, and in which a timestamp means UTC,
    /// whatever the role's defaults are.
    pub(super) async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let mut lease = Lease::take(pool).await?;
        lease
            .connection()?
            .batch_execute(
                "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL TIME ZONE 'UTC'",
            )
            .await
            .map_err(failed("cannot begin a transaction"))?;
        Ok(Self(lease))
    }

    pub(super) fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        self.0.connection()
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.connection()?
            .batch_execute("COMMIT")
            .await
            .map_err(failed("cannot commit a transaction"))?;
        self.0.give_back();
        Ok(())
    }
}

/// Says what was attempted when a statement failed, and whether a later run may succeed.
pub(super) fn failed(message: &'static str) -> impl FnOnce(DieselError) -> StoreError {
    move |error| {
        let kind = match &error {
            DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
            | DieselError::BrokenTransactionManager => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Invalid,
        };
        StoreError::new(kind, message).with_source(error)
    }
}
