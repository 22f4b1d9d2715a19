//! What is remembered of panel users, and the trail of changes.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::connection::{Lease, Pool, Transaction};
use super::errors::failed;
use super::page_of_accounts::understood;
use crate::adapter::entries::{EntryColumns, telegram_id};
use crate::adapter::listed::select::stored;
use crate::model::agreement::Agreement;
use crate::model::run::RunId;
use crate::model::trail::{Entry, EntryQuery, EntryRecord};
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::{PanelUserKey, Remembered, Trail};

/// An agreement to be written: its username, the revision that it replaces, and the agreement.
pub(super) type Write<'a> = (&'a str, i64, &'a Agreement);

#[derive(QueryableByName)]
struct AgreementRow {
    #[diesel(sql_type = Text)]
    panel: String,
    #[diesel(sql_type = Text)]
    username: String,
    #[diesel(sql_type = BigInt)]
    revision: i64,
    #[diesel(sql_type = Text)]
    agreement: String,
}

impl From<AgreementRow> for Remembered {
    fn from(row: AgreementRow) -> Self {
        let user = PanelUserKey {
            panel: row.panel,
            username: row.username,
        };
        Self {
            agreement: understood(&user, &row.agreement),
            revision: row.revision,
            user,
        }
    }
}

pub(super) async fn read_agreements(
    connection: &mut AsyncPgConnection,
    users: &[PanelUserKey],
) -> QueryResult<Vec<Remembered>> {
    let panels: Vec<&str> = users.iter().map(|user| user.panel.as_str()).collect();
    let usernames: Vec<&str> = users.iter().map(|user| user.username.as_str()).collect();
    let rows: Vec<AgreementRow> = sql_query(
        "SELECT panel, username, revision, agreement::text AS agreement
         FROM unnest($1, $2) WITH ORDINALITY AS wanted (panel, username, place)
         JOIN marzban_sync_agreements USING (panel, username)
         ORDER BY place",
    )
    .bind::<Array<Text>, _>(panels)
    .bind::<Array<Text>, _>(usernames)
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(Remembered::from).collect())
}

pub(super) async fn agreements(pool: &Pool, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut lease = Lease::take(pool).await?;
    let remembered = read_agreements(lease.connection()?, users).await;
    lease.done(remembered, "cannot read what was agreed").await
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    username: String,
}

