//! A database, a panel, and the worker program as processes of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use marzban_api::testing::{FakePanel, FakeUser};
use marzban_sync_core::run::RunId;
use marzban_sync_tests::TestDatabase;
use tokio_postgres::Client;

pub(crate) const LOGIN: &str = "operator:correct-horse";

/// The board's address is the last word of a line of the log.
const LISTENS: &str = "the board listens address=";

/// A bot's database with everything in it that the board needs, and a panel.
pub(crate) struct Site {
    pub(crate) database: TestDatabase,
    pub(crate) client: Client,
    pub(crate) panel: FakePanel,
}

impl Site {
    /// None where there is no PostgreSQL.
    pub(crate) async fn new() -> Option<Self> {
        let database = TestDatabase::new().await?;
        database.create_bot_schema().await;
        let site = Self {
            client: database.connect().await,
            panel: FakePanel::start().await,
            database,
        };
        let migrated = site.worker(&["migrate"]).status().unwrap();
        assert!(migrated.success(), "{migrated}");
        Some(site)
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Customers with active subscriptions, of whose panel users only those of `in_panel` exist.
    pub(crate) async fn customers(&self, count: u32, in_panel: impl Fn(u32) -> bool) {
        for number in 1..=count {
            let sql = format!(
                "INSERT INTO users (id, telegram_id, language, created_at) VALUES ({number}, {}, 'en', now());
                 INSERT INTO subscriptions (user_id, plan_id, price, status, end_date)
                     VALUES ({number}, 1, 1, 'active', now() AT TIME ZONE 'UTC' + interval '20 days');
                 INSERT INTO vpn_configs (user_id, protocol, marzban_user_id, is_active)
                     VALUES ({number}, 'vless', 'user{number}', true)",
                1_000_000 + number
            );
            self.sql(&sql).await;
            if in_panel(number) {
                self.panel.insert_user(FakeUser::new(format!("user{number}")));
            }
        }
    }

    /// A run of the past, by the words of SQL.
    pub(crate) async fn run(
        &self,
        job: &str,
        panel: &str,
        minutes_ago: u32,
        outcome: &str,
        report: &str,
    ) -> RunId {
        let row = self
            .client
            .query_one(
                &format!(
                    "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
                     VALUES ('{job}', '{panel}', now() - interval '{minutes_ago} minutes',
                         CASE WHEN '{outcome}' IN ('running', 'abandoned') THEN NULL
                             ELSE now() - interval '{minutes_ago} minutes' + interval '12 seconds' END,
                         '{outcome}', $${report}$$::jsonb)
                     RETURNING id"
                ),
                &[],
            )
            .await
            .unwrap();
        RunId(row.get(0))
    }

    /// Figures of a panel, every quarter of an hour, that rise and fall.
    pub(crate) async fn stats(&self, panel: &str, days: u32) {
        self.sql(&format!(
            "INSERT INTO marzban_system_stats (panel, collected_at, version, mem_total, mem_used, cpu_cores, cpu_usage,
                 total_user, online_users, users_active, users_on_hold, users_disabled, users_expired, users_limited,
                 incoming_bandwidth, outgoing_bandwidth, incoming_bandwidth_speed, outgoing_bandwidth_speed)
             SELECT '{panel}', now() - n * interval '15 minutes', '0.8.4', 4294967296,
                 (1.6e9 + 4e8 * sin(n / 30.0))::bigint, 2, 30 + 22 * sin(n / 15.0), 1000, 200,
                 800 - n / 20, 40, 25, 90 + n / 40, 30, n, n,
                 (2.5e6 + 2e6 * sin(n / 15.0))::bigint, (6e6 + 5e6 * sin(n / 15.0 + 0.4))::bigint
             FROM generate_series(0, {days} * 96) AS n WHERE n NOT BETWEEN 30 AND 42"
        ))
        .await;
    }

    /// The program, with the panel, the database and the login in its environment and nothing else.
    fn worker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", self.database.url())
            .env("MARZBAN_URL", self.panel.url())
            .env("MARZBAN_USERNAME", "admin")
            .env("MARZBAN_PASSWORD", "admin")
            .env("MARZBAN_PAUSE_MS", "0..0")
            .env("MARZBAN_BOARD_USERNAME", "operator")
            .env("MARZBAN_BOARD_PASSWORD", "correct-horse")
            .current_dir(folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// A process of this role that goes on until the value is dropped.
    pub(crate) fn start(&self, role: &str, arguments: &[&str]) -> Running {
        let mut all = vec!["--role", role, "--listen", "127.0.0.1:0", "--poll", "50ms"];
        all.extend(arguments);
        let mut child = self.worker(&all).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (listens, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once(LISTENS) {
                    // The test may have gone on without it.
                    let _ = listens.send(address.trim().to_owned());
                }
            }
        });
        Running {
            child,
            address: if role == "board" {
                address.recv().unwrap()
            } else {
                String::new()
            },
        }
    }
}

/// A folder without a `.env` file.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A process that does not outlive the test.
pub(crate) struct Running {
    child: Child,
    address: String,
}

impl Running {
    /// The page's address, of this host.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The same with the login in it, as somebody would type it.
    pub(crate) fn url_with_login(&self, login: &str, path: &str) -> String {
        format!("http://{login}@{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
