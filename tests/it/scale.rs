//! Ten thousand accounts: how many requests and how many statements a run takes.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use marzban_sync_core::policy::Answers;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_core::sync_subscriptions_from_marzban;
use marzban_sync_tests::TestDatabase;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_postgres::config::Host;

use crate::bot::{Bot, assert_same};

const ACCOUNTS: u32 = 10_000;

/// The SQL of every statement that was executed, read off the wire between a store and its server.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn push(&self, sql: &str) {
        self.0.lock().unwrap().push(sql.to_owned());
    }

    /// Listens on loopback and passes everything on to the server; returns the URL of the database that way.
    async fn watch(&self, database: &TestDatabase) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let config: tokio_postgres::Config = database.url().parse().unwrap();
        let statements = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = config.get_ports().first().copied().unwrap_or(5_432);
                let statements = statements.clone();
                match &config.get_hosts()[0] {
                    Host::Tcp(host) => {
                        let server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                        tokio::spawn(relay(client, server, statements));
                    }
                    Host::Unix(folder) => {
                        let server = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))
                            .await
                            .unwrap();
                        tokio::spawn(relay(client, server, statements));
                    }
                }
            }
        });
        let (scheme, rest) = database.url().split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        let name = path.split('?').next().unwrap();
        format!("{scheme}://{user}@{address}/{name}?sslmode=disable")
    }
}

async fn relay(client: TcpStream, server: impl AsyncRead + AsyncWrite, statements: Statements) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let forth = async {
        let mut frontend = Frontend {
            statements,
            ..Frontend::default()
        };
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            // A connection that breaks is one that the test has ended.
            let length = from_client.read(&mut buffer).await.unwrap_or(0);
            if length == 0 || to_server.write_all(&buffer[..length]).await.is_err() {
                return;
            }
            frontend.read(&buffer[..length]);
        }
    };
    tokio::select! {
        () = forth => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// What a client of PostgreSQL says: the start without a type, and then messages of a type and a length.
#[derive(Default)]
struct Frontend {
    statements: Statements,
    unread: Vec<u8>,
    has_started: bool,
    prepared: HashMap<String, String>,
    bound: String,
}

impl Frontend {
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            let head = usize::from(self.has_started);
            let Some(length) = self.unread.get(head..head + 4) else {
                return;
            };
            let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.unread.len() < end {
                return;
            }
            let message: Vec<u8> = self.unread.drain(..end).collect();
            if self.has_started {
                self.message(message[0], &message[5..]);
            }
            self.has_started = true;
        }
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        let mut texts = body
            .split(|byte| *byte == 0)
            .map(|text| String::from_utf8_lossy(text).into_owned());
        let (first, second) = (texts.next().unwrap(), texts.next().unwrap_or_default());
        match kind {
            b'Q' => self.statements.push(&first),
            b'P' => drop(self.prepared.insert(first, second)),
            b'B' => self.bound = second,
            b'E' => self.statements.push(&self.prepared[&self.bound]),
            _ => {}
        }
    }
}

/// Whether a statement belongs to writing rows, the end of its transaction included.
fn is_of_writing(sql: &str) -> bool {
    let writes = sql == "COMMIT" || ["UPDATE ", "INSERT "].iter().any(|word| sql.contains(word));
    writes && !sql.contains("marzban_sync_runs")
}

/// The panel's users as a bot has them that was last synced long ago: nothing is in line.
async fn seed(bot: &Bot) {
    bot.sql(&format!(
        "INSERT INTO users SELECT n, 1000000 + n, 'fa', '2024-01-01' FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', '2024-12-01', '2025-01-01', NULL
             FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO vpn_configs SELECT n, n, 'vless', 'user_' || lpad(n::text, 5, '0'), NULL, NULL, NULL, NULL
             FROM generate_series(1, {ACCOUNTS}) AS n;
         ANALYZE"
    ))
    .await;
    bot.panel.populate(ACCOUNTS as usize);
    bot.clock.set(bot.panel.state().now);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_accounts_take_few_requests_and_few_statements() {
    let Some(bot) = Bot::new().await else { return };
    seed(&bot).await;
    let statements = Statements::default();
    let store = PostgresStore::connect(&statements.watch(&bot.database).await)
        .await
        .unwrap();
    let answers = Answers {
        allow_mass_changes: true,
        ..Answers::default()
    };
    let context = bot.context_with(store).answers(answers).build();

    let began = Instant::now();
    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    let (took, first) = (began.elapsed(), statements.take());
    let requests = bot.panel.requests().len();
    assert_eq!((report.synced, report.errors, report.total), (10_000, 0, 10_000));
    let unwritten = "SELECT count(*)::text FROM vpn_configs WHERE is_active IS NULL OR updated_at IS NULL";
    assert_eq!(bot.text(unwritten).await, "0");
    let written = first.iter().filter(|sql| is_of_writing(sql)).count();
    assert!(requests <= 205, "{requests} requests");
    // All of them differ and are seen for the first time, so all are looked at once more, 500 at a time.
    assert!(
        (1..=200).contains(&written),
        "{written} statements write:\n{first:#?}"
    );

    let (places, began) = (bot.places().await, Instant::now());
    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    let (again, second) = (began.elapsed(), statements.take());
    assert_eq!((report.synced, report.errors, report.total), (10_000, 0, 10_000));
    assert_eq!(
        second.iter().filter(|sql| is_of_writing(sql)).count(),
        0,
        "{second:#?}"
    );
    assert_same(&bot.places().await, &places);
    writeln!(
        std::io::stderr(),
        "10,000 accounts: {requests} requests, {} statements of which {written} to write, {took:.1?}; \
         again: {} statements, {again:.1?}",
        first.len(),
        second.len(),
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn agreements_cost_a_first_run_at_most_a_fifth_more_statements() {
    let Some(bot) = Bot::new().await else { return };
    seed(&bot).await;
    // The bot's ends are the panel's, so that all there is to write are facts and agreements.
    let users = bot.panel.state().users;
    let ends: Vec<String> = users
        .iter()
        .filter_map(|user| Some(format!("('{}', {})", user.username, user.expire?)))
        .collect();
    bot.sql(&format!(
        "UPDATE subscriptions SET end_date = to_timestamp(panel.expire) AT TIME ZONE 'UTC'
         FROM (VALUES {}) AS panel (name, expire) JOIN vpn_configs ON marzban_user_id = panel.name
         WHERE subscriptions.id = vpn_configs.id",
        ends.join(", ")
    ))
    .await;
    let statements = Statements::default();
    let store = PostgresStore::connect(&statements.watch(&bot.database).await)
        .await
        .unwrap();
    let context = bot.context_with(store).build();

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(report.total, 10_000);
    let agreed = bot
        .text("SELECT count(*)::text FROM marzban_sync_agreements")
        .await;
    assert_eq!(agreed, "10000");
    let first = statements.take();
    let of_agreements = first
        .iter()
        .filter(|sql| sql.contains("marzban_sync_agreements") && sql.contains("INSERT "))
        .count();
    let others = first.len() - of_agreements;
    writeln!(
        std::io::stderr(),
        "10,000 accounts in step: {others} statements, and {of_agreements} for agreements"
    )
    .unwrap();
    assert!((1..=others / 5).contains(&of_agreements), "{first:#?}");
}
