//! One connection, whose work is done on a thread that may block.

use std::fmt;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection as _, QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use tokio::sync::Mutex;

use super::location::Location;
use super::time;
use crate::error::{StoreError, StoreErrorKind};

/// Set before anything else; a file that is no database fails here. The journal mode is the bot's to choose, as it
/// stays in the file.
const SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA schema_version;";

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
    connection.batch_execute(SETTINGS).map_err(Refusal::Use)?;
    time::register(&mut connection).map_err(Refusal::Use)?;
    Ok(connection)
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
            if says(&[
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
