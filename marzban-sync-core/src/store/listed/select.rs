//! Pure: which accounts a list of customers holds, and which changes fit it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, Utc};

use super::{Customer, Login};
use crate::account::{Account, AccountId, Subscription, SubscriptionStatus, UserId};
use crate::error::{StoreError, StoreErrorKind};
use crate::plan::Change;
use crate::store::{Cursor, DEFAULT_PANEL, Page, Scope};

/// A time as a database keeps it: to the microsecond.
pub(in crate::store) fn stored(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// The accounts of the customers in scope that have any in the panel: customers by their lowest account, and the
/// accounts of each by id.
pub(in crate::store) fn in_scope(customers: &[Customer], panel: &str, scope: Scope) -> Vec<Vec<Account>> {
    let mut found: Vec<Vec<Account>> = customers
        .iter()
        .filter(|customer| is_in_scope(scope, &customer.subscriptions))
        .map(|customer| accounts(customer, panel))
        .filter(|accounts| !accounts.is_empty())
        .collect();
    found.sort_by_key(|accounts| lowest(accounts));
    found
}

/// How many accounts that are.
pub(in crate::store) fn count(customers: &[Customer], panel: &str, scope: Scope) -> u64 {
    let found = in_scope(customers, panel, scope);
    found.iter().map(|accounts| accounts.len() as u64).sum()
}

/// The next page of them.
pub(in crate::store) fn page(
    customers: &[Customer],
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
    let mut rest = in_scope(customers, panel, scope)
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

/// All accounts, of the panel and in the scope, of the customers whom these accounts belong to.
pub(in crate::store) fn reload(
    customers: &[Customer],
    panel: &str,
    scope: Scope,
    ids: &[AccountId],
) -> Vec<Account> {
    let ids: HashSet<AccountId> = ids.iter().copied().collect();
    let wanted: HashSet<UserId> = customers
        .iter()
        .filter(|customer| customer.logins.iter().any(|login| ids.contains(&login.id)))
        .map(|customer| customer.id)
        .collect();
    in_scope(customers, panel, scope)
        .into_iter()
        .flatten()
        .filter(|account| wanted.contains(&account.user_id))
        .collect()
}

/// The changes whose expected values all hold. They are compared before any of them is written, so the accounts of
/// one customer, which share a subscription, are no conflict to each other.
pub(in crate::store) fn matching<'a>(
    customers: &[Customer],
    panel: &str,
    changes: &'a [Change],
) -> Vec<&'a Change> {
    let ids: HashSet<AccountId> = changes.iter().map(|change| change.account.id).collect();
    let current: HashMap<AccountId, Account> = customers
        .iter()
        .filter(|customer| customer.logins.iter().any(|login| ids.contains(&login.id)))
        .flat_map(|customer| accounts(customer, panel))
        .map(|account| (account.id, account))
        .collect();
    let holds = |change: &&Change| {
        let expected = &change.account;
        let Some(current) = current.get(&expected.id) else {
            return false;
        };
        let expects = expected.subscription.clone().map(stored_subscription);
        // A change of a subscription that is not there cannot be written, so it must not be half written.
        let has_target = change.subscription.is_empty() || expects.is_some();
        has_target
            && current.name == expected.name
            && current.is_active == expected.is_active
            && current.traffic_used == expected.traffic_used
            && current.last_connected_at == expected.last_connected_at.map(stored)
            && (!change.depends_on_subscription() || current.subscription == expects)
    };
    changes.iter().filter(holds).collect()
}

/// Whether the login of this id still has this name in this panel, and nobody has paid since the account was read: the
/// subscription that governed then still governs, and is as it was.
pub(in crate::store) fn may_unlink(customers: &[Customer], panel: &str, account: &Account) -> bool {
    let is_linked = |login: &Login| {
        login.id == account.id && panel_of(login) == panel && name_of(login) == Some(&account.name)
    };
    let customer = customers
        .iter()
        .find(|customer| customer.logins.iter().any(is_linked));
    customer.is_some_and(|customer| {
        governing(&customer.subscriptions) == account.subscription.clone().map(stored_subscription)
    })
}

fn lowest(accounts: &[Account]) -> Option<AccountId> {
    accounts.first().map(|account| account.id)
}

fn accounts(customer: &Customer, panel: &str) -> Vec<Account> {
    let subscription = governing(&customer.subscriptions);
    let active_elsewhere = customer
        .logins
        .iter()
        .any(|login| login.is_active == Some(true) && name_of(login).is_some() && panel_of(login) != panel);
    let account = |login: &Login| {
        Some(Account {
            id: login.id,
            user_id: customer.id,
            telegram_id: customer.telegram_id,
            name: name_of(login)?.to_owned(),
            is_active: login.is_active,
            traffic_used: login.traffic_used,
            last_connected_at: login.last_connected_at.map(stored),
            active_elsewhere,
            subscription: subscription.clone(),
        })
    };
    let of_panel = customer.logins.iter().filter(|login| panel_of(login) == panel);
    let mut accounts: Vec<Account> = of_panel.filter_map(account).collect();
    accounts.sort_by_key(|account| account.id);
    accounts
}

fn panel_of(login: &Login) -> &str {
    let panel = login.panel.as_deref().filter(|panel| !panel.is_empty());
    panel.unwrap_or(DEFAULT_PANEL)
}

fn name_of(login: &Login) -> Option<&str> {
    login.name.as_deref().filter(|name| !name.is_empty())
}

/// The subscription that decides for a customer: an open one before all others, then the latest end (none is the
/// latest), then the highest id.
fn governing(subscriptions: &[Subscription]) -> Option<Subscription> {
    let rank = |row: &&Subscription| {
        let end_date = row.end_date.map(stored);
        (row.status.is_open(), end_date.is_none(), end_date, row.id)
    };
    subscriptions
        .iter()
        .max_by_key(rank)
        .cloned()
        .map(stored_subscription)
}

fn stored_subscription(mut subscription: Subscription) -> Subscription {
    subscription.end_date = subscription.end_date.map(stored);
    subscription
}

/// Whether a customer with these subscriptions is in the scope.
fn is_in_scope(scope: Scope, subscriptions: &[Subscription]) -> bool {
    match scope {
        Scope::All => true,
        Scope::Subscribed => governing(subscriptions).is_some_and(|governing| governing.status.is_synced()),
        Scope::Ended { before } => {
            let has_ended = |row: &Subscription| {
                matches!(
                    row.status,
                    SubscriptionStatus::Expired | SubscriptionStatus::Cancelled
                ) && row.end_date.is_some_and(|end_date| end_date < before)
            };
            !subscriptions.is_empty() && subscriptions.iter().all(has_ended)
        }
    }
}
