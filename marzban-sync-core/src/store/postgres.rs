//! `PostgresStore`: the bot's own PostgreSQL database.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool as Connections;
use serde_json::Value;

use crate::account::{Account, AccountId};
use crate::error::StoreError;
use crate::history::{History, RunQuery, RunRecord, SystemStatsRecord};
use crate::plan::Change;
use crate::report::{Job, SystemStats};
use crate::store::{Cursor, Migration, Outcome, Page, RunId, RunLock, Scope, Store};

mod accounts;
mod apply;
mod connect;
mod connection;
mod history;
mod lock;
mod records;
mod schema;
mod tls;

pub use connection::Patience;
use connection::{Pool, patiently};

/// A [`Store`] in the bot's PostgreSQL database, version 12 or later.
///
/// The tables are found by the `search_path` of the connections. `subscriptions.user_id` and `vpn_configs.user_id`
/// should each have an index; [`migrate`](Self::migrate) says which one is missing.
///
/// # Guarantees
/// - Writing never waits for a row that somebody else holds locked, and so takes no part in a deadlock; only
///   [`unlink`](Store::unlink) waits, for the row of its account, and holds nothing meanwhile.
/// - A payment that commits at any moment is either seen as a whole, and is then a conflict, or comes after the sync
///   as a whole. For this a chunk of 5,000 changes takes one statement that locks and one that compares and writes.
/// - A future that is dropped leaves no transaction open and no lock held: its connection is closed.
/// - A lock holds one connection of the pool until it is released.
///
/// # Caveats
/// A pooler between bot and database must work by sessions (`pool_mode = session` of `PgBouncer`), as the lock of a run
/// is a lock of the session; with another mode [`verify`](RunLock::verify) finds the lock lost.
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
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.pool.patience = patience;
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

    /// Creates the library's own tables, `marzban_sync_runs` and `marzban_system_stats`, and adds to the bot's tables
    /// the nullable columns that are missing; all of it or nothing.
    ///
    /// No value that is there changes, and running it again creates nothing. An index that the bot's tables lack is
    /// not created but told of, in a warning of the log too.
    ///
    /// # Errors
    /// `Schema` when something of the bot's own is missing, naming all of it; `Unavailable` when the database cannot
    /// be asked; `Invalid` when it refuses, also because somebody held a table locked for 10 seconds.
    ///
    /// # Cancel safety
    /// Done whole or not at all, also when the future is dropped.
    pub async fn migrate(&self) -> Result<Migration, StoreError> {
        schema::migrate(&self.pool).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        patiently(self.pool.patience.call, schema::verify(&self.pool)).await
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        patiently(self.pool.patience.call, accounts::count(&self.pool, panel, scope)).await
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        patiently(
            self.pool.patience.call,
            accounts::page(&self.pool, panel, scope, after, limit),
        )
        .await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        patiently(
            self.pool.patience.call,
            accounts::reload(&self.pool, panel, scope, ids),
        )
        .await
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        patiently(
            self.pool.patience.call,
            apply::apply(&self.pool, panel, changes, now),
        )
        .await
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        patiently(
            self.pool.patience.call,
            apply::unlink(&self.pool, panel, account, now),
        )
        .await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        patiently(self.pool.patience.call, lock::lock(&self.pool, job, panel)).await
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        patiently(
            self.pool.patience.call,
            records::begin_run(&self.pool, job, panel, now),
        )
        .await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        patiently(
            self.pool.patience.call,
            records::finish_run(&self.pool, run, outcome, report, now),
        )
        .await
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        patiently(
            self.pool.patience.call,
            records::record_system_stats(&self.pool, panel, stats, now),
        )
        .await
    }

    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        patiently(
            self.pool.patience.call,
            history::forget(&self.pool, panel, before),
        )
        .await
    }
}

#[async_trait]
impl History for PostgresStore {
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        patiently(self.pool.patience.call, history::runs(&self.pool, query)).await
    }

    async fn latest_runs(&self, outcome: Option<Outcome>) -> Result<Vec<RunRecord>, StoreError> {
        patiently(self.pool.patience.call, history::latest_runs(&self.pool, outcome)).await
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        patiently(
            self.pool.patience.call,
            history::system_stats(&self.pool, panel, since),
        )
        .await
    }
}
