//! The store in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use crate::account::{Account, AccountId, Subscription, SubscriptionId, UserId};
use crate::error::{StoreError, StoreErrorKind};
use crate::history::{RunRecord, SystemStatsRecord};
use crate::plan::Change;
use crate::report::{Job, SystemStats};
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

/// All accounts of one user that is in scope, by id; never empty.
struct UserAccounts {
    lowest: AccountId,
    accounts: Vec<Account>,
}

impl Tables {
    /// The users in scope that have accounts in the panel, by their lowest account.
    fn in_scope(&self, panel: &str, scope: Scope) -> Vec<UserAccounts> {
        let subscriptions = self.subscriptions_by_user();
        let active = self.active_panels_by_user();
        let mut users: Vec<UserAccounts> = Vec::new();
        let mut places: HashMap<UserId, usize> = HashMap::new();
        for row in self.vpn_configs.values().filter(|row| row.panel() == panel) {
            let subscriptions = subscriptions.get(&row.user_id).map_or(&[][..], Vec::as_slice);
            let Some(mut account) = self.account(row, subscriptions) else {
                continue;
            };
            account.active_elsewhere = active
                .get(&row.user_id)
                .is_some_and(|panels| panels.iter().any(|other| *other != panel));
            if !is_in_scope(scope, subscriptions) {
                continue;
            }
            let place = *places.entry(account.user_id).or_insert(users.len());
            match users.get_mut(place) {
                Some(user) => user.accounts.push(account),
                None => users.push(UserAccounts {
                    lowest: account.id,
                    accounts: vec![account],
                }),
            }
        }
        users
    }

    fn subscriptions_by_user(&self) -> HashMap<UserId, Vec<&MemorySubscription>> {
        let mut by_user: HashMap<UserId, Vec<&MemorySubscription>> = HashMap::new();
        for row in self.subscriptions.values() {
            by_user.entry(row.user_id).or_default().push(row);
        }
        by_user
    }

    /// The panels in which each user has an active account.
    fn active_panels_by_user(&self) -> HashMap<UserId, Vec<&str>> {
        let mut by_user: HashMap<UserId, Vec<&str>> = HashMap::new();
        for row in self.vpn_configs.values() {
            if row.is_active == Some(true)
                && row.marzban_user_id.as_ref().is_some_and(|name| !name.is_empty())
            {
                by_user.entry(row.user_id).or_default().push(row.panel());
            }
        }
        by_user
    }

    fn account(&self, row: &MemoryVpnConfig, subscriptions: &[&MemorySubscription]) -> Option<Account> {
        let name = row.marzban_user_id.clone().filter(|name| !name.is_empty())?;
        Some(Account {
            id: row.id,
            user_id: row.user_id,
            telegram_id: self.users.get(&row.user_id)?.telegram_id,
            name,
            is_active: row.is_active,
            traffic_used: row.traffic_used,
            last_connected_at: row.last_connected_at,
            active_elsewhere: false,
            subscription: governing(subscriptions),
        })
    }

    /// The changes whose expected values all hold. They are compared before any of them is written, so the
    /// accounts of one user, which share a subscription, are no conflict to each other.
    fn matching<'a>(&self, panel: &str, changes: &'a [Change]) -> Vec<&'a Change> {
        let subscriptions = self.subscriptions_by_user();
        let holds = |change: &&Change| {
            let expected = stored_account(&change.account);
            let Some(row) = self
                .vpn_configs
                .get(&expected.id)
                .filter(|row| row.panel() == panel)
            else {
                return false;
            };
            let subscriptions = subscriptions.get(&row.user_id).map_or(&[][..], Vec::as_slice);
            let Some(current) = self.account(row, subscriptions) else {
                return false;
            };
            // A change of a subscription that is not there cannot be written, so it must not be half written.
            let has_target = change.subscription.is_empty() || expected.subscription.is_some();
            has_target
                && current.name == expected.name
                && current.is_active == expected.is_active
                && current.traffic_used == expected.traffic_used
                && current.last_connected_at == expected.last_connected_at
                && (!change.depends_on_subscription() || current.subscription == expected.subscription)
        };
        changes.iter().filter(holds).collect()
    }

    /// Whether the subscription that governed when the account was read still governs, and is as it was.
    fn is_unpaid_since(&self, account: &Account) -> bool {
        let Some(row) = self.vpn_configs.get(&account.id) else {
            return false;
        };
        let subscriptions = self.subscriptions_by_user();
        let subscriptions = subscriptions.get(&row.user_id).map_or(&[][..], Vec::as_slice);
        governing(subscriptions) == stored_account(account).subscription
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

/// The subscription that decides for a user: an open one before all others, then the latest end (none is the
/// latest), then the highest id.
fn governing(subscriptions: &[&MemorySubscription]) -> Option<Subscription> {
    subscriptions
        .iter()
        .max_by_key(|row| (row.status.is_open(), row.end_date.is_none(), row.end_date, row.id))
        .map(|row| Subscription {
            id: row.id,
            status: row.status.clone(),
            end_date: row.end_date,
        })
}

/// Whether a user with these subscriptions is in the scope.
fn is_in_scope(scope: Scope, subscriptions: &[&MemorySubscription]) -> bool {
    match scope {
        Scope::All => true,
        Scope::Subscribed => governing(subscriptions).is_some_and(|governing| governing.status.is_synced()),
        Scope::Ended { before } => {
            !subscriptions.is_empty() && subscriptions.iter().all(|row| row.ended_before(before))
        }
    }
}

/// A time as a database keeps it: to the microsecond.
fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

fn stored_account(account: &Account) -> Account {
    let mut account = account.clone();
    account.last_connected_at = account.last_connected_at.map(stored);
    if let Some(subscription) = &mut account.subscription {
        subscription.end_date = subscription.end_date.map(stored);
    }
    account
}

#[async_trait]
impl Store for MemoryStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        let users = self.tables().in_scope(panel, scope);
        Ok(users.iter().map(|user| user.accounts.len() as u64).sum())
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        if limit == 0 {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                "a page must hold at least one user",
            ));
        }
        let users = self.tables().in_scope(panel, scope);
        let mut rest = users
            .into_iter()
            .skip_while(|user| after.is_some_and(|Cursor(lowest)| user.lowest <= lowest))
            .peekable();
        let mut page = Page {
            accounts: Vec::new(),
            next: None,
        };
        for user in rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            page.next = Some(Cursor(user.lowest));
            page.accounts.extend(user.accounts);
        }
        if rest.peek().is_none() {
            page.next = None;
        }
        Ok(page)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        let of: HashSet<UserId> = ids
            .iter()
            .filter_map(|id| tables.vpn_configs.get(id))
            .map(|row| row.user_id)
            .collect();
        let users = tables.in_scope(panel, scope);
        Ok(users
            .into_iter()
            .flat_map(|user| user.accounts)
            .filter(|account| of.contains(&account.user_id))
            .collect())
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut tables = self.tables();
        let matching = tables.matching(panel, changes);
        for change in &matching {
            tables.write(change, stored(now));
        }
        Ok(matching.into_iter().map(|change| change.account.id).collect())
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        if !tables.is_unpaid_since(account) {
            return Ok(false);
        }
        let Some(row) = tables.vpn_configs.get_mut(&account.id) else {
            return Ok(false);
        };
        if row.panel() != panel || row.marzban_user_id.as_deref() != Some(account.name.as_str()) {
            return Ok(false);
        }
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
