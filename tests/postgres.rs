//! A PostgreSQL database for one test.

use std::env;
use std::io::{self, Write};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use diesel::connection::InstrumentationEvent;
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, PoolError};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::{Client, NoTls};

mod cluster;

/// The tables of a bot, with the columns that the library knows and some that it does not.
const BOT_SCHEMA: &str = include_str!("postgres/bot_schema.sql");

/// A fresh, empty database, which is dropped with this value.
///
/// It lies on the server of `TEST_DATABASE_URL`, which must let its user create databases, or else in a throwaway
/// cluster of this process, made from the server programs that are installed: those of `PG_BINDIR`, or the newest
/// below `/usr/lib/postgresql`, or what `pg_config` or `PATH` leads to. The cluster is gone soon after the process
/// is, however that ends.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    server: String,
}

impl TestDatabase {
    /// Creates a database; none where there is no PostgreSQL at all, which is said on standard error.
    ///
    /// # Panics
    /// When there is a server that does not work, or none although `REQUIRE_POSTGRES` is `1`.
    pub async fn new() -> Option<Self> {
        let server = server()?;
        match Self::on(server).await {
            Ok(database) => Some(database),
            Err(error) => panic!("no database can be created: {error:?}"),
        }
    }

    /// Creates a database on this server, whatever databases it has.
    ///
    /// # Errors
    /// When there is no such server, or it does not let its user create databases.
    pub async fn on(server: &str) -> Result<Self, tokio_postgres::Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "marzban_sync_test_{}_{number}_{:08x}",
            process::id(),
            fastrand::u32(..)
        );
        let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        Ok(Self {
            url: with_database(server, &name),
            name,
            server: server.to_owned(),
        })
    }

    /// The same database, whose sessions begin in another time zone, such as `Asia/Tehran`.
    ///
    /// # Panics
    /// When the server does not know the time zone.
    pub async fn in_time_zone(self, zone: &str) -> Self {
        execute(
            &self.server,
            &format!("ALTER DATABASE {} SET TimeZone = '{zone}'", self.name),
        )
        .await;
        self
    }

    /// Creates the bot's tables, with NOT NULL columns, keys and indexes that the library knows nothing of.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn create_bot_schema(&self) {
        execute(&self.url, BOT_SCHEMA).await;
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool as a bot has one, of up to so many connections.
    ///
    /// # Panics
    /// Never, unless the pool's own checks change.
    #[must_use]
    pub fn pool(&self, max_size: usize) -> Pool<AsyncPgConnection> {
        self.pool_with(max_size, |_statement| {})
    }

    /// A pool that calls this function with every statement before it is sent, to count or to delay it.
    ///
    /// Its sessions are in the time zone of the database, as those of other drivers are.
    ///
    /// # Panics
    /// Never, unless the pool's own checks change.
    #[must_use]
    pub fn pool_with<F>(&self, max_size: usize, on_statement: F) -> Pool<AsyncPgConnection>
    where
        F: Fn(&str) + Clone + Send + Sync + 'static,
    {
        Self::pool_at(&self.url, max_size, on_statement)
    }

    /// The same at another URL, such as that of a [`Proxy`](crate::Proxy).
    ///
    /// # Panics
    /// Never, unless the pool's own checks change.
    #[must_use]
    pub fn pool_at<F>(url: &str, max_size: usize, on_statement: F) -> Pool<AsyncPgConnection>
    where
        F: Fn(&str) + Clone + Send + Sync + 'static,
    {
        let manager = AsyncDieselConnectionManager::new(url);
        let set_up = Hook::async_fn(move |connection: &mut AsyncPgConnection, _| {
            let on_statement = on_statement.clone();
            Box::pin(async move {
                let reset = connection.batch_execute("RESET TIME ZONE").await;
                reset.map_err(|error| HookError::Backend(PoolError::QueryError(error)))?;
                connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                    if let InstrumentationEvent::StartQuery { query, .. } = event {
                        on_statement(&query.to_string());
                    }
                });
                Ok(())
            })
        });
        let builder = Pool::builder(manager).max_size(max_size).post_create(set_up);
        builder
            .build()
            .expect("a pool without time-outs needs no runtime")
    }

    /// A connection past all that is tested, to put rows in and to look at them.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, drop) = (
            self.server.clone(),
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        );
        // On a thread of its own, since a runtime of the test's kind cannot be blocked on from within.
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime starts")
                .block_on(execute(&server, &drop));
        })
        .join();
        assert!(
            dropped.is_ok() || thread::panicking(),
            "cannot drop the database {}",
            self.name
        );
    }
}

/// The URL of the server, found or started once for the process.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<String>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            variable("TEST_DATABASE_URL")
                .or_else(cluster::start)
                .or_else(skip)
        })
        .as_deref()
}

/// Says once, past the capture of the test harness, that the tests are skipped.
fn skip() -> Option<String> {
    let advice = "install a PostgreSQL server (apt-get install postgresql) or set TEST_DATABASE_URL";
    assert!(
        variable("REQUIRE_POSTGRES").as_deref() != Some("1"),
        "REQUIRE_POSTGRES=1, but there is none: {advice}"
    );
    writeln!(io::stderr(), "\nPostgreSQL tests SKIPPED: {advice}\n")
        .expect("standard error can be written to");
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the tests find PostgreSQL is a matter of their environment"
)]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = address
        .split_once("://")
        .expect("TEST_DATABASE_URL begins with postgres://");
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}/{name}?{options}")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

async fn execute(url: &str, sql: &str) {
    if let Err(error) = connect(url).await.batch_execute(sql).await {
        panic!("{sql}: {error:?}");
    }
}
