//! A bot's PostgreSQL database and a panel over HTTP: rows in as text, jobs over them, and every row out again.

use chrono::{DateTime, NaiveDateTime, Utc};
use marzban_api::testing::{FakePanel, FakeUser};
use marzban_sync_core::Context;
use marzban_sync_core::clock::Clock as _;
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_core::testing::ManualClock;
use marzban_sync_tests::{TestDatabase, client};

/// The three tables that are the bot's own.
pub(crate) const TABLES: [&str; 3] = ["users", "subscriptions", "vpn_configs"];

/// A moment of UTC, as `2025-09-15 12:00:00`.
#[track_caller]
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .unwrap()
        .and_utc()
}

/// The same moment as the panel counts it, in seconds.
#[track_caller]
pub(crate) fn epoch(text: &str) -> i64 {
    at(text).timestamp()
}

/// The present of the jobs, unless a test moves it.
pub(crate) fn now() -> DateTime<Utc> {
    at("2025-09-10 12:00:00")
}

/// The bot: a database of an eastern time zone whose tables have columns that the library does not know.
pub(crate) struct Bot {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) clock: ManualClock,
    pub(crate) panel: FakePanel,
    pub(crate) database: TestDatabase,
}

impl Bot {
    /// An empty one; none where there is no PostgreSQL.
    pub(crate) async fn new() -> Option<Self> {
        let bot = Self::before_migration().await?;
        bot.store().await.migrate().await.unwrap();
        Some(bot)
    }

    /// One whose database does not have the library's own tables.
    pub(crate) async fn before_migration() -> Option<Self> {
        let database = TestDatabase::new().await?.in_time_zone("Asia/Tehran").await;
        database.create_bot_schema().await;
        let (client, panel) = (database.connect().await, FakePanel::start().await);
        panel.set_now(now());
        Some(Self {
            client,
            clock: ManualClock::new(now()),
            panel,
            database,
        })
    }

    /// A store with connections of its own, as every process has one.
    pub(crate) async fn store(&self) -> PostgresStore {
        PostgresStore::connect(self.database.url()).await.unwrap()
    }

    /// What runs jobs as the panel's sudo admin.
    pub(crate) async fn context(&self) -> Context {
        self.context_as("admin", "admin").await.build()
    }

    /// What runs jobs as some admin of the panel, without a pause between requests and with short ones between tries.
    pub(crate) async fn context_as(&self, username: &str, password: &str) -> ContextBuilder {
        self.context_of(username, password, self.store().await)
    }

    /// What runs jobs as the panel's sudo admin over some store.
    pub(crate) fn context_with(&self, store: PostgresStore) -> ContextBuilder {
        self.context_of("admin", "admin", store)
    }

    fn context_of(&self, username: &str, password: &str, store: PostgresStore) -> ContextBuilder {
        let client = client(&self.panel.url(), username, password);
        Context::builder(MarzbanPanel::new(client), store).clock(self.clock.clone())
    }

    /// Sets the bot's clock and the panel's.
    pub(crate) fn set_now(&self, now: DateTime<Utc>) {
        self.clock.set(now);
        self.panel.set_now(now);
    }

    /// As if the subscriptions had been synced just now, without which nothing is cleaned up.
    pub(crate) async fn has_synced(&self) {
        let now = self.clock.now().to_rfc3339();
        let sql = format!(
            "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
             VALUES ('sync_subscriptions_from_marzban', 'default', '{now}', '{now}', 'completed', '{{}}')"
        );
        self.sql(&sql).await;
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// One value that SQL computes, as text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Puts rows into a table: one a line, its columns parted by `|`, null as `-`.
    pub(crate) async fn insert(&self, table: &str, rows: &str) {
        for row in lines(rows) {
            let values = row.split(" | ").map(|value| match value {
                "-" => "NULL".to_owned(),
                value => format!("'{value}'"),
            });
            let values = values.collect::<Vec<_>>().join(", ");
            self.sql(&format!("INSERT INTO {table} VALUES ({values})")).await;
        }
    }

    /// A customer with one subscription that began a month ago, and one account; all have the same id.
    pub(crate) async fn add(&self, id: i64, name: &str, status: &str, end_date: &str, is_active: bool) {
        let telegram_id = 10_000 + id;
        self.insert(
            "users",
            &format!("{id} | {telegram_id} | fa | 2025-01-01 00:00:00"),
        )
        .await;
        let subscription =
            format!("{id} | {id} | 3 | 4.99 | {status} | 2025-08-10 00:00:00 | {end_date} | -");
        self.insert("subscriptions", &subscription).await;
        self.insert(
            "vpn_configs",
            &format!("{id} | {id} | vless | {name} | {is_active} | 0 | - | -"),
        )
        .await;
    }

    /// Customers `user1`, `user2`, … with access until the end of the month, who are in line with the panel but for
    /// their traffic.
    pub(crate) async fn add_in_line(&self, count: i64) {
        for id in 1..=count {
            let name = format!("user{id}");
            self.add(id, &name, "active", "2025-09-30 00:00:00", true).await;
            let user = FakeUser::new(name)
                .owner(Some("seller"))
                .expire(epoch("2025-09-30 00:00:00"));
            self.panel.insert_user(user.used_traffic(1_000 + id));
        }
    }

    /// All rows of a table with all the bot's columns, in the form of [`insert`](Self::insert).
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        let sql = format!("SELECT translate(t::text, '()\"', '') FROM {table} AS t ORDER BY id");
        let rows = self.client.query(&sql, &[]).await.unwrap();
        let row = |row: &tokio_postgres::Row| {
            let columns = row.get::<_, String>(0);
            // The last one of `vpn_configs` is the panel, which `migrate` added, and of which a bot with one panel
            // knows nothing.
            normal(
                columns
                    .strip_suffix(',')
                    .filter(|_| table == "vpn_configs")
                    .unwrap_or(&columns),
                ',',
            )
        };
        rows.iter().map(row).collect()
    }

    /// All rows of the bot's tables.
    pub(crate) async fn all_rows(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in TABLES {
            all.extend(self.rows(table).await);
        }
        all
    }

    /// Where the rows of the bot's tables lie, and which transaction wrote them: it differs as soon as one was
    /// rewritten, though by the same values.
    pub(crate) async fn places(&self) -> Vec<String> {
        let mut all = Vec::new();
        for table in TABLES {
            let sql = format!("SELECT concat_ws(' ', '{table}', id, ctid, xmin) FROM {table} ORDER BY id");
            let rows = self.client.query(&sql, &[]).await.unwrap();
            all.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        all
    }

    /// Asserts that a table has these rows and no others.
    pub(crate) async fn assert_rows(&self, table: &str, expected: &str) {
        assert_same(&self.rows(table).await, &lines(expected));
    }
}

/// Names the first row that differs, rather than showing two whole tables.
#[track_caller]
pub(crate) fn assert_same(found: &[String], expected: &[String]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "so many rows");
}

fn lines(table: &str) -> Vec<String> {
    table
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| normal(line, '|'))
        .collect()
}

fn normal(row: &str, separator: char) -> String {
    let columns = row.split(separator).map(|value| match value.trim() {
        "" => "-",
        value => value,
    });
    columns.collect::<Vec<_>>().join(" | ")
}
