//! The port to the bot's database.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::model::account::{Account, AccountId};
use crate::model::agreement::Agreement;
use crate::model::outcome::RunStatus;
use crate::model::plan::Change;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{Entry, EntryQuery, EntryRecord};
use crate::port::error::StoreError;
use crate::port::history::History;

/// The name of the panel that a row without one belongs to.
pub const DEFAULT_PANEL: &str = "default";

/// What a job needs of the bot's database.
///
/// # Guarantees
/// - Accounts are `vpn_configs` rows with a non-empty `marzban_user_id`; the others are never seen.
/// - Accounts belong to the panel that `vpn_configs.panel` names, and to [`DEFAULT_PANEL`] where that is null or
///   empty. A call that names a panel sees and writes the accounts of that panel alone.
/// - An account's subscription is the one that its `subscription_id` names, else the customer's governing one: of those
///   that have begun (`start_date` null or not later than a day from now) an open one before all others, then the latest
///   `end_date` (null is the latest), then the highest id. One that has not begun governs only where no other is open,
///   and a `pending` one only where there is nothing else.
/// - Rows of `users`, `subscriptions` and `vpn_configs` are never inserted, never deleted, and only the columns that
///   change are written, with `updated_at`.
/// - Every `DateTime<Utc>` of the bot's tables is stored as naive UTC, whatever the time zone of session or server.
/// - The time is an argument: no method asks a clock, in Rust or in SQL.
#[async_trait]
pub trait Store: History + Send + Sync {
    /// Checks that the tables and columns that a run needs are there, and have the types that they need.
    ///
    /// # Errors
    /// `Schema`, whose message names what is missing and what to do; `Unavailable` when the database cannot be asked.
    async fn verify_schema(&self) -> Result<(), StoreError>;

    /// Counts the accounts of a panel.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError>;

    /// Counts the accounts of every other panel, by the panel's name.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError>;

    /// Reads the next accounts of a panel with what is remembered of them, in a fixed number of queries and a stable
    /// order: the accounts of one customer stand together, customers are ordered by the lowest id among their accounts,
    /// and accounts of a customer by id.
    ///
    /// `limit` counts customers; the accounts of a customer are never parted by a page, and the last page has no cursor.
    /// `now` decides which subscriptions have begun.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`, the latter also for a limit of 0.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError>;

    /// Reads all accounts, of this panel, of the customers that these accounts belong to, as they are now, in the order
    /// of [`page_accounts`](Self::page_accounts).
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    ///
    /// # Cancel safety
    /// Reads only; may be dropped at any point.
    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError>;

    /// Applies changes by compare-and-set, with their agreements and their trail, and returns the ids of the accounts
    /// that were written; the others are conflicts, of which nothing was written.
    ///
    /// A change is written only while the `vpn_configs` row still belongs to the panel and has the name, `is_active`,
    /// `traffic_used` and `last_connected_at` of [`Change::account`], and, if it
    /// [depends on the subscription](Change::depends_on_subscription), while that is still the account's subscription
    /// and still has the same `status` and `end_date`, as have those that [expire with it](Change::also_expired). A
    /// change with an agreement also needs the agreement's revision, unless the agreement is already as it is to be. A
    /// row that another transaction holds locked is a conflict too: a payment never waits for a sync, nor deadlocks with
    /// one. `updated_at` of the written rows becomes `now`.
    ///
    /// Rows, agreements and trail of one change are written together, where one database holds them; else the rows come
    /// first.
    ///
    /// All changes of one call are compared with the rows as they were before it, so two accounts of one customer are no
    /// conflict to each other. A change that depends on there being no subscription is a conflict once there is one.
    /// Times are cut to the microsecond before they are compared.
    ///
    /// # Errors
    /// `Unavailable`, `Contended` or `Invalid`; after an error some of the changes may have been written.
    ///
    /// # Cancel safety
    /// Each change is written whole or not at all, also when the future is dropped.
    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Tries [`unlink`](Self::unlink) and takes it back: whether the row could be unlinked now.
    ///
    /// # Errors
    /// As [`unlink`](Self::unlink).
    ///
    /// # Cancel safety
    /// Nothing stays written, also when the future is dropped.
    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Clears the link to a panel user that no longer exists: `marzban_user_id` becomes null, `is_active` false, and what
    /// was remembered of the user is forgotten, unless another row names it.
    ///
    /// Returns `false` and writes nothing if the name, the panel or the subscription has changed since the account was
    /// read: a customer who pays at this moment may have been given a new panel user of the same name.
    ///
    /// # Errors
    /// `Unavailable`, `Contended` or `Invalid`.
    ///
    /// # Cancel safety
    /// Written whole or not at all.
    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError>;

