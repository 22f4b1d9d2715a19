//! `SqliteStore`: the bot's own SQLite database.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::model::account::{Account, AccountId};
use crate::model::outcome::RunStatus;
use crate::model::plan::Change;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::accounts::{AccountStore, Cursor, Migration, Page};
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::{Journal, PanelUserKey, Remembered, RunLock, Trail};

mod accounts;
mod apply;
mod connection;
mod history;
mod location;
mod lock;
mod page_of_accounts;
mod records;
mod schema;
mod time;
mod trail;

use apply::Call;
use connection::Connection;
use location::Location;
use lock::Locks;

/// A [`Store`](crate::store::Store) in the bot's SQLite database; clones share one connection.
///
/// # Guarantees
/// - The journal mode stays as the bot chose it; with WAL the bot reads while the sync writes. A statement waits for
///   the bot's own writes, up to 30 seconds or as long as [`with_busy_timeout`](Self::with_busy_timeout) says.
/// - Times of the bot's tables are written as Python's `SQLAlchemy` writes and reads them: `2025-09-15 00:00:00`,
///   with six digits of a fraction where there is one. They are read in that form, with `T`, with up to nine digits,
///   and with `Z` or an offset; the end `infinity` is no end. A text that is no time reads as none, and an account
///   that has one is a conflict whenever it is to be changed or unlinked, so the text is never overwritten.
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
    /// `Unavailable` when there is no such file, or it cannot be opened; `Contended` when it stays locked; `Invalid` when
    /// the address cannot be understood or the file is no SQLite database.
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

    /// The same store, and all its clones, with another time that a statement waits for the bot's own writes: a bot that
    /// keeps the database locked for longer makes what the store is asked fail as `Contended`.
    ///
    /// # Errors
    /// `Invalid` when the database refuses.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the time may have been set.
    pub async fn with_busy_timeout(self, timeout: Duration) -> Result<Self, StoreError> {
        self.connection.set_busy_timeout(timeout).await?;
        Ok(self)
    }

    /// Creates the library's own tables, whose names begin with `marzban_`, and adds to the bot's tables the nullable
    /// columns that are missing; all of it or nothing, and nothing if a job could not run all the same.
    ///
    /// No value that is there changes, and running it again creates nothing.
    ///
    /// # Errors
    /// `Schema` when something of the bot's own is missing or its keys are no whole numbers, naming all of it;
    /// `Contended` when the database stays locked; `Invalid` when it refuses.
    ///
    /// # Cancel safety
    /// Done whole or not at all, also when the future is dropped.
    pub async fn migrate(&self) -> Result<Migration, StoreError> {
        schema::migrate(&self.connection).await
    }

    /// Creates the library's own tables alone, for a store that is the journal of a
    /// [`TableStore`](crate::store::TableStore) and never reads the bot's tables.
    ///
    /// # Errors
    /// As [`migrate`](Self::migrate), but for what the bot's tables lack.
    ///
    /// # Cancel safety
    /// Done whole or not at all, also when the future is dropped.
    pub async fn migrate_journal(&self) -> Result<Migration, StoreError> {
        schema::migrate_journal(&self.connection).await
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
impl AccountStore for SqliteStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        schema::verify(&self.connection).await
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        let counts = accounts::count(&self.connection).await?;
        Ok(counts.get(panel).copied().unwrap_or_default())
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut counts = accounts::count(&self.connection).await?;
        counts.remove(panel);
        Ok(counts)
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        accounts::page(&self.connection, panel, after, limit, now).await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        accounts::reload(&self.connection, panel, ids, now).await
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        apply::apply(&self.connection, Call::of(panel, run, now), changes).await
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        apply::rehearse_unlink(&self.connection, Call::of(panel, None, now), account).await
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        apply::unlink(&self.connection, Call::of(panel, run, now), account).await
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        apply::undo(&self.connection, Call::of(panel, Some(run), now), entries).await
    }
}

#[async_trait]
impl Journal for SqliteStore {
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
        let users = users.to_vec();
        self.connection
            .run("cannot read what is remembered", move |connection| {
                trail::remembered(connection, &users)
            })
            .await
    }

    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (call, trail) = (Call::of(panel, run, now), trail.clone());
        self.connection
            .write("cannot record the trail", move |connection| {
                trail::record(connection, &call, &trail)
            })
            .await
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
        outcome: RunStatus,
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

    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        history::forget(&self.connection, panel, before).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        history::runs(&self.connection, query).await
    }

    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
        history::latest_runs(&self.connection, outcome).await
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        history::system_stats(&self.connection, panel, since).await
    }

    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
        trail::entries(&self.connection, query).await
    }
}
