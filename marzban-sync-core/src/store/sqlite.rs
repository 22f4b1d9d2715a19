//! `SqliteStore`: the bot's own SQLite database.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::account::{Account, AccountId};
use crate::error::{StoreError, StoreErrorKind};
use crate::history::{History, RunQuery, RunRecord, SystemStatsRecord};
use crate::plan::Change;
use crate::report::{Job, SystemStats};
use crate::store::{Cursor, Migration, Outcome, Page, RunId, RunLock, Scope, Store};

mod accounts;
mod apply;
mod connection;
mod history;
mod location;
mod lock;
mod records;
mod schema;
mod time;

use connection::Connection;
use location::Location;
use lock::Locks;

/// A [`Store`] in the bot's SQLite database; clones share one connection.
///
/// # Guarantees
/// - The journal mode stays as the bot chose it; with WAL the bot reads while the sync writes. A statement waits up
///   to 5 seconds for the bot's own writes.
/// - Times of the bot's tables are written as Python's `SQLAlchemy` writes and reads them: `2025-09-15 00:00:00`,
///   with six digits of a fraction where there is one. They are read in that form, with `T`, with up to nine digits,
///   and with `Z` or an offset. A text that is no time reads as none, and an account that has one is a conflict
///   whenever it is to be changed, so the text is never overwritten.
/// - The lock of a run is a lock on a file beside the database, `<database>.<job>.<panel>.lock`. It dies with its
///   process; the empty file stays. It holds between the processes of one machine, which is where an SQLite database
///   can be used at all.
///
/// # Caveats
/// Reading and writing happen on tokio's threads for blocking work, so a tokio runtime is needed.
#[derive(Clone)]
pub struct SqliteStore {
    connection: Arc<Connection>,
    locks: Locks,
    location: Location,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens a database that exists: `sqlite://path`, `sqlite:path` or the path alone; or `sqlite::memory:`, an empty
    /// one that lives as long as the store and its clones.
    ///
    /// A path that begins with `/` is absolute, so `sqlite:///srv/bot.db` is `/srv/bot.db`.
    ///
    /// # Errors
    /// `Unavailable` when there is no such file, or it cannot be opened or is locked; `Invalid` when the address
    /// cannot be understood or the file is no SQLite database.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let location = Location::parse(url)?;
        if let Location::File(path) = &location
            && !path.exists()
        {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                format!(
                    "there is no database {}: check the path, or create it first",
                    path.display()
                ),
            ));
        }
        Self::open(location).await
    }

    /// Opens a database as [`connect`](Self::connect) does, and makes an empty one where there is none.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), except that the file may be missing.
    ///
    /// # Cancel safety
    /// May be dropped at any point; an empty database may have been made.
    pub async fn create(url: &str) -> Result<Self, StoreError> {
        let location = Location::parse(url)?;
        if let Location::File(path) = &location {
            location::create_file(path)?;
        }
        Self::open(location).await
    }

    /// Creates the library's own tables, `marzban_sync_runs` and `marzban_system_stats`, and adds to the bot's tables
    /// the nullable columns that are missing; all of it or nothing.
    ///
    /// No value that is there changes, and running it again creates nothing.
    ///
    /// # Errors
    /// `Schema` when something of the bot's own is missing, naming all of it; `Unavailable` when the database is
    /// locked for 5 seconds; `Invalid` when it refuses.
    ///
    /// # Cancel safety
    /// Done whole or not at all, also when the future is dropped.
    pub async fn migrate(&self) -> Result<Migration, StoreError> {
        schema::migrate(&self.connection).await
    }

    async fn open(location: Location) -> Result<Self, StoreError> {
        let connection = Connection::open(&location).await?;
        // Two spellings of one path must be one lock.
        let file: Option<PathBuf> = match &location {
            Location::Memory => None,
            Location::File(path) => Some(path.canonicalize().unwrap_or_else(|_| path.clone())),
        };
        Ok(Self {
            connection: Arc::new(connection),
            locks: Locks::beside(file),
            location,
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        schema::verify(&self.connection).await
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        accounts::count(&self.connection, panel, scope).await
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        accounts::page(&self.connection, panel, scope, after, limit).await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        accounts::reload(&self.connection, panel, scope, ids).await
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        apply::apply(&self.connection, panel, changes, now).await
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        apply::unlink(&self.connection, panel, account, now).await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        self.locks.take(job, panel).await
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        records::begin_run(&self.connection, job, panel, now).await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        records::finish_run(&self.connection, run, outcome, report, now).await
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        records::record_system_stats(&self.connection, panel, stats, now).await
    }

    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        history::forget(&self.connection, panel, before).await
    }
}

#[async_trait]
impl History for SqliteStore {
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        history::runs(&self.connection, query).await
    }

    async fn latest_runs(&self, outcome: Option<Outcome>) -> Result<Vec<RunRecord>, StoreError> {
        history::latest_runs(&self.connection, outcome).await
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        history::system_stats(&self.connection, panel, since).await
    }
}
