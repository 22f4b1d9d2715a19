//! Runs one job, or undoes a run, and stops dead at a failpoint until a line comes in, for tests that kill it there or let
//! it go on.
//!
//! `crash <job or undo=run> <rules> <panel's URL> <database's URL> <now> [<failpoint> <how many times it is reached>]`,
//! where the rules are `usual`, `extending` or `disabling`; without a failpoint it names those that it reaches, one a line.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::error::chain;
use marzban_sync_core::failpoints;
use marzban_sync_core::jobs::{Context, run, undo};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::policy::{CleanupAction, PanelBehind, Policy};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_core::testing::ManualClock;
use marzban_sync_tests::client;

fn say(line: &str) {
    let mut output = io::stdout();
    // Whom this is said to may be gone, and then nobody needs it.
    drop(writeln!(output, "{line}").and_then(|()| output.flush()));
}

/// Says that it is there, and does nothing at all until a line comes in, which by its clock is after some minutes; the
/// runtime has this thread alone.
fn stop_dead(clock: &ManualClock) {
    say("there");
    let mut line = String::new();
    drop(io::stdin().read_line(&mut line));
    clock.advance(TimeDelta::minutes(2));
}

fn name_each() -> Result<(), String> {
    for name in failpoints::ALL {
        fail::cfg_callback(*name, move || say(name))?;
    }
    Ok(())
}

fn stop_at(name: &str, time: u32, clock: ManualClock) -> Result<(), String> {
    let reached = AtomicU32::new(0);
    fail::cfg_callback(name, move || {
        if reached.fetch_add(1, Ordering::Relaxed) + 1 == time {
            stop_dead(&clock);
        }
    })
}

fn policy(rules: &str) -> Option<Policy> {
    let mut policy = Policy::default();
    match rules {
        "usual" => {}
        "extending" => {
            policy.panel_behind = PanelBehind::Extend;
            policy.extend_after = TimeDelta::zero();
        }
        "disabling" => policy.cleanup = CleanupAction::Disable,
        _ => return None,
    }
    Some(policy)
}

async fn work(name: &str, context: &Context) -> Result<(), Box<dyn Error>> {
    if let Some(id) = name.strip_prefix("undo=") {
        undo(context, RunId(id.parse()?)).await?;
    } else {
        run(Job::parse(name).ok_or("no such job")?, context).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, rules, panel, database, now, place @ ..] = arguments.as_slice() else {
        return Err("crash <job or undo=run> <rules> <panel> <database> <now> [<failpoint> <time>]".into());
    };
    let now: DateTime<Utc> = now.parse()?;
    let clock = ManualClock::new(now);
    match place {
        [name, time] => stop_at(name, time.parse()?, clock.clone())?,
        _ => name_each()?,
    }
    let panel = MarzbanPanel::new(client(panel, "admin", "admin"));
    let context = Context::builder(panel, PostgresStore::connect(database).await?)
        .clock(clock)
        .policy(policy(rules).ok_or("no such rules")?)
        .build();
    match work(name, &context).await {
        Ok(()) => say("done"),
        Err(error) => say(&format!("failed: {}", chain(error.as_ref()))),
    }
    Ok(())
}
