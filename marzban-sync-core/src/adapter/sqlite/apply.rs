//! Writing: compare-and-set in one transaction, which no other writer can enter.

use chrono::{DateTime, Utc};
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{Connection as _, QueryResult, RunQueryDsl, SqliteConnection, sql_query};

use super::connection::Connection;
use super::page_of_accounts::{self, Choice, Unreadable};
use super::time::naive;
use super::trail;
use crate::adapter::rows::RowUpdate;
use crate::adapter::semantics;
use crate::adapter::tables::undone_trail;
use crate::model::account::{Account, AccountId, SubscriptionId, SubscriptionStatus};
use crate::model::end_date::EndDate;
use crate::model::plan::{Change, SubscriptionPatch, VpnConfigPatch};
use crate::model::run::RunId;
use crate::model::trail::{self as trails, EntryRecord, Target};
use crate::port::error::StoreError;
use crate::port::journal::{PanelUserKey, Trail};

/// What belongs to every write of a call: the panel, the run, and the moment.
pub(super) struct Call {
    pub(super) panel: String,
    pub(super) run: Option<RunId>,
    pub(super) now: DateTime<Utc>,
}

impl Call {
    pub(super) fn of(panel: &str, run: Option<RunId>, now: DateTime<Utc>) -> Self {
        Self {
            panel: panel.to_owned(),
            run,
            now,
        }
    }
}

/// Writes the changes whose expected values hold, and returns their accounts.
pub(super) async fn apply(
    connection: &Connection,
    call: Call,
    changes: &[Change],
) -> Result<Vec<AccountId>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let changes = changes.to_vec();
    connection
        .write("cannot write the accounts", move |connection| {
            let ids = changes.iter().map(|change| change.account.id).collect();
            let read = page_of_accounts::read(connection, &call.panel, Choice::Of(ids))?;
            let mut applied = Vec::new();
            for change in read.view(&call.panel, call.now).matching(&changes) {
                if !read.unreadable().is_expected_by(change) && write(connection, &call, change)? {
                    applied.push(change.account.id);
                }
            }
            Ok(applied)
        })
        .await
}

/// Clears the name of an account, if it is that name still and nobody has paid since it was read.
pub(super) async fn unlink(
    connection: &Connection,
    call: Call,
    account: &Account,
) -> Result<bool, StoreError> {
    let account = account.clone();
    connection
        .write("cannot unlink the account", move |connection| {
            try_unlink(connection, &call, &account)
        })
        .await
}

/// Clears the name of an account as [`unlink`] does, and takes it back.
pub(super) async fn rehearse_unlink(
    connection: &Connection,
    call: Call,
    account: &Account,
) -> Result<bool, StoreError> {
    let account = account.clone();
    connection
        .rehearse("cannot rehearse to unlink the account", move |connection| {
            try_unlink(connection, &call, &account)
        })
        .await
}

/// Puts old values back where the rows still have the new ones, and returns the entries of those.
pub(super) async fn undo(
    connection: &Connection,
    call: Call,
    entries: &[EntryRecord],
) -> Result<Vec<i64>, StoreError> {
    let entries = entries.to_vec();
    connection
        .write("cannot undo the changes", move |connection| {
            let undone = write_back(connection, &entries, call.now)?;
            let users: Vec<PanelUserKey> = entries.iter().map(panel_user).collect();
            let memory = semantics::memory(trail::remembered(connection, &users)?);
            trail::record(connection, &call, &undone_trail(&entries, &undone, &memory))?;
            Ok(undone)
        })
        .await
}

fn panel_user(record: &EntryRecord) -> PanelUserKey {
    PanelUserKey {
        panel: record.panel.clone(),
        username: record.entry.username.clone(),
    }
}

