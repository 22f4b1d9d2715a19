//! What is remembered of panel users, and the trail of changes.

use chrono::DateTime;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::apply::Call;
use super::connection::Connection;
use super::time::{parse, zoned};
use crate::adapter::entries::{EntryColumns, telegram_id};
use crate::model::agreement::Agreement;
use crate::model::trail::{Entry, EntryQuery, EntryRecord};
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::{PanelUserKey, Remembered, Trail};

/// Reads what is remembered of these panel users, in their order.
pub(super) fn remembered(
    connection: &mut SqliteConnection,
    users: &[PanelUserKey],
) -> QueryResult<Vec<Remembered>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        panel: String,
        #[diesel(sql_type = Text)]
        username: String,
        #[diesel(sql_type = BigInt)]
        revision: i64,
        #[diesel(sql_type = Text)]
        agreement: String,
    }
    let keys: serde_json::Value = users
        .iter()
        .map(|user| serde_json::json!([user.panel, user.username]))
        .collect();
    let rows: Vec<Row> = sql_query(
        "SELECT kept.panel, kept.username, kept.revision, kept.agreement \
         FROM json_each(?1) AS wanted CROSS JOIN marzban_sync_agreements AS kept \
         ON kept.panel = wanted.value ->> 0 AND kept.username = wanted.value ->> 1 ORDER BY wanted.key",
    )
    .bind::<Text, _>(keys.to_string())
    .load(connection)?;
    let remembered = |row: Row| {
        let agreement = serde_json::from_str(&row.agreement);
        Ok(Remembered {
            user: PanelUserKey {
                panel: row.panel,
                username: row.username,
            },
            revision: row.revision,
            agreement: agreement.map_err(|error| DieselError::DeserializationError(error.into()))?,
        })
    };
    rows.into_iter().map(remembered).collect()
}

/// Writes agreements that still have their revision, and entries.
pub(super) fn record(connection: &mut SqliteConnection, call: &Call, trail: &Trail) -> QueryResult<()> {
    for (username, revision, agreement) in &trail.agreements {
        match agreement {
            Some(agreement) => agree(connection, call, username, *revision, agreement)?,
            None => forget(connection, call, username)?,
        }
    }
    for entry in &trail.entries {
        write(connection, call, entry)?;
    }
    Ok(())
}

/// Writes an agreement by compare-and-set of its revision, which is 0 where there is none yet.
fn agree(
    connection: &mut SqliteConnection,
    call: &Call,
    username: &str,
    revision: i64,
    agreement: &Agreement,
) -> QueryResult<()> {
    let agreement =
        serde_json::to_string(agreement).map_err(|error| DieselError::SerializationError(error.into()))?;
    let sql = if revision == 0 {
        "INSERT INTO marzban_sync_agreements (panel, username, revision, agreement, updated_at) \
         VALUES (?1, ?2, ?3 + 1, ?4, ?5) ON CONFLICT (panel, username) DO NOTHING"
    } else {
        "UPDATE marzban_sync_agreements SET revision = ?3 + 1, agreement = ?4, updated_at = ?5 \
         WHERE panel = ?1 AND username = ?2 AND revision = ?3"
    };
    sql_query(sql)
        .bind::<Text, _>(&call.panel)
        .bind::<Text, _>(username)
        .bind::<BigInt, _>(revision)
        .bind::<Text, _>(agreement)
        .bind::<Text, _>(zoned(call.now))
        .execute(connection)?;
    Ok(())
}

/// Forgets a panel user, whichever revision its agreement has: no row names it any more.
fn forget(connection: &mut SqliteConnection, call: &Call, username: &str) -> QueryResult<()> {
    sql_query("DELETE FROM marzban_sync_agreements WHERE panel = ?1 AND username = ?2")
        .bind::<Text, _>(&call.panel)
        .bind::<Text, _>(username)
        .execute(connection)?;
    Ok(())
}

fn write(connection: &mut SqliteConnection, call: &Call, entry: &Entry) -> QueryResult<()> {
    sql_query(
        "INSERT INTO marzban_sync_changes (run_id, panel, account_id, customer_id, telegram_id, username, \
         column_name, row_id, old_value, new_value, reason, state, changed_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Nullable<BigInt>, _>(call.run.map(|run| run.0))
    .bind::<Text, _>(&call.panel)
    .bind::<BigInt, _>(entry.account.0)
    .bind::<BigInt, _>(entry.customer.0)
    .bind::<Nullable<BigInt>, _>(entry.telegram_id)
    .bind::<Text, _>(&entry.username)
    .bind::<Text, _>(entry.target.column())
    .bind::<BigInt, _>(entry.target.row(entry.account))
    .bind::<Nullable<Text>, _>(entry.old.as_deref())
    .bind::<Nullable<Text>, _>(entry.new.as_deref())
    .bind::<Text, _>(&entry.reason)
    .bind::<Text, _>(entry.state.as_str())
    .bind::<Text, _>(zoned(call.now))
    .execute(connection)?;
    Ok(())
}

#[derive(QueryableByName)]
struct EntryRow {
    #[diesel(embed)]
    columns: EntryColumns,
    #[diesel(sql_type = Text)]
    changed_at: String,
}

impl EntryRow {
    /// None for a column or a state of another version, whatever its time.
    fn known(self) -> Option<Result<EntryRecord, StoreError>> {
        let record = self.columns.known(DateTime::default())?;
        let at = parse(&self.changed_at)
            .ok_or_else(|| StoreError::new(StoreErrorKind::Invalid, "a time of the trail is no time"));
        Some(at.map(|at| EntryRecord { at, ..record }))
    }
}

/// Reads the entries of a run, the earliest first, or of a customer, the latest first.
pub(super) async fn entries(
    connection: &Connection,
    query: &EntryQuery,
) -> Result<Vec<EntryRecord>, StoreError> {
    let query = query.clone();
    let rows = connection
        .run("cannot read the trail", move |connection| match query {
            EntryQuery::Run(run) => {
                sql_query("SELECT * FROM marzban_sync_changes WHERE run_id = ?1 ORDER BY id")
                    .bind::<BigInt, _>(run.0)
                    .load::<EntryRow>(connection)
            }
            EntryQuery::Customer { name, limit } => sql_query(
                "SELECT * FROM marzban_sync_changes WHERE username = ?1 OR telegram_id = ?2 \
                 ORDER BY id DESC LIMIT ?3",
            )
            .bind::<Text, _>(&name)
            .bind::<Nullable<BigInt>, _>(telegram_id(&name))
            .bind::<BigInt, _>(i64::from(limit))
            .load::<EntryRow>(connection),
        })
        .await?;
    rows.into_iter().filter_map(EntryRow::known).collect()
}
