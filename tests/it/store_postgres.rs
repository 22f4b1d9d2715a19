//! `PostgresStore` against a real server: the laws that every store obeys, and what is PostgreSQL's own.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::plan::Change;
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL, PostgresStore};
use marzban_sync_tests::TestDatabase;
use tokio_postgres::Client;

mod accounts;
mod agreements;
mod connect;
mod errors;
mod laws;
mod locks;
mod plans;
mod races;
mod schema;
mod unlinking;
mod writes;

/// A bot's database with the library's tables, a store in it, and a connection past the store.
pub(crate) struct Bot {
    client: Client,
    store: PostgresStore,
    database: TestDatabase,
}

impl Bot {
    async fn new() -> Option<Self> {
        let database = TestDatabase::new().await?;
        Some(Self::of(database).await)
    }

    async fn of(database: TestDatabase) -> Self {
        let pool = database.pool(10);
        Self::over(database, pool).await
    }

    async fn over(database: TestDatabase, pool: Pool<AsyncPgConnection>) -> Self {
        database.create_bot_schema().await;
        let store = PostgresStore::new(pool);
        store.migrate().await.unwrap();
        Self {
            client: database.connect().await,
            store,
            database,
        }
    }

    /// One whose database does not have the library's own tables.
    async fn before_migration() -> Option<Self> {
        let database = TestDatabase::new().await?;
        database.create_bot_schema().await;
        Some(Self {
            client: database.connect().await,
            store: PostgresStore::new(database.pool(2)),
            database,
        })
    }

    /// Runs SQL that needs no answer.
    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// One value that SQL computes, as text.
    async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// A fingerprint of all rows of the bot's tables, with where they lie: it differs as soon as a row was rewritten,
    /// though by the same values.
    async fn fingerprint(&self) -> String {
        self.text(
            "SELECT concat(
                 (SELECT md5(string_agg(concat(ctid, xmin, jsonb_strip_nulls(to_jsonb(t))), ',' ORDER BY id)) FROM users AS t),
                 (SELECT md5(string_agg(concat(ctid, xmin, jsonb_strip_nulls(to_jsonb(t))), ',' ORDER BY id)) FROM subscriptions AS t),
                 (SELECT md5(string_agg(concat(ctid, xmin, jsonb_strip_nulls(to_jsonb(t))), ',' ORDER BY id)) FROM vpn_configs AS t))",
        )
        .await
    }

    /// One customer with an active subscription until tomorrow and an account, all with the id 1.
    async fn with_one_account() -> Option<Self> {
        let bot = Self::new().await?;
        bot.sql(ONE_ACCOUNT).await;
        Some(bot)
    }

    async fn accounts(&self) -> Vec<Account> {
        let page = self.store.page_accounts(DEFAULT_PANEL, None, 1_000, now()).await;
        page.unwrap().accounts
    }

    async fn account(&self) -> Account {
        self.accounts().await.remove(0)
    }

    async fn apply(&self, changes: &[Change]) -> Vec<AccountId> {
        self.store
            .apply(DEFAULT_PANEL, None, changes, now())
            .await
            .unwrap()
    }
}

const ONE_ACCOUNT: &str = "
    INSERT INTO users (id, telegram_id, language, created_at) VALUES (1, 11111, 'fa', '2025-01-01');
    INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date)
    VALUES (1, 1, 7, 9.90, 'active', '2025-09-16 00:00:00');
    INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, traffic_used)
    VALUES (1, 1, 'vless', 'alice', true, 1000);";

/// So many customers, each with an active subscription and an account.
fn customers(count: u32) -> String {
    format!(
        "INSERT INTO users (id, telegram_id, language, created_at)
         SELECT n, 100000 + n, 'fa', '2025-01-01' FROM generate_series(1, {count}) AS n;
         INSERT INTO subscriptions (id, user_id, plan_id, price, status, end_date)
         SELECT n, n, 7, 9.90, 'active', '2025-09-16' FROM generate_series(1, {count}) AS n;
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, traffic_used)
         SELECT n, n, 'vless', 'user' || n, true, 1000 FROM generate_series(1, {count}) AS n;
         ANALYZE;"
    )
}

/// 2025-09-15 00:00:00 UTC.
fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_757_894_400)
}

/// What an expired panel user does to its account: destructive, and decided from the subscription.
fn expiry(account: &Account) -> Change {
    let mut change = Change::of(account);
    change.subscription.status = Some("expired".into());
    change.subscription.end_date = Some(EndDate::At(now()));
    change.vpn_config.is_active = Some(false);
    change
}

/// More traffic: a fact of the panel alone.
fn traffic(account: &Account, traffic: i64) -> Change {
    let mut change = Change::of(account);
    change.vpn_config.traffic_used = Some(traffic);
    change
}
