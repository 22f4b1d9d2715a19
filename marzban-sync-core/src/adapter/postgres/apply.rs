//! Writing changes by compare-and-set.
//!
//! One statement cannot do it. Its snapshot is taken before it locks a row; a payment that updates the row and inserts
//! a subscription, and commits in between, would be followed on the row it locks, but its new subscription would not
//! be seen, and the customer would lose what was just paid. So a transaction locks the rows first, and a second
//! statement, whose snapshot is taken when the locks are held, reads the customers again, to be compared by the rules
//! that all stores share. A payment that writes any of these rows has then either committed before, and is seen whole,
//! or waits and comes after the sync as a whole.
//!
//! An agreement that is not there yet cannot be locked. So agreements are written first, and tell which of them another
//! process has written meanwhile; a change that comes too late for that is a conflict before any row of it is written.
//!
//! `COMMIT` waits for the answer of the last write: diesel has a statement prepared before it sends it, so a `COMMIT`
//! sent along with it would come before it, and the write would run without the locks.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

use super::catalogue::Catalogue;
use super::connection::{Pool, Transaction};
use super::errors::failed;
use super::page_of_accounts::{Choice, Snapshot};
use super::rows::{Held, Patches, Wanted};
use super::trail::{insert_entries, write_agreements};
use crate::adapter::listed::select::holds;
use crate::model::account::{Account, AccountId};
use crate::model::plan::Change;
use crate::model::run::RunId;
use crate::model::trail::entries;
use crate::port::error::StoreError;
use crate::port::journal::PanelUserKey;

/// How many changes one transaction writes: beyond some thousands it gets no faster, but holds its locks longer.
const CHUNK: usize = 5_000;

/// A change, and its place among all.
type Placed<'a> = (usize, &'a Change);

pub(super) async fn apply(
    pool: &Pool,
    panel: &str,
    run: Option<RunId>,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let catalogue = pool.catalogue().await?;
    let writer = Writer {
        catalogue: &catalogue,
        panel,
        run,
        now,
    };
    let mut applied = HashSet::with_capacity(changes.len());
    for chunk in chunks(changes, CHUNK) {
        let mut transaction = Transaction::begin(pool).await?;
        let written = writer.lock_and_write(transaction.connection()?, &chunk).await;
        applied.extend(transaction.end(written).await?);
    }
    let placed = changes.iter().enumerate();
    Ok(placed
        .filter(|(place, _)| applied.contains(place))
        .map(|(_, change)| change.account.id)
        .collect())
}

/// Parts changes into chunks of at most so many, unless a customer alone has more: the changes of one customer, in their
/// order, are compared with the rows as they were before all of them.
fn chunks(changes: &[Change], size: usize) -> Vec<Vec<Placed<'_>>> {
    let mut placed: Vec<Placed<'_>> = changes.iter().enumerate().collect();
    placed.sort_by_key(|(_, change)| change.account.user_id);
    let mut chunks: Vec<Vec<Placed<'_>>> = Vec::new();
    for customer in placed.chunk_by(|(_, one), (_, next)| one.account.user_id == next.account.user_id) {
        match chunks.last_mut() {
            Some(chunk) if chunk.len() + customer.len() <= size => chunk.extend(customer),
            _ => chunks.push(customer.to_vec()),
        }
    }
    chunks
}

/// The rows that some changes write, or depend on.
fn wanted<'a>(chunk: &[Placed<'a>]) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    for (_, change) in chunk {
        let account = &change.account;
        if change.agreement.is_some() {
            wanted.usernames.push(account.name.as_str());
        }
        if change.touches_no_row() {
            continue;
        }
        wanted.accounts.push(account.id.0);
        let own = account
            .subscription
            .iter()
            .filter(|_| change.depends_on_subscription());
        let subscriptions = own.chain(&change.also_expired);
        wanted
            .subscriptions
            .extend(subscriptions.map(|subscription| (Some(account.id.0), subscription.id.0)));
    }
    wanted
}

/// What is the same for all chunks of a call.
struct Writer<'a> {
    catalogue: &'a Catalogue,
    panel: &'a str,
    run: Option<RunId>,
    now: DateTime<Utc>,
}

impl Writer<'_> {
    /// Writes the changes whose expected values hold, and returns their places.
    async fn lock_and_write(
        &self,
        connection: &mut AsyncPgConnection,
        chunk: &[Placed<'_>],
    ) -> Result<Vec<usize>, StoreError> {
        let held = wanted(chunk).lock(connection, self.panel).await?;
        let is_free =
            |change: &Change| change.touches_no_row() || held.accounts.contains(&change.account.id.0);
        let free: Vec<Placed<'_>> = chunk
            .iter()
            .copied()
            .filter(|(_, change)| is_free(change))
            .collect();
        if free.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = free.iter().map(|(_, change)| change.account.id.0).collect();
        let rows = Snapshot::read(connection, self.catalogue, self.panel, Choice::Accounts(&ids))
            .await
            .map_err(failed("cannot read the rows that change"))?;
        let accounts = rows.accounts(self.panel, self.now).into_iter().flatten();
        let current: HashMap<AccountId, Account> = accounts.map(|account| (account.id, account)).collect();
        let mut matching: Vec<Placed<'_>> = free
            .into_iter()
            .filter(|(_, change)| {
                let account = current.get(&change.account.id);
                account.is_some_and(|account| self.matches(change, account, &rows, &held))
            })
            .collect();
        self.agree(connection, &mut matching, &current).await?;
        let mut patches = Patches::default();
        let mut trail = Vec::new();
        for (_, change) in &matching {
            patches.change(change);
            trail.extend(entries(change));
        }
        patches.write(connection, self.catalogue, self.now).await?;
        insert_entries(connection, self.panel, self.run, &trail, self.now).await?;
        Ok(matching.into_iter().map(|(place, _)| place).collect())
    }

    /// Whether a change can be written.
    fn matches(&self, change: &Change, current: &Account, rows: &Snapshot, held: &Held) -> bool {
        let user = PanelUserKey {
            panel: self.panel.to_owned(),
            username: current.name.clone(),
        };
        let is_agreement_free = change.agreement.is_none()
            || is_agreed(change, current)
            || !rows.remembers(&user)
            || held.usernames.contains(&current.name);
        let is_readable = change.vpn_config.is_empty() || rows.is_readable(current.id);
        holds(change, current) && is_agreement_free && is_readable
    }

    /// Writes the agreements of changes, and drops the changes for which another process was faster. Of a panel user
    /// that several of them name the first one's agreement counts.
    async fn agree(
        &self,
        connection: &mut AsyncPgConnection,
        changes: &mut Vec<Placed<'_>>,
        current: &HashMap<AccountId, Account>,
    ) -> Result<(), StoreError> {
        let mut wanted = HashSet::new();
        let mut writes = Vec::new();
        for (_, change) in changes.iter() {
            let account = &change.account;
            if let Some(agreement) = &change.agreement
                && current
                    .get(&account.id)
                    .is_some_and(|current| !is_agreed(change, current))
                && wanted.insert(account.name.as_str())
            {
                writes.push((account.name.as_str(), account.revision, agreement));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let written = write_agreements(connection, self.panel, &writes, self.now).await?;
        let is_late = |name: &str| wanted.contains(name) && !written.contains(name);
        changes.retain(|(_, change)| change.agreement.is_none() || !is_late(&change.account.name));
        Ok(())
    }
}

/// Whether another write has brought about what a change wants to be remembered.
fn is_agreed(change: &Change, current: &Account) -> bool {
    current.revision != change.account.revision
}

#[cfg(test)]
mod tests;