    /// Reads what is remembered of these panel users; one that nothing is remembered of is left out.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError>;

    /// Writes agreements, each by compare-and-set of its revision, and entries of the trail.
    ///
    /// An agreement whose revision has changed is left as it is; one of revision 0 is written where there is none. To
    /// forget one needs no revision.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`; nothing was written then.
    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError>;

    /// Puts the old value of each entry back where the row still has the new one, records that with the reason
    /// [`UNDONE`](crate::trail::UNDONE), forgets the previous end of the panel users concerned, and returns the ids of
    /// the entries that were undone.
    ///
    /// # Errors
    /// `Unavailable`, `Contended` or `Invalid`; nothing was written then.
    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError>;

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
        outcome: RunStatus,
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

    /// Deletes the runs of a panel that began, its figures that were collected and its trail that was written before
    /// this moment; returns how many rows that were. Kept are runs under way, and of each job the last one that completed, however old.
    ///
    /// # Errors
    /// `Unavailable` or `Invalid`.
    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError>;
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

/// A panel user, by the panel's name and its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PanelUserKey {
    /// The panel's name.
    pub panel: String,
    /// The panel user's name.
    pub username: String,
}

/// What is remembered of a panel user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The panel user.
    pub user: PanelUserKey,
    /// Which write of the agreement this is; the first is 1.
    pub revision: i64,
    /// What.
    pub agreement: Agreement,
}

/// Agreements and entries that belong to rows of another database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// The agreements, each with the username, the revision that it replaces, and the new one; none forgets it.
    pub agreements: Vec<(String, i64, Option<Agreement>)>,
    /// The entries.
    pub entries: Vec<Entry>,
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

            async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
                (**self).count_accounts(panel).await
            }

            async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
                (**self).count_elsewhere(panel).await
            }

            async fn page_accounts(
                &self,
                panel: &str,
                after: Option<Cursor>,
                limit: u32,
                now: DateTime<Utc>,
            ) -> Result<Page, StoreError> {
                (**self).page_accounts(panel, after, limit, now).await
            }

            async fn reload_accounts(
                &self,
                panel: &str,
                ids: &[AccountId],
                now: DateTime<Utc>,
            ) -> Result<Vec<Account>, StoreError> {
                (**self).reload_accounts(panel, ids, now).await
            }

            async fn apply(
                &self,
                panel: &str,
                run: Option<RunId>,
                changes: &[Change],
                now: DateTime<Utc>,
            ) -> Result<Vec<AccountId>, StoreError> {
                (**self).apply(panel, run, changes, now).await
            }

            async fn rehearse_unlink(
                &self,
                panel: &str,
                account: &Account,
                now: DateTime<Utc>,
            ) -> Result<bool, StoreError> {
                (**self).rehearse_unlink(panel, account, now).await
            }

            async fn unlink(
                &self,
                panel: &str,
                run: Option<RunId>,
                account: &Account,
                now: DateTime<Utc>,
            ) -> Result<bool, StoreError> {
                (**self).unlink(panel, run, account, now).await
            }

            async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
                (**self).agreements(users).await
            }

            async fn record(
                &self,
                panel: &str,
                run: Option<RunId>,
                trail: &Trail,
                now: DateTime<Utc>,
            ) -> Result<(), StoreError> {
                (**self).record(panel, run, trail, now).await
            }

            async fn undo(
                &self,
                panel: &str,
                run: RunId,
                entries: &[EntryRecord],
                now: DateTime<Utc>,
            ) -> Result<Vec<i64>, StoreError> {
                (**self).undo(panel, run, entries, now).await
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
                outcome: RunStatus,
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

            async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
                (**self).prune_history(panel, before).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<H: History + ?Sized> History for $pointer<H> {
            async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
                (**self).runs(query).await
            }

            async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
                (**self).latest_runs(outcome).await
            }

            async fn system_stats(
                &self,
                panel: &str,
                since: DateTime<Utc>,
            ) -> Result<Vec<SystemStatsRecord>, StoreError> {
                (**self).system_stats(panel, since).await
            }

            async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
                (**self).entries(query).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);

#[cfg(feature = "test-util")]
pub use super::mock::MockStore;
