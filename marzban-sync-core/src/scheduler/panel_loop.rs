use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::supervision::{self, FinishedRun};
use super::{OnFinished, SchedulerHealth, Timer};
use crate::decide::schedule::{Agenda, Schedule, Tick};
use crate::jobs::Context;
use crate::model::report::Job;

/// How long a run may go on past its time limit before it is dropped: it heeds the limit between two requests only.
const GRACE: Duration = Duration::from_mins(1);

/// The loop of one panel: it runs what is due, notes how it ended, and stops in order.
pub(super) struct PanelLoop {
    /// Its cancellation is the loop's own, and ends its runs.
    pub(super) context: Context,
    pub(super) agenda: Agenda,
    pub(super) timer: Arc<dyn Timer>,
    pub(super) jitter: Duration,
    /// After which tick to end.
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) stop: CancellationToken,
    pub(super) health: SchedulerHealth,
    pub(super) on_finished: Option<OnFinished>,
    /// A run is none when it was cancelled before it began.
    pub(super) under_way: JoinSet<Option<FinishedRun>>,
    pub(super) jobs: BTreeMap<Id, Job>,
}

/// Decides what is due at first: a run missed while the process was down is made good, once; a job that never ran waits
/// for its next tick, unless every job is to run now.
pub(super) fn agenda(
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
    /// Runs what is due until it is asked to stop, and then waits for what is under way.
    pub(super) async fn run(mut self) {
        let (stop, cancelled) = (self.stop.clone(), self.context.cancellation().clone());
        let timer = Arc::clone(&self.timer);
        while !stop.is_cancelled() && !cancelled.is_cancelled() {
            let now = timer.now();
            // What came due only after the last tick stays undone, however late it is by then.
            self.start_due(self.until.map_or(now, |until| now.min(until)));
            let Some(next) = self.agenda.next(now) else { break };
            if self.jobs.is_empty() && self.until.is_some_and(|until| next > until) {
                break;
            }
            // A simulated clock stands while a run is under way, lest a tick pass or the world change under it.
            if self.jobs.is_empty() {
                timer.note_idle(self.context.panel_name(), Some(next));
            }
            tokio::select! {
                () = timer.sleep_until(next) => {}
                Some(ended) = self.under_way.join_next_with_id() => self.finish(ended),
                () = stop.cancelled() => cancelled.cancel(),
                () = cancelled.cancelled() => {}
            }
        }
        timer.note_idle(self.context.panel_name(), None);
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
        let schedules = self.agenda.schedules();
        let limit = schedules
            .iter()
            .find(|schedule| schedule.job() == job)
            .map_or(chrono::TimeDelta::zero(), Schedule::time_limit);
        let context = self.context.clone().with_deadline(limit);
        let patience = limit.to_std().unwrap_or(Duration::ZERO) + GRACE;
        let wait = self.jitter.mul_f64(fastrand::f64());
        let span = tracing::info_span!("run", panel = context.panel_name(), %job, tick = %at);
        let run = async move {
            if !wait.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = context.cancellation().cancelled() => return None,
                }
            }
            Some(supervision::supervise(job, &context, at, patience).await)
        };
        let handle = self.under_way.spawn(run.instrument(span));
        self.jobs.insert(handle.id(), job);
    }

    fn finish(&mut self, ended: Result<(Id, Option<FinishedRun>), JoinError>) {
        let panel = self.context.panel_name();
        let (id, finished) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(panel, error = &error as &dyn std::error::Error, "a run was lost");
                (error.id(), None)
            }
        };
        let Some(job) = self.jobs.remove(&id) else { return };
        let Some(run) = finished else { return };
        self.health.record(&run);
        #[cfg(feature = "metrics")]
        super::metrics::record(&run, self.timer.now());
        if let Some(on_finished) = &self.on_finished {
            on_finished(&run);
        }
        let (outcome, error) = (run.end.as_str(), run.error.as_deref());
        let duration_ms = run.duration.as_millis();
        if run.end.is_failure() {
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
    use chrono::TimeDelta;

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
