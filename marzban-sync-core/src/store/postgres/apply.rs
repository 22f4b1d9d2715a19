//! Writing changes by compare-and-set.
//!
//! One statement cannot do it. Its snapshot is taken before it locks a row; a payment that updates the row and inserts
//! a subscription, and commits in between, would be followed on the row it locks, but its new subscription would not
//! be seen, and the customer would lose what was just paid. So a transaction locks the rows first, and a second
//! statement, whose snapshot is taken when the locks are held, compares and writes. A payment that writes any of
//! these rows has then either committed before, and is seen whole, or waits and comes after the sync as a whole.
//!
//! `COMMIT` waits for the answer of the write: diesel has a statement prepared before it sends it, so a `COMMIT` sent
//! along with it would come before it, and the write would run without the locks.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamp};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::accounts::{column, governing, is_of_panel};
use super::connection::{Pool, Transaction, failed};
use crate::account::{Account, AccountId, SubscriptionStatus};
use crate::error::StoreError;
use crate::plan::{Change, EndDate};

/// How many changes one statement writes: beyond some thousands it gets no faster, but holds its locks longer.
const CHUNK: usize = 5_000;

const LOCK_ROWS: &str = include_str!("lock_rows.sql");

pub(super) async fn apply(
    pool: &Pool,
    panel: &str,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    let mut applied = Vec::with_capacity(changes.len());
    for chunk in chunks(changes, CHUNK) {
        let mut transaction = Transaction::begin(pool).await?;
        let written = lock_and_write(transaction.connection()?, panel, chunk, now).await;
        applied.extend(transaction.end(written).await?);
    }
    Ok(applied)
}

async fn lock_and_write(
    connection: &mut AsyncPgConnection,
    panel: &str,
    chunk: &[Change],
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    let locked = lock_rows(connection, chunk).await?;
    let free: Vec<&Change> = chunk
        .iter()
        .filter(|change| locked.contains(&change.account.id.0))
        .collect();
    if free.is_empty() {
        return Ok(Vec::new());
    }
    write(connection, panel, &free, now).await
}

/// Parts changes, in their order, into chunks in which each account and each patched subscription occurs once, as a
/// statement writes a row once at most. The accounts of a user stay together where they can.
fn chunks(changes: &[Change], size: usize) -> Vec<&[Change]> {
    let mut chunks = Vec::new();
    let mut accounts = HashSet::new();
    let mut patched = HashSet::new();
    let mut user = None;
    let mut rest = changes;
    let mut length = 0;
    for change in changes {
        let Account {
            id,
            user_id,
            subscription,
            ..
        } = &change.account;
        let patch = subscription
            .as_ref()
            .filter(|_| !change.subscription.is_empty())
            .map(|governing| governing.id);
        let is_full = accounts.len() >= size && user != Some(*user_id);
        if is_full
            || accounts.contains(id)
            || patch.is_some_and(|subscription| patched.contains(&subscription))
        {
            let (chunk, remaining) = rest.split_at(length);
            chunks.push(chunk);
            rest = remaining;
            length = 0;
            accounts.clear();
            patched.clear();
        }
        accounts.insert(*id);
        patched.extend(patch);
        user = Some(*user_id);
        length += 1;
    }
    if !rest.is_empty() {
        chunks.push(rest);
    }
    chunks
}

/// The id of the subscription that a change depends on.
fn subscription_read(change: &Change) -> Option<i64> {
    let subscription = change.account.subscription.as_ref()?;
    change.depends_on_subscription().then_some(subscription.id.0)
}

