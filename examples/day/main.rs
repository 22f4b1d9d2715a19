//! A day in 24 seconds: the library's `Scheduler` with fake panels, a temporary database, and a clock that hurries.
//!
//! `cargo run --example day`, and nothing to set up. `/health` and `/metrics` are those of `examples/scheduler`.

mod agreement;
mod clock;
mod screen;
mod script;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Parser;
use marzban_sync_core::Context;
use marzban_sync_core::clock::{Clock as _, SystemClock};
use marzban_sync_core::error::{StoreError, chain};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::scheduler::Scheduler;
use marzban_sync_core::store::SqliteStore;
use marzban_sync_examples::environment::{self, Failure};
use marzban_sync_examples::logging::{self, LogFormat};
use marzban_sync_examples::{http, program};
use tokio_util::sync::CancellationToken;

use crate::clock::{DemoClock, monday_before};
use crate::screen::{RunLog, Screen, Tally};
use crate::world::World;

/// Two fake panels, a bot's database, and a clock that hurries.
#[derive(Debug, Parser)]
#[command(name = "day")]
struct Arguments {
    /// How many times as fast the clock runs; at 3600 a day takes 24 seconds.
    #[arg(long, default_value_t = 3600.0, value_parser = clock::speed)]
    speed: f64,
    /// End after so many days.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: Option<u32>,
    /// Where /health, /live and /metrics are served; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9185")]
    listen: SocketAddr,
    /// How to log; by default text on a terminal, and JSON elsewhere.
    #[arg(long, value_enum)]
    log: Option<LogFormat>,
}

fn main() -> ExitCode {
    program::run(run)
}

/// Runs until its days are over, or until it is asked to stop.
async fn run(arguments: Arguments, stop: CancellationToken) -> Result<(), Failure> {
    let filter = environment::log_filter_or("error").map_err(Failure::Configuration)?;
    logging::install(arguments.log, filter);
    let start = monday_before(SystemClock.now());
    let until = arguments.days.map(|days| start + TimeDelta::days(days.into()));
    let folder = tempfile::tempdir().map_err(|error| Failure::Run(error.to_string()))?;
    let world = World::new(folder.path(), start).await?;
    let failed = |error: StoreError| Failure::Run(chain(&error));
    let store = SqliteStore::connect(&world.database_url())
        .await
        .map_err(failed)?;
    store.migrate().await.map_err(failed)?;
    world.assign_panels()?;

    let participants = world::PANELS.into_iter().chain([world::NAME]).map(str::to_owned);
    let clock = DemoClock::new(start, arguments.speed, participants);
    let (screen, tally) = (Screen::new(), Tally::default());
    let mut logs = BTreeMap::new();
    let mut context = |panel| {
        let log = logs.entry(panel).or_insert_with(RunLog::default).clone();
        let client = world.client(panel)?;
        let context = Context::builder(MarzbanPanel::new(client), store.clone()).panel_name(panel);
        anyhow::Ok(context.observer(log).build())
    };
    let [first, second] = world::PANELS.map(&mut context);
    let counted = tally.clone();
    let scheduler = Scheduler::new(first?)
        .panel(second?)
        .timer(clock.clone())
        .jitter(Duration::ZERO)
        .on_finished(move |run| {
            counted.count(run);
            if let Some(log) = logs.get(run.panel_name.as_str()) {
                screen.ended(run, log);
            }
        });
    let scheduler = match until {
        Some(until) => scheduler.until(until),
        None => scheduler,
    };
    tokio::select! {
        // The world ends before its bot does, and is then waited with.
        () = async { world.run(&clock, until, screen).await; std::future::pending().await } => {}
        ended = http::run_scheduler(scheduler, arguments.listen, &stop) => ended?,
    }
    screen.summary(&tally);
    let Some(end) = until.filter(|_| !stop.is_cancelled()) else {
        return Ok(());
    };
    let agreement = world.agreement(end)?;
    screen.agreement(&agreement);
    if agreement.differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Run("the bot is not in step with its panels".to_owned()))
    }
}
