//! The store in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapter::rows::{CustomerRows, RowUpdate};
use crate::adapter::semantics::{self, View, stored};
use crate::adapter::tables::undone_trail;
use crate::model::account::{Account, AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::agreement::Agreement;
use crate::model::plan::{Change, SubscriptionPatch, VpnConfigPatch};
use crate::model::report::Job;
use crate::model::run::{RunId, RunRecord, SystemStatsRecord};
use crate::model::trail::{self, EntryRecord};
use crate::port::accounts::{AccountStore, Cursor, Page};
use crate::port::error::StoreError;
use crate::port::journal::{PanelUserKey, Trail};

mod journal;
mod lock;
mod rows;
use lock::MemoryLock;
pub use rows::{MemorySubscription, MemoryUser, MemoryVpnConfig};

/// A [`Store`](crate::store::Store) that holds the bot's tables in memory, with full semantics: paging, compare-and-set, undoing, locks.
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

    /// What is remembered of each panel user, with the revision.
    #[must_use]
    pub fn recorded_agreements(&self) -> BTreeMap<PanelUserKey, (i64, Agreement)> {
        let tables = self.tables();
        tables
            .agreements
            .iter()
            .map(|(key, kept)| (key.clone(), kept.clone()))
            .collect()
    }

    /// The trail, in the order in which it was written.
    #[must_use]
    pub fn recorded_entries(&self) -> Vec<EntryRecord> {
        self.tables().entries.clone()
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
    agreements: HashMap<PanelUserKey, (i64, Agreement)>,
    entries: Vec<EntryRecord>,
    locks: HashSet<(Job, String)>,
}

impl Tables {
    /// The rows as a list of customers; rows of a user that is not there are nobody's.
    fn customers(&self) -> Vec<CustomerRows> {
        let customer = |user: &MemoryUser| CustomerRows {
            id: user.id,
            telegram_id: user.telegram_id,
            subscriptions: Vec::new(),
            accounts: Vec::new(),
        };
        let mut customers: Vec<CustomerRows> = self.users.values().map(customer).collect();
        let of = |customers: &[CustomerRows], id: UserId| {
            customers.binary_search_by_key(&id, |customer| customer.id)
        };
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
                customer.accounts.push(row.as_login());
            }
        }
        customers
    }

    fn write(&mut self, change: &Change, now: DateTime<Utc>) {
        if !change.vpn_config.is_empty() {
            self.write_vpn_config(change.account.id, change.vpn_config, now);
        }
        if !change.subscription.is_empty()
            && let Some(subscription) = &change.account.subscription
        {
            self.write_subscription(subscription.id, &change.subscription, None, now);
        }
        for expired in &change.also_expired {
            let patch = SubscriptionPatch {
                status: Some(SubscriptionStatus::Expired),
                end_date: None,
            };
            self.write_subscription(expired.id, &patch, None, now);
        }
    }

    fn write_vpn_config(&mut self, id: AccountId, patch: VpnConfigPatch, now: DateTime<Utc>) {
        if let Some(row) = self.vpn_configs.get_mut(&id) {
            row.is_active = patch.is_active.or(row.is_active);
            row.traffic_used = patch.traffic_used.or(row.traffic_used);
            row.last_connected_at = patch.last_connected_at.map(stored).or(row.last_connected_at);
            row.updated_at = Some(now);
        }
    }

    /// Writes a patch, and the status as this word, or else as the row spells its present one.
    fn write_subscription(
        &mut self,
        id: SubscriptionId,
        patch: &SubscriptionPatch,
        word: Option<&str>,
        now: DateTime<Utc>,
    ) {
        if let Some(row) = self.subscriptions.get_mut(&id) {
            if let Some(status) = &patch.status {
                let spelled = || row.as_subscription().spell(status);
                row.status = MemorySubscription::spelled(&word.map_or_else(spelled, str::to_owned));
            }
            if let Some(end_date) = patch.end_date {
                row.end_date = end_date.as_column().map(stored);
            }
            row.updated_at = Some(now);
        }
    }

    /// Writes agreements, where they still have the revision, and entries.
    fn record(&mut self, panel: &str, run: Option<RunId>, trail: &Trail, now: DateTime<Utc>) {
        for (username, revision, agreement) in &trail.agreements {
            let key = PanelUserKey {
                panel: panel.to_owned(),
                username: username.clone(),
            };
            let current = self.agreements.get(&key).map_or(0, |(revision, _)| *revision);
            match agreement {
                None => drop(self.agreements.remove(&key)),
                Some(agreement) if current == *revision => {
                    self.agreements.insert(key, (current + 1, agreement.clone()));
                }
                Some(_) => {}
            }
        }
        for entry in &trail.entries {
            let id = self.entries.last().map_or(1, |entry| entry.id + 1);
            self.entries.push(EntryRecord {
                id,
                run,
                panel: panel.to_owned(),
                at: now,
                entry: entry.clone(),
            });
        }
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        Ok(semantics::count(&self.tables().customers(), panel))
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(semantics::count_elsewhere(&self.tables().customers(), panel))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        let tables = self.tables();
        View::new(&tables.customers(), panel, &tables.agreements, now).page(after, limit)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        let tables = self.tables();
        Ok(View::new(&tables.customers(), panel, &tables.agreements, now).reload(ids))
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut tables = self.tables();
        let customers = tables.customers();
        let matching: Vec<Change> = View::new(&customers, panel, &tables.agreements, now)
            .matching(changes)
            .into_iter()
            .cloned()
            .collect();
        for change in &matching {
            tables.write(change, stored(now));
            let account = &change.account;
            let agreements = change
                .agreement
                .iter()
                .map(|agreement| (account.name.clone(), account.revision, Some(agreement.clone())));
            let trail = Trail {
                agreements: agreements.collect(),
                entries: trail::entries(change),
            };
            tables.record(panel, run, &trail, stored(now));
        }
        Ok(matching.into_iter().map(|change| change.account.id).collect())
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let tables = self.tables();
        Ok(View::new(&tables.customers(), panel, &tables.agreements, now).may_unlink(account))
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let customers = tables.customers();
        let (may_unlink, is_named_elsewhere) = {
            let view = View::new(&customers, panel, &tables.agreements, now);
            (view.may_unlink(account), view.is_named_elsewhere(account))
        };
        if !may_unlink {
            return Ok(false);
        }
        let Some(row) = tables.vpn_configs.get_mut(&account.id) else {
            return Ok(false);
        };
        row.marzban_user_id = None;
        row.is_active = Some(false);
        row.updated_at = Some(stored(now));
        let mut trail = Trail {
            entries: trail::unlinked(account),
            ..Trail::default()
        };
        if !is_named_elsewhere {
            trail
                .agreements
                .push((account.name.clone(), account.revision, None));
        }
        tables.record(panel, run, &trail, stored(now));
        Ok(true)
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        let mut tables = self.tables();
        let undone = semantics::undo(&tables.customers(), entries);
        let mut ids = Vec::new();
        for (id, write, word) in undone {
            match write {
                RowUpdate::Account(account, patch) => tables.write_vpn_config(account, patch, stored(now)),
                RowUpdate::Subscription(subscription, patch) => {
                    tables.write_subscription(subscription, &patch, Some(&word), stored(now));
                }
                RowUpdate::Unlink(_) => continue,
            }
            ids.push(id);
        }
        let trail = undone_trail(entries, &ids, &tables.agreements);
        tables.record(panel, Some(run), &trail, stored(now));
        Ok(ids)
    }
}
