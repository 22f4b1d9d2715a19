//! The bot's own tables, in PostgreSQL or SQLite, as the bot reads and writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

/// The bot's tables, in words that both databases understand.
const SCHEMA: &str = "
    CREATE TABLE users (id integer PRIMARY KEY, telegram_id bigint UNIQUE);
    CREATE TABLE subscriptions (
        id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), status varchar(20) NOT NULL,
        start_date timestamp, end_date timestamp, updated_at timestamp
    );
    CREATE TABLE vpn_configs (
        id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id),
        subscription_id integer REFERENCES subscriptions (id), panel varchar(64), marzban_user_id varchar(255),
        is_active boolean, traffic_used bigint, last_connected_at timestamp, updated_at timestamp
    );";

/// Every column of every row that a job may write, and every agreement, as text.
const ROWS: &str = "
    SELECT 'subscription ' || CAST(id AS text) || ' ' || status || ' ' || coalesce(CAST(end_date AS text), '-') ||
        ' ' || coalesce(CAST(updated_at AS text), '-') AS text
    FROM subscriptions
    UNION ALL
    SELECT 'account ' || CAST(id AS text) || ' ' || coalesce(marzban_user_id, '-') ||
        ' ' || coalesce(CAST(is_active AS text), '-') || ' ' || coalesce(CAST(traffic_used AS text), '-') ||
        ' ' || coalesce(CAST(last_connected_at AS text), '-') || ' ' || coalesce(CAST(updated_at AS text), '-')
    FROM vpn_configs
    UNION ALL
    SELECT 'agreement ' || panel || ' ' || username || ' ' || CAST(revision AS text) FROM marzban_sync_agreements
    ORDER BY 1";

/// A connection of the bot's, past all that is tested.
#[derive(Clone)]
pub(super) enum Tables {
    Postgres(Arc<tokio_postgres::Client>),
    Sqlite(PathBuf),
}

impl Tables {
    pub(super) async fn create(&self) {
        self.sql(SCHEMA).await;
    }

    pub(super) async fn sql(&self, sql: &str) {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await.unwrap(),
            Self::Sqlite(path) => sqlite(path).batch_execute(sql).unwrap(),
        }
    }

    /// One text column of every row.
    pub(super) async fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Postgres(client) => {
                let rows = client.query(sql, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Self::Sqlite(path) => {
                #[derive(QueryableByName)]
                struct Row {
                    #[diesel(sql_type = Text)]
                    text: String,
                }
                let query = sql_query(format!("SELECT * FROM ({sql}) AS t"));
                let rows: Vec<Row> = query.load(&mut sqlite(path)).unwrap();
                rows.into_iter().map(|row| row.text).collect()
            }
        }
    }

    /// Everything that a job may write.
    pub(super) async fn rows(&self) -> Vec<String> {
        self.texts(ROWS).await
    }
}

fn sqlite(path: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    connection
        .batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON")
        .unwrap();
    connection
}
