//! A bot's SQLite file, whose tables have columns that the library knows nothing of.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use marzban_sync_core::account::{AccountId, SubscriptionId, UserId};
use marzban_sync_core::store::{
    AccountStore, Journal, MemorySubscription, MemoryUser, MemoryVpnConfig, SqliteStore,
};
use marzban_sync_core::testing::conformance::store::{Bot, Fixture};
use tempfile::TempDir;

/// The bot's tables as Python's `SQLAlchemy` makes them, with columns that the library knows nothing of.
pub(crate) const TABLES: &str = "
    CREATE TABLE users (
        id INTEGER NOT NULL PRIMARY KEY,
        telegram_id BIGINT UNIQUE,
        language VARCHAR(8) NOT NULL DEFAULT 'en'
    );
    CREATE TABLE subscriptions (
        id INTEGER NOT NULL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id),
        plan_id INTEGER NOT NULL DEFAULT 3,
        status VARCHAR(20) NOT NULL,
        start_date DATETIME,
        end_date DATETIME,
        updated_at DATETIME
    );
    CREATE TABLE vpn_configs (
        id INTEGER NOT NULL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id),
        protocol VARCHAR(20) NOT NULL DEFAULT 'vless',
        marzban_user_id VARCHAR(255),
        subscription_id INTEGER REFERENCES subscriptions (id),
        is_active BOOLEAN,
        traffic_used BIGINT,
        last_connected_at DATETIME,
        updated_at DATETIME
    );";

/// A database in a file of its own, and a way around the store to it.
pub(crate) struct Sqlite {
    pub(crate) folder: TempDir,
    pub(crate) store: SqliteStore,
}

impl Sqlite {
    /// A migrated database with the bot's tables and no rows.
    pub(crate) async fn fresh() -> Self {
        let sqlite = Self::with_tables(TABLES).await;
        sqlite.store.migrate().await.unwrap();
        sqlite
    }

    pub(crate) async fn with_tables(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.db");
        SqliteConnection::establish(path.to_str().unwrap())
            .unwrap()
            .batch_execute(tables)
            .unwrap();
        let store = SqliteStore::connect(path.to_str().unwrap()).await.unwrap();
        Self { folder, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bot.db")
    }

    /// A connection of the bot's own.
    pub(crate) fn bot(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(self.path().to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
        connection
    }
}

#[async_trait]
impl Fixture for Sqlite {
    fn store(&self) -> Arc<dyn AccountStore> {
        Arc::new(self.store.clone())
    }

    async fn insert(&self, bot: &Bot) {
        let insert = |connection: &mut SqliteConnection| {
            for row in &bot.users {
                sql_query(
                    "INSERT INTO users (id, telegram_id) VALUES (?, ?)
                     ON CONFLICT (id) DO UPDATE SET telegram_id = excluded.telegram_id",
                )
                .bind::<BigInt, _>(row.id.0)
                .bind::<Nullable<BigInt>, _>(row.telegram_id)
                .execute(connection)?;
            }
            for row in &bot.subscriptions {
                sql_query("INSERT OR REPLACE INTO subscriptions (id, user_id, status, start_date, end_date, updated_at) VALUES (?, ?, ?, ?, ?, ?)")
                    .bind::<BigInt, _>(row.id.0)
                    .bind::<BigInt, _>(row.user_id.0)
                    .bind::<Text, _>(row.status.as_str())
                    .bind::<Nullable<Text>, _>(row.start_date.map(written))
                    .bind::<Nullable<Text>, _>(row.end_date.map(written))
                    .bind::<Nullable<Text>, _>(row.updated_at.map(written))
                    .execute(connection)?;
            }
            for row in &bot.vpn_configs {
                sql_query("INSERT OR REPLACE INTO vpn_configs (id, user_id, panel, subscription_id, marzban_user_id, is_active, traffic_used, last_connected_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
                    .bind::<BigInt, _>(row.id.0)
                    .bind::<BigInt, _>(row.user_id.0)
                    .bind::<Nullable<Text>, _>(row.panel.as_deref())
                    .bind::<Nullable<BigInt>, _>(row.subscription_id.map(|id| id.0))
                    .bind::<Nullable<Text>, _>(row.marzban_user_id.as_deref())
                    .bind::<Nullable<Bool>, _>(row.is_active)
                    .bind::<Nullable<BigInt>, _>(row.traffic_used)
                    .bind::<Nullable<Text>, _>(row.last_connected_at.map(written))
                    .bind::<Nullable<Text>, _>(row.updated_at.map(written))
                    .execute(connection)?;
            }
            diesel::QueryResult::Ok(())
        };
        self.bot().immediate_transaction(insert).unwrap();
    }

    async fn rows(&self) -> Bot {
        let connection = &mut self.bot();
        let users: Vec<UserRow> = sql_query("SELECT * FROM users ORDER BY id")
            .load(connection)
            .unwrap();
        let subscriptions: Vec<SubscriptionRow> = sql_query("SELECT * FROM subscriptions ORDER BY id")
            .load(connection)
            .unwrap();
        let vpn_configs: Vec<VpnConfigRow> = sql_query("SELECT * FROM vpn_configs ORDER BY id")
            .load(connection)
            .unwrap();
        Bot {
            users: users.into_iter().map(UserRow::neutral).collect(),
            subscriptions: subscriptions.into_iter().map(SubscriptionRow::neutral).collect(),
            vpn_configs: vpn_configs.into_iter().map(VpnConfigRow::neutral).collect(),
        }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.store.clone())
    }
}

/// A time as `SQLAlchemy` writes it, which always has the fraction.
fn written(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// A time as `SQLAlchemy` reads it: nothing but this form.
pub(crate) fn read(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .unwrap()
        .and_utc()
}

#[derive(QueryableByName)]
struct UserRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    telegram_id: Option<i64>,
}

impl UserRow {
    fn neutral(self) -> MemoryUser {
        MemoryUser {
            id: UserId(self.id),
            telegram_id: self.telegram_id,
        }
    }
}

#[derive(QueryableByName)]
struct SubscriptionRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    start_date: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    end_date: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    updated_at: Option<String>,
}

impl SubscriptionRow {
    fn neutral(self) -> MemorySubscription {
        MemorySubscription {
            id: SubscriptionId(self.id),
            user_id: UserId(self.user_id),
            status: MemorySubscription::spelled(&self.status),
            start_date: self.start_date.as_deref().map(read),
            end_date: self.end_date.as_deref().map(read),
            updated_at: self.updated_at.as_deref().map(read),
        }
    }
}

#[derive(QueryableByName)]
pub(crate) struct VpnConfigRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    panel: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    subscription_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    marzban_user_id: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_active: Option<bool>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) traffic_used: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    last_connected_at: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    updated_at: Option<String>,
}

impl VpnConfigRow {
    fn neutral(self) -> MemoryVpnConfig {
        MemoryVpnConfig {
            id: AccountId(self.id),
            user_id: UserId(self.user_id),
            panel: self.panel,
            subscription_id: self.subscription_id.map(SubscriptionId),
            marzban_user_id: self.marzban_user_id,
            is_active: self.is_active,
            traffic_used: self.traffic_used,
            last_connected_at: self.last_connected_at.as_deref().map(read),
            updated_at: self.updated_at.as_deref().map(read),
        }
    }
}
