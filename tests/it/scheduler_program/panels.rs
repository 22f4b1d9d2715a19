//! A bot with panels of its own, one of which is down.

use std::path::Path;
use std::process::Command;

use chrono::{NaiveTime, TimeDelta, Utc};
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use marzban_api::testing::{FakePanel, FakeUser};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::store::SqliteStore;
use marzban_sync_examples::bot::{Bot, Customer};
use serde_json::Value;

use super::{PASSWORD, Scheduler, USERNAME, scheduler, wait_until};

/// Midnight of today and so many days.
pub(super) fn day(days: i64) -> chrono::DateTime<Utc> {
    SystemClock.now().date_naive().and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(days)
}

/// What the panel's users have used, in bytes.
pub(super) const TRAFFIC: i64 = 7;

/// A panel whose users are extended until the 20th day, where the bot still has the third.
pub(super) async fn panel(names: impl IntoIterator<Item = String>) -> FakePanel {
    let users = names.into_iter().map(|name| {
        FakeUser::new(name)
            .expire(day(20).timestamp())
            .used_traffic(TRAFFIC)
    });
    FakePanel::builder()
        .environment_admin(USERNAME, PASSWORD)
        .users(users)
        .start()
        .await
        .unwrap()
}

/// A bot's database with these customers, migrated.
pub(super) async fn bot(folder: &Path, names: impl IntoIterator<Item = String>) -> Bot {
    let customers: Vec<Customer> = names
        .into_iter()
        .map(|name| Customer {
            name,
            status: "active".to_owned(),
            end_date: day(3),
            is_active: true,
        })
        .collect();
    bot_of(folder, &customers).await
}

/// The same with customers of any kind.
pub(super) async fn bot_of(folder: &Path, customers: &[Customer]) -> Bot {
    let bot = Bot::create(&folder.join("bot.sqlite3"), customers).unwrap();
    let store = SqliteStore::connect(&bot.url()).await.unwrap();
    store.migrate().await.unwrap();
    bot
}

/// The variables of a panel, whose prefix is `MARZBAN` or `MARZBAN_DE`.
pub(super) fn with_panel<'a>(command: &'a mut Command, prefix: &str, url: &str) -> &'a mut Command {
    command
        .env(format!("{prefix}_URL"), url)
        .env(format!("{prefix}_USERNAME"), USERNAME)
        .env(format!("{prefix}_PASSWORD"), PASSWORD)
        .env(format!("{prefix}_PAUSE_MS"), "0..0")
}

/// How many customers have the panel's end.
pub(super) fn extended(bot: &Bot) -> usize {
    let is_extended = |end: Option<chrono::NaiveDateTime>| end == Some(day(20).naive_utc());
    let rows = bot.rows().unwrap();
    rows.iter().filter(|row| is_extended(row.end_date)).count()
}

/// The first column of the first row, as text.
#[track_caller]
pub(super) fn text(folder: &Path, query: &str) -> String {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        line: String,
    }
    let path = folder.join("bot.sqlite3");
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    let line: Line = diesel::sql_query(query).get_result(&mut connection).unwrap();
    line.line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_is_down_is_told_of_and_touches_nothing_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let bot = bot(folder.path(), ["anna", "boris"].map(str::to_owned)).await;
    bot.assign_panel("boris", "de").unwrap();
    let (up, down) = (
        panel(["anna".to_owned()]).await,
        panel(["boris".to_owned()]).await,
    );
    down.shutdown().await;

    let mut command = scheduler(
        folder.path(),
        &[
            "--panel",
            "default",
            "--panel",
            "de",
            "--run-now",
            "--jitter",
            "0",
        ],
    );
    command.env("DATABASE_URL", bot.url());
    with_panel(&mut command, "MARZBAN", &up.url());
    with_panel(&mut command, "MARZBAN_DE", &down.url());
    let process = Scheduler::start(command);
    let (status, health) = wait_until("every job ran once", || {
        let (status, health) = process.health();
        let jobs = health["jobs"].as_array().unwrap();
        let has_run = |job: &Value| !job["outcome"].is_null();
        (jobs.len() == 8 && jobs.iter().all(has_run)).then_some((status, health))
    });
    assert_eq!((status, &health["healthy"]), (503, &Value::Bool(false)));
    for job in health["jobs"].as_array().unwrap() {
        // Nobody is due to be cleaned up, so that job has nothing to ask.
        let is_asking = job["job"] != "cleanup_expired_marzban_users";
        let expected = if job["panel"] == "de" && is_asking {
            ("failed", "panel")
        } else {
            ("healthy", "completed")
        };
        assert_eq!(
            (job["verdict"].as_str().unwrap(), job["outcome"].as_str().unwrap()),
            expected,
            "{job}"
        );
        assert!(job["since"].is_string() && job["next_run"].is_string(), "{job}");
    }
    assert_eq!(extended(&bot), 1, "anna is in step");
    let boris = bot.rows().unwrap().pop().unwrap();
    assert_eq!(
        (boris.end_date, boris.is_active),
        (Some(day(3).naive_utc()), true)
    );

    let (code, stdout, stderr) = process.stop();
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    for line in stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    assert!(stderr.contains("\"message\":\"the run failed\""), "{stderr}");
    assert!(stderr.contains("\"panel\":\"de\""), "{stderr}");
    for secret in [PASSWORD, &up.url(), &down.url(), &bot.url()] {
        assert!(!stderr.contains(secret), "{secret} is shown: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_on_postgresql_is_brought_in_step_too() {
    let Some(bot) = crate::bot::Bot::new().await else {
        return;
    };
    let panel = panel(["anna".to_owned()]).await;
    bot.sql(
        "INSERT INTO users VALUES (1, 1, 'fa', '2025-01-01');
         INSERT INTO subscriptions VALUES (1, 1, 3, 4.99, 'active', NULL, '2025-01-01');
         INSERT INTO vpn_configs VALUES (1, 1, 'vless', 'anna', false)",
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = scheduler(folder.path(), &["--migrate", "--run-now", "--jitter", "0"]);
    command.env("DATABASE_URL", bot.database.url());
    let process = Scheduler::start({
        with_panel(&mut command, "MARZBAN", &panel.url());
        command
    });
    wait_until("every job ran once", || {
        let (status, health) = process.health();
        assert_eq!(status, 200, "{health}");
        let jobs = health["jobs"].as_array().unwrap();
        jobs.iter().all(|job| job["outcome"] == "completed").then_some(())
    });
    assert_eq!(
        bot.text("SELECT end_date::date::text FROM subscriptions").await,
        day(20).format("%Y-%m-%d").to_string()
    );
    assert_eq!(process.stop().0, Some(0));
    let runs = "SELECT string_agg(outcome, ',') FROM marzban_sync_runs";
    assert_eq!(bot.text(runs).await, ["completed"; 4].join(","));
}