/// Writes agreements, each of another user, where they still have the revision; returns the usernames.
pub(super) async fn write_agreements(
    connection: &mut AsyncPgConnection,
    panel: &str,
    writes: &[Write<'_>],
    now: DateTime<Utc>,
) -> Result<HashSet<String>, StoreError> {
    let agreements: Vec<String> = writes
        .iter()
        .map(|(_, _, agreement)| serde_json::to_string(agreement))
        .collect::<Result<_, _>>()
        .map_err(|error| {
            StoreError::new(StoreErrorKind::Invalid, "an agreement is no JSON").with_source(error)
        })?;
    let rows: Vec<NameRow> = sql_query(
        "WITH
         new AS MATERIALIZED (SELECT * FROM unnest($2, $3, $4) AS new (username, revision, agreement)),
         changed AS (
             UPDATE marzban_sync_agreements AS old
             SET revision = old.revision + 1, agreement = new.agreement::jsonb, updated_at = $5
             FROM new
             WHERE old.panel = $1 AND old.username = new.username AND old.revision = new.revision
             RETURNING old.username
         ),
         added AS (
             INSERT INTO marzban_sync_agreements (panel, username, revision, agreement, updated_at)
             SELECT $1, username, 1, agreement::jsonb, $5 FROM new WHERE revision = 0 ORDER BY username
             ON CONFLICT DO NOTHING
             RETURNING username
         )
         SELECT username FROM changed UNION ALL SELECT username FROM added",
    )
    .bind::<Text, _>(panel)
    .bind::<Array<Text>, _>(
        writes
            .iter()
            .map(|(username, _, _)| *username)
            .collect::<Vec<_>>(),
    )
    .bind::<Array<BigInt>, _>(
        writes
            .iter()
            .map(|(_, revision, _)| *revision)
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Text>, _>(agreements)
    .bind::<Timestamptz, _>(stored(now))
    .load(connection)
    .await
    .map_err(failed("cannot write what was agreed"))?;
    Ok(rows.into_iter().map(|row| row.username).collect())
}

/// Forgets what was agreed of these users.
pub(super) async fn forget_agreements(
    connection: &mut AsyncPgConnection,
    panel: &str,
    usernames: Vec<&str>,
) -> Result<(), StoreError> {
    sql_query("DELETE FROM marzban_sync_agreements WHERE panel = $1 AND username = ANY ($2)")
        .bind::<Text, _>(panel)
        .bind::<Array<Text>, _>(usernames)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed("cannot forget what was agreed"))
}

/// Writes agreements and entries in a transaction of their own.
pub(super) async fn record(
    pool: &Pool,
    panel: &str,
    run: Option<RunId>,
    trail: &Trail,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if *trail == Trail::default() {
        return Ok(());
    }
    let mut transaction = Transaction::begin(pool).await?;
    let written = write_trail(transaction.connection()?, panel, run, trail, now).await;
    transaction.end(written).await
}

/// Writes agreements and entries in the transaction that is under way.
pub(super) async fn write_trail(
    connection: &mut AsyncPgConnection,
    panel: &str,
    run: Option<RunId>,
    trail: &Trail,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if !trail.agreements.is_empty() {
        // In one order, so that two of these wait for each other and do not deadlock.
        sql_query(
            "SELECT FROM marzban_sync_agreements WHERE panel = $1 AND username = ANY ($2)
             ORDER BY username FOR UPDATE",
        )
        .bind::<Text, _>(panel)
        .bind::<Array<Text>, _>(
            trail
                .agreements
                .iter()
                .map(|(name, _, _)| name.as_str())
                .collect::<Vec<_>>(),
        )
        .execute(connection)
        .await
        .map_err(failed("cannot lock what was agreed"))?;
    }
    for round in rounds(&trail.agreements) {
        let (mut writes, mut forgotten) = (Vec::new(), Vec::new());
        for (username, revision, agreement) in round {
            match agreement {
                Some(agreement) => writes.push((username.as_str(), *revision, agreement)),
                None => forgotten.push(username.as_str()),
            }
        }
        if !forgotten.is_empty() {
            forget_agreements(connection, panel, forgotten).await?;
        }
        if !writes.is_empty() {
            write_agreements(connection, panel, &writes, now).await?;
        }
    }
    insert_entries(connection, panel, run, &trail.entries, now).await
}

type Agreed = (String, i64, Option<Agreement>);

/// Parts agreements into rounds, in their order, in each of which a user occurs once, as a statement writes a row once.
fn rounds(agreements: &[Agreed]) -> Vec<Vec<&Agreed>> {
    let mut rounds: Vec<Vec<&Agreed>> = Vec::new();
    let mut written: HashMap<&str, usize> = HashMap::new();
    for agreed in agreements {
        let number = written.entry(agreed.0.as_str()).or_default();
        match rounds.get_mut(*number) {
            Some(round) => round.push(agreed),
            None => rounds.push(vec![agreed]),
        }
        *number += 1;
    }
    rounds
}

/// Writes entries, in their order.
pub(super) async fn insert_entries(
    connection: &mut AsyncPgConnection,
    panel: &str,
    run: Option<RunId>,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let row = |entry: &Entry| entry.target.row(entry.account);
    sql_query(
        "INSERT INTO marzban_sync_changes (
             run_id, panel, account_id, customer_id, telegram_id, username, column_name, row_id, old_value, new_value,
             reason, state, changed_at
         )
         SELECT
             $1, $2, account_id, customer_id, telegram_id, username, column_name, row_id, old_value, new_value,
             reason, state, $3
         FROM unnest($4, $5, $6, $7, $8, $9, $10, $11, $12, $13) WITH ORDINALITY AS entry (
             account_id, customer_id, telegram_id, username, column_name, row_id, old_value, new_value, reason, state,
             place
         )
         ORDER BY place",
    )
    .bind::<Nullable<BigInt>, _>(run.map(|run| run.0))
    .bind::<Text, _>(panel)
    .bind::<Timestamptz, _>(stored(now))
    .bind::<Array<BigInt>, _>(each(entries, |entry| entry.account.0))
    .bind::<Array<BigInt>, _>(each(entries, |entry| entry.customer.0))
    .bind::<Array<Nullable<BigInt>>, _>(each(entries, |entry| entry.telegram_id))
    .bind::<Array<Text>, _>(each(entries, |entry| entry.username.as_str()))
    .bind::<Array<Text>, _>(each(entries, |entry| entry.target.column()))
    .bind::<Array<BigInt>, _>(each(entries, row))
    .bind::<Array<Nullable<Text>>, _>(each(entries, |entry| entry.old.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(each(entries, |entry| entry.new.as_deref()))
    .bind::<Array<Text>, _>(each(entries, |entry| entry.reason.as_str()))
    .bind::<Array<Text>, _>(each(entries, |entry| entry.state.as_str()))
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed("cannot write the trail"))
}

/// One column of all entries.
fn each<'a, T>(entries: &'a [Entry], value: impl Fn(&'a Entry) -> T) -> Vec<T> {
    entries.iter().map(value).collect()
}

#[derive(QueryableByName)]
struct EntryRow {
    #[diesel(embed)]
    columns: EntryColumns,
    #[diesel(sql_type = Timestamptz)]
    changed_at: DateTime<Utc>,
}

pub(super) async fn entries(pool: &Pool, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
    let mut lease = Lease::take(pool).await?;
    let connection = lease.connection()?;
    let rows: QueryResult<Vec<EntryRow>> = match query {
        EntryQuery::Run(run) => {
            sql_query("SELECT * FROM marzban_sync_changes WHERE run_id = $1 ORDER BY id")
                .bind::<BigInt, _>(run.0)
                .load(connection)
                .await
        }
        EntryQuery::Customer { name, limit } => {
            sql_query(
                "SELECT * FROM marzban_sync_changes WHERE username = $1 OR telegram_id = $2
                 ORDER BY id DESC LIMIT $3",
            )
            .bind::<Text, _>(name)
            .bind::<Nullable<BigInt>, _>(telegram_id(name))
            .bind::<BigInt, _>(i64::from(*limit))
            .load(connection)
            .await
        }
    };
    let rows = lease.done(rows, "cannot read the trail").await?;
    let known = |row: EntryRow| row.columns.known(row.changed_at);
    Ok(rows.into_iter().filter_map(known).collect())
}