/// Writes a change with its trail; false, and nothing written, where the database did not write a row after all.
fn write(connection: &mut SqliteConnection, call: &Call, change: &Change) -> QueryResult<bool> {
    let written = connection.transaction(|connection| {
        if !write_rows(connection, change, call.now)? {
            return Err(DieselError::RollbackTransaction);
        }
        let account = &change.account;
        let agreement = change.agreement.clone();
        let agreements = agreement.map(|agreement| (account.name.clone(), account.revision, Some(agreement)));
        let trail = Trail {
            agreements: agreements.into_iter().collect(),
            entries: trails::entries(change),
        };
        trail::record(connection, call, &trail)
    });
    match written {
        Ok(()) => Ok(true),
        Err(DieselError::RollbackTransaction) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the rows of a change; false where one was not written.
fn write_rows(connection: &mut SqliteConnection, change: &Change, now: DateTime<Utc>) -> QueryResult<bool> {
    let patch = change.vpn_config;
    if !patch.is_empty() && !write_vpn_config(connection, change.account.id, patch, now)? {
        return Ok(false);
    }
    if let Some(subscription) = &change.account.subscription
        && !change.subscription.is_empty()
    {
        let patch = &change.subscription;
        let word = patch.status.as_ref().map(|status| subscription.spell(status));
        if !write_subscription(connection, subscription.id, patch, word, now)? {
            return Ok(false);
        }
    }
    for expired in &change.also_expired {
        let word = Some(expired.spell(&SubscriptionStatus::Expired));
        if !write_subscription(connection, expired.id, &SubscriptionPatch::default(), word, now)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn try_unlink(connection: &mut SqliteConnection, call: &Call, account: &Account) -> QueryResult<bool> {
    let read = page_of_accounts::read(connection, &call.panel, Choice::Of(vec![account.id]))?;
    let view = read.view(&call.panel, call.now);
    if !view.may_unlink(account) || read.hinders_unlinking(&call.panel, account) {
        return Ok(false);
    }
    let written = sql_query(
        "UPDATE vpn_configs SET marzban_user_id = NULL, is_active = 0, updated_at = ?1 WHERE id = ?2",
    )
    .bind::<Text, _>(naive(call.now))
    .bind::<BigInt, _>(account.id.0)
    .execute(connection)?;
    if written == 0 {
        return Ok(false);
    }
    let mut trail = Trail {
        entries: trails::unlinked(account),
        ..Trail::default()
    };
    if !view.is_named_elsewhere(account) {
        trail
            .agreements
            .push((account.name.clone(), account.revision, None));
    }
    trail::record(connection, call, &trail)?;
    Ok(true)
}

/// Writes the old values of entries, and returns the ids of those that were written.
fn write_back(
    connection: &mut SqliteConnection,
    entries: &[EntryRecord],
    now: DateTime<Utc>,
) -> QueryResult<Vec<i64>> {
    let subscription = |record: &EntryRecord| match record.entry.target {
        Target::Status(id) | Target::EndDate(id) => Some(id),
        _ => None,
    };
    let accounts: Vec<AccountId> = entries.iter().map(|record| record.entry.account).collect();
    let subscriptions: Vec<SubscriptionId> = entries.iter().filter_map(subscription).collect();
    let (customers, unreadable) = page_of_accounts::owners(connection, &accounts, &subscriptions)?;
    let mut undone = Vec::new();
    for (id, write, word) in semantics::undo(&customers, entries) {
        if write_one_back(connection, &unreadable, write, word, now)? {
            undone.push(id);
        }
    }
    Ok(undone)
}

fn write_one_back(
    connection: &mut SqliteConnection,
    unreadable: &Unreadable,
    write: RowUpdate,
    word: String,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    match write {
        RowUpdate::Account(id, patch) if !unreadable.has_account(id) => {
            write_vpn_config(connection, id, patch, now)
        }
        RowUpdate::Subscription(id, patch) if !unreadable.has_subscription(id) => {
            let word = patch.status.is_some().then_some(word);
            write_subscription(connection, id, &patch, word, now)
        }
        RowUpdate::Account(..) | RowUpdate::Subscription(..) | RowUpdate::Unlink(_) => Ok(false),
    }
}

fn write_vpn_config(
    connection: &mut SqliteConnection,
    id: AccountId,
    patch: VpnConfigPatch,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let written = sql_query(
        "UPDATE vpn_configs SET is_active = COALESCE(?1, is_active), traffic_used = COALESCE(?2, traffic_used), \
         last_connected_at = COALESCE(?3, last_connected_at), updated_at = ?4 WHERE id = ?5",
    )
    .bind::<Nullable<Bool>, _>(patch.is_active)
    .bind::<Nullable<BigInt>, _>(patch.traffic_used)
    .bind::<Nullable<Text>, _>(patch.last_connected_at.map(naive))
    .bind::<Text, _>(naive(now))
    .bind::<BigInt, _>(id.0)
    .execute(connection)?;
    Ok(written > 0)
}

/// Writes the end of a patch, and a status in the bot's spelling.
fn write_subscription(
    connection: &mut SqliteConnection,
    id: SubscriptionId,
    patch: &SubscriptionPatch,
    word: Option<String>,
    now: DateTime<Utc>,
) -> QueryResult<bool> {
    let end_date = patch.end_date.and_then(EndDate::as_column);
    let written = sql_query(
        "UPDATE subscriptions SET status = COALESCE(?1, status), \
         end_date = CASE WHEN ?2 THEN ?3 ELSE end_date END, updated_at = ?4 WHERE id = ?5",
    )
    .bind::<Nullable<Text>, _>(word)
    .bind::<Bool, _>(patch.end_date.is_some())
    .bind::<Nullable<Text>, _>(end_date.map(naive))
    .bind::<Text, _>(naive(now))
    .bind::<BigInt, _>(id.0)
    .execute(connection)?;
    Ok(written > 0)
}
