//! One connection, whose work is done on a thread that may block.

use std::fmt;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection as _, QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use tokio::sync::Mutex;

use super::location::Location;
use crate::port::error::{StoreError, StoreErrorKind};

/// How long a statement waits for the bot's own writes, unless it is told otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The connection of a store.
pub(super) struct Connection {
    inner: Mutex<SyncConnectionWrapper<SqliteConnection>>,
}

impl Connection {
    /// Opens the database, which must exist.
    pub(super) async fn open(location: &Location) -> Result<Self, StoreError> {
        let uri = location.to_uri();
        let name = match location {
            Location::Memory => "in memory".to_owned(),
            Location::File(path) => path.display().to_string(),
        };
        let what = format!("cannot open the database {name}");
        let opened = tokio::task::spawn_blocking(move || establish(&uri)).await;
        match opened {
            Ok(Ok(connection)) => Ok(Self {
                inner: Mutex::new(SyncConnectionWrapper::new(connection)),
            }),
            Ok(Err(Refusal::Open(error))) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, what).with_source(error))
            }
            Ok(Err(Refusal::Use(error))) => Err(store_error(&what, error)),
            Err(error) => Err(StoreError::new(StoreErrorKind::Unavailable, what).with_source(error)),
        }
    }

    /// Runs a task to its end, also if the future is dropped once it has begun; `what` says what it is for.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        what: &'static str,
        task: impl FnOnce(&mut SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        let mut connection = self.inner.lock().await;
        connection
            .spawn_blocking(task)
            .await
            .map_err(|error| store_error(what, error))
    }

    /// Lets every statement from now on wait so long for the bot's own writes.
    pub(super) async fn set_busy_timeout(&self, timeout: Duration) -> Result<(), StoreError> {
        self.run("cannot set how long to wait for locks", move |connection| {
            connection.batch_execute(&busy_timeout(timeout))
        })
        .await
    }

    /// Runs a task that reads, all of it as of one moment.
    pub(super) async fn read<R: Send + 'static>(
        &self,
        what: &'static str,
        task: impl FnOnce(&mut SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.run(what, |connection| connection.transaction(task)).await
    }

    /// Runs a task as [`write`](Self::write) does, and takes back what it has written.
    pub(super) async fn rehearse<R: Send + 'static>(
        &self,
        what: &'static str,
        task: impl FnOnce(&mut SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.run(what, |connection| {
            let mut outcome = None;
            let rolled_back = connection.immediate_transaction(|connection| {
                outcome = Some(task(connection)?);
                Err::<(), _>(DieselError::RollbackTransaction)
            });
            match (outcome, rolled_back) {
                (Some(outcome), Err(DieselError::RollbackTransaction)) => Ok(outcome),
                (_, rolled_back) => Err(rolled_back.err().unwrap_or(DieselError::NotInTransaction)),
            }
        })
        .await
    }

    /// Runs a task in a transaction that is the only writer from its beginning: whole, or not at all.
    pub(super) async fn write<R: Send + 'static>(
        &self,
        what: &'static str,
        task: impl FnOnce(&mut SqliteConnection) -> QueryResult<R> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.run(what, |connection| connection.immediate_transaction(task))
            .await
    }
}

enum Refusal {
    Open(diesel::ConnectionError),
    Use(DieselError),
}

fn establish(uri: &str) -> Result<SqliteConnection, Refusal> {
    let mut connection = SqliteConnection::establish(uri).map_err(Refusal::Open)?;
    // A file that is no database fails here. The journal mode is the bot's to choose, as it stays in the file.
    let settings = format!("{} PRAGMA schema_version;", busy_timeout(BUSY_TIMEOUT));
    connection.batch_execute(&settings).map_err(Refusal::Use)?;
    Ok(connection)
}

fn busy_timeout(timeout: Duration) -> String {
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    format!("PRAGMA busy_timeout = {milliseconds};")
}

/// What a failure of SQLite is to the caller.
fn store_error(what: &str, error: DieselError) -> StoreError {
    let kind = match &error {
        DieselError::DatabaseError(
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
            _,
        ) => StoreErrorKind::Unavailable,
        // SQLite gives its results as words; these are the ones that pass, and the ones of a missing table.
        DieselError::DatabaseError(_, information) => {
            let words = information.message();
            let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
            if says(&["database is locked", "table is locked"]) {
                StoreErrorKind::Contended
            } else if says(&[
                "locked",
                "unable to open",
                "disk I/O",
                "disk is full",
                "readonly",
                "interrupted",
            ]) {
                StoreErrorKind::Unavailable
            } else if says(&["no such table", "no such column", "has no column"]) {
                StoreErrorKind::Schema
            } else {
                StoreErrorKind::Invalid
            }
        }
        _ => StoreErrorKind::Invalid,
    };
    StoreError::new(kind, what).with_source(error)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
