//! The store of `examples/custom_store`, as its bot would test it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use marzban_sync_core::account::{AccountId, SubscriptionId, UserId};
use marzban_sync_core::store::{
    AccountStore, Journal, MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig, TableStore,
};
use marzban_sync_core::testing::conformance::store::{Bot, Fixture};

use super::shop::{Shop, keys, people, plans, status, word};

/// The store, and the tables around it.
pub(crate) struct CustomStore {
    accounts: Arc<TableStore<Shop, MemoryStore>>,
    journal: MemoryStore,
}

impl CustomStore {
    pub(crate) fn fresh() -> Self {
        let journal = MemoryStore::new();
        let accounts = Arc::new(TableStore::new(Shop::new().unwrap(), journal.clone()));
        Self { accounts, journal }
    }
}

/// What a row of `keys` is, in the order of its columns.
type Key = (
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// What a row of `plans` is, in the order of its columns.
type Plan = (i64, i64, String, Option<i64>, Option<i64>, Option<i64>);

#[async_trait]
impl Fixture for CustomStore {
    fn store(&self) -> Arc<dyn AccountStore> {
        Arc::clone(&self.accounts) as _
    }

    async fn insert(&self, bot: &Bot) {
        let insert = |connection: &mut SqliteConnection| {
            for row in &bot.users {
                let person = (people::no.eq(row.id.0), people::telegram.eq(row.telegram_id));
                diesel::replace_into(people::table)
                    .values(person)
                    .execute(connection)?;
            }
            for row in &bot.subscriptions {
                let plan = (
                    plans::no.eq(row.id.0),
                    plans::person.eq(row.user_id.0),
                    plans::state.eq(word(&row.status)),
                    plans::begins.eq(micros(row.start_date)),
                    plans::paid_until.eq(micros(row.end_date)),
                    plans::changed.eq(micros(row.updated_at)),
                );
                diesel::replace_into(plans::table)
                    .values(plan)
                    .execute(connection)?;
            }
            for row in &bot.vpn_configs {
                let key = (
                    keys::no.eq(row.id.0),
                    keys::person.eq(row.user_id.0),
                    keys::plan.eq(row.subscription_id.map(|id| id.0)),
                    keys::server.eq(row.panel.as_deref()),
                    keys::vpn_login.eq(row.marzban_user_id.as_deref()),
                    keys::works.eq(row.is_active),
                    keys::bytes.eq(row.traffic_used),
                    keys::seen.eq(micros(row.last_connected_at)),
                    keys::changed.eq(micros(row.updated_at)),
                );
                diesel::replace_into(keys::table)
                    .values(key)
                    .execute(connection)?;
            }
            QueryResult::Ok(())
        };
        self.accounts
            .customers()
            .connection()
            .immediate_transaction(insert)
            .unwrap();
    }

    async fn rows(&self) -> Bot {
        let connection = &mut *self.accounts.customers().connection();
        let people: Vec<(i64, Option<i64>)> = people::table.order(people::no).load(connection).unwrap();
        let plans: Vec<Plan> = plans::table.order(plans::no).load(connection).unwrap();
        let keys: Vec<Key> = keys::table.order(keys::no).load(connection).unwrap();
        let user = |(no, telegram_id)| MemoryUser {
            id: UserId(no),
            telegram_id,
        };
        Bot {
            users: people.into_iter().map(user).collect(),
            subscriptions: plans.into_iter().map(subscription).collect(),
            vpn_configs: keys.into_iter().map(vpn_config).collect(),
        }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.journal.clone())
    }

    /// The words are the bot's own.
    fn keeps_spelling(&self) -> bool {
        false
    }
}

fn subscription((no, person, state, begins, paid_until, changed): Plan) -> MemorySubscription {
    MemorySubscription {
        id: SubscriptionId(no),
        user_id: UserId(person),
        status: status(state),
        start_date: begins.and_then(DateTime::from_timestamp_micros),
        end_date: paid_until.and_then(DateTime::from_timestamp_micros),
        updated_at: changed.and_then(DateTime::from_timestamp_micros),
    }
}

fn vpn_config((no, person, plan, panel, name, works, bytes, seen, changed): Key) -> MemoryVpnConfig {
    MemoryVpnConfig {
        id: AccountId(no),
        user_id: UserId(person),
        panel,
        subscription_id: plan.map(SubscriptionId),
        marzban_user_id: name,
        is_active: works,
        traffic_used: bytes,
        last_connected_at: seen.and_then(DateTime::from_timestamp_micros),
        updated_at: changed.and_then(DateTime::from_timestamp_micros),
    }
}

fn micros(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(|time| time.timestamp_micros())
}

marzban_sync_core::store_conformance!(CustomStore::fresh());
