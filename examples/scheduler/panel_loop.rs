//! One panel's loop: it runs what is due, notes how it ended, and stops in order.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::{Agenda, Schedule, Tick};
use marzban_sync_examples::run_metrics;
use marzban_sync_examples::supervision::{self, Ended};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::demo::screen::{Notes, Screen};
use crate::health::Standings;
use crate::time::Time;

/// How long a run may go on past its time limit before it is dropped: it heeds the limit between two requests only.
const GRACE: Duration = Duration::from_mins(1);

/// What the loops of all panels share.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) time: Time,
    pub(crate) standings: Standings,
    pub(crate) jitter: Duration,
    /// After which tick to end; none goes on for ever.
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) stop: CancellationToken,
    /// Where a demo shows what happens.
    pub(crate) screen: Option<Screen>,
}

/// When a run began, how it ended, and for a demo what it wrote; none if the process was to stop before it began.
type Finished = Option<(DateTime<Utc>, Ended, Notes)>;

/// The loop of one panel.
#[derive(Debug)]
pub(crate) struct PanelLoop {
    panel: String,
    context: ContextBuilder,
    agenda: Agenda,
    surroundings: Surroundings,
    under_way: JoinSet<Finished>,
    jobs: BTreeMap<Id, Job>,
}

/// What is due at first: a run missed while the process was down is made good, once; a job that never ran waits for
/// its next tick, unless every job is to run now.
pub(crate) fn agenda(
    schedules: Vec<Schedule>,
    now: DateTime<Utc>,
    run_now: bool,
    last_run: impl Fn(Job) -> Option<DateTime<Utc>>,
) -> Agenda {
    if run_now {
        return Agenda::resumed(schedules, now, |_| Some(DateTime::UNIX_EPOCH));
    }
    Agenda::resumed(schedules, now, last_run)
}

impl PanelLoop {
    pub(crate) fn new(
        panel: String,
        context: ContextBuilder,
        agenda: Agenda,
        surroundings: Surroundings,
    ) -> Self {
        let context = context
            .panel_name(panel.as_str())
            .clock(surroundings.time.clone())
            .cancellation(surroundings.stop.clone());
        Self {
            panel,
            context,
            agenda,
            surroundings,
            under_way: JoinSet::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// Runs what is due until it is asked to stop, and then waits for what is under way.
    pub(crate) async fn run(mut self) {
        let Surroundings {
            time, until, stop, ..
        } = self.surroundings.clone();
        while !stop.is_cancelled() {
            let now = time.now();
            self.start_due(now);
            let Some(next) = self.agenda.next(now) else { break };
            if self.jobs.is_empty() && until.is_some_and(|until| next > until) {
                break;
            }
            // A demo's clock stands while a run is under way, lest a tick pass or the world change under it.
            if self.jobs.is_empty() {
                time.allow_until(&self.panel, next);
            }
            tokio::select! {
                () = time.sleep_towards(next) => {}
                Some(ended) = self.under_way.join_next_with_id() => self.finish(ended),
                () = stop.cancelled() => {}
            }
        }
        time.leave(&self.panel);
        while let Some(ended) = self.under_way.join_next_with_id().await {
            self.finish(ended);
        }
    }

    /// Starts what is due, in the order of a full run.
    fn start_due(&mut self, now: DateTime<Utc>) {
        for turn in Job::ALL {
            let under_way: Vec<Job> = self.jobs.values().copied().collect();
            let waits = |job| job != turn || must_wait(job, &under_way);
            for tick in self.agenda.take_due(now, waits) {
                self.start(tick);
            }
        }
    }

    fn start(&mut self, Tick { at, job }: Tick) {
        let Surroundings {
            time,
            jitter,
            stop,
            screen,
            ..
        } = self.surroundings.clone();
        let schedules = self.agenda.schedules();
        let schedule = schedules.iter().find(|schedule| schedule.job() == job);
        let limit = schedule.map_or(TimeDelta::zero(), Schedule::time_limit);
        let notes = Notes::default();
        let mut context = self.context.clone().deadline(limit);
        if screen.is_some() {
            context = context.observer(notes.clone());
        }
        let context = context.build();
        let patience = limit.to_std().unwrap_or(Duration::ZERO) + GRACE;
        let span = tracing::info_span!("run", panel = self.panel, %job, tick = %at);
        let run = async move {
            let wait = jitter.mul_f64(fastrand::f64());
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stop.cancelled() => return None,
                }
            }
            let began = time.now();
            Some((began, supervision::run(job, &context, patience).await, notes))
        };
        let handle = self.under_way.spawn(run.instrument(span));
        self.jobs.insert(handle.id(), job);
    }

