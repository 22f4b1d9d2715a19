//! What paging, the governing subscription, compare-and-set and undoing mean: pure, and the same for every store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

use crate::adapter::rows::{AccountRow, CustomerRows, RowUpdate};
use crate::model::account::{
    Account, AccountId, Elsewhere, Sharer, Subscription, SubscriptionId, SubscriptionStatus, UserId,
};
use crate::model::agreement::Agreement;
use crate::model::end_date::EndDate;
use crate::model::plan::{Change, SubscriptionPatch, VpnConfigPatch};
use crate::model::trail::{EntryRecord, Target, parse_moment};
use crate::port::accounts::{Cursor, DEFAULT_PANEL, Page};
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::{PanelUserKey, Remembered};

/// What is remembered of panel users, by panel and username.
pub(in crate::adapter) type Memory = HashMap<PanelUserKey, (i64, Agreement)>;

/// A time as a database keeps it: to the microsecond.
pub(in crate::adapter) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// What is remembered, to be looked up.
#[must_use]
pub(in crate::adapter) fn memory(remembered: Vec<Remembered>) -> Memory {
    remembered
        .into_iter()
        .map(|one| (one.user, (one.revision, one.agreement)))
        .collect()
}

/// The panel users that the rows of some customers name, in every panel.
pub(in crate::adapter) fn panel_users(customers: &[CustomerRows]) -> Vec<PanelUserKey> {
    let key = |login: &AccountRow| {
        Some(PanelUserKey {
            panel: panel_of(login).to_owned(),
            username: name_of(login)?.to_owned(),
        })
    };
    let keys: HashSet<PanelUserKey> = customers
        .iter()
        .flat_map(|customer| customer.accounts.iter())
        .filter_map(key)
        .collect();
    keys.into_iter().collect()
}

/// Customers as they are, with all who name the same panel users, seen from one panel at one moment.
pub(in crate::adapter) struct View<'a> {
    customers: &'a [CustomerRows],
    panel: &'a str,
    memory: &'a Memory,
    now: DateTime<Utc>,
    /// Who names a user of the panel, where several customers do.
    named: HashMap<&'a str, Vec<(&'a CustomerRows, &'a AccountRow)>>,
}

impl<'a> View<'a> {
    pub(in crate::adapter) fn new(
        customers: &'a [CustomerRows],
        panel: &'a str,
        memory: &'a Memory,
        now: DateTime<Utc>,
    ) -> Self {
        let mut named: HashMap<&str, Vec<(&CustomerRows, &AccountRow)>> = HashMap::new();
        for customer in customers {
            for login in logins_in(customer, panel) {
                if let Some(name) = name_of(login) {
                    named.entry(name).or_default().push((customer, login));
                }
            }
        }
        named.retain(|_, rows| rows.len() > 1);
        Self {
            customers,
            panel,
            memory,
            now,
            named,
        }
    }

    /// The accounts of the customers that have any in the panel: customers by their lowest account, and the accounts of
    /// each by id.
    pub(in crate::adapter) fn all(&self) -> Vec<Vec<Account>> {
        let mut found: Vec<Vec<Account>> = self
            .customers
            .iter()
            .map(|customer| self.accounts(customer))
            .filter(|accounts| !accounts.is_empty())
            .collect();
        found.sort_by_key(|accounts| lowest(accounts));
        found
    }

