//! The conformance suite, over a bot's tables with columns that the library does not know, in an eastern time zone.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use marzban_sync_core::account::{AccountId, SubscriptionId, UserId};
use marzban_sync_core::store::{AccountStore, Journal, MemorySubscription, MemoryUser, MemoryVpnConfig};
use marzban_sync_core::testing::conformance::store::{self as conformance, Fixture};
use marzban_sync_tests::TestDatabase;

use super::Bot;

/// A law holds the lock of each job for ten panels at once, and each holds a connection.
const CONNECTIONS: usize = 48;

/// Of a bot whose accounts name their subscription, and whose customers may share a panel user.
pub(super) const SHARED_NAMES: &str = "
    ALTER TABLE vpn_configs DROP CONSTRAINT vpn_configs_marzban_user_id_key;
    CREATE INDEX vpn_configs_marzban_user_id ON vpn_configs (marzban_user_id);
    ALTER TABLE vpn_configs ADD COLUMN subscription_id integer REFERENCES subscriptions (id);";

impl Bot {
    pub(crate) async fn for_laws() -> Option<Self> {
        let database = TestDatabase::new().await?.in_time_zone("Asia/Tehran").await;
        let pool = database.pool(CONNECTIONS);
        let bot = Self::over(database, pool).await;
        bot.sql(SHARED_NAMES).await;
        bot.store.verify_schema().await.unwrap();
        Some(bot)
    }
}

#[async_trait]
impl Fixture for Bot {
    fn store(&self) -> Arc<dyn AccountStore> {
        Arc::new(self.store.clone())
    }

    async fn insert(&self, bot: &conformance::Bot) {
        let ids: Vec<i64> = bot.users.iter().map(|row| row.id.0).collect();
        let telegram_ids: Vec<Option<i64>> = bot.users.iter().map(|row| row.telegram_id).collect();
        self.client
            .execute(
                "INSERT INTO users (id, telegram_id, language, created_at)
                 SELECT id, telegram_id, 'fa', '2025-01-01' FROM unnest($1::bigint[], $2::bigint[]) AS t (id, telegram_id)
                 ON CONFLICT (id) DO UPDATE SET telegram_id = excluded.telegram_id",
                &[&ids, &telegram_ids],
            )
            .await
            .unwrap();
        self.insert_subscriptions(&bot.subscriptions).await;
        self.insert_vpn_configs(&bot.vpn_configs).await;
    }

    async fn rows(&self) -> conformance::Bot {
        let users = self
            .client
            .query("SELECT id::bigint, telegram_id FROM users ORDER BY id", &[])
            .await
            .unwrap();
        let subscriptions = self
            .client
            .query(
                "SELECT id::bigint, user_id::bigint, status, start_date, end_date, updated_at
                 FROM subscriptions ORDER BY id",
                &[],
            )
            .await
            .unwrap();
        let vpn_configs = self
            .client
            .query(
                "SELECT id::bigint, user_id::bigint, marzban_user_id, is_active, traffic_used, last_connected_at, updated_at,
                     panel, subscription_id::bigint
                 FROM vpn_configs ORDER BY id",
                &[],
            )
            .await
            .unwrap();
        conformance::Bot {
            users: users
                .iter()
                .map(|row| MemoryUser {
                    id: UserId(row.get(0)),
                    telegram_id: row.get(1),
                })
                .collect(),
            subscriptions: subscriptions
                .iter()
                .map(|row| MemorySubscription {
                    id: SubscriptionId(row.get(0)),
                    user_id: UserId(row.get(1)),
                    status: MemorySubscription::spelled(row.get::<_, &str>(2)),
                    start_date: utc(row.get(3)),
                    end_date: utc(row.get(4)),
                    updated_at: utc(row.get(5)),
                })
                .collect(),
            vpn_configs: vpn_configs
                .iter()
                .map(|row| MemoryVpnConfig {
                    id: AccountId(row.get(0)),
                    user_id: UserId(row.get(1)),
                    panel: row.get(7),
                    subscription_id: row.get::<_, Option<i64>>(8).map(SubscriptionId),
                    marzban_user_id: row.get(2),
                    is_active: row.get(3),
                    traffic_used: row.get(4),
                    last_connected_at: utc(row.get(5)),
                    updated_at: utc(row.get(6)),
                })
                .collect(),
        }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.store.clone())
    }
}

