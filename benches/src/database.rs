//! A bot's database with so many customers, each of whom has one account and one subscription, all in line with the
//! canned panel.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use marzban_sync_core::store::{PostgresStore, SqliteStore};
use marzban_sync_tests::TestDatabase;
use tempfile::TempDir;

/// The present of all measurements: the canned panel's users have access for some years from here.
pub const NOW: DateTime<Utc> = DateTime::from_timestamp(1_757_000_000, 0).expect("a moment of 2025");

/// The bot's tables as Python's `SQLAlchemy` makes them.
const SQLITE_TABLES: &str = "
    CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, telegram_id BIGINT UNIQUE);
    CREATE TABLE subscriptions (
        id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), status VARCHAR(20) NOT NULL,
        start_date DATETIME, end_date DATETIME, updated_at DATETIME
    );
    CREATE INDEX subscriptions_user_id ON subscriptions (user_id);
    CREATE TABLE vpn_configs (
        id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id),
        marzban_user_id VARCHAR(255) UNIQUE, is_active BOOLEAN, traffic_used BIGINT, last_connected_at DATETIME,
        updated_at DATETIME
    );
    CREATE INDEX vpn_configs_user_id ON vpn_configs (user_id);";

/// A PostgreSQL database on a throwaway server, or on that of `TEST_DATABASE_URL`.
#[derive(Debug)]
pub struct Postgres {
    /// The store under measurement.
    pub store: PostgresStore,
    /// A connection of its own.
    pub client: tokio_postgres::Client,
    // Dropped last, when nobody is connected.
    database: TestDatabase,
}

impl Postgres {
    /// One with so many customers; none where there is no PostgreSQL.
    ///
    /// # Panics
    /// When the server does not do as it should.
    pub async fn with(customers: u64) -> Option<Self> {
        Some(Self::fill(TestDatabase::new().await?, customers).await)
    }

    /// One with so many customers, in a database of its own on this server.
    ///
    /// # Errors
    /// When there is no such server, or it does not let its user create databases.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub async fn on(server: &str, customers: u64) -> Result<Self, tokio_postgres::Error> {
        Ok(Self::fill(TestDatabase::on(server).await?, customers).await)
    }

    async fn fill(database: TestDatabase, customers: u64) -> Self {
        database.create_bot_schema().await;
        let store = PostgresStore::connect(database.url())
            .await
            .expect("the server answers");
        store.migrate().await.expect("the bot's tables are there");
        let client = database.connect().await;
        client
            .batch_execute(&format!(
                "INSERT INTO users SELECT n, 1000000 + n, 'fa', '2024-01-01' FROM generate_series(1, {customers}) AS n;
                 INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', '2025-01-01', '2030-01-01', NULL
                     FROM generate_series(1, {customers}) AS n;
                 INSERT INTO vpn_configs SELECT n, n, 'vless', 'user_' || lpad(n::text, 7, '0'), true, n::bigint * 1000,
                         '2025-09-01 10:00:00.25', NULL
                     FROM generate_series(1, {customers}) AS n;
                 ANALYZE"
            ))
            .await
            .expect("rows can be put in");
        Self {
            store,
            client,
            database,
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.database.url()
    }

    /// How many rows of the bot's tables have been updated since they were put in.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn written(&self) -> i64 {
        let sql = "SELECT count(*) FROM vpn_configs WHERE updated_at IS NOT NULL";
        self.client
            .query_one(sql, &[])
            .await
            .expect("rows can be counted")
            .get(0)
    }
}

/// An `SQLite` database in a file.
#[derive(Debug)]
pub struct Sqlite {
    /// The store under measurement.
    pub store: SqliteStore,
    folder: TempDir,
}

impl Sqlite {
    /// One with so many customers.
    ///
    /// # Panics
    /// When there is no room for it.
    pub async fn with(customers: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("bot.db").display().to_string();
        let mut connection = SqliteConnection::establish(&path).expect("a database can be made");
        let fill = format!(
            "{SQLITE_TABLES}
             PRAGMA journal_mode = WAL;
             CREATE TEMP TABLE n AS
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {customers}) SELECT n FROM n;
             BEGIN;
             INSERT INTO users SELECT n, 1000000 + n FROM n;
             INSERT INTO subscriptions SELECT n, n, 'active', '2025-01-01 00:00:00', '2030-01-01 00:00:00', NULL FROM n;
             INSERT INTO vpn_configs
                 SELECT n, n, printf('user_%07d', n), 1, n * 1000, '2025-09-01 10:00:00.250000', NULL FROM n;
             COMMIT;
             ANALYZE"
        );
        connection.batch_execute(&fill).expect("rows can be put in");
        let store = SqliteStore::connect(&path)
            .await
            .expect("the database can be opened");
        store.migrate().await.expect("the bot's tables are there");
        Self { store, folder }
    }

    /// A connection of the bot's own.
    ///
    /// # Panics
    /// When the file cannot be opened.
    #[must_use]
    pub fn bot(&self) -> SqliteConnection {
        let path = self.folder.path().join("bot.db").display().to_string();
        let mut connection = SqliteConnection::establish(&path).expect("the database can be opened");
        connection
            .batch_execute("PRAGMA busy_timeout = 5000")
            .expect("a connection can be set up");
        connection
    }
}
