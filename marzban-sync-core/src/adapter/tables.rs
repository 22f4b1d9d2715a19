//! A store over whatever tables a bot has, as long as they are small enough to be listed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::adapter::rows::{CustomerRows, RowUpdate};
use crate::adapter::semantics;
use crate::model::account::{Account, AccountId, SubscriptionStatus};
use crate::model::plan::{Change, SubscriptionPatch};
use crate::model::run::RunId;
use crate::model::trail::{self, Entry, EntryRecord};
use crate::port::accounts::{AccountStore, Cursor, Page};
use crate::port::error::StoreError;
use crate::port::journal::{Journal, PanelUserKey, Trail};

/// Decides what to write, given all customers as they are.
pub type DecideFn<'a> = &'a (dyn Fn(&[CustomerRows]) -> Vec<RowUpdate> + Send + Sync);

/// What a bot's own tables must be able to do for a [`TableStore`] over them.
///
/// # Guarantees
/// - `list` leaves out no customer, no subscription and no login: one that is left out may be the one that is paid for.
/// - Nobody writes to these tables between the list that `update` hands to `decide` and the end of its writes: they are
///   one transaction that keeps other writers out. So a payment is either seen, or made after.
/// - The writes of one `update` are made all or not at all, also when its future is dropped.
/// - Times are moments of UTC, and kept to the microsecond; names are kept to the letter.
/// - A bot with words of its own for a status gives [`Subscription::new`](crate::account::Subscription::new) the library's word, and writes its own.
#[async_trait]
pub trait BotTables: Send + Sync {
    /// Lists all customers, in any order.
    ///
    /// # Errors
    /// `Unavailable`; `Schema` where a table is missing; `Invalid` for a row that cannot be understood.
    async fn list(&self) -> Result<Vec<CustomerRows>, StoreError>;

    /// Lists all customers, lets `decide` say what to write, and writes that, as changed at `now`.
    ///
    /// # Errors
    /// As [`list`](Self::list); `Invalid` also when the database refuses a value. Nothing was written then.
    async fn update(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<(), StoreError>;

    /// Does as [`update`](Self::update) does, then takes everything back; returns how many writes could be made.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    async fn rehearse(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<usize, StoreError>;
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

impl<C: BotTables, J: Journal> TableStore<C, J> {
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
        decide: impl Fn(&[CustomerRows]) -> (T, Vec<RowUpdate>) + Send + Sync,
        now: DateTime<Utc>,
    ) -> Result<T, StoreError> {
        let decided = Mutex::new(T::default());
        // A bot that repeats its transaction asks again, and the last answer is the one that was written.
        let decide = |customers: &[CustomerRows]| {
            let (answer, writes) = decide(customers);
            *decided.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            writes
        };
        self.customers.update(&decide, now).await?;
        Ok(decided.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The writes of changes, each row once.
fn writes(changes: &[&Change]) -> Vec<RowUpdate> {
    let mut writes = Vec::new();
    for change in changes {
        if !change.vpn_config.is_empty() {
            writes.push(RowUpdate::Account(change.account.id, change.vpn_config));
        }
        if let Some(subscription) = &change.account.subscription
            && !change.subscription.is_empty()
        {
            writes.push(RowUpdate::Subscription(
                subscription.id,
                change.subscription.clone(),
            ));
        }
        for expired in &change.also_expired {
            let patch = SubscriptionPatch {
                status: Some(SubscriptionStatus::Expired),
                end_date: None,
            };
            writes.push(RowUpdate::Subscription(expired.id, patch));
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

impl<C: BotTables, J: Journal> TableStore<C, J> {
    /// All customers, and what is remembered of their panel users.
    async fn listed(&self) -> Result<(Vec<CustomerRows>, semantics::Memory), StoreError> {
        let customers = self.customers.list().await?;
        let memory = self
            .journal
            .agreements(&semantics::panel_users(&customers))
            .await?;
        Ok((customers, semantics::memory(memory)))
    }

    async fn memory_of(&self, panel: &str, names: &[&str]) -> Result<semantics::Memory, StoreError> {
        let keys: Vec<PanelUserKey> = names
            .iter()
            .map(|name| PanelUserKey {
                panel: panel.to_owned(),
                username: (*name).to_owned(),
            })
            .collect();
        Ok(semantics::memory(self.journal.agreements(&keys).await?))
    }
}

#[async_trait]
impl<C: BotTables, J: Journal> AccountStore for TableStore<C, J> {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.customers.list().await.map(drop)
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        Ok(semantics::count(&self.customers.list().await?, panel))
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(semantics::count_elsewhere(&self.customers.list().await?, panel))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        let (customers, memory) = self.listed().await?;
        semantics::View::new(&customers, panel, &memory, now).page(after, limit)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        let (customers, memory) = self.listed().await?;
        Ok(semantics::View::new(&customers, panel, &memory, now).reload(ids))
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
        let decide = |customers: &[CustomerRows]| {
            let matching = semantics::View::new(customers, panel, &memory, now).matching(changes);
            let ids = matching.iter().map(|change| change.account.id).collect();
            (ids, writes(&matching))
        };
        let applied: Vec<AccountId> = self.update(decide, semantics::stored(now)).await?;
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
                    let memory = semantics::Memory::new();
                    let may_unlink = semantics::View::new(customers, panel, &memory, now).may_unlink(account);
                    may_unlink
                        .then_some(RowUpdate::Unlink(account.id))
                        .into_iter()
                        .collect()
                },
                semantics::stored(now),
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
        let memory = semantics::Memory::new();
        let decide = |customers: &[CustomerRows]| {
            let view = semantics::View::new(customers, panel, &memory, now);
            let may_unlink = view.may_unlink(account);
            let write = may_unlink.then_some(RowUpdate::Unlink(account.id));
            let forgets = may_unlink && !view.is_named_elsewhere(account);
            ((may_unlink, forgets), write.into_iter().collect())
        };
        let (unlinked, forgets) = self.update(decide, semantics::stored(now)).await?;
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
        let decide = |customers: &[CustomerRows]| {
            let undone = semantics::undo(customers, entries);
            let ids = undone.iter().map(|(id, ..)| *id).collect();
            (ids, undone.into_iter().map(|(_, write, _)| write).collect())
        };
        let undone: Vec<i64> = self.update(decide, semantics::stored(now)).await?;
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
    memory: &semantics::Memory,
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
impl<C: BotTables + ?Sized> BotTables for Arc<C> {
    async fn list(&self) -> Result<Vec<CustomerRows>, StoreError> {
        (**self).list().await
    }

    async fn update(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        (**self).update(decide, now).await
    }

    async fn rehearse(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<usize, StoreError> {
        (**self).rehearse(decide, now).await
    }
}