impl Bot {
    async fn insert_subscriptions(&self, rows: &[MemorySubscription]) {
        let ids: Vec<i64> = rows.iter().map(|row| row.id.0).collect();
        let users: Vec<i64> = rows.iter().map(|row| row.user_id.0).collect();
        let statuses: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
        let start_dates: Vec<_> = rows.iter().map(|row| naive(row.start_date)).collect();
        let end_dates: Vec<_> = rows.iter().map(|row| naive(row.end_date)).collect();
        let updated_at: Vec<_> = rows.iter().map(|row| naive(row.updated_at)).collect();
        self.client
            .execute(
                "INSERT INTO subscriptions (id, user_id, plan_id, price, status, start_date, end_date, updated_at)
                 SELECT id, user_id, 7, 9.90, status, start_date, end_date, updated_at
                 FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamp[], $5::timestamp[], $6::timestamp[])
                     AS t (id, user_id, status, start_date, end_date, updated_at)
                 ON CONFLICT (id) DO UPDATE SET (user_id, status, start_date, end_date, updated_at)
                     = (excluded.user_id, excluded.status, excluded.start_date, excluded.end_date, excluded.updated_at)",
                &[&ids, &users, &statuses, &start_dates, &end_dates, &updated_at],
            )
            .await
            .unwrap();
    }

    async fn insert_vpn_configs(&self, rows: &[MemoryVpnConfig]) {
        let ids: Vec<i64> = rows.iter().map(|row| row.id.0).collect();
        let users: Vec<i64> = rows.iter().map(|row| row.user_id.0).collect();
        let panels: Vec<Option<&str>> = rows.iter().map(|row| row.panel.as_deref()).collect();
        let subscriptions: Vec<Option<i64>> = rows
            .iter()
            .map(|row| row.subscription_id.map(|id| id.0))
            .collect();
        let names: Vec<Option<&str>> = rows.iter().map(|row| row.marzban_user_id.as_deref()).collect();
        let is_active: Vec<Option<bool>> = rows.iter().map(|row| row.is_active).collect();
        let traffic_used: Vec<Option<i64>> = rows.iter().map(|row| row.traffic_used).collect();
        let last_connected_at: Vec<_> = rows.iter().map(|row| naive(row.last_connected_at)).collect();
        let updated_at: Vec<_> = rows.iter().map(|row| naive(row.updated_at)).collect();
        self.client
            .execute(
                "INSERT INTO vpn_configs
                     (id, user_id, protocol, marzban_user_id, is_active, traffic_used, last_connected_at, updated_at,
                      panel, subscription_id)
                 SELECT id, user_id, 'vless', name, is_active, traffic_used, last_connected_at, updated_at, panel,
                     subscription_id
                 FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[], $5::bigint[], $6::timestamp[],
                     $7::timestamp[], $8::text[], $9::bigint[])
                     AS t (id, user_id, name, is_active, traffic_used, last_connected_at, updated_at, panel,
                           subscription_id)
                 ON CONFLICT (id) DO UPDATE SET
                     (panel, subscription_id, user_id, marzban_user_id, is_active, traffic_used, last_connected_at, updated_at)
                     = (excluded.panel, excluded.subscription_id, excluded.user_id, excluded.marzban_user_id, excluded.is_active, excluded.traffic_used,
                        excluded.last_connected_at, excluded.updated_at)",
                &[&ids, &users, &names, &is_active, &traffic_used, &last_connected_at, &updated_at, &panels, &subscriptions],
            )
            .await
            .unwrap();
    }
}

fn utc(column: Option<NaiveDateTime>) -> Option<DateTime<Utc>> {
    column.map(|column| column.and_utc())
}

fn naive(time: Option<DateTime<Utc>>) -> Option<NaiveDateTime> {
    time.map(|time| time.naive_utc())
}

marzban_sync_core::store_conformance!({
    let Some(bot) = Bot::for_laws().await else { return };
    bot
});
