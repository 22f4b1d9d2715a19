//! Locking rows, and writing into those that are held.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::pg::sql_types::Array;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamp};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::accounts::column;
use super::catalogue::Catalogue;
use super::errors::failed;
use crate::adapter::semantics::stored;
use crate::model::account::SubscriptionStatus;
use crate::model::end_date::EndDate;
use crate::model::plan::{Change, VpnConfigPatch};
use crate::port::error::{StoreError, StoreErrorKind};

const LOCK_ROWS: &str = include_str!("lock_rows.sql");

/// The rows that a transaction wants to hold.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub(super) accounts: Vec<i64>,
    /// Subscriptions, each with the account that depends on it, if one does.
    pub(super) subscriptions: Vec<(Option<i64>, i64)>,
    /// Panel users whose agreement changes.
    pub(super) usernames: Vec<&'a str>,
}

/// The rows that this transaction holds locked.
#[derive(Default)]
pub(super) struct Held {
    pub(super) accounts: HashSet<i64>,
    pub(super) subscriptions: HashSet<i64>,
    /// Panel users whose agreement is there and held.
    pub(super) usernames: HashSet<String>,
}

#[derive(QueryableByName)]
struct HeldRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    account_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    username: Option<String>,
}

impl Wanted<'_> {
    /// Locks what nobody else holds.
    pub(super) async fn lock(
        self,
        connection: &mut AsyncPgConnection,
        panel: &str,
    ) -> Result<Held, StoreError> {
        let (dependents, subscriptions): (Vec<Option<i64>>, Vec<i64>) =
            self.subscriptions.into_iter().unzip();
        let rows: Vec<HeldRow> = sql_query(LOCK_ROWS)
            .bind::<Array<BigInt>, _>(self.accounts)
            .bind::<Array<Nullable<BigInt>>, _>(dependents)
            .bind::<Array<BigInt>, _>(subscriptions)
            .bind::<Text, _>(panel)
            .bind::<Array<Text>, _>(self.usernames)
            .load(connection)
            .await
            .map_err(failed("cannot lock the rows that change"))?;
        let mut held = Held::default();
        for row in rows {
            held.accounts.extend(row.account_id);
            held.subscriptions.extend(row.subscription_id);
            held.usernames.extend(row.username);
        }
        Ok(held)
    }
}

/// New values of rows of the bot, each row once; of two for the same column the later one counts.
#[derive(Default)]
pub(super) struct Patches {
    vpn_configs: BTreeMap<i64, VpnConfigPatch>,
    subscriptions: BTreeMap<i64, SubscriptionWrite>,
}

#[derive(Default)]
struct SubscriptionWrite {
    /// The new status, as it is spelled.
    word: Option<String>,
    end_date: Option<EndDate>,
}

impl Patches {
    /// Adds what differs from the values that the change was decided from, which are those of the rows.
    pub(super) fn change(&mut self, change: &Change) {
        let account = &change.account;
        let VpnConfigPatch {
            is_active,
            traffic_used,
            last_connected_at,
        } = change.vpn_config;
        let last_connected_at = last_connected_at.map(stored);
        let patch = VpnConfigPatch {
            is_active: is_active.filter(|_| is_active != account.is_active),
            traffic_used: traffic_used.filter(|_| traffic_used != account.traffic_used),
            last_connected_at: last_connected_at
                .filter(|_| last_connected_at != account.last_connected_at.map(stored)),
        };
        self.vpn_config(account.id.0, patch);
        if let Some(subscription) = &account.subscription {
            let status = change.subscription.status.as_ref();
            let word = status.map(|status| subscription.spell(status));
            let end_date = change.subscription.end_date;
            let is_new =
                |end_date: &EndDate| end_date.as_column().map(stored) != subscription.end_date.map(stored);
            self.subscription(
                subscription.id.0,
                word.filter(|word| *word != subscription.word),
                end_date.filter(is_new),
            );
        }
        for subscription in &change.also_expired {
            let word = subscription.spell(&SubscriptionStatus::Expired);
            self.subscription(
                subscription.id.0,
                Some(word).filter(|word| *word != subscription.word),
                None,
            );
        }
    }

