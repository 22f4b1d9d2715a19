//! Accounts per second with 1, 2 and 4 workers, over panels that take as long as real ones and cost next to nothing.
//!
//! `cargo bench -p marzban-sync-worker -- [panels] [accounts of each] [ms per request] [µs per user]`
//!
//! By default 50 panels of 2,000 accounts that answer in 8 ms and 2.5 ms per user, as a real panel does.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and ends where what it stands on fails"
)]

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use marzban_sync_benches::canned::{CannedPanel, Cost};
use marzban_sync_tests::TestDatabase;
use tokio::time::sleep;

const JOB: &str = "sync-subscriptions-from-marzban";

struct Bench {
    database: TestDatabase,
    client: tokio_postgres::Client,
    environment: Vec<(String, String)>,
    panels: usize,
    accounts: usize,
}

impl Bench {
    async fn new(database: TestDatabase, panels: usize, accounts: usize, cost: Cost) -> Self {
        database.create_bot_schema().await;
        let mut environment = vec![
            ("DATABASE_URL".to_owned(), database.url().to_owned()),
            ("RUST_LOG".to_owned(), "error".to_owned()),
        ];
        let all = panels * accounts;
        for panel in 1..=panels {
            let url = CannedPanel::start(all.try_into().unwrap(), cost).url();
            for (name, value) in [
                ("URL", url.as_str()),
                ("USERNAME", "admin"),
                ("PASSWORD", "admin"),
                ("PAUSE_MS", "0..0"),
            ] {
                environment.push((format!("MARZBAN_P{panel}_{name}"), value.to_owned()));
            }
        }
        let client = database.connect().await;
        let bench = Self {
            database,
            client,
            environment,
            panels,
            accounts,
        };
        assert!(bench.command(&["migrate"]).status().unwrap().success(), "migrate");
        let insert = format!(
            "INSERT INTO users SELECT n, n, 'fa', '2025-01-01' FROM generate_series(1, {all}) AS n;
             INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', NULL, '2099-01-01' FROM generate_series(1, {all}) AS n;
             INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, panel)
                 SELECT n, n, 'vless', 'user_' || lpad(n::text, 7, '0'), true, 'p' || (n % {panels} + 1) FROM generate_series(1, {all}) AS n;
             ANALYZE"
        );
        bench.client.batch_execute(&insert).await.unwrap();
        bench
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == OsStr::new("PATH")))
            .envs(self.environment.iter().cloned())
            .args(arguments)
            .stdout(Stdio::null());
        command
    }

    /// Runs the job of every panel once; returns the seconds from the beginning of the first to the end of the last.
    async fn seconds(&self, workers: usize) -> f64 {
        let reset = "UPDATE vpn_configs SET traffic_used = NULL; TRUNCATE marzban_sync_runs; DELETE FROM apalis.jobs; VACUUM ANALYZE vpn_configs";
        for statement in reset.split(';') {
            self.client.batch_execute(statement).await.unwrap();
        }
        for panel in 1..=self.panels {
            let queued = self
                .command(&["enqueue", JOB, "--panel", &format!("p{panel}")])
                .status();
            assert!(queued.unwrap().success(), "enqueue");
        }
        let names: Vec<_> = (1..=self.panels).map(|panel| format!("p{panel}")).collect();
        let mut arguments = vec!["--role", "worker", "--poll", "50ms", "--concurrency", "4"];
        for name in &names {
            arguments.extend(["--panel", name]);
        }
        let children: Vec<_> = (0..workers)
            .map(|_| Running(self.command(&arguments).spawn().unwrap()))
            .collect();
        let left = "SELECT count(*) FROM apalis.jobs WHERE status NOT IN ('Done', 'Failed', 'Killed')";
        while self.number(left).await > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        drop(children);
        let written = self
            .number("SELECT count(*) FROM vpn_configs WHERE traffic_used = 1000 * id")
            .await;
        assert_eq!(
            usize::try_from(written).unwrap(),
            self.panels * self.accounts,
            "every account was written"
        );
        let took = "SELECT (1000 * extract(epoch FROM max(finished_at) - min(started_at)))::bigint FROM marzban_sync_runs";
        Duration::from_millis(self.number(took).await.unsigned_abs()).as_secs_f64()
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// A process that does not outlive the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("it runs until it is killed");
        self.0.wait().expect("it can be waited for");
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let argument = |number: usize, default| arguments.get(number).copied().unwrap_or(default);
    let (panels, accounts) = (
        usize::try_from(argument(0, 50)).unwrap(),
        usize::try_from(argument(1, 2_000)).unwrap(),
    );
    let cost = Cost {
        request: Duration::from_millis(argument(2, 8)),
        user: Duration::from_micros(argument(3, 2_500)),
    };
    let Some(database) = TestDatabase::new().await else {
        return;
    };
    let bench = Bench::new(database, panels, accounts, cost).await;
    println!(
        "{panels} panels of {accounts} accounts, {:?} per request and {:?} per user, 4 runs per worker",
        cost.request, cost.user
    );
    println!("workers | seconds | accounts/s | to one worker");
    let mut first = None;
    for workers in [1, 2, 4] {
        let seconds = bench.seconds(workers).await;
        let all = u32::try_from(panels * accounts).map(f64::from).unwrap();
        let one = *first.get_or_insert(seconds);
        println!(
            "{workers:7} | {seconds:7.1} | {:10.0} | {:.2}",
            all / seconds,
            one / seconds
        );
    }
    drop(bench.database);
}
