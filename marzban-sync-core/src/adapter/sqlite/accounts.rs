//! Counting and reading accounts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::connection::Connection;
use super::page_of_accounts::{self, Choice};
use crate::model::account::{Account, AccountId};
use crate::port::accounts::{Cursor, Page};
use crate::port::error::{StoreError, StoreErrorKind};

/// Counts the accounts of every panel, by its name.
pub(super) async fn count(connection: &Connection) -> Result<BTreeMap<String, u64>, StoreError> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = Text)]
        panel: String,
        #[diesel(sql_type = BigInt)]
        accounts: i64,
    }
    let counts: Vec<Count> = connection
        .run("cannot count the accounts", |connection| {
            sql_query(
                "SELECT COALESCE(NULLIF(CAST(v.panel AS TEXT), ''), 'default') COLLATE BINARY AS panel, \
                 COUNT(*) AS accounts \
                 FROM vpn_configs v JOIN users u ON u.id = v.user_id WHERE v.marzban_user_id <> '' \
                 GROUP BY COALESCE(NULLIF(CAST(v.panel AS TEXT), ''), 'default') COLLATE BINARY",
            )
            .load(connection)
        })
        .await?;
    let count = |count: Count| (count.panel, count.accounts.unsigned_abs());
    Ok(counts.into_iter().map(count).collect())
}

/// Reads the next page.
pub(super) async fn page(
    connection: &Connection,
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
    let choice = Choice::Next {
        after: after.map_or(i64::MIN, |Cursor(lowest)| lowest.0),
        // One customer more than asked for tells whether another page follows.
        customers: i64::from(limit) + 1,
    };
    let read_panel = panel.to_owned();
    let mut read = connection
        .read("cannot read the accounts", move |connection| {
            page_of_accounts::read(connection, &read_panel, choice)
        })
        .await?;
    let next = read.cut(limit);
    Ok(Page {
        accounts: read.accounts(panel, now),
        next,
    })
}

/// Reads all accounts of the customers of the given ones.
pub(super) async fn reload(
    connection: &Connection,
    panel: &str,
    ids: &[AccountId],
    now: DateTime<Utc>,
) -> Result<Vec<Account>, StoreError> {
    let (read_panel, choice) = (panel.to_owned(), Choice::Of(ids.to_vec()));
    let read = connection
        .read("cannot read the accounts", move |connection| {
            page_of_accounts::read(connection, &read_panel, choice)
        })
        .await?;
    Ok(read.accounts(panel, now))
}
