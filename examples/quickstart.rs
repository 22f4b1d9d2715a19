//! See all four jobs at work, with nothing set up: a fake panel, a bot's database in a temporary SQLite file, and
//! 17 customers, two of whom cannot be synced.
//!
//! stdout has one JSON line for each job, stderr the log and a table of every account before and after.

use std::io::{IsTerminal, Write};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Color, Table};
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_api::{Client, SecretString};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::SqliteStore;
use marzban_sync_core::{Context, jobs};
use marzban_sync_examples::bot::{Bot, Customer, Row};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
    let now = SystemClock.now();

    // A bot's database, and a panel that has drifted away from it.
    let folder = tempfile::tempdir()?;
    let bot = Bot::create(&folder.path().join("bot.sqlite3"), &customers(now))?;
    let panel = FakePanel::start().await;
    for user in panel_users(now) {
        panel.insert_user(user);
    }

    // What a bot does once, when it starts.
    let store = SqliteStore::connect(&bot.url()).await?;
    store.migrate().await?;
    let client = Client::builder(&panel.url())
        .credentials("admin", SecretString::from("admin"))
        .build()?;
    let context = Context::new(MarzbanPanel::new(client), store);

    // And what it does on schedule.
    let before = bot.rows()?;
    for job in Job::ALL {
        let report = jobs::run(job, &context)
            .await
            .with_context(|| format!("{job} failed"))?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    let after = bot.rows()?;
    writeln!(std::io::stderr(), "{}", table(&before, &after))?;
    Ok(())
}

/// The bot's customers: a name, a subscription's status, the days until it ends, and access.
fn customers(now: DateTime<Utc>) -> Vec<Customer> {
    let customer = |name: &str, status: &str, days: i64, is_active: bool| Customer {
        name: name.to_owned(),
        status: status.to_owned(),
        end_date: midnight(now, days),
        is_active,
    };
    vec![
        customer("anna", "active", 12, true),
        customer("boris", "active", 3, true),
        customer("clara", "active", 20, true),
        customer("dmitry", "trial", 1, true),
        customer("elena", "active", -1, true),
        customer("farid", "expired", -2, false),
        customer("galina", "active", 9, true),
        customer("hassan", "active", 15, true),
        customer("irina", "active", 30, true),
        customer("jamal", "active", 25, true),
        customer("karina", "trial", 2, true),
        customer("leonid", "active", 7, true),
        customer("maria", "expired", -30, false),
        customer("nikita", "expired", -12, true),
        customer("olga", "active", 40, true),
        customer("pavel", "active", 11, true),
        customer("rosa", "active", 5, true),
    ]
}

/// The panel's users; `pavel` is not there any more, and `rosa` is a user that the panel cannot render.
fn panel_users(now: DateTime<Utc>) -> Vec<FakeUser> {
    let gigabyte = 1_000_000_000;
    let user = |name: &str, status: FakeStatus, days: i64, gigabytes: i64| {
        FakeUser::new(name)
            .status(status)
            .expire(midnight(now, days).timestamp())
            .used_traffic(gigabytes * gigabyte)
            .online_at(now - TimeDelta::hours(gigabytes))
    };
    vec![
        user("anna", FakeStatus::Active, 12, 4),
        user("boris", FakeStatus::Active, 33, 7),
        user("clara", FakeStatus::Limited, 20, 50),
        user("dmitry", FakeStatus::Active, 1, 1),
        user("elena", FakeStatus::Expired, -1, 9),
        user("farid", FakeStatus::Active, 28, 2),
        user("galina", FakeStatus::Disabled, 9, 3),
        FakeUser::new("hassan").on_hold(TimeDelta::days(30).num_seconds()),
        user("irina", FakeStatus::Active, 30, 12).expire(None),
        user("jamal", FakeStatus::Active, 25, 0),
        user("karina", FakeStatus::Active, 2, 1),
        user("leonid", FakeStatus::Active, 7, 6),
        user("maria", FakeStatus::Expired, -30, 11),
        user("nikita", FakeStatus::Expired, -12, 8),
        user("olga", FakeStatus::Active, 70, 21),
        user("rosa", FakeStatus::Active, 5, 5).poison(),
    ]
}

fn midnight(now: DateTime<Utc>, days: i64) -> DateTime<Utc> {
    now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc() + TimeDelta::days(days)
}

/// Every account, and in colour what became of it.
fn table(before: &[Row], after: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(Row::COLUMNS);
    for (before, after) in before.iter().zip(after) {
        let cells = before.columns().into_iter().zip(after.columns());
        table.add_row(cells.map(|(before, after)| {
            if before == after {
                Cell::new(before)
            } else {
                Cell::new(format!("{before} → {after}")).fg(Color::Green)
            }
        }));
    }
    table
}
