//! `cargo run --example sync`, as a process: its arguments, its environment, what it prints and how it ends.

use std::path::Path;
use std::process::{Command, Output};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_core::clock::{Clock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::program;

mod answers;
mod bots;
mod configuration;
mod four_jobs;
mod lookups;
mod policies;
mod signals;
mod sqlite;

const USERNAME: &str = "robot";
const PASSWORD: &str = "correct-horse-battery";

/// A panel whose sudo admin has a password that can be searched for.
async fn panel() -> FakePanel {
    FakePanel::builder()
        .environment_admin(USERNAME, PASSWORD)
        .start()
        .await
        .unwrap()
}

/// Midnight of today and so many days, by the clock that the process has too.
fn day(days: i64) -> DateTime<Utc> {
    SystemClock.now().date_naive().and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(days)
}

/// A day as both databases and the log show it.
fn date(days: i64) -> String {
    day(days).format("%Y-%m-%d").to_string()
}

/// A customer: a status and an end of the subscription, and whether access is marked on.
type Customer<'a> = (i64, &'a str, &'a str, i64, bool);

/// What the bot has: one to be extended, one who is gone, one who ended long ago, and one in line.
const CUSTOMERS: [Customer<'static>; 4] = [
    (1, "anna", "active", 3, true),
    (2, "boris", "active", 9, true),
    (3, "clara", "expired", -30, false),
    (4, "dmitry", "active", 9, true),
];

fn insert_panel_users(panel: &FakePanel) {
    let user = |name: &str, days: i64| {
        FakeUser::new(name)
            .owner(Some("seller"))
            .expire(day(days).timestamp())
    };
    panel.insert_user(user("anna", 20).used_traffic(1_000));
    panel.insert_user(user("clara", -30).status(FakeStatus::Expired));
    panel.insert_user(user("dmitry", 9));
}

/// The program with its environment, in a folder of its own.
struct Sync {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Sync {
    fn new(panel: &FakePanel, database: &str) -> Self {
        let sync = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        sync.with("MARZBAN_URL", &panel.url())
            .with("MARZBAN_USERNAME", USERNAME)
            .with("MARZBAN_PASSWORD", PASSWORD)
            .with("MARZBAN_PAUSE_MS", "0..0")
            .with("DATABASE_URL", database)
    }

    fn with(self, name: &str, value: &str) -> Self {
        let mut sync = self.without(name);
        sync.environment.push((name.to_owned(), value.to_owned()));
        sync
    }

    fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program("sync");
        command
            .current_dir(self.path())
            .envs(self.environment.iter().cloned())
            .args(arguments);
        command
    }

    /// Runs it to its end.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ended {
        self.ended(self.command(arguments).output().unwrap())
    }

    /// Looks at what every run must keep to: no panic, and none of the secrets that it was given.
    #[track_caller]
    fn ended(
        &self,
        Output {
            status,
            stdout,
            stderr,
        }: Output,
    ) -> Ended {
        let ended = Ended {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        };
        let secret = |name: &str| matches!(name, "MARZBAN_PASSWORD" | "MARZBAN_URL" | "DATABASE_URL");
        for text in [&ended.stdout, &ended.stderr] {
            assert!(
                !text.contains("panicked") && !text.contains("backtrace"),
                "{text}"
            );
            assert!(
                !text.contains('\u{1b}'),
                "colours although this is no terminal: {text}"
            );
            for (name, value) in self
                .environment
                .iter()
                .filter(|(name, value)| secret(name) && value.len() > 5)
            {
                assert!(!text.contains(value.as_str()), "{name} is shown: {text}");
            }
        }
        ended
    }
}

/// How a run ended, and what it printed.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The reports: every line of stdout is one JSON object, and there is nothing else.
    #[track_caller]
    fn reports(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str::<Value>(line).expect(&self.stdout);
        let reports: Vec<Value> = self.stdout.lines().map(read).collect();
        assert!(reports.iter().all(Value::is_object), "{}", self.stdout);
        assert!(
            self.stdout.is_empty() || self.stdout.ends_with('\n'),
            "{:?}",
            self.stdout
        );
        reports
    }

    /// The only report.
    #[track_caller]
    fn report(&self) -> Value {
        let mut reports = self.reports();
        assert_eq!(reports.len(), 1, "{self:?}");
        reports.remove(0)
    }
}
