//! The port to the bot's accounts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::account::{Account, AccountId};
use crate::model::plan::Change;
use crate::model::run::RunId;
use crate::model::trail::EntryRecord;
use crate::port::error::StoreError;

/// The name of the panel that a row without one belongs to.
pub const DEFAULT_PANEL: &str = "default";

/// What a job reads and writes of the bot's own tables.
///
/// What the library itself remembers is in a [`Journal`](crate::store::Journal): of the same database, so that both are
/// written as one, or of another.
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
pub trait AccountStore: Send + Sync {
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
