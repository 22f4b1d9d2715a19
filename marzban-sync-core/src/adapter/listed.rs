//! A store over whatever tables a bot has, as long as they are small enough to be listed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::plan::{Change, SubscriptionPatch, VpnConfigPatch};
use crate::model::run::RunId;
use crate::model::trail::{self, Entry, EntryRecord};
use crate::port::accounts::{AccountStore, Cursor, Page};
use crate::port::error::StoreError;
use crate::port::journal::{Journal, PanelUserKey, Trail};

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
    /// When the row was last written; none where the bot does not say.
    pub updated_at: Option<DateTime<Utc>>,
    /// The subscription that it belongs to, where the bot says so; without it, to the customer's governing one.
    pub subscription_id: Option<SubscriptionId>,
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

/// What a bot's own tables must be able to do for a [`TableStore`] over them.
///
/// # Guarantees
/// - `list` leaves out no customer, no subscription and no login: one that is left out may be the one that is paid for.
/// - Nobody writes to these tables between the list that `update` hands to `decide` and the end of its writes: they are
///   one transaction that keeps other writers out. So a payment is either seen, or made after.
/// - The writes of one `update` are made all or not at all, also when its future is dropped.
/// - Times are moments of UTC, and kept to the microsecond; names are kept to the letter.
/// - A bot with words of its own for a status gives [`Subscription::new`] the library's word, and writes its own.
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

    /// Does as [`update`](Self::update) does, then takes everything back; returns how many writes could be made.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    async fn rehearse(&self, decide: Decide<'_>, now: DateTime<Utc>) -> Result<usize, StoreError>;
}

/// An [`AccountStore`] over tables of the bot's own: they only list and write, and paging, the governing subscription and
/// compare-and-set are the library's.
///
/// Every page lists all customers, so it is for bots of some thousands. Locks, runs, agreements, the trail and figures
/// are kept by a [`Journal`], another store of this crate. With `MemoryStore` they end with the process, and then every first run of a
/// process meets the accounts for the first time: for more than a trial take `SqliteStore` or `PostgresStore`, and create
/// its tables by `migrate_journal`.
#[derive(Clone, Debug)]
pub struct TableStore<C, J> {
    customers: C,
    journal: J,
}

impl<C: Customers, J: Journal> TableStore<C, J> {
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
        for expired in &change.also_expired {
            let patch = SubscriptionPatch {
                status: Some(SubscriptionStatus::Expired),
                end_date: None,
            };
            writes.push(Write::Subscription(expired.id, patch));
        }
    }
    writes
}

/// The trail of changes that were written.
fn trail_of(changes: &[Change], applied: &[AccountId]) -> Trail {
    let mut written = Trail::default();
    for change in changes
        .iter()
        .filter(|change| applied.contains(&change.account.id))
    {
        written.entries.extend(trail::entries(change));
        if let Some(agreement) = &change.agreement {
            let account = &change.account;
            written
                .agreements
                .push((account.name.clone(), account.revision, Some(agreement.clone())));
        }
    }
    written
}

impl<C: Customers, J: Journal> TableStore<C, J> {
    /// All customers, and what is remembered of their panel users.
    async fn listed(&self) -> Result<(Vec<Customer>, select::Memory), StoreError> {
        let customers = self.customers.list().await?;
        let memory = self.journal.agreements(&select::panel_users(&customers)).await?;
        Ok((customers, select::memory(memory)))
    }

    async fn memory_of(&self, panel: &str, names: &[&str]) -> Result<select::Memory, StoreError> {
        let keys: Vec<PanelUserKey> = names
            .iter()
            .map(|name| PanelUserKey {
                panel: panel.to_owned(),
                username: (*name).to_owned(),
            })
            .collect();
        Ok(select::memory(self.journal.agreements(&keys).await?))
    }
}

