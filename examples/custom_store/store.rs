//! A bot with tables of its own, and all that the library has to know of them: how to list them, and how to write to
//! them. Nothing in here decides anything; paging, the governing subscription and compare-and-set are those of
//! [`TableStore`](marzban_sync_core::store::TableStore).
//!
//! [`BotTables`] documents what such a bot has to guarantee; `store_conformance!` checks most of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error;
use marzban_sync_core::account::{AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{StoreError, StoreErrorKind};
use marzban_sync_core::store::{AccountRow, BotTables, CustomerRows, DecideFn, RowUpdate};

diesel::table! { people (no) { no -> BigInt, telegram -> Nullable<BigInt>, } }
// `state` has words of the bot's own; all times are microseconds of Unix time, and no `paid_until` is for ever.
diesel::table! {
    plans (no) { no -> BigInt, person -> BigInt, state -> Text, begins -> Nullable<BigInt>, paid_until -> Nullable<BigInt>,
        changed -> Nullable<BigInt>, }
}
diesel::table! {
    keys (no) { no -> BigInt, person -> BigInt, plan -> Nullable<BigInt>, server -> Nullable<Text>,
        vpn_login -> Nullable<Text>, works -> Nullable<Bool>, bytes -> Nullable<BigInt>, seen -> Nullable<BigInt>,
        changed -> Nullable<BigInt>, }
}

const TABLES: &str = "
    CREATE TABLE people (no INTEGER PRIMARY KEY, telegram INTEGER);
    CREATE TABLE plans (no INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people, state TEXT NOT NULL,
        begins INTEGER, paid_until INTEGER, changed INTEGER);
    CREATE TABLE keys (no INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people,
        plan INTEGER REFERENCES plans, server TEXT, vpn_login TEXT, works BOOLEAN, bytes INTEGER, seen INTEGER,
        changed INTEGER);";

/// The bot's database.
pub(crate) struct Shop(Mutex<SqliteConnection>);

impl Shop {
    /// A new one, in memory; a bot's would be a file.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut connection = SqliteConnection::establish(":memory:")?;
        connection.batch_execute(TABLES)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Returns the bot's own connection.
    pub(crate) fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Statements of SQLite are short, so they may stop the runtime for that long; a bot with a pool would await here.
#[async_trait]
impl BotTables for Shop {
    async fn list(&self) -> Result<Vec<CustomerRows>, StoreError> {
        // Three statements, one moment.
        self.connection().transaction(list).map_err(failed)
    }

    async fn update(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<(), StoreError> {
        // Immediate: it keeps other writers out from here on, and not only from its first write.
        let written = self
            .connection()
            .immediate_transaction(|connection| write_all(connection, decide, now));
        written.map(drop).map_err(failed)
    }

    async fn rehearse(&self, decide: DecideFn<'_>, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let mut rows = 0;
        let taken_back = self.connection().immediate_transaction(|connection| {
            rows = write_all(connection, decide, now)?;
            Err::<(), _>(Error::RollbackTransaction)
        });
        match taken_back {
            Err(Error::RollbackTransaction) => Ok(rows),
            taken_back => taken_back.map(|()| rows).map_err(failed),
        }
    }
}

fn list(connection: &mut SqliteConnection) -> QueryResult<Vec<CustomerRows>> {
    let mut customers = BTreeMap::new();
    for (no, telegram_id) in people::table.load::<(i64, Option<i64>)>(connection)? {
        let customer = CustomerRows {
            id: UserId(no),
            telegram_id,
            subscriptions: vec![],
            accounts: vec![],
        };
        customers.insert(no, customer);
    }
    for (no, person, state, begins, paid_until, changed) in
        plans::table.load::<(_, i64, _, _, _, _)>(connection)?
    {
        let customer = customers.get_mut(&person).ok_or(Error::NotFound)?;
        let status = status(state);
        customer.subscriptions.push(Subscription {
            start_date: moment(begins)?,
            updated_at: moment(changed)?,
            // The library's word for it, and not the bot's: what `write` makes of it is the bot's again.
            ..Subscription::new(SubscriptionId(no), status.as_str(), moment(paid_until)?)
        });
    }
    for (no, person, plan, panel, name, is_active, traffic_used, seen, changed) in
        keys::table.load::<(_, i64, Option<i64>, _, _, _, _, _, _)>(connection)?
    {
        let customer = customers.get_mut(&person).ok_or(Error::NotFound)?;
        customer.accounts.push(AccountRow {
            id: AccountId(no),
            panel,
            name,
            is_active,
            traffic_used,
            last_connected_at: moment(seen)?,
            updated_at: moment(changed)?,
            subscription_id: plan.map(SubscriptionId),
        });
    }
    Ok(customers.into_values().collect())
}

/// Writes what is decided, and counts the rows.
fn write_all(
    connection: &mut SqliteConnection,
    decide: DecideFn<'_>,
    now: DateTime<Utc>,
) -> QueryResult<usize> {
    let mut rows = 0;
    for row in decide(&list(connection)?) {
        rows += write(connection, row, now.timestamp_micros())?;
    }
    Ok(rows)
}

fn write(connection: &mut SqliteConnection, row: RowUpdate, now: i64) -> QueryResult<usize> {
    match row {
        RowUpdate::Account(AccountId(no), patch) => diesel::update(keys::table.find(no))
            .set((
                patch.is_active.map(|works| keys::works.eq(works)),
                patch.traffic_used.map(|bytes| keys::bytes.eq(bytes)),
                patch
                    .last_connected_at
                    .map(|seen| keys::seen.eq(seen.timestamp_micros())),
                keys::changed.eq(now),
            ))
            .execute(connection),
        RowUpdate::Subscription(SubscriptionId(no), patch) => diesel::update(plans::table.find(no))
            .set((
                patch
                    .status
                    .map(|status| plans::state.eq(word(&status).to_owned())),
                patch.end_date.map(|end| plans::paid_until.eq(micros(end))),
                plans::changed.eq(now),
            ))
            .execute(connection),
        RowUpdate::Unlink(AccountId(no)) => diesel::update(keys::table.find(no))
            .set((
                keys::vpn_login.eq(None::<String>),
                keys::works.eq(false),
                keys::changed.eq(now),
            ))
            .execute(connection),
    }
}

/// What the bot's words mean; one that means nothing to the library is handed on, and never changed.
pub(crate) fn status(state: String) -> SubscriptionStatus {
    match state.as_str() {
        "running" => SubscriptionStatus::Active,
        "on trial" => SubscriptionStatus::Trial,
        "over" => SubscriptionStatus::Expired,
        "stopped" => SubscriptionStatus::Cancelled,
        "unpaid" => SubscriptionStatus::Pending,
        _ => SubscriptionStatus::Other(state),
    }
}

pub(crate) fn word(status: &SubscriptionStatus) -> &str {
    match status {
        SubscriptionStatus::Active => "running",
        SubscriptionStatus::Trial => "on trial",
        SubscriptionStatus::Expired => "over",
        SubscriptionStatus::Cancelled => "stopped",
        SubscriptionStatus::Pending => "unpaid",
        SubscriptionStatus::Other(state) => state,
    }
}

fn micros(end: EndDate) -> Option<i64> {
    end.as_column().map(|end| end.timestamp_micros())
}

/// Reads a moment; an invalid one is an error, since a subscription without an end never ends.
fn moment(micros: Option<i64>) -> QueryResult<Option<DateTime<Utc>>> {
    let moment = |micros| {
        let moment = DateTime::from_timestamp_micros(micros);
        moment.ok_or_else(|| Error::DeserializationError(format!("{micros} is no moment").into()))
    };
    micros.map(moment).transpose()
}

/// What the database refuses concerns single rows; all else is an outage.
fn failed(error: Error) -> StoreError {
    let kind = match error {
        Error::DatabaseError(..) | Error::DeserializationError(_) | Error::NotFound => {
            StoreErrorKind::Invalid
        }
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, "the shop's database failed").with_source(error)
}
