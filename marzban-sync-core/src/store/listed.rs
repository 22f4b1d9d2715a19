//! A store over whatever tables a bot has, as long as they are small enough to be listed.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::account::{Account, AccountId, Subscription, SubscriptionId, UserId};
use crate::error::StoreError;
use crate::plan::{Change, SubscriptionPatch, VpnConfigPatch};
use crate::report::{Job, SystemStats};
use crate::store::{Cursor, Outcome, Page, RunId, RunLock, Scope, Store};

pub(super) mod select;

/// A customer of the bot, with all that the sync reads of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// The customer's id.
    pub id: UserId,
    /// By which reports and logs name the customer.
    pub telegram_id: Option<i64>,
    /// All subscriptions, in any order, ended ones too.
    pub subscriptions: Vec<Subscription>,
    /// All logins, in any order.
    pub logins: Vec<Login>,
}

/// A panel user of a customer, as the bot knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The id of its row; no two logins have the same, whoever's they are.
    pub id: AccountId,
    /// The panel's name; none for a bot with one panel.
    pub panel: Option<String>,
    /// The panel user's name; none for a login that no panel has.
    pub name: Option<String>,
    /// Whether it gives access.
    pub is_active: Option<bool>,
    /// Traffic, in bytes.
    pub traffic_used: Option<i64>,
    /// When it was last seen connected.
    pub last_connected_at: Option<DateTime<Utc>>,
}

/// What is to be written into one row; what a patch does not name stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// New values for a login.
    Login(AccountId, VpnConfigPatch),
    /// New values for a subscription.
    Subscription(SubscriptionId, SubscriptionPatch),
    /// The panel user of this login is gone: its name becomes none, and it gives no access.
    Unlink(AccountId),
}

/// Decides what to write, given all customers as they are.
pub type Decide<'a> = &'a (dyn Fn(&[Customer]) -> Vec<Write> + Send + Sync);

/// What a bot's own tables must be able to do for a [`ListedStore`] over them.
///
/// # Guarantees
/// - `list` leaves out no customer, no subscription and no login: one that is left out may be the one that is paid for.
/// - Nobody writes to these tables between the list that `update` hands to `decide` and the end of its writes: they are
///   one transaction that keeps other writers out. So a payment is either seen, or made after.
/// - The writes of one `update` are made all or not at all, also when its future is dropped.
/// - Times are moments of UTC, and kept to the microsecond; names are kept to the letter.
#[async_trait]
pub trait Customers: Send + Sync {
    /// Lists all customers, in any order.
    ///
    /// # Errors
    /// `Unavailable`; `Schema` where a table is missing; `Invalid` for a row that cannot be understood.
    async fn list(&self) -> Result<Vec<Customer>, StoreError>;

    /// Lists all customers, lets `decide` say what to write, and writes that, as changed at `now`.
    ///
    /// # Errors
    /// As [`list`](Self::list); `Invalid` also when the database refuses a value. Nothing was written then.
    async fn update(&self, decide: Decide<'_>, now: DateTime<Utc>) -> Result<(), StoreError>;
}

/// A [`Store`] over tables of the bot's own: they only list and write, and paging, scopes, the governing subscription
/// and compare-and-set are the library's.
///
/// Every page lists all customers, so it is for bots of some thousands. Locks, runs and figures are kept by another
/// store, the `journal`: with `MemoryStore` they end with the process, which is right for a bot that is one process.
#[derive(Clone, Debug)]
pub struct ListedStore<C, J> {
    customers: C,
    journal: J,
}

impl<C: Customers, J: Store> ListedStore<C, J> {
    /// A store over these customers, whose locks and history another store keeps.
    pub fn new(customers: C, journal: J) -> Self {
        Self { customers, journal }
    }

    /// The tables of the bot.
    pub fn customers(&self) -> &C {
        &self.customers
    }

    /// The store that keeps locks and history.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// Writes what is decided in one transaction, and returns what was decided besides.
    async fn update<T: Default + Send>(
        &self,
        decide: impl Fn(&[Customer]) -> (T, Vec<Write>) + Send + Sync,
        now: DateTime<Utc>,
    ) -> Result<T, StoreError> {
        let decided = Mutex::new(T::default());
        // A bot that repeats its transaction asks again, and the last answer is the one that was written.
        let decide = |customers: &[Customer]| {
            let (answer, writes) = decide(customers);
            *decided.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            writes
        };
        self.customers.update(&decide, now).await?;
        Ok(decided.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The writes of changes, each row once.
fn writes(changes: &[&Change]) -> Vec<Write> {
    let mut writes = Vec::new();
    for change in changes {
        if !change.vpn_config.is_empty() {
            writes.push(Write::Login(change.account.id, change.vpn_config));
        }
        if let Some(subscription) = &change.account.subscription
            && !change.subscription.is_empty()
        {
            writes.push(Write::Subscription(subscription.id, change.subscription.clone()));
        }
    }
    writes
}

#[async_trait]
impl<C: Customers, J: Store> Store for ListedStore<C, J> {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.customers.list().await.map(drop)
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        Ok(select::count(&self.customers.list().await?, panel, scope))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        select::page(&self.customers.list().await?, panel, scope, after, limit)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        Ok(select::reload(&self.customers.list().await?, panel, scope, ids))
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let decide = |customers: &[Customer]| {
            let matching = select::matching(customers, panel, changes);
            let ids = matching.iter().map(|change| change.account.id).collect();
            (ids, writes(&matching))
        };
        self.update(decide, select::stored(now)).await
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let decide = |customers: &[Customer]| {
            let may_unlink = select::may_unlink(customers, panel, account);
            let write = may_unlink.then_some(Write::Unlink(account.id));
            (may_unlink, write.into_iter().collect())
        };
        self.update(decide, select::stored(now)).await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        self.journal.lock(job, panel).await
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        self.journal.begin_run(job, panel, now).await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.journal.finish_run(run, outcome, report, now).await
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.journal.record_system_stats(panel, stats, now).await
    }

    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        self.journal.forget_history(panel, before).await
    }
}

#[async_trait]
impl<C: Customers + ?Sized> Customers for Arc<C> {
    async fn list(&self) -> Result<Vec<Customer>, StoreError> {
        (**self).list().await
    }

    async fn update(&self, decide: Decide<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        (**self).update(decide, now).await
    }
}
