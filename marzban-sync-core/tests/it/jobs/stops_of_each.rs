//! Every job ends when it is told to: within one batch of five thousand accounts, and while the panel is silent.

use std::future::pending;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::Context;
use marzban_sync_core::error::PanelError;
use marzban_sync_core::jobs::run;
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::outcome::{Outcome, Stopped};
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::report::{Job, Report, SystemStats};
use marzban_sync_core::store::Journal;
use tokio_util::sync::CancellationToken;

use crate::given::{day, user};
use crate::scripted::World;

const ACCOUNTS: i64 = 5_000;

/// Five thousand customers who used traffic; all but the first work, or all ended long ago.
fn five_thousand(ended: bool) -> World {
    let world = World::synced_just_now();
    for id in 1..=ACCOUNTS {
        let (in_bot, in_panel, end) = match (ended, id) {
            (true, _) => ("expired", "expired", day(-30)),
            (false, 1) => ("active", "expired", day(-1)),
            (false, _) => ("active", "active", day(5)),
        };
        world.customer(id, in_bot, end);
        let used = PanelUser {
            used_traffic: 500,
            ..user(in_panel, end)
        };
        world.panel.put(&format!("user{id}"), used);
    }
    world
}

/// Ends a run at its third list by this, and looks at what it says and leaves behind.
async fn ends_within_a_batch(job: Job, world: &World, stopped: Stopped) {
    let report = run(job, &world.context()).await.unwrap();

    let run = report.run().unwrap();
    assert_eq!(run.stopped, Some(stopped), "{job}");
    assert_eq!(world.panel.calls().len(), 3, "{job}");
    let done = if job == Job::CleanupExpiredMarzbanUsers {
        0
    } else {
        300
    };
    assert_eq!(run.unreached, 5_000 - done, "{job}");
    let (total, errors, withheld) = match &report {
        Report::SyncSubscriptionsFromMarzban(report) => (report.total, report.errors, 1),
        Report::SyncUserStatusFromMarzban(report) => (report.total, report.errors, 1),
        Report::CleanupExpiredMarzbanUsers(report) => (report.total, report.errors, 0),
        Report::GetMarzbanSystemStats(_) => unreachable!("it has no accounts"),
    };
    assert_eq!(
        (total, errors, run.withheld),
        (5_000, 5_000 - done + withheld, withheld),
        "{job}"
    );
    let written = world
        .store
        .vpn_configs()
        .iter()
        .filter(|row| row.updated_at.is_some())
        .count();
    assert_eq!(written as u64, done, "{job}");
    assert_eq!(world.outcomes()[1..], [format!("{job} stopped")]);
    let lock = world.store.lock(job, "default").await.unwrap();
    lock.release().await.unwrap();
}

/// The three jobs over accounts, each with a world of its own.
fn worlds() -> impl Iterator<Item = (Job, World)> {
    let jobs = Job::ALL
        .into_iter()
        .filter(|job| *job != Job::GetMarzbanSystemStats);
    jobs.map(|job| (job, five_thousand(job == Job::CleanupExpiredMarzbanUsers)))
}

#[tokio::test]
async fn a_cancelled_run_over_five_thousand_accounts_ends_within_one_batch() {
    for (job, world) in worlds() {
        let cancellation = world.cancellation.clone();
        world
            .panel
            .at_call("users user201 ", move || cancellation.cancel());
        ends_within_a_batch(job, &world, Stopped::Cancelled).await;
    }
}

#[tokio::test]
async fn a_run_over_five_thousand_accounts_whose_time_is_up_ends_within_one_batch() {
    for (job, world) in worlds() {
        let clock = world.clock.clone();
        world
            .panel
            .at_call("users user201 ", move || clock.advance(TimeDelta::minutes(30)));
        ends_within_a_batch(job, &world, Stopped::Deadline).await;
    }
}

/// A panel that falls silent at its first question, upon which the run is cancelled.
struct Silent(CancellationToken);

impl Silent {
    async fn never<T>(&self) -> T {
        self.0.cancel();
        pending().await
    }
}

#[async_trait]
impl Panel for Silent {
    async fn users(&self, _: &[String]) -> Result<Vec<Observation>, PanelError> {
        self.never().await
    }

    async fn user(&self, _: &str) -> Result<Observation, PanelError> {
        self.never().await
    }

    async fn delete_user(&self, _: &str) -> Result<(), PanelError> {
        self.never().await
    }

    async fn extend_user(
        &self,
        _: &str,
        _: &ExpectedUser,
        _: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        self.never().await
    }

    async fn disable_user(&self, _: &str, _: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        self.never().await
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        self.never().await
    }
}

/// Fails instead of waiting for a panel that says nothing.
async fn at_once<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("a silent panel is not waited for")
}

#[tokio::test]
async fn a_cancelled_run_does_not_wait_for_a_panel_that_fell_silent() {
    for job in Job::ALL {
        let world = World::new();
        let ended = job == Job::CleanupExpiredMarzbanUsers;
        let (status, end) = if ended {
            ("expired", day(-30))
        } else {
            ("active", day(-1))
        };
        world.customer(1, status, end);
        let rows = world.rows();
        let silent = Silent(world.cancellation.clone());
        let context = Context::builder(silent, world.store.clone())
            .clock(world.clock.clone())
            .cancellation(world.cancellation.clone())
            .build();

        let result = at_once(run(job, &context)).await;

        match result {
            Ok(report) => {
                let run = report.run().unwrap();
                assert_eq!(
                    (run.stopped, run.unreached),
                    (Some(Stopped::Cancelled), 1),
                    "{job}"
                );
            }
            Err(error) => {
                assert_eq!(
                    (error.outcome(), error.job()),
                    (Outcome::Cancelled, Job::GetMarzbanSystemStats)
                );
                assert_eq!(error.to_string(), "get_marzban_system_stats was stopped");
            }
        }
        assert_eq!(world.rows(), rows, "{job}");
        assert_eq!(world.outcomes(), [format!("{job} stopped")]);
        let lock = world.store.lock(job, "default").await.unwrap();
        lock.release().await.unwrap();
    }
}
