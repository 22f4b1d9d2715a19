//! Writing: compare-and-set in one transaction, which no other writer can enter.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{QueryResult, RunQueryDsl, SqliteConnection, sql_query};

use super::accounts::{self, Row};
use super::connection::Connection;
use super::time::naive;
use crate::account::{Account, AccountId};
use crate::error::StoreError;
use crate::plan::Change;

/// Writes the changes whose expected values hold, and returns their accounts.
pub(super) async fn apply(
    connection: &Connection,
    panel: &str,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<Vec<AccountId>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let (panel, changes) = (panel.to_owned(), changes.to_vec());
    connection
        .write("cannot write the accounts", move |connection| {
            let ids: Vec<AccountId> = changes.iter().map(|change| change.account.id).collect();
            let current = Current::of(accounts::current(connection, &panel, &ids)?);
            let mut applied = Vec::new();
            for change in changes.iter().filter(|change| current.holds(change)) {
                write_vpn_config(connection, change, now)?;
                write_subscription(connection, change, now)?;
                applied.push(change.account.id);
            }
            Ok(applied)
        })
        .await
}

/// Clears the name of an account, if it is that name still and nobody has paid since it was read.
pub(super) async fn unlink(
    connection: &Connection,
    panel: &str,
    account: &Account,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let (account, panel) = (account.clone(), panel.to_owned());
    connection
        .write("cannot unlink the account", move |connection| {
            let current = Current::of(accounts::current(connection, &panel, &[account.id])?);
            if !current.is_unpaid_since(&account) {
                return Ok(false);
            }
            // The column may be declared to ignore case; the panel's names do not.
            let written = sql_query(
                "UPDATE vpn_configs SET marzban_user_id = NULL, is_active = 0, updated_at = ?1 \
                 WHERE id = ?2 AND marzban_user_id = ?3 COLLATE BINARY \
                 AND COALESCE(NULLIF(CAST(panel AS TEXT), ''), 'default') COLLATE BINARY = ?4",
            )
            .bind::<Text, _>(naive(now))
            .bind::<BigInt, _>(account.id.0)
            .bind::<Text, _>(account.name)
            .bind::<Text, _>(panel)
            .execute(connection)?;
            Ok(written > 0)
        })
        .await
}

/// The accounts as they are before any change of this call is written, so that the accounts of one user, which
/// share a subscription, are no conflict to each other.
struct Current(HashMap<AccountId, CurrentAccount>);

struct CurrentAccount {
    account: Account,
    is_vpn_config_readable: bool,
    is_subscription_readable: bool,
}

impl Current {
    fn of(rows: Vec<Row>) -> Self {
        let current = rows.into_iter().map(|row| {
            let (is_vpn_config_readable, is_subscription_readable) =
                (row.is_vpn_config_readable, row.is_subscription_readable);
            let account = row.into_account();
            (
                account.id,
                CurrentAccount {
                    account,
                    is_vpn_config_readable,
                    is_subscription_readable,
                },
            )
        });
        Self(current.collect())
    }

    /// Whether the subscription that governed when the account was read still governs, and is as it was.
    fn is_unpaid_since(&self, account: &Account) -> bool {
        self.0.get(&account.id).is_some_and(|current| {
            current.is_subscription_readable && is_same_subscription(&current.account, account)
        })
    }

    fn holds(&self, change: &Change) -> bool {
        let expected = &change.account;
        let Some(current) = self.0.get(&expected.id) else {
            return false;
        };
        // A change of a subscription that is not there cannot be written, so it must not be half written.
        let has_target = change.subscription.is_empty() || expected.subscription.is_some();
        has_target
            && current.is_vpn_config_readable
            && is_same_vpn_config(&current.account, expected)
            && (!change.depends_on_subscription()
                || current.is_subscription_readable && is_same_subscription(&current.account, expected))
    }
}

fn is_same_vpn_config(current: &Account, expected: &Account) -> bool {
    current.name == expected.name
        && current.is_active == expected.is_active
        && current.traffic_used == expected.traffic_used
        && is_same_time(current.last_connected_at, expected.last_connected_at)
}

fn is_same_subscription(current: &Account, expected: &Account) -> bool {
    match (&current.subscription, &expected.subscription) {
        (None, None) => true,
        (Some(current), Some(expected)) => {
            current.id == expected.id
                && current.status == expected.status
                && is_same_time(current.end_date, expected.end_date)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// Compares to the microsecond, which is what the columns hold.
fn is_same_time(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> bool {
    one.map(|time| time.timestamp_micros()) == other.map(|time| time.timestamp_micros())
}

fn write_vpn_config(
    connection: &mut SqliteConnection,
    change: &Change,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let patch = change.vpn_config;
    if patch.is_empty() {
        return Ok(());
    }
    sql_query(
        "UPDATE vpn_configs SET is_active = COALESCE(?1, is_active), traffic_used = COALESCE(?2, traffic_used), \
         last_connected_at = COALESCE(?3, last_connected_at), updated_at = ?4 WHERE id = ?5",
    )
    .bind::<Nullable<Bool>, _>(patch.is_active)
    .bind::<Nullable<BigInt>, _>(patch.traffic_used)
    .bind::<Nullable<Text>, _>(patch.last_connected_at.map(naive))
    .bind::<Text, _>(naive(now))
    .bind::<BigInt, _>(change.account.id.0)
    .execute(connection)?;
    Ok(())
}

fn write_subscription(
    connection: &mut SqliteConnection,
    change: &Change,
    now: DateTime<Utc>,
) -> QueryResult<()> {
    let patch = &change.subscription;
    let Some(subscription) = &change.account.subscription else {
        return Ok(());
    };
    if patch.is_empty() {
        return Ok(());
    }
    sql_query(
        "UPDATE subscriptions SET status = COALESCE(?1, status), \
         end_date = CASE WHEN ?2 THEN ?3 ELSE end_date END, updated_at = ?4 WHERE id = ?5",
    )
    .bind::<Nullable<Text>, _>(patch.status.as_ref().map(|status| status.as_str().to_owned()))
    .bind::<Bool, _>(patch.end_date.is_some())
    .bind::<Nullable<Text>, _>(
        patch
            .end_date
            .and_then(|end_date| end_date.as_column().map(naive)),
    )
    .bind::<Text, _>(naive(now))
    .bind::<BigInt, _>(subscription.id.0)
    .execute(connection)?;
    Ok(())
}
