//! A bot's database, its panels, and processes of the program over both.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::{Output, Stdio};
use std::time::Duration;

use marzban_api::testing::{FakePanel, FakeUser};
use marzban_sync_tests::TestDatabase;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// How long a condition is waited for: far more than it needs, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(150);

/// How soon workers of the tests count as dead: after two seconds.
pub(crate) const LIVELY: [&str; 6] = [
    "--heartbeat",
    "500ms",
    "--missed-heartbeats",
    "4",
    "--poll",
    "50ms",
];

/// Waits for a condition, and says which one when it does not come.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Holds the n-th read of a path until the switch is set.
pub(crate) fn hold(panel: &FakePanel, path: &'static str, number: usize) -> watch::Sender<bool> {
    let (release, held) = watch::channel(false);
    panel.on_request(move |panel, request| {
        let mut held = held.clone();
        async move {
            if request.path == path && panel.count("GET", path) == number {
                held.wait_for(|released| *released).await.unwrap();
            }
        }
    });
    release
}

/// What the processes of a test work on.
pub(crate) struct Stage {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) panels: Vec<FakePanel>,
    environment: Vec<(String, String)>,
    folder: TempDir,
    pub(crate) database: TestDatabase,
}

impl Stage {
    /// Panels of these names, and a database that was migrated; none where there is no PostgreSQL.
    pub(crate) async fn new(names: &[&str]) -> Option<Self> {
        let stage = Self::before_migration(names).await?;
        let migrated = stage.run(&["migrate"]).await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        Some(stage)
    }

    /// The same, without the tables of the queue and of the library.
    pub(crate) async fn before_migration(names: &[&str]) -> Option<Self> {
        let database = TestDatabase::new().await?.in_time_zone("Asia/Tehran").await;
        database.create_bot_schema().await;
        let mut stage = Self {
            client: database.connect().await,
            panels: Vec::new(),
            environment: vec![("DATABASE_URL".to_owned(), database.url().to_owned())],
            folder: tempfile::tempdir().unwrap(),
            database,
        };
        for name in names {
            let panel = FakePanel::builder()
                .environment_admin("robot", PASSWORD)
                .start()
                .await
                .unwrap();
            let prefix = match *name {
                "default" => "MARZBAN".to_owned(),
                name => format!("MARZBAN_{}", name.to_uppercase()),
            };
            for (variable, value) in [
                ("URL", panel.url().as_str()),
                ("USERNAME", "robot"),
                ("PASSWORD", PASSWORD),
                ("PAUSE_MS", "0..0"),
            ] {
                stage.set(&format!("{prefix}_{variable}"), value);
            }
            stage.panels.push(panel);
        }
        Some(stage)
    }

    /// Customers of a panel, in it and in the bot's tables.
    pub(crate) async fn insert_customers(
        &self,
        panel: usize,
        name: &str,
        ids: std::ops::RangeInclusive<i64>,
    ) {
        let (first, last) = (*ids.start(), *ids.end());
        let statement = format!(
            "INSERT INTO users SELECT n, 1000000 + n, 'fa', '2025-01-01' FROM generate_series({first}, {last}) AS n;
             INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', NULL, '2099-01-01'
                 FROM generate_series({first}, {last}) AS n;
             INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, panel)
                 SELECT n, n, 'vless', 'user' || n, true, NULLIF('{name}', 'default')
                 FROM generate_series({first}, {last}) AS n"
        );
        self.sql(&statement).await;
        for id in ids {
            self.panels[panel].insert_user(FakeUser::new(format!("user{id}")).used_traffic(id));
        }
    }

    /// Sets a variable for the processes to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == OsStr::new("PATH")))
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().await.unwrap();
        let ended = Ended {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        };
        for text in [&ended.stdout, &ended.stderr] {
            assert!(
                !text.contains(PASSWORD) && !text.contains(self.database.url()),
                "a secret is shown: {text}"
            );
            assert!(!text.contains("panicked"), "{text}");
        }
        ended
    }

    /// Starts a process, whose log goes to a file.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let log = self.folder.path().join(format!("{}.log", fastrand::u64(..)));
        let child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Process { child, log }
    }

    /// Starts a board.
    pub(crate) fn start_board(&self, arguments: &[&str]) -> Process {
        self.start(
            &[
                &["--role", "board", "--listen", "127.0.0.1:0", "--poll", "50ms"],
                arguments,
            ]
            .concat(),
        )
    }

    /// Starts a worker that others soon take for dead.
    pub(crate) fn start_worker(&self, arguments: &[&str]) -> Process {
        self.start(&[&["--role", "worker"], &LIVELY[..], arguments].concat())
    }

    /// Asks for a run by hand, and returns the id of its task.
    pub(crate) async fn enqueue(&self, job: &str) -> String {
        let ended = self.run(&["enqueue", job]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()["task"].as_str().unwrap().to_owned()
    }

    /// Executes statements.
    pub(crate) async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// One value that SQL computes, as text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let row = self.client.query_one(sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Waits until SQL computes this text.
    pub(crate) async fn until_text(&self, sql: &str, expected: &str) {
        until(&format!("{sql}: {expected}"), async || {
            self.text(sql).await == expected
        })
        .await;
    }

    /// Waits until a task has a status, and returns its result.
    pub(crate) async fn until_status(&self, task: &str, status: &str) -> serde_json::Value {
        self.until_text(
            &format!("SELECT status FROM apalis.jobs WHERE id = '{task}'"),
            status,
        )
        .await;
        let result = format!("SELECT last_result::text FROM apalis.jobs WHERE id = '{task}'");
        serde_json::from_str(&self.text(&result).await).unwrap_or_default()
    }
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The last line of standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last();
        serde_json::from_str(line.unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A process that does not outlive the test.
pub(crate) struct Process {
    child: Child,
    log: std::path::PathBuf,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &id])
            .status();
        assert!(sent.unwrap().success(), "kill -s {signal} {id}");
    }

    /// Waits for its end, and returns the exit code; none when a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("it goes on: {}", self.log()));
        ended.unwrap().code()
    }

    /// The address at which its board listens, once it does.
    pub(crate) async fn address(&self) -> String {
        let mut address = None;
        until("the board listens", async || {
            address = self.log().split("address=").nth(1).and_then(|rest| {
                rest.contains('\n')
                    .then(|| rest.split_whitespace().next().unwrap_or_default().to_owned())
            });
            address.is_some()
        })
        .await;
        format!("http://{}", address.unwrap())
    }
}
