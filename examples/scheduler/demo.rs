//! The demo: the same loops, with fake panels, a temporary database, and a clock that hurries.

mod agreement;
mod clock;
mod screen;
mod script;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use marzban_sync_core::Context;
use marzban_sync_core::clock::{Clock as _, SystemClock};
use marzban_sync_core::error::chain;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::store::SqliteStore;
use marzban_sync_examples::environment::Failure;
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::demo::clock::DemoClock;
use crate::demo::screen::{Notes, Screen, Tally};
use crate::demo::world::World;
use crate::program;

/// Runs the demo to its end: after its days, or when it is asked to stop.
pub(crate) async fn run(
    arguments: &Arguments,
    schedules: Vec<Schedule>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| Failure::Run(format!("{error:#}"));
    let start = monday_before(SystemClock.now());
    let until = arguments.days.map(|days| start + TimeDelta::days(days.into()));
    let folder = tempfile::tempdir().map_err(|error| Failure::Run(error.to_string()))?;
    let world = World::new(folder.path(), start).await.map_err(failed)?;
    let store = SqliteStore::connect(&world.database_url())
        .await
        .map_err(|error| Failure::Run(chain(&error)))?;
    store
        .migrate()
        .await
        .map_err(|error| Failure::Run(chain(&error)))?;
    world.assign_panels().map_err(failed)?;

    let participants = world::PANELS.into_iter().chain([world::NAME]).map(str::to_owned);
    let clock = DemoClock::new(start, arguments.speed, participants);
    let screen = Screen::new();
    let tally = Tally::default();
    let mut contexts = Vec::new();
    let mut notes = BTreeMap::new();
    for panel in world::PANELS {
        let client = world.client(panel).map_err(failed)?;
        let context = Context::builder(MarzbanPanel::new(client), store.clone())
            .panel_name(panel)
            .observer(notes.entry(panel).or_insert_with(Notes::default).clone());
        contexts.push(context.build());
    }
    let counted = tally.clone();
    let jobs = program::scheduler_of(schedules, contexts)
        .timer(clock.clone())
        .jitter(Duration::ZERO)
        .on_finished(move |run| {
            counted.count(run);
            if let Some(notes) = notes.get(run.panel_name.as_str()) {
                screen.ended(run, notes);
            }
        });
    let jobs = match until {
        Some(until) => jobs.until(until),
        None => jobs,
    };
    tokio::select! {
        // The world ends before its bot does, and is then waited with.
        () = async { world.run(&clock, until, screen).await; std::future::pending().await } => {}
        ended = program::serve_and_run(arguments, jobs, stop) => ended?,
    }
    screen.summary(&tally);
    let Some(end) = until.filter(|_| !stop.is_cancelled()) else {
        return Ok(());
    };
    let agreement = world.agreement(end).map_err(failed)?;
    screen.agreement(&agreement);
    if agreement.differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Run("the bot is not in step with its panels".to_owned()))
    }
}

/// The demo's week is this one, so that a Monday with its cleanup comes first.
fn monday_before(now: DateTime<Utc>) -> DateTime<Utc> {
    let days = now.weekday().num_days_from_monday();
    now.date_naive().and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(days.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_begins_on_a_monday_at_midnight() {
        for (now, monday) in [
            ("2025-09-15T00:00:00Z", "2025-09-15T00:00:00Z"),
            ("2025-09-17T13:14:15Z", "2025-09-15T00:00:00Z"),
            ("2025-09-21T23:59:59Z", "2025-09-15T00:00:00Z"),
        ] {
            assert_eq!(
                monday_before(now.parse().unwrap()),
                monday.parse::<DateTime<Utc>>().unwrap()
            );
        }
    }
}
