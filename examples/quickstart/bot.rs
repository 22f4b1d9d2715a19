//! The bot's side: its tables, as a bot of its own would have made them.

use std::path::Path;

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

/// A customer, as the bot believes.
pub(crate) struct Customer {
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) end_date: DateTime<Utc>,
    pub(crate) is_active: bool,
}

/// What the three tables hold of one customer.
#[derive(Debug, QueryableByName)]
pub(crate) struct Row {
    #[diesel(sql_type = BigInt)]
    telegram_id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    marzban_user_id: Option<String>,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Timestamp>)]
    end_date: Option<NaiveDateTime>,
    #[diesel(sql_type = Bool)]
    is_active: bool,
    #[diesel(sql_type = BigInt)]
    traffic_used: i64,
    #[diesel(sql_type = Nullable<Timestamp>)]
    last_connected_at: Option<NaiveDateTime>,
}

impl Row {
    pub(crate) const COLUMNS: [&str; 7] = [
        "telegram_id",
        "marzban_user_id",
        "status",
        "end_date",
        "is_active",
        "traffic_used",
        "last_connected_at",
    ];

    pub(crate) fn columns(&self) -> [String; 7] {
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

/// Makes the bot's tables, with its customers in them.
pub(crate) fn create(path: &Path, customers: &[Customer]) -> anyhow::Result<()> {
    let mut connection = connect(path)?;
    connection.batch_execute(SCHEMA)?;
    for (number, customer) in (1_i64..).zip(customers) {
        diesel::sql_query("INSERT INTO users (id, telegram_id) VALUES (?, ?)")
            .bind::<BigInt, _>(number)
            .bind::<BigInt, _>(10_000 + number)
            .execute(&mut connection)?;
        diesel::sql_query("INSERT INTO subscriptions (user_id, status, end_date) VALUES (?, ?, ?)")
            .bind::<BigInt, _>(number)
            .bind::<Text, _>(&customer.status)
            .bind::<Timestamp, _>(customer.end_date.naive_utc())
            .execute(&mut connection)?;
        diesel::sql_query("INSERT INTO vpn_configs (user_id, marzban_user_id, is_active) VALUES (?, ?, ?)")
            .bind::<BigInt, _>(number)
            .bind::<Text, _>(&customer.name)
            .bind::<Bool, _>(customer.is_active)
            .execute(&mut connection)?;
    }
    Ok(())
}

/// All customers, as the database has them now.
pub(crate) fn rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    Ok(diesel::sql_query(ROWS).load(&mut connect(path)?)?)
}

fn connect(path: &Path) -> anyhow::Result<SqliteConnection> {
    Ok(SqliteConnection::establish(&path.to_string_lossy())?)
}