    /// The next page of them.
    pub(in crate::adapter) fn page(&self, after: Option<Cursor>, limit: u32) -> Result<Page, StoreError> {
        if limit == 0 {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                "a page must hold at least one customer",
            ));
        }
        let mut rest = self
            .all()
            .into_iter()
            .skip_while(|accounts| after.is_some_and(|Cursor(last)| lowest(accounts) <= Some(last)))
            .peekable();
        let mut page = Page {
            accounts: Vec::new(),
            next: None,
        };
        for accounts in rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            page.next = lowest(&accounts).map(Cursor);
            page.accounts.extend(accounts);
        }
        if rest.peek().is_none() {
            page.next = None;
        }
        Ok(page)
    }

    /// All accounts of the customers whom these accounts belong to.
    pub(in crate::adapter) fn reload(&self, ids: &[AccountId]) -> Vec<Account> {
        let ids: HashSet<AccountId> = ids.iter().copied().collect();
        let wanted: HashSet<UserId> = self
            .customers
            .iter()
            .filter(|customer| customer.accounts.iter().any(|login| ids.contains(&login.id)))
            .map(|customer| customer.id)
            .collect();
        self.all()
            .into_iter()
            .flatten()
            .filter(|account| wanted.contains(&account.user_id))
            .collect()
    }

    /// The accounts of one customer, by id.
    pub(in crate::adapter) fn accounts(&self, customer: &CustomerRows) -> Vec<Account> {
        let named: HashSet<SubscriptionId> = customer
            .accounts
            .iter()
            .filter(|login| name_of(login).is_some())
            .filter_map(|login| login.subscription_id)
            .collect();
        let mut subscriptions: Vec<Subscription> = customer
            .subscriptions
            .iter()
            .cloned()
            .map(|subscription| Subscription {
                is_named: named.contains(&subscription.id),
                ..stored_subscription(subscription)
            })
            .collect();
        subscriptions.sort_by_key(|subscription| subscription.id);
        let governing = governing(&subscriptions, self.now).map(|subscription| subscription.id);
        let own = |login: &AccountRow| {
            login
                .subscription_id
                .filter(|id| subscriptions.iter().any(|subscription| subscription.id == *id))
                .or(governing)
        };
        let mut accounts: Vec<Account> = logins_in(customer, self.panel)
            .filter_map(|login| {
                let name = name_of(login)?;
                let id = own(login);
                let (mine, others): (Vec<Subscription>, Vec<Subscription>) = subscriptions
                    .iter()
                    .cloned()
                    .partition(|subscription| Some(subscription.id) == id);
                let (revision, agreement) = self.remembered(login).unwrap_or_default();
                Some(Account {
                    id: login.id,
                    user_id: customer.id,
                    telegram_id: customer.telegram_id,
                    name: name.to_owned(),
                    is_active: login.is_active,
                    traffic_used: login.traffic_used,
                    last_connected_at: login.last_connected_at.map(stored),
                    updated_at: login.updated_at,
                    subscription: mine.into_iter().next(),
                    other_subscriptions: others.into(),
                    elsewhere: self.elsewhere(customer, |login| own(login) == id),
                    sharers: self.sharers(customer, name),
                    agreement,
                    revision,
                })
            })
            .collect();
        accounts.sort_by_key(|account| account.id);
        accounts
    }

    fn remembered(&self, login: &AccountRow) -> Option<(i64, Agreement)> {
        let key = PanelUserKey {
            panel: panel_of(login).to_owned(),
            username: name_of(login)?.to_owned(),
        };
        self.memory.get(&key).cloned()
    }

    fn elsewhere(&self, customer: &CustomerRows, shares: impl Fn(&AccountRow) -> bool) -> Elsewhere {
        let mut elsewhere = Elsewhere::default();
        for login in &customer.accounts {
            if name_of(login).is_none() || panel_of(login) == self.panel || !shares(login) {
                continue;
            }
            elsewhere.accounts += 1;
            elsewhere.is_active |= login.is_active == Some(true);
            if let Some((_, agreement)) = self.remembered(login) {
                // What was settled before a hold protects a lifetime, and gives no access to the row's end.
                let has_access = agreement.end.is_some() && login.is_active == Some(true);
                elsewhere
                    .agreed_ends
                    .extend(agreement.settled_end().map(|end| (end, has_access)));
                elsewhere.written_ends.extend(agreement.written_end);
                elsewhere.replaced.extend(agreement.replaced);
            }
        }
        elsewhere
    }

    fn sharers(&self, customer: &CustomerRows, name: &str) -> Arc<[Sharer]> {
        let Some(rows) = self.named.get(name) else {
            return Arc::default();
        };
        let mut sharers: Vec<Sharer> = rows
            .iter()
            .filter(|(other, _)| other.id != customer.id)
            .map(|(other, login)| Sharer {
                id: login.id,
                updated_at: login.updated_at,
                subscriptions: other
                    .subscriptions
                    .iter()
                    .cloned()
                    .map(stored_subscription)
                    .collect(),
            })
            .collect();
        sharers.sort_by_key(|sharer| sharer.id);
        sharers.into()
    }

    /// The changes whose expected values all hold. They are compared before any of them is written, so the accounts of
    /// one customer, which share a subscription, are no conflict to each other.
    pub(in crate::adapter) fn matching<'c>(&self, changes: &'c [Change]) -> Vec<&'c Change> {
        let wanted: HashSet<AccountId> = changes.iter().map(|change| change.account.id).collect();
        let current: HashMap<AccountId, Account> = self
            .customers
            .iter()
            .filter(|customer| customer.accounts.iter().any(|login| wanted.contains(&login.id)))
            .flat_map(|customer| self.accounts(customer))
            .map(|account| (account.id, account))
            .collect();
        changes
            .iter()
            .filter(|change| {
                current
                    .get(&change.account.id)
                    .is_some_and(|current| holds(change, current))
            })
            .collect()
    }

    /// Whether the account still has this name in this panel, and nobody has paid since it was read: its subscription is
    /// the one that it was, and is as it was.
    pub(in crate::adapter) fn may_unlink(&self, account: &Account) -> bool {
        let customer = self
            .customers
            .iter()
            .find(|customer| customer.accounts.iter().any(|login| login.id == account.id));
        let current = customer.and_then(|customer| {
            self.accounts(customer)
                .into_iter()
                .find(|current| current.id == account.id)
        });
        current.is_some_and(|current| {
            current.name == account.name
                && is_same_subscription(current.subscription.as_ref(), account.subscription.as_ref())
        })
    }

    /// Whether another row than this one names the panel user.
    pub(in crate::adapter) fn is_named_elsewhere(&self, account: &Account) -> bool {
        self.customers
            .iter()
            .flat_map(|customer| logins_in(customer, self.panel))
            .any(|login| login.id != account.id && name_of(login) == Some(&account.name))
    }
}

