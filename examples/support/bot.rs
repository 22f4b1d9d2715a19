//! A bot's database in an SQLite file, as the bot itself would create it, for the examples.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamp};

const SCHEMA: &str = "
    CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        telegram_id BIGINT NOT NULL UNIQUE
    );
    CREATE TABLE subscriptions (
        id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id),
        status VARCHAR(20) NOT NULL,
        start_date TIMESTAMP,
        end_date TIMESTAMP,
        updated_at TIMESTAMP
    );
    CREATE TABLE vpn_configs (
        id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id),
        marzban_user_id VARCHAR(255) UNIQUE,
        is_active BOOLEAN NOT NULL,
        traffic_used BIGINT NOT NULL DEFAULT 0,
        last_connected_at TIMESTAMP,
        updated_at TIMESTAMP
    );
";

const ROWS: &str = "
    SELECT u.telegram_id, c.marzban_user_id, s.status, s.end_date, c.is_active, c.traffic_used, c.last_connected_at
    FROM users u JOIN subscriptions s ON s.user_id = u.id JOIN vpn_configs c ON c.user_id = u.id
    ORDER BY u.id";

/// A customer in the bot's database.
#[derive(Clone, Debug)]
pub struct Customer {
    /// The name of the panel user.
    pub name: String,
    /// The subscription's status.
    pub status: String,
    /// When the subscription ends.
    pub end_date: DateTime<Utc>,
    /// Whether access is marked on.
    pub is_active: bool,
}

/// What the three tables hold of one customer.
#[derive(Debug, QueryableByName)]
pub struct Row {
    /// `users.telegram_id`.
    #[diesel(sql_type = BigInt)]
    pub telegram_id: i64,
    /// `vpn_configs.marzban_user_id`; none after a cleanup.
    #[diesel(sql_type = Nullable<Text>)]
    pub marzban_user_id: Option<String>,
    /// `subscriptions.status`.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// `subscriptions.end_date`, UTC.
    #[diesel(sql_type = Nullable<Timestamp>)]
    pub end_date: Option<NaiveDateTime>,
    /// `vpn_configs.is_active`.
    #[diesel(sql_type = Bool)]
    pub is_active: bool,
    /// `vpn_configs.traffic_used`, in bytes.
    #[diesel(sql_type = BigInt)]
    pub traffic_used: i64,
    /// `vpn_configs.last_connected_at`, UTC.
    #[diesel(sql_type = Nullable<Timestamp>)]
    pub last_connected_at: Option<NaiveDateTime>,
}

impl Row {
    /// The names of the columns.
    pub const COLUMNS: [&str; 7] = [
        "telegram_id",
        "marzban_user_id",
        "status",
        "end_date",
        "is_active",
        "traffic_used",
        "last_connected_at",
    ];

    /// The values, as a table shows them.
    #[must_use]
    pub fn columns(&self) -> [String; 7] {
        let time = |time: Option<NaiveDateTime>, format: &str| {
            time.map_or_else(|| "-".to_owned(), |time| time.format(format).to_string())
        };
        [
            self.telegram_id.to_string(),
            self.marzban_user_id.clone().unwrap_or_else(|| "-".to_owned()),
            self.status.clone(),
            time(self.end_date, "%Y-%m-%d"),
            if self.is_active { "yes" } else { "no" }.to_owned(),
            self.traffic_used.to_string(),
            time(self.last_connected_at, "%Y-%m-%d %H:%M"),
        ]
    }
}

/// The bot's database.
#[derive(Clone, Debug)]
pub struct Bot {
    path: PathBuf,
}

impl Bot {
    /// Makes the file with the bot's tables and its customers in it.
    ///
    /// # Errors
    /// When the file cannot be written, or exists.
    pub fn create(path: &Path, customers: &[Customer]) -> anyhow::Result<Self> {
        let bot = Self {
            path: path.to_owned(),
        };
        // One transaction, as each of its own would wait for the disk.
        bot.connect()?.transaction(|connection| {
            connection.batch_execute(SCHEMA)?;
            (1_i64..)
                .zip(customers)
                .try_for_each(|(number, customer)| insert(connection, number, customer))
        })?;
        Ok(bot)
    }

    /// Returns the URL for a store.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    /// All customers, as the database has them now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rows(&self) -> anyhow::Result<Vec<Row>> {
        Ok(diesel::sql_query(ROWS).load(&mut self.connect()?)?)
    }

    /// Sets a customer's panel; the column exists once the library has migrated.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn assign_panel(&self, name: &str, panel: &str) -> anyhow::Result<()> {
        diesel::sql_query("UPDATE vpn_configs SET panel = ? WHERE marzban_user_id = ?")
            .bind::<Text, _>(panel)
            .bind::<Text, _>(name)
            .execute(&mut self.connect()?)?;
        Ok(())
    }

    fn connect(&self) -> anyhow::Result<SqliteConnection> {
        Ok(SqliteConnection::establish(&self.path.to_string_lossy())?)
    }
}

fn insert(connection: &mut SqliteConnection, number: i64, customer: &Customer) -> anyhow::Result<()> {
    diesel::sql_query("INSERT INTO users (id, telegram_id) VALUES (?, ?)")
        .bind::<BigInt, _>(number)
        .bind::<BigInt, _>(10_000 + number)
        .execute(connection)?;
    diesel::sql_query("INSERT INTO subscriptions (user_id, status, end_date) VALUES (?, ?, ?)")
        .bind::<BigInt, _>(number)
        .bind::<Text, _>(&customer.status)
        .bind::<Timestamp, _>(customer.end_date.naive_utc())
        .execute(connection)?;
    diesel::sql_query("INSERT INTO vpn_configs (user_id, marzban_user_id, is_active) VALUES (?, ?, ?)")
        .bind::<BigInt, _>(number)
        .bind::<Text, _>(&customer.name)
        .bind::<Bool, _>(customer.is_active)
        .execute(connection)?;
    Ok(())
}