    fn finish(&mut self, ended: Result<(Id, Finished), JoinError>) {
        let (id, finished) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(
                    panel = self.panel,
                    error = &error as &dyn std::error::Error,
                    "a run was lost"
                );
                (error.id(), None)
            }
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        let Some((began, ended, notes)) = finished else {
            return;
        };
        let Surroundings {
            time,
            standings,
            screen,
            ..
        } = &self.surroundings;
        standings.record(&self.panel, job, began, &ended);
        run_metrics::record(&self.panel, job, &ended, time.now());
        if let Some(screen) = screen {
            screen.ended(&self.panel, job, began, &ended, &notes);
        }
        let (panel, duration_ms) = (&self.panel, ended.duration.as_millis());
        let (outcome, error) = (ended.outcome.as_str(), ended.error.as_deref());
        if ended.outcome.is_failure() {
            tracing::warn!(panel, %job, outcome, error, duration_ms, "the run failed");
        } else {
            tracing::info!(panel, %job, outcome, error, duration_ms, "the run ended");
        }
    }
}

/// Whether a job waits although it is due: runs over the same accounts come one after the other, so that they neither
/// ask the panel at the same time nor overtake each other's rows, and a cleanup knows what the syncs have found.
fn must_wait(job: Job, under_way: &[Job]) -> bool {
    let is_over_accounts = |job: &Job| *job != Job::GetMarzbanSystemStats;
    under_way.contains(&job) || is_over_accounts(&job) && under_way.iter().any(is_over_accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_over_accounts_come_one_after_the_other() {
        let (sync, status) = (Job::SyncSubscriptionsFromMarzban, Job::SyncUserStatusFromMarzban);
        let (cleanup, figures) = (Job::CleanupExpiredMarzbanUsers, Job::GetMarzbanSystemStats);
        for (job, under_way, expected) in [
            (sync, &[][..], false),
            (status, &[sync], true),
            (cleanup, &[figures, status], true),
            (cleanup, &[figures], false),
            (figures, &[sync], false),
            (figures, &[figures], true),
        ] {
            assert_eq!(must_wait(job, under_way), expected, "{job} {under_way:?}");
        }
    }

    #[test]
    fn every_job_is_due_at_once_only_when_asked_for() {
        let now: DateTime<Utc> = "2025-09-16T12:34:56Z".parse().unwrap();
        let due = |run_now| agenda(Schedule::defaults(), now, run_now, |_| None).take_due(now, |_| false);
        assert_eq!(due(false), []);
        let jobs: std::collections::BTreeSet<Job> = due(true).iter().map(|tick| tick.job).collect();
        assert_eq!(jobs, Job::ALL.into());
    }

    #[test]
    fn what_a_downtime_missed_is_due_once() {
        let now: DateTime<Utc> = "2025-09-16T12:34:56Z".parse().unwrap();
        let last = |job| {
            let hours = if job == Job::SyncUserStatusFromMarzban {
                5
            } else {
                0
            };
            Some(now - TimeDelta::hours(hours))
        };
        let due = agenda(Schedule::defaults(), now, false, last).take_due(now, |_| false);
        let tick = Tick {
            at: "2025-09-16T12:30:00Z".parse().unwrap(),
            job: Job::SyncUserStatusFromMarzban,
        };
        assert_eq!(due, [tick]);
    }
}
