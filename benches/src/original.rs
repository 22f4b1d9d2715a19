//! The way that is compared with: for each account one request for its user and one `UPDATE`, one after the other.

use diesel::sql_types::BigInt;
use diesel::{RunQueryDsl, SqliteConnection, sql_query};
use marzban_api::Client;

use crate::name;

/// Syncs the accounts with the numbers from 1 to `accounts` into PostgreSQL.
///
/// # Panics
/// When the panel or the database fails.
pub async fn into_postgres(panel: &Client, database: &tokio_postgres::Client, accounts: u64) {
    let update = database
        .prepare("UPDATE vpn_configs SET traffic_used = $2, updated_at = '2025-09-04' WHERE id = $1")
        .await
        .expect("the statement can be prepared");
    for number in 1..=accounts {
        let (id, used) = (number_of(number), used(panel, number).await);
        database
            .execute(&update, &[&id, &used])
            .await
            .expect("the row can be written");
    }
}

/// The same into `SQLite`.
///
/// # Panics
/// As [`into_postgres`].
pub async fn into_sqlite(panel: &Client, database: &mut SqliteConnection, accounts: u64) {
    for number in 1..=accounts {
        let used = used(panel, number).await;
        sql_query("UPDATE vpn_configs SET traffic_used = ?, updated_at = '2025-09-04 00:00:00' WHERE id = ?")
            .bind::<BigInt, _>(used)
            .bind::<BigInt, _>(i64::from(number_of(number)))
            .execute(database)
            .expect("the row can be written");
    }
}

async fn used(panel: &Client, number: u64) -> i64 {
    let user = panel.users().get(&name(number)).await.expect("the panel answers");
    i64::try_from(user.used_traffic).unwrap_or(i64::MAX)
}

fn number_of(number: u64) -> i32 {
    i32::try_from(number).expect("there are fewer accounts")
}
