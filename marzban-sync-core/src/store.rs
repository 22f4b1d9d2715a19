//! The port to the bot's database.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::account::{Account, AccountId};
use crate::error::StoreError;
use crate::plan::Change;
use crate::report::{Job, SystemStats};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod figures;
mod listed;
pub use listed::{Customer, Customers, Decide, ListedStore, Login, Write};
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "memory")]
pub use memory::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub use postgres::{Patience, PostgresStore};
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// The name of the panel that a row without one belongs to.
pub const DEFAULT_PANEL: &str = "default";

/// What a job needs of the bot's database.
///
/// # Guarantees
/// - Accounts are `vpn_configs` rows with a non-empty `marzban_user_id`; the others are never seen.
/// - Accounts belong to the panel that `vpn_configs.panel` names, and to [`DEFAULT_PANEL`] where that is null or
///   empty. A call that names a panel sees and writes the accounts of that panel alone.
/// - Rows of `users`, `subscriptions` and `vpn_configs` are never inserted, never deleted, and only the columns that
///   change are written, with `updated_at`.
/// - Every `DateTime<Utc>` of the bot's tables is stored as naive UTC, whatever the time zone of session or server.
/// - The time is an argument: no method asks a clock, in Rust or in SQL.
#[cfg_attr(feature = "test-util", mockall::automock)]
#[async_trait]
pub trait Store: Send + Sync {
    /// Checks that the tables and columns that a run needs are there, and have the types that they need.
    ///
    /// # Errors
    /// `Schema`, whose message names what is missing and what to do; `Unavailable` when the database cannot be asked.
    async fn verify_schema(&self) -> Result<(), StoreError>;

    /// Counts the accounts of a panel and a scope.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError>;

    /// Reads the next accounts of a panel and a scope, in one query, in a stable order: the accounts of one user stand
    /// together, users are ordered by the lowest id among their accounts, and accounts of a user by id.
    ///
    /// `limit` counts users; the accounts of a user are never parted by a page, and the last page has no cursor.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`, the latter also for a limit of 0.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError>;

    /// Reads all accounts, of this panel, of the users that these accounts belong to, as they are now and if they still
    /// are in the scope, in the order of [`page_accounts`](Self::page_accounts).
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError>;

    /// Applies changes by compare-and-set, and returns the ids of the accounts that were written; the others are
    /// conflicts, of which nothing was written.
    ///
    /// A change is written only while the `vpn_configs` row still belongs to the panel and has the name, `is_active`,
    /// `traffic_used` and `last_connected_at` of [`Change::account`], and, if it
    /// [depends on the subscription](Change::depends_on_subscription), while that subscription still governs and
    /// still has the same `status` and `end_date`. A row that somebody else holds locked is a conflict too: a
    /// payment never waits for a sync, nor deadlocks with one. `updated_at` of the written rows becomes `now`.
    ///
    /// All changes of one call are compared with the rows as they were before it, so two accounts of one user are no
    /// conflict to each other. A change that depends on there being no subscription is a conflict once there is one.
    /// Times are cut to the microsecond before they are compared.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`; after an error some of the changes may have been written.
    ///
    /// # Cancel safety
    /// Each change is written whole or not at all, also when the future is dropped.
    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Parts an account from a panel user that no longer exists: `marzban_user_id` becomes null, `is_active` false.
    /// Returns whether the account still had that name in that panel, and the subscription that governed when it was
    /// read still governs and is as it was; if not, nothing was written. Who pays just then may have had the user made
    /// anew under the same name.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Written whole or not at all.
    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError>;

    /// Takes the lock of a job and a panel, so that one run at a time is under way on any machine.
    ///
    /// The lock lives until it is released, dropped, or its process dies.
    ///
    /// # Errors
    /// `AlreadyRunning` when another run holds it; `Unavailable` when the database cannot be asked.
    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError>;

    /// Notes that a run has begun, in `marzban_sync_runs` with the outcome `running`.
    ///
    /// The caller holds the lock of this job and panel, so a run of theirs that still is `running` is one whose
    /// process died: it becomes `abandoned`, and has no end, as nobody knows when that was.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError>;

    /// Notes how a run ended.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`, the latter also for a run that is not there.
    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Stores one collection of the panel's figures in `marzban_system_stats`.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Deletes the runs of a panel that began, and its figures that were collected, before this moment; returns how
    /// many rows that were. Kept are runs under way, and of each job the last one that completed, however old.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError>;
}

