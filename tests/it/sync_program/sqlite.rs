//! A small bot's SQLite file.

use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use tempfile::TempDir;

use super::{CUSTOMERS, Customer, day};

const SCHEMA: &str = "
    CREATE TABLE users (id INTEGER PRIMARY KEY, telegram_id BIGINT UNIQUE, language VARCHAR(8) NOT NULL);
    CREATE TABLE subscriptions (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), plan_id INTEGER NOT NULL,
        status VARCHAR(20) NOT NULL, start_date TIMESTAMP, end_date TIMESTAMP, updated_at TIMESTAMP
    );
    CREATE TABLE vpn_configs (
        id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), protocol VARCHAR(20) NOT NULL,
        marzban_user_id VARCHAR(255) UNIQUE, is_active BOOLEAN, traffic_used BIGINT,
        last_connected_at TIMESTAMP, updated_at TIMESTAMP
    );
";

/// Every row with all its columns, without the time of its change, which is the process's.
const ROWS: &str = "
    SELECT concat_ws('|', 'user', id, telegram_id, language) AS line FROM users
    UNION ALL
    SELECT concat_ws('|', 'subscription', id, user_id, plan_id, status, datetime(end_date), updated_at IS NOT NULL)
    FROM subscriptions
    UNION ALL
    SELECT concat_ws('|', 'config', id, user_id, protocol, coalesce(marzban_user_id, '-'), is_active, traffic_used,
        updated_at IS NOT NULL) FROM vpn_configs";

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The file, with the bot's tables and customers in it, and without the library's own tables.
pub(super) struct SqliteBot {
    path: PathBuf,
    _folder: TempDir,
}

impl SqliteBot {
    pub(super) fn new() -> Self {
        let bot = Self::empty();
        for customer in CUSTOMERS {
            bot.add(customer);
        }
        bot
    }

    /// The same without customers.
    pub(super) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bot = Self {
            path: folder.path().join("bot.sqlite3"),
            _folder: folder,
        };
        bot.execute(SCHEMA);
        bot
    }

    /// One more customer, also after the migration.
    pub(super) fn add(&self, (id, name, status, days, is_active): Customer<'_>) {
        let (telegram_id, end_date) = (10_000 + id, day(days).format("%Y-%m-%d %H:%M:%S"));
        self.execute(&format!(
            "INSERT INTO users VALUES ({id}, {telegram_id}, 'fa');
             INSERT INTO subscriptions VALUES ({id}, {id}, 3, '{status}', NULL, '{end_date}', NULL);
             INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, traffic_used)
                 VALUES ({id}, {id}, 'vless', '{name}', {is_active}, 0)"
        ));
    }

    pub(super) fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn execute(&self, sql: &str) {
        self.connect().batch_execute(sql).unwrap();
    }

    pub(super) fn rows(&self) -> Vec<String> {
        self.lines(ROWS)
    }

    /// What a query calls `line`.
    pub(super) fn lines(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Line> = diesel::sql_query(sql).load(&mut self.connect()).unwrap();
        rows.into_iter().map(|row| row.line).collect()
    }

    fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(&self.path.to_string_lossy()).unwrap()
    }
}