    pub(super) fn vpn_config(&mut self, id: i64, new: VpnConfigPatch) {
        if new.is_empty() {
            return;
        }
        let patch = self.vpn_configs.entry(id).or_default();
        patch.is_active = new.is_active.or(patch.is_active);
        patch.traffic_used = new.traffic_used.or(patch.traffic_used);
        patch.last_connected_at = new.last_connected_at.or(patch.last_connected_at);
    }

    pub(super) fn subscription(&mut self, id: i64, word: Option<String>, end_date: Option<EndDate>) {
        if word.is_none() && end_date.is_none() {
            return;
        }
        let write = self.subscriptions.entry(id).or_default();
        write.word = word.or_else(|| write.word.take());
        write.end_date = end_date.or(write.end_date);
    }

    /// Writes the rows, all of which are held; one that the database does not write is an error.
    pub(super) async fn write(
        &self,
        connection: &mut AsyncPgConnection,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if !self.vpn_configs.is_empty() {
            let written = write_vpn_configs(connection, &self.vpn_configs, now).await?;
            all_written("vpn_configs", written, self.vpn_configs.len())?;
        }
        if !self.subscriptions.is_empty() {
            let written = write_subscriptions(connection, catalogue, &self.subscriptions, now).await?;
            all_written("subscriptions", written, self.subscriptions.len())?;
        }
        Ok(())
    }
}

/// A trigger may keep a row from being written without an error, and such a row must not count as written.
fn all_written(table: &str, written: usize, wanted: usize) -> Result<(), StoreError> {
    if written == wanted {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Invalid,
        format!(
            "the database wrote {written} of {wanted} rows of {table}: is there a trigger that keeps them?"
        ),
    ))
}

async fn write_vpn_configs(
    connection: &mut AsyncPgConnection,
    patches: &BTreeMap<i64, VpnConfigPatch>,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let ids: Vec<i64> = patches.keys().copied().collect();
    let is_active: Vec<Option<bool>> = patches.values().map(|patch| patch.is_active).collect();
    let traffic_used: Vec<Option<i64>> = patches.values().map(|patch| patch.traffic_used).collect();
    let last_connected_at: Vec<Option<NaiveDateTime>> = patches
        .values()
        .map(|patch| patch.last_connected_at.map(column))
        .collect();
    sql_query(
        "UPDATE vpn_configs AS config
         SET is_active = coalesce(patch.is_active, config.is_active),
             traffic_used = coalesce(patch.traffic_used, config.traffic_used),
             last_connected_at = coalesce(patch.last_connected_at, config.last_connected_at),
             updated_at = $1
         FROM unnest($2, $3, $4, $5) AS patch (id, is_active, traffic_used, last_connected_at)
         WHERE config.id = patch.id",
    )
    .bind::<Timestamp, _>(column(now))
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<Nullable<Bool>>, _>(is_active)
    .bind::<Array<Nullable<BigInt>>, _>(traffic_used)
    .bind::<Array<Nullable<Timestamp>>, _>(last_connected_at)
    .execute(connection)
    .await
    .map_err(failed("cannot write vpn_configs"))
}

async fn write_subscriptions(
    connection: &mut AsyncPgConnection,
    catalogue: &Catalogue,
    writes: &BTreeMap<i64, SubscriptionWrite>,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let ids: Vec<i64> = writes.keys().copied().collect();
    let words: Vec<Option<&str>> = writes.values().map(|write| write.word.as_deref()).collect();
    let sets_end_date: Vec<bool> = writes.values().map(|write| write.end_date.is_some()).collect();
    let end_dates: Vec<Option<NaiveDateTime>> = writes
        .values()
        .map(|write| write.end_date.and_then(EndDate::as_column).map(column))
        .collect();
    sql_query(format!(
        "UPDATE subscriptions AS subscription
         SET status = coalesce(patch.word::{status_type}, subscription.status),
             end_date = CASE WHEN patch.sets_end_date THEN patch.end_date ELSE subscription.end_date END,
             updated_at = $1
         FROM unnest($2, $3, $4, $5) AS patch (id, word, sets_end_date, end_date)
         WHERE subscription.id = patch.id",
        status_type = catalogue.status_type,
    ))
    .bind::<Timestamp, _>(column(now))
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Array<Nullable<Text>>, _>(words)
    .bind::<Array<Bool>, _>(sets_end_date)
    .bind::<Array<Nullable<Timestamp>>, _>(end_dates)
    .execute(connection)
    .await
    .map_err(failed("cannot write subscriptions"))
}