/// A lock that one run of a job holds; dropping it frees it as well.
#[cfg_attr(feature = "test-util", mockall::automock)]
#[async_trait]
pub trait RunLock: Send + Sync {
    /// Makes sure that the lock is still held, before something that cannot be undone.
    ///
    /// # Errors
    /// `LockLost` when it is not, or when that cannot be known.
    async fn verify(&mut self) -> Result<(), StoreError>;

    /// Frees the lock.
    ///
    /// # Errors
    /// `Unavailable` when the database did not confirm; the lock is free all the same, as its connection is closed.
    async fn release(self: Box<Self>) -> Result<(), StoreError>;
}

/// Which accounts a job looks at; decided for a user as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every account.
    All,
    /// Accounts whose governing subscription is `active`, `trial` or `expired`.
    Subscribed,
    /// Accounts of users that have at least one subscription, all of whose subscriptions are `expired` or
    /// `cancelled`, and all of whose subscriptions have an `end_date` before this moment.
    Ended {
        /// The moment; a subscription that ended exactly then has not ended before it.
        before: DateTime<Utc>,
    },
}

/// Where the next page begins: behind the user whose lowest account has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub AccountId);

/// Some accounts, and where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The accounts, those of one user together.
    pub accounts: Vec<Account>,
    /// Where to go on; none when this page is the last.
    pub next: Option<Cursor>,
}

/// The id of a row of `marzban_sync_runs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub i64);

/// How a run ended, as `marzban_sync_runs.outcome` holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// `running`: it is under way, or its process died and no later run has noticed.
    Running,
    /// `completed`: everything in scope was looked at, and nothing was withheld.
    Completed,
    /// `stopped`: a safety limit, the deadline or a cancellation ended it early.
    Stopped,
    /// `failed`: the panel or the database failed.
    Failed,
    /// `abandoned`: its process died, or lost its lock; what it had written stays, and the next run did the rest.
    Abandoned,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Running,
        Self::Completed,
        Self::Stopped,
        Self::Failed,
        Self::Abandoned,
    ];

    /// The text that the database holds.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    /// The outcome of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// What a migration created; running it again creates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The tables (`marzban_sync_runs`) and columns (`vpn_configs.is_active`) that were missing, in the order in
    /// which they were created.
    pub created: Vec<String>,
    /// The statements for the indexes that a sync needs and the bot's tables lack. None is created, as that takes its
    /// time on a large table: the operator runs them, and until then each page of accounts goes through whole tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_indexes: Vec<String>,
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            async fn verify_schema(&self) -> Result<(), StoreError> {
                (**self).verify_schema().await
            }

            async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
                (**self).count_accounts(panel, scope).await
            }

            async fn page_accounts(
                &self,
                panel: &str,
                scope: Scope,
                after: Option<Cursor>,
                limit: u32,
            ) -> Result<Page, StoreError> {
                (**self).page_accounts(panel, scope, after, limit).await
            }

            async fn reload_accounts(
                &self,
                panel: &str,
                scope: Scope,
                ids: &[AccountId],
            ) -> Result<Vec<Account>, StoreError> {
                (**self).reload_accounts(panel, scope, ids).await
            }

            async fn apply(
                &self,
                panel: &str,
                changes: &[Change],
                now: DateTime<Utc>,
            ) -> Result<Vec<AccountId>, StoreError> {
                (**self).apply(panel, changes, now).await
            }

            async fn unlink(
                &self,
                panel: &str,
                account: &Account,
                now: DateTime<Utc>,
            ) -> Result<bool, StoreError> {
                (**self).unlink(panel, account, now).await
            }

            async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
                (**self).lock(job, panel).await
            }

            async fn begin_run(
                &self,
                job: Job,
                panel: &str,
                now: DateTime<Utc>,
            ) -> Result<RunId, StoreError> {
                (**self).begin_run(job, panel, now).await
            }

            async fn finish_run(
                &self,
                run: RunId,
                outcome: Outcome,
                report: &Value,
                now: DateTime<Utc>,
            ) -> Result<(), StoreError> {
                (**self).finish_run(run, outcome, report, now).await
            }

            async fn record_system_stats(
                &self,
                panel: &str,
                stats: &SystemStats,
                now: DateTime<Utc>,
            ) -> Result<(), StoreError> {
                (**self).record_system_stats(panel, stats, now).await
            }

            async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
                (**self).forget_history(panel, before).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