#[async_trait]
impl<C: Customers, J: Journal> AccountStore for TableStore<C, J> {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.customers.list().await.map(drop)
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        Ok(select::count(&self.customers.list().await?, panel))
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(select::count_elsewhere(&self.customers.list().await?, panel))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        let (customers, memory) = self.listed().await?;
        select::View::new(&customers, panel, &memory, now).page(after, limit)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        let (customers, memory) = self.listed().await?;
        Ok(select::View::new(&customers, panel, &memory, now).reload(ids))
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        let names: Vec<&str> = changes
            .iter()
            .map(|change| change.account.name.as_str())
            .collect();
        let memory = self.memory_of(panel, &names).await?;
        let decide = |customers: &[Customer]| {
            let matching = select::View::new(customers, panel, &memory, now).matching(changes);
            let ids = matching.iter().map(|change| change.account.id).collect();
            (ids, writes(&matching))
        };
        let applied: Vec<AccountId> = self.update(decide, select::stored(now)).await?;
        // After the rows: a crash in between leaves an agreement that lags, which does no harm.
        self.journal
            .record(panel, run, &trail_of(changes, &applied), now)
            .await?;
        Ok(applied)
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.customers
            .rehearse(
                &|customers| {
                    let memory = select::Memory::new();
                    let may_unlink = select::View::new(customers, panel, &memory, now).may_unlink(account);
                    may_unlink
                        .then_some(Write::Unlink(account.id))
                        .into_iter()
                        .collect()
                },
                select::stored(now),
            )
            .await
            .map(|writes| writes > 0)
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let memory = select::Memory::new();
        let decide = |customers: &[Customer]| {
            let view = select::View::new(customers, panel, &memory, now);
            let may_unlink = view.may_unlink(account);
            let write = may_unlink.then_some(Write::Unlink(account.id));
            let forgets = may_unlink && !view.is_named_elsewhere(account);
            ((may_unlink, forgets), write.into_iter().collect())
        };
        let (unlinked, forgets) = self.update(decide, select::stored(now)).await?;
        if unlinked {
            let mut trail = Trail {
                entries: trail::unlinked(account),
                ..Trail::default()
            };
            if forgets {
                trail
                    .agreements
                    .push((account.name.clone(), account.revision, None));
            }
            self.journal.record(panel, run, &trail, now).await?;
        }
        Ok(unlinked)
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        let decide = |customers: &[Customer]| {
            let undone = select::undo(customers, entries);
            let ids = undone.iter().map(|(id, ..)| *id).collect();
            (ids, undone.into_iter().map(|(_, write, _)| write).collect())
        };
        let undone: Vec<i64> = self.update(decide, select::stored(now)).await?;
        let names: Vec<&str> = entries
            .iter()
            .map(|record| record.entry.username.as_str())
            .collect();
        let memory = self.memory_of(panel, &names).await?;
        let trail = undone_trail(entries, &undone, &memory);
        self.journal.record(panel, Some(run), &trail, now).await?;
        Ok(undone)
    }
}

/// The entries that an undoing makes, and the agreements that forget their previous end by it.
pub(in crate::adapter) fn undone_trail(
    entries: &[EntryRecord],
    undone: &[i64],
    memory: &select::Memory,
) -> Trail {
    let mut trail = Trail::default();
    let mut forgotten = std::collections::BTreeSet::new();
    for record in entries.iter().filter(|record| undone.contains(&record.id)) {
        let entry = &record.entry;
        trail.entries.push(Entry {
            old: entry.new.clone(),
            new: entry.old.clone(),
            reason: trail::UNDONE.to_owned(),
            ..entry.clone()
        });
        let key = PanelUserKey {
            panel: record.panel.clone(),
            username: entry.username.clone(),
        };
        if forgotten.insert(key.clone())
            && let Some((revision, agreement)) = memory.get(&key)
        {
            let mut agreement = agreement.clone();
            agreement.previous_end = None;
            agreement.is_ours = false;
            agreement.replaced = None;
            trail
                .agreements
                .push((entry.username.clone(), *revision, Some(agreement)));
        }
    }
    trail
}

#[async_trait]
impl<C: Customers + ?Sized> Customers for Arc<C> {
    async fn list(&self) -> Result<Vec<Customer>, StoreError> {
        (**self).list().await
    }

    async fn update(&self, decide: Decide<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        (**self).update(decide, now).await
    }

    async fn rehearse(&self, decide: Decide<'_>, now: DateTime<Utc>) -> Result<usize, StoreError> {
        (**self).rehearse(decide, now).await
    }
}