/// Whether the expected values of a change hold.
pub(in crate::adapter) fn holds(change: &Change, current: &Account) -> bool {
    let expected = &change.account;
    // A change of a subscription that is not there cannot be written, so it must not be half written.
    let has_target = change.subscription.is_empty() || expected.subscription.is_some();
    let is_remembered = change
        .agreement
        .as_ref()
        .is_none_or(|agreement| current.revision == expected.revision || current.agreement == *agreement);
    has_target
        && is_remembered
        && current.name == expected.name
        && current.is_active == expected.is_active
        && current.traffic_used == expected.traffic_used
        && current.last_connected_at == expected.last_connected_at.map(stored)
        && (!change.depends_on_subscription()
            || is_same_subscription(current.subscription.as_ref(), expected.subscription.as_ref()))
        && change.also_expired.iter().all(|expired| {
            let other = current
                .other_subscriptions
                .iter()
                .find(|other| other.id == expired.id);
            is_same_subscription(other, Some(expired))
        })
}

fn is_same_subscription(current: Option<&Subscription>, expected: Option<&Subscription>) -> bool {
    match (current, expected) {
        (None, None) => true,
        (Some(current), Some(expected)) => {
            current.id == expected.id
                && current.word == expected.word
                && current.end_date.map(stored) == expected.end_date.map(stored)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// What undoing entries of a run writes, in their order: the entries whose row still has the new value, and the writes,
/// each with the spelling of a status. A value that changed twice goes back step by step, so the latest entry comes
/// first.
pub(in crate::adapter) fn undo(
    customers: &[CustomerRows],
    entries: &[EntryRecord],
) -> Vec<(i64, RowUpdate, String)> {
    let mut working = customers.to_vec();
    let mut undone = Vec::new();
    for record in entries {
        let (old, new) = (record.entry.old.as_deref(), record.entry.new.as_deref());
        // Two accounts of a customer may both have told of one value, and either entry puts it back.
        let is_back = has(&working, record, old) && has(customers, record, new);
        if !is_back && !has(&working, record, new) {
            continue;
        }
        if let Some((write, word)) = put_back(record) {
            rewrite(&mut working, &write, &word);
            undone.push((record.id, write, word));
        }
    }
    undone
}

/// Whether the row of an entry has this value.
fn has(customers: &[CustomerRows], record: &EntryRecord, text: Option<&str>) -> bool {
    let entry = &record.entry;
    let subscription = |id: SubscriptionId| {
        let mut subscriptions = customers
            .iter()
            .flat_map(|customer| customer.subscriptions.iter());
        subscriptions.find(|subscription| subscription.id == id)
    };
    match entry.target {
        Target::Status(id) => subscription(id).is_some_and(|row| Some(row.word.as_str()) == text),
        Target::EndDate(id) => {
            let end_date = text.and_then(parse_moment).map(stored);
            subscription(id).is_some_and(|row| row.end_date.map(stored) == end_date)
        }
        Target::IsActive => {
            let mut accounts = customers.iter().flat_map(|customer| customer.accounts.iter());
            let login = accounts.find(|login| login.id == entry.account);
            login.is_some_and(|login| {
                // A row that was unlinked, or names another user by now, says nothing of the access of this one.
                panel_of(login) == record.panel
                    && name_of(login) == Some(&entry.username)
                    && login.is_active.map(|is_active| is_active.to_string()).as_deref() == text
            })
        }
        Target::Username | Target::PanelExpire | Target::PanelUser => false,
    }
}

/// What writes the old value of an entry, and the spelling of a status; none for a status or an access that was null.
fn put_back(record: &EntryRecord) -> Option<(RowUpdate, String)> {
    let old = &record.entry.old;
    match record.entry.target {
        Target::Status(id) => {
            let word = old.clone()?;
            let patch = SubscriptionPatch {
                status: Some(SubscriptionStatus::from(word.as_str())),
                end_date: None,
            };
            Some((RowUpdate::Subscription(id, patch), word))
        }
        Target::EndDate(id) => {
            let end_date = old.as_deref().and_then(parse_moment);
            let patch = SubscriptionPatch {
                status: None,
                end_date: Some(end_date.map_or(EndDate::Never, EndDate::At)),
            };
            Some((RowUpdate::Subscription(id, patch), String::new()))
        }
        Target::IsActive => {
            let patch = VpnConfigPatch {
                is_active: Some(old.as_deref()? == "true"),
                ..VpnConfigPatch::default()
            };
            Some((RowUpdate::Account(record.entry.account, patch), String::new()))
        }
        Target::Username | Target::PanelExpire | Target::PanelUser => None,
    }
}

/// Does to a list of customers what a store does to its rows.
fn rewrite(customers: &mut [CustomerRows], write: &RowUpdate, word: &str) {
    for customer in customers {
        match write {
            RowUpdate::Account(id, patch) => {
                for login in customer.accounts.iter_mut().filter(|login| login.id == *id) {
                    login.is_active = patch.is_active.or(login.is_active);
                }
            }
            RowUpdate::Subscription(id, patch) => {
                for row in customer.subscriptions.iter_mut().filter(|row| row.id == *id) {
                    if patch.status.is_some() {
                        word.clone_into(&mut row.word);
                    }
                    if let Some(end_date) = patch.end_date {
                        row.end_date = end_date.as_column();
                    }
                }
            }
            RowUpdate::Unlink(_) => {}
        }
    }
}

/// How many accounts the panel has.
pub(in crate::adapter) fn count(customers: &[CustomerRows], panel: &str) -> u64 {
    customers
        .iter()
        .flat_map(|customer| logins_in(customer, panel))
        .filter(|login| name_of(login).is_some())
        .count() as u64
}

/// How many accounts every other panel has.
pub(in crate::adapter) fn count_elsewhere(customers: &[CustomerRows], panel: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for login in customers.iter().flat_map(|customer| customer.accounts.iter()) {
        if name_of(login).is_some() && panel_of(login) != panel {
            *counts.entry(panel_of(login).to_owned()).or_default() += 1;
        }
    }
    counts
}

fn lowest(accounts: &[Account]) -> Option<AccountId> {
    accounts.first().map(|account| account.id)
}

fn logins_in<'a>(customer: &'a CustomerRows, panel: &str) -> impl Iterator<Item = &'a AccountRow> {
    customer
        .accounts
        .iter()
        .filter(move |login| panel_of(login) == panel)
}

pub(in crate::adapter) fn panel_of(login: &AccountRow) -> &str {
    let panel = login.panel.as_deref().filter(|panel| !panel.is_empty());
    panel.unwrap_or(DEFAULT_PANEL)
}

pub(in crate::adapter) fn name_of(login: &AccountRow) -> Option<&str> {
    login.name.as_deref().filter(|name| !name.is_empty())
}

/// The subscription that decides for a customer: of those that have begun an open one before all others, then the latest
/// end (none is the latest), then the highest id. One that has not begun governs only where no other is open, and a
/// `pending` one only where there is nothing else.
fn governing(subscriptions: &[Subscription], now: DateTime<Utc>) -> Option<&Subscription> {
    let class = |row: &Subscription| match (row.status.is_open(), row.has_begun(now)) {
        (true, true) => 3,
        (true, false) => 2,
        (false, _) if row.status != SubscriptionStatus::Pending => 1,
        (false, _) => 0,
    };
    subscriptions
        .iter()
        .max_by_key(|row| (class(row), row.end_date.is_none(), row.end_date, row.id))
}

fn stored_subscription(mut subscription: Subscription) -> Subscription {
    subscription.end_date = subscription.end_date.map(stored);
    subscription
}
