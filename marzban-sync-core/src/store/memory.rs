//! The store in memory.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::account::{Account, AccountId, SubscriptionId, UserId};
use crate::error::{StoreError, StoreErrorKind};
use crate::history::{RunRecord, SystemStatsRecord};
use crate::plan::Change;
use crate::report::{Job, SystemStats};
use crate::store::listed::Customer;
use crate::store::listed::select::{self, stored};
use crate::store::{Cursor, Outcome, Page, RunId, RunLock, Scope, Store};

mod history;
mod rows;
pub use rows::{MemorySubscription, MemoryUser, MemoryVpnConfig};

/// A [`Store`] that holds the bot's tables in memory, with full semantics: paging, scopes, compare-and-set, locks.
///
/// For tests, first steps and dry experiments. Clones share the rows. As in a database, times are kept to the
/// microsecond. It needs no runtime, and no method of it ever waits.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    /// A store without any row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a user in, or in the place of the one with the same id.
    pub fn insert_user(&self, row: MemoryUser) {
        self.tables().users.insert(row.id, row);
    }

    /// Puts a subscription in, or in the place of the one with the same id.
    pub fn insert_subscription(&self, row: MemorySubscription) {
        self.tables().subscriptions.insert(row.id, row.stored());
    }

    /// Puts a VPN config in, or in the place of the one with the same id.
    pub fn insert_vpn_config(&self, row: MemoryVpnConfig) {
        self.tables().vpn_configs.insert(row.id, row.stored());
    }

    /// Takes a user out.
    pub fn remove_user(&self, id: UserId) {
        self.tables().users.remove(&id);
    }

    /// Takes a subscription out.
    pub fn remove_subscription(&self, id: SubscriptionId) {
        self.tables().subscriptions.remove(&id);
    }

    /// Takes a VPN config out.
    pub fn remove_vpn_config(&self, id: AccountId) {
        self.tables().vpn_configs.remove(&id);
    }

    /// The user with this id.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<MemoryUser> {
        self.tables().users.get(&id).cloned()
    }

    /// The subscription with this id.
    #[must_use]
    pub fn subscription(&self, id: SubscriptionId) -> Option<MemorySubscription> {
        self.tables().subscriptions.get(&id).cloned()
    }

    /// The VPN config with this id.
    #[must_use]
    pub fn vpn_config(&self, id: AccountId) -> Option<MemoryVpnConfig> {
        self.tables().vpn_configs.get(&id).cloned()
    }

    /// All users, by id.
    #[must_use]
    pub fn users(&self) -> Vec<MemoryUser> {
        self.tables().users.values().cloned().collect()
    }

    /// All subscriptions, by id.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<MemorySubscription> {
        self.tables().subscriptions.values().cloned().collect()
    }

    /// All VPN configs, by id.
    #[must_use]
    pub fn vpn_configs(&self) -> Vec<MemoryVpnConfig> {
        self.tables().vpn_configs.values().cloned().collect()
    }

    /// The run history, in the order in which the runs began.
    #[must_use]
    pub fn recorded_runs(&self) -> Vec<RunRecord> {
        self.tables().runs.clone()
    }

    /// The panels' figures, in the order in which they were recorded.
    #[must_use]
    pub fn recorded_system_stats(&self) -> Vec<SystemStatsRecord> {
        self.tables().system_stats.clone()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No method leaves a row half written, so the rows are sound even if a thread panicked while it held them.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Tables {
    users: BTreeMap<UserId, MemoryUser>,
    subscriptions: BTreeMap<SubscriptionId, MemorySubscription>,
    vpn_configs: BTreeMap<AccountId, MemoryVpnConfig>,
    runs: Vec<RunRecord>,
    system_stats: Vec<SystemStatsRecord>,
    locks: HashSet<(Job, String)>,
}

impl Tables {
    /// The rows as a list of customers; rows of a user that is not there are nobody's.
    fn customers(&self) -> Vec<Customer> {
        let customer = |user: &MemoryUser| Customer {
            id: user.id,
            telegram_id: user.telegram_id,
            subscriptions: Vec::new(),
            logins: Vec::new(),
        };
        let mut customers: Vec<Customer> = self.users.values().map(customer).collect();
        let of =
            |customers: &[Customer], id: UserId| customers.binary_search_by_key(&id, |customer| customer.id);
        for row in self.subscriptions.values() {
            if let Some(customer) = of(&customers, row.user_id)
                .ok()
                .and_then(|place| customers.get_mut(place))
            {
                customer.subscriptions.push(row.as_subscription());
            }
        }
        for row in self.vpn_configs.values() {
            if let Some(customer) = of(&customers, row.user_id)
                .ok()
                .and_then(|place| customers.get_mut(place))
            {
                customer.logins.push(row.as_login());
            }
        }
        customers
    }

    fn write(&mut self, change: &Change, now: DateTime<Utc>) {
        if !change.vpn_config.is_empty()
            && let Some(row) = self.vpn_configs.get_mut(&change.account.id)
        {
            let patch = change.vpn_config;
            row.is_active = patch.is_active.or(row.is_active);
            row.traffic_used = patch.traffic_used.or(row.traffic_used);
            row.last_connected_at = patch.last_connected_at.map(stored).or(row.last_connected_at);
            row.updated_at = Some(now);
        }
        if !change.subscription.is_empty()
            && let Some(subscription) = &change.account.subscription
            && let Some(row) = self.subscriptions.get_mut(&subscription.id)
        {
            if let Some(status) = &change.subscription.status {
                row.status.clone_from(status);
            }
            if let Some(end_date) = change.subscription.end_date {
                row.end_date = end_date.as_column().map(stored);
            }
            row.updated_at = Some(now);
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        Ok(select::count(&self.tables().customers(), panel, scope))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        select::page(&self.tables().customers(), panel, scope, after, limit)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        Ok(select::reload(&self.tables().customers(), panel, scope, ids))
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut tables = self.tables();
        let customers = tables.customers();
        let matching = select::matching(&customers, panel, changes);
        for change in &matching {
            tables.write(change, stored(now));
        }
        Ok(matching.into_iter().map(|change| change.account.id).collect())
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        if !select::may_unlink(&tables.customers(), panel, account) {
            return Ok(false);
        }
        let Some(row) = tables.vpn_configs.get_mut(&account.id) else {
            return Ok(false);
        };
        row.marzban_user_id = None;
        row.is_active = Some(false);
        row.updated_at = Some(stored(now));
        Ok(true)
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        let key = (job, panel.to_owned());
        if !self.tables().locks.insert(key.clone()) {
            return Err(StoreError::new(
                StoreErrorKind::AlreadyRunning,
                format!("another run of {job} for the panel {panel:?} is under way"),
            ));
        }
        Ok(Box::new(MemoryLock {
            store: self.clone(),
            key,
        }))
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        let mut tables = self.tables();
        tables.abandon(job, panel);
        let id = RunId(tables.runs.last().map_or(1, |run| run.id.0 + 1));
        tables.runs.push(RunRecord {
            id,
            job,
            panel: panel.to_owned(),
            started_at: stored(now),
            finished_at: None,
            outcome: Outcome::Running,
            report: None,
        });
        Ok(id)
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.runs.iter_mut().find(|row| row.id == run) else {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                format!("there is no run {}", run.0),
            ));
        };
        row.finished_at = Some(stored(now));
        row.outcome = outcome;
        row.report = Some(report.clone());
        Ok(())
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.tables().system_stats.push(SystemStatsRecord {
            panel: panel.to_owned(),
            collected_at: stored(now),
            stats: stats.clone(),
        });
        Ok(())
    }

    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.tables().forget(panel, before))
    }
}

struct MemoryLock {
    store: MemoryStore,
    key: (Job, String),
}

#[async_trait]
impl RunLock for MemoryLock {
    async fn verify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.store.tables().locks.remove(&self.key);
    }
}
