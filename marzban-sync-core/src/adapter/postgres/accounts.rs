//! Reading and counting accounts.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::connection::{Lease, Pool};
use super::page_of_accounts::{Choice, Snapshot, is_of_panel};
use crate::adapter::listed::select::stored;
use crate::model::account::{Account, AccountId};
use crate::port::accounts::{Cursor, DEFAULT_PANEL, Page};
use crate::port::error::{StoreError, StoreErrorKind};

/// A moment as the bot's TIMESTAMP columns hold it: naive UTC, to the microsecond.
pub(super) fn column(time: DateTime<Utc>) -> NaiveDateTime {
    stored(time).naive_utc()
}

async fn read(pool: &Pool, panel: &str, choice: Choice<'_>) -> Result<Snapshot, StoreError> {
    let catalogue = pool.catalogue().await?;
    let mut lease = Lease::take(pool).await?;
    let snapshot = Snapshot::read(lease.connection()?, &catalogue, panel, choice).await;
    lease.done(snapshot, "cannot read accounts").await
}

pub(super) async fn page(
    pool: &Pool,
    panel: &str,
    after: Option<Cursor>,
    limit: u32,
    now: DateTime<Utc>,
) -> Result<Page, StoreError> {
    if limit == 0 {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            "a page must hold at least one customer",
        ));
    }
    // One customer more than asked for tells whether there is a next page.
    let choice = Choice::Page {
        after,
        limit: i64::from(limit) + 1,
    };
    let mut customers = read(pool, panel, choice).await?.accounts(panel, now);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_last = customers.len() <= limit;
    customers.truncate(limit);
    let last = customers.last().and_then(|accounts| accounts.as_slice().first());
    let next = last.filter(|_| !is_last).map(|account| Cursor(account.id));
    Ok(Page {
        accounts: customers.into_iter().flatten().collect(),
        next,
    })
}

pub(super) async fn reload(
    pool: &Pool,
    panel: &str,
    ids: &[AccountId],
    now: DateTime<Utc>,
) -> Result<Vec<Account>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let customers = read(pool, panel, Choice::Accounts(&ids)).await?;
    Ok(customers.accounts(panel, now).into_iter().flatten().collect())
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    accounts: i64,
}

pub(super) async fn count(pool: &Pool, panel: &str) -> Result<u64, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let row = sql_query(format!(
        "SELECT count(*) AS accounts FROM vpn_configs AS config JOIN users ON users.id = config.user_id
         WHERE config.marzban_user_id <> '' AND {}",
        is_of_panel("config", "$1"),
    ))
    .bind::<Text, _>(panel)
    .get_result::<CountRow>(lease.connection()?)
    .await;
    let row = lease.done(row, "cannot count accounts").await?;
    Ok(row.accounts.unsigned_abs())
}

#[derive(QueryableByName)]
struct PanelRow {
    #[diesel(sql_type = Text)]
    panel: String,
    #[diesel(sql_type = BigInt)]
    accounts: i64,
}

pub(super) async fn count_elsewhere(pool: &Pool, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let rows = sql_query(format!(
        "SELECT coalesce(nullif(config.panel::text, ''), '{DEFAULT_PANEL}') AS panel, count(*) AS accounts
         FROM vpn_configs AS config JOIN users ON users.id = config.user_id
         WHERE config.marzban_user_id <> '' GROUP BY 1"
    ))
    .load::<PanelRow>(lease.connection()?)
    .await;
    let rows = lease
        .done(rows, "cannot count the accounts of other panels")
        .await?;
    Ok(rows
        .into_iter()
        .filter(|row| row.panel != panel)
        .map(|row| (row.panel, row.accounts.unsigned_abs()))
        .collect())
}