/// The ids of the accounts that this transaction holds locked, each with the subscription that its change depends on.
async fn lock_rows(connection: &mut AsyncPgConnection, chunk: &[Change]) -> Result<HashSet<i64>, StoreError> {
    let rows: Vec<IdRow> = sql_query(LOCK_ROWS)
        .bind::<Array<BigInt>, _>(chunk.iter().map(|change| change.account.id.0).collect::<Vec<_>>())
        .bind::<Array<Nullable<BigInt>>, _>(chunk.iter().map(subscription_read).collect::<Vec<_>>())
        .load(connection)
        .await
        .map_err(failed("cannot lock the rows that change"))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The statement that compares and writes.
///
/// `applicable` is decided once for a change as a whole, and both updates follow it; only rows that differ are written.
///
/// What is compared is a value and no condition of the join: PostgreSQL takes it for granted that hardly a row meets so
/// many conditions, and would go through all of `governing` for each change.
fn write_sql() -> String {
    format!(
        "WITH
         change AS (
             SELECT * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS change (
                 account_id, name, is_active, traffic_used, last_connected_at,
                 depends, subscription_id, status, end_date,
                 new_is_active, new_traffic_used, new_last_connected_at, new_status, sets_end_date, new_end_date
             )
         ),
         governing AS MATERIALIZED ({governing}),
         compared AS MATERIALIZED (
             SELECT change.*, (
                 config.marzban_user_id::text = change.name
                 AND {panel}
                 AND config.is_active IS NOT DISTINCT FROM change.is_active
                 AND config.traffic_used IS NOT DISTINCT FROM change.traffic_used
                 AND config.last_connected_at IS NOT DISTINCT FROM change.last_connected_at
                 AND (NOT change.depends OR (
                     governing.id IS NOT DISTINCT FROM change.subscription_id
                     AND governing.status IS NOT DISTINCT FROM change.status
                     AND governing.stored_end_date IS NOT DISTINCT FROM change.end_date
                 ))
                 AND (change.subscription_id IS NOT NULL OR change.new_status IS NULL AND NOT change.sets_end_date)
             ) AS holds
             FROM change
             JOIN vpn_configs AS config ON config.id = change.account_id
             LEFT JOIN governing ON governing.user_id = config.user_id
         ),
         applicable AS MATERIALIZED (SELECT * FROM compared WHERE holds),
         patched_subscription AS (
             UPDATE subscriptions AS subscription
             SET status = coalesce(applicable.new_status, subscription.status),
                 end_date = CASE WHEN applicable.sets_end_date THEN applicable.new_end_date
                                 ELSE subscription.end_date END,
                 updated_at = $1
             FROM applicable
             WHERE subscription.id = applicable.subscription_id
               AND (applicable.new_status <> applicable.status
                    OR applicable.sets_end_date AND applicable.new_end_date IS DISTINCT FROM applicable.end_date)
         ),
         patched_config AS (
             UPDATE vpn_configs AS config
             SET is_active = coalesce(applicable.new_is_active, config.is_active),
                 traffic_used = coalesce(applicable.new_traffic_used, config.traffic_used),
                 last_connected_at = coalesce(applicable.new_last_connected_at, config.last_connected_at),
                 updated_at = $1
             FROM applicable
             WHERE config.id = applicable.account_id
               AND (coalesce(applicable.new_is_active, config.is_active) IS DISTINCT FROM config.is_active
                    OR coalesce(applicable.new_traffic_used, config.traffic_used) IS DISTINCT FROM config.traffic_used
                    OR coalesce(applicable.new_last_connected_at, config.last_connected_at)
                       IS DISTINCT FROM config.last_connected_at)
         )
         SELECT account_id AS id FROM applicable",
        panel = is_of_panel("config", "$17"),
        governing = governing(
            "SELECT config.user_id FROM change JOIN vpn_configs AS config ON config.id = change.account_id
             WHERE change.depends"
        ),
    )
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

async fn write(
    connection: &mut AsyncPgConnection,
    panel: &str,
    changes: &[&Change],
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    let expected = |value: fn(&Account) -> Option<DateTime<Utc>>| -> Vec<Option<NaiveDateTime>> {
        changes
            .iter()
            .map(|change| value(&change.account).map(column))
            .collect()
    };
    let rows: Vec<IdRow> = sql_query(write_sql())
        .bind::<Timestamp, _>(column(now))
        .bind::<Array<BigInt>, _>(each(changes, |change| change.account.id.0))
        .bind::<Array<Text>, _>(each(changes, |change| change.account.name.as_str()))
        .bind::<Array<Nullable<Bool>>, _>(each(changes, |change| change.account.is_active))
        .bind::<Array<Nullable<BigInt>>, _>(each(changes, |change| change.account.traffic_used))
        .bind::<Array<Nullable<Timestamp>>, _>(expected(|account| account.last_connected_at))
        .bind::<Array<Bool>, _>(each(changes, Change::depends_on_subscription))
        .bind::<Array<Nullable<BigInt>>, _>(each(changes, |change| {
            change
                .account
                .subscription
                .as_ref()
                .map(|subscription| subscription.id.0)
        }))
        .bind::<Array<Nullable<Text>>, _>(each(changes, |change| {
            change
                .account
                .subscription
                .as_ref()
                .map(|subscription| subscription.status.as_str())
        }))
        .bind::<Array<Nullable<Timestamp>>, _>(expected(|account| account.subscription.as_ref()?.end_date))
        .bind::<Array<Nullable<Bool>>, _>(each(changes, |change| change.vpn_config.is_active))
        .bind::<Array<Nullable<BigInt>>, _>(each(changes, |change| change.vpn_config.traffic_used))
        .bind::<Array<Nullable<Timestamp>>, _>(each(changes, |change| {
            change.vpn_config.last_connected_at.map(column)
        }))
        .bind::<Array<Nullable<Text>>, _>(each(changes, |change| {
            change
                .subscription
                .status
                .as_ref()
                .map(SubscriptionStatus::as_str)
        }))
        .bind::<Array<Bool>, _>(each(changes, |change| change.subscription.end_date.is_some()))
        .bind::<Array<Nullable<Timestamp>>, _>(each(changes, |change| {
            change
                .subscription
                .end_date
                .and_then(EndDate::as_column)
                .map(column)
        }))
        .bind::<Text, _>(panel)
        .load(connection)
        .await
        .map_err(failed("cannot write changes"))?;
    Ok(rows.into_iter().map(|row| AccountId(row.id)).collect())
}

/// One column of all changes.
fn each<'a, T>(changes: &[&'a Change], value: impl Fn(&'a Change) -> T) -> Vec<T> {
    changes.iter().map(|change| value(change)).collect()
}

/// Parts an account from its panel user, if nobody has paid since it was read.
///
/// It waits for whoever holds the row of the account, and for nobody while it holds that row, so it cannot deadlock.
pub(super) async fn unlink(
    pool: &Pool,
    panel: &str,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut transaction = Transaction::begin(pool).await?;
    let written = lock_and_unlink(transaction.connection()?, panel, account, now).await;
    transaction.end(written).await
}

async fn lock_and_unlink(
    connection: &mut AsyncPgConnection,
    panel: &str,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let subscription = account.subscription.as_ref();
    // Row after row: the second statement's snapshot is taken when the first has waited for a payment's end.
    sql_query("SELECT FROM vpn_configs WHERE id = $1 FOR NO KEY UPDATE")
        .bind::<BigInt, _>(account.id.0)
        .execute(connection)
        .await
        .map_err(failed("cannot lock the row of an account"))?;
    let held = sql_query("SELECT FROM subscriptions WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED")
        .bind::<Nullable<BigInt>, _>(subscription.map(|subscription| subscription.id.0))
        .execute(connection)
        .await
        .map_err(failed("cannot lock the subscription of an account"))?;
    if held != usize::from(subscription.is_some()) {
        return Ok(false);
    }
    let written = sql_query(format!(
        "WITH governing AS ({governing})
         UPDATE vpn_configs AS config SET marzban_user_id = NULL, is_active = false, updated_at = $3
         WHERE config.id = $1 AND config.marzban_user_id::text = $2 AND {panel}
           AND (SELECT id FROM governing) IS NOT DISTINCT FROM $5
           AND (SELECT status FROM governing) IS NOT DISTINCT FROM $6
           AND (SELECT stored_end_date FROM governing) IS NOT DISTINCT FROM $7",
        panel = is_of_panel("config", "$4"),
        governing = governing("SELECT user_id FROM vpn_configs WHERE id = $1"),
    ))
    .bind::<BigInt, _>(account.id.0)
    .bind::<Text, _>(&account.name)
    .bind::<Timestamp, _>(column(now))
    .bind::<Text, _>(panel)
    .bind::<Nullable<BigInt>, _>(subscription.map(|subscription| subscription.id.0))
    .bind::<Nullable<Text>, _>(subscription.map(|subscription| subscription.status.as_str()))
    .bind::<Nullable<Timestamp>, _>(
        subscription
            .and_then(|subscription| subscription.end_date)
            .map(column),
    )
    .execute(connection)
    .await
    .map_err(failed("cannot part an account from its panel user"))?;
    Ok(written == 1)
}

#[cfg(test)]
mod tests;
