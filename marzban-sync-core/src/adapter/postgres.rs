//! `PostgresStore`: the bot's own PostgreSQL database.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool as Connections;
use serde_json::Value;

use crate::model::account::{Account, AccountId};
use crate::model::outcome::RunStatus;
use crate::model::plan::Change;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::accounts::{AccountStore, Cursor, Migration, Page};
use crate::port::error::StoreError;
use crate::port::journal::{Journal, PanelUserKey, Remembered, RunLock, Trail};

mod accounts;
mod apply;
mod catalogue;
mod connect;
mod connection;
mod errors;
mod history;
mod lock;
mod page_of_accounts;
mod records;
mod rows;
mod schema;
mod tls;
mod trail;
mod undo;
mod unlink;

pub use connection::StoreTimeouts;
use connection::{Pool, within};
use unlink::Unlinking;

/// A [`Store`](crate::store::Store) in the bot's PostgreSQL database, version 12 or later.
///
/// The tables are found by the `search_path` of the connections. `subscriptions.user_id`, `vpn_configs.user_id` and
/// `vpn_configs.marzban_user_id` should each have an index; [`migrate`](Self::migrate) says which one is missing.
///
/// A table may keep its times with or without a time zone, its status as a text or as an enum, and telegram ids as
/// numbers or as text. What the tables are like is looked at by [`verify_schema`](AccountStore::verify_schema), with which
/// every run begins.
///
/// # Guarantees
/// - Writing never waits for a row that somebody else holds locked, and so takes no part in a deadlock. Where a unique
///   key makes it wait for another transaction all the same, it gives up after a second, as `Contended`.
/// - A payment that commits at any moment is either seen as a whole, and is then a conflict, or comes after the sync
///   as a whole. For this a transaction of 5,000 changes locks their rows, reads them again, and writes.
/// - Rows, agreements and trail of a change are written in one transaction.
/// - A future that is dropped leaves no transaction open and no lock held: its connection is closed.
/// - A lock holds one connection of the pool until it is released. Bots in different schemas of one database have
///   locks of their own.
///
/// # Caveats
/// A pooler between bot and database must work by sessions (`pool_mode = session` of `PgBouncer`), as the lock of a run
/// is a lock of the session. Another mode is refused by [`lock`](Journal::lock) where it shows at once; where it does not,
/// [`verify`](RunLock::verify) finds the lock lost.
///
/// diesel-async tells no error codes. A deadlock, a lock that was waited for in vain and a cancelled statement are told
/// from refusals by the server's message, in English or Russian; in another language they are `Invalid`.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("pool", &self.pool.connections.status())
            .finish()
    }
}

impl PostgresStore {
    /// A store over the bot's own pool, which must be allowed at least two connections.
    #[must_use]
    pub fn new(pool: Connections<AsyncPgConnection>) -> Self {
        Self {
            pool: Pool::new(pool),
        }
    }

    /// The same store, with other limits to its waiting.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: StoreTimeouts) -> Self {
        self.pool.timeouts = timeouts;
        self
    }

    /// Connects to a database by its URL, `postgres://user:password@host:port/database?sslmode=…`, with a small pool
    /// of its own.
    ///
    /// A Unix socket is named by its percent-encoded folder, `postgres://user@%2Fvar%2Frun%2Fpostgresql/database`.
    /// `sslmode` means what it means to libpq: `disable`; `allow` and `prefer` (the default) encrypt when the server
    /// offers it; `require` encrypts without knowing the server; `verify-ca` and `verify-full` check its
    /// certificate too. `sslrootcert` names a PEM file of the authorities to trust; without it those of the system
    /// are, and since such an authority certifies anybody, `verify-ca` then checks the host name as well.
    /// `application_name` and `connect_timeout` (in seconds) are `marzban-sync` and 10 unless they are given.
    ///
    /// # Errors
    /// `Invalid` when the URL or a certificate cannot be read; `Unavailable` when the server does not answer or
    /// refuses, with its words as the source. No error repeats the URL.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = Pool::new(connect::pool(url)?);
        drop(connection::connection(&pool).await?);
        Ok(Self { pool })
    }

    /// Creates the library's own tables, `marzban_sync_runs`, `marzban_system_stats`, `marzban_sync_agreements` and
    /// `marzban_sync_changes`, and adds to the bot's tables the nullable columns that are missing; all of it or nothing,
    /// and nothing where a job could not run even then.
    ///
    /// No value that is there changes, and running it again creates nothing. An index that the bot's tables lack is
    /// not created but told of, in a warning of the log too.
    ///
    /// # Errors
    /// `Schema` when something of the bot's own is missing or of a type that cannot be served, naming all of it;
    /// `Unavailable` when the database cannot be asked; `Contended` when somebody held a table locked for 10 seconds;
    /// `Invalid` when it refuses.
    ///
    /// # Cancel safety
    /// Done whole or not at all, also when the future is dropped.
    pub async fn migrate(&self) -> Result<Migration, StoreError> {
        schema::migrate(&self.pool).await
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
        schema::migrate_journal(&self.pool).await
    }
}

impl PostgresStore {
    /// Ends a call that takes too long.
    async fn within<R>(&self, call: impl Future<Output = Result<R, StoreError>>) -> Result<R, StoreError> {
        within(self.pool.timeouts.call, call).await
    }
}

#[async_trait]
impl AccountStore for PostgresStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.within(schema::verify(&self.pool)).await
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        self.within(accounts::count(&self.pool, panel)).await
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        self.within(accounts::count_elsewhere(&self.pool, panel)).await
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        self.within(accounts::page(&self.pool, panel, after, limit, now))
            .await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        self.within(accounts::reload(&self.pool, panel, ids, now)).await
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.within(apply::apply(&self.pool, panel, run, changes, now))
            .await
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let unlinking = Unlinking {
            panel,
            run: None,
            account,
            now,
        };
        self.within(unlinking.rehearse(&self.pool)).await
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let unlinking = Unlinking {
            panel,
            run,
            account,
            now,
        };
        self.within(unlinking.unlink(&self.pool)).await
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        self.within(undo::undo(&self.pool, panel, run, entries, now))
            .await
    }
}

#[async_trait]
impl Journal for PostgresStore {
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
        self.within(trail::agreements(&self.pool, users)).await
    }

    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.within(trail::record(&self.pool, panel, run, trail, now))
            .await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        self.within(lock::lock(&self.pool, job, panel)).await
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        self.within(records::begin_run(&self.pool, job, panel, now)).await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: RunStatus,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.within(records::finish_run(&self.pool, run, outcome, report, now))
            .await
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.within(records::record_system_stats(&self.pool, panel, stats, now))
            .await
    }

    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.within(history::forget(&self.pool, panel, before)).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        self.within(history::runs(&self.pool, query)).await
    }

    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
        self.within(history::latest_runs(&self.pool, outcome)).await
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        self.within(history::system_stats(&self.pool, panel, since)).await
    }

    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
        self.within(trail::entries(&self.pool, query)).await
    }
}
