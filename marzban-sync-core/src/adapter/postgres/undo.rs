//! Undoing what a run wrote.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

use super::catalogue::Catalogue;
use super::connection::{Pool, Transaction};
use super::errors::failed;
use super::page_of_accounts::{Choice, Snapshot};
use super::rows::{Held, Patches, Wanted};
use super::trail::{read_agreements, write_trail};
use crate::adapter::rows::RowUpdate;
use crate::adapter::semantics::{self, Memory};
use crate::adapter::tables::undone_trail;
use crate::model::run::RunId;
use crate::model::trail::{EntryRecord, Target};
use crate::port::error::StoreError;
use crate::port::journal::PanelUserKey;

pub(super) async fn undo(
    pool: &Pool,
    panel: &str,
    run: RunId,
    entries: &[EntryRecord],
    now: DateTime<Utc>,
) -> Result<Vec<i64>, StoreError> {
    let undoable = entries
        .iter()
        .filter(|record| record.entry.target.can_be_undone());
    let entries: Vec<EntryRecord> = undoable.cloned().collect();
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let catalogue = pool.catalogue().await?;
    let undoing = Undoing {
        catalogue: &catalogue,
        panel,
        run,
        now,
    };
    let mut transaction = Transaction::begin(pool).await?;
    let undone = undoing.lock_and_write(transaction.connection()?, entries).await;
    transaction.end(undone).await
}

struct Undoing<'a> {
    catalogue: &'a Catalogue,
    panel: &'a str,
    run: RunId,
    now: DateTime<Utc>,
}

impl Undoing<'_> {
    async fn lock_and_write(
        &self,
        connection: &mut AsyncPgConnection,
        entries: Vec<EntryRecord>,
    ) -> Result<Vec<i64>, StoreError> {
        let wanted = wanted(&entries);
        let accounts: Vec<i64> = entries.iter().map(|record| record.entry.account.0).collect();
        let subscriptions: Vec<i64> = wanted.subscriptions.iter().map(|(_, id)| *id).collect();
        let held = wanted.lock(connection, self.panel).await?;
        let choice = Choice::Rows {
            accounts: &accounts,
            subscriptions: &subscriptions,
        };
        let rows = Snapshot::read(connection, self.catalogue, self.panel, choice)
            .await
            .map_err(failed("cannot read the rows that were changed"))?;
        let memory = self.memory(connection, &entries).await?;
        let entries: Vec<EntryRecord> = entries
            .into_iter()
            .filter(|record| is_held(record, &held, &memory))
            .collect();
        let mut patches = Patches::default();
        let mut undone = Vec::new();
        for (id, write, word) in semantics::undo(rows.customers(), &entries) {
            match write {
                RowUpdate::Account(account, patch) => patches.vpn_config(account.0, patch),
                RowUpdate::Subscription(subscription, patch) => {
                    let word = patch.status.map(|_| word);
                    patches.subscription(subscription.0, word, patch.end_date);
                }
                RowUpdate::Unlink(_) => continue,
            }
            undone.push(id);
        }
        patches.write(connection, self.catalogue, self.now).await?;
        let trail = undone_trail(&entries, &undone, &memory);
        write_trail(connection, self.panel, Some(self.run), &trail, self.now).await?;
        Ok(undone)
    }

    /// What is remembered of the panel users concerned.
    async fn memory(
        &self,
        connection: &mut AsyncPgConnection,
        entries: &[EntryRecord],
    ) -> Result<Memory, StoreError> {
        let names: HashSet<&str> = entries
            .iter()
            .map(|record| record.entry.username.as_str())
            .collect();
        let users: Vec<PanelUserKey> = names
            .into_iter()
            .map(|name| PanelUserKey {
                panel: self.panel.to_owned(),
                username: name.to_owned(),
            })
            .collect();
        let remembered = read_agreements(connection, &users)
            .await
            .map_err(failed("cannot read what was agreed"))?;
        Ok(semantics::memory(remembered))
    }
}

/// The rows that the entries are about, and the agreements that forget something by it.
fn wanted(entries: &[EntryRecord]) -> Wanted<'_> {
    let mut wanted = Wanted::default();
    for record in entries {
        let entry = &record.entry;
        wanted.usernames.push(&entry.username);
        match entry.target {
            Target::Status(id) | Target::EndDate(id) => wanted.subscriptions.push((None, id.0)),
            Target::IsActive | Target::Username | Target::PanelExpire | Target::PanelUser => {
                wanted.accounts.push(entry.account.0);
            }
        }
    }
    wanted
}

/// Whether nobody else holds what an entry is about.
fn is_held(record: &EntryRecord, held: &Held, memory: &Memory) -> bool {
    let entry = &record.entry;
    let has_row = match entry.target {
        Target::Status(id) | Target::EndDate(id) => held.subscriptions.contains(&id.0),
        Target::IsActive | Target::Username | Target::PanelExpire | Target::PanelUser => {
            held.accounts.contains(&entry.account.0)
        }
    };
    let user = PanelUserKey {
        panel: record.panel.clone(),
        username: entry.username.clone(),
    };
    has_row && (!memory.contains_key(&user) || held.usernames.contains(&entry.username))
}
