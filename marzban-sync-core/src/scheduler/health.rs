use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::{FinishedRun, Timer};
use crate::decide::schedule::Schedule;
use crate::model::outcome::Outcome;
use crate::model::report::Job;

/// The runs of one job for one panel.
#[derive(Clone, Debug)]
struct JobRuns {
    /// Since when they are scheduled.
    scheduled_since: DateTime<Utc>,
    last: Option<LastRun>,
}

/// The last run of a job.
#[derive(Clone, Debug)]
struct LastRun {
    started_at: DateTime<Utc>,
    end: Outcome,
    /// When the first of the latest runs began that all ended so.
    since: DateTime<Utc>,
    error: Option<String>,
}

/// Whether a job does what it should, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// It ran when it should, or is not due yet, and did not fail the last time.
    Healthy,
    /// The last run failed.
    Failed,
    /// The last run is older than the second-last tick, and the time limit of a run has passed since.
    Late,
}

impl JobRuns {
    fn new(scheduled_since: DateTime<Utc>) -> Self {
        Self {
            scheduled_since: scheduled_since.trunc_subsecs(0),
            last: None,
        }
    }

    /// Notes a run; no reader cares for the fraction of its second.
    fn record(&mut self, started_at: DateTime<Utc>, end: Outcome, error: Option<String>) {
        let started_at = started_at.trunc_subsecs(0);
        let since = self
            .last
            .as_ref()
            .filter(|last| last.end == end)
            .map_or(started_at, |last| last.since);
        self.last = Some(LastRun {
            started_at,
            end,
            since,
            error,
        });
    }

    fn status(&self, schedule: &Schedule, now: DateTime<Utc>) -> HealthStatus {
        let latest = self
            .last
            .as_ref()
            .map_or(self.scheduled_since, |last| last.started_at);
        let has_failed = self.last.as_ref().is_some_and(|last| last.end.is_failure());
        HealthStatus::of(schedule, latest, has_failed, now)
    }
}

impl HealthStatus {
    /// Judges a job by when its latest run began, or without one since when it is scheduled, and by whether that run
    /// failed.
    ///
    /// A run may begin late, by jitter or behind the one before, and take as long as its limit, so only the tick
    /// before the last one counts, and only once a run of it must have ended.
    #[must_use]
    pub fn of(schedule: &Schedule, latest: DateTime<Utc>, has_failed: bool, now: DateTime<Utc>) -> Self {
        if has_failed {
            return Self::Failed;
        }
        let second_last = schedule
            .last_at(now - schedule.time_limit())
            .and_then(|last| schedule.last_at(last - TimeDelta::seconds(1)));
        match second_last {
            Some(tick) if latest < tick => Self::Late,
            _ => Self::Healthy,
        }
    }
}

/// Tells whether the jobs of a [`Scheduler`](super::Scheduler) do what they should; a clone is the same.
#[derive(Clone)]
pub struct SchedulerHealth(Arc<Mutex<Watched>>);

/// What a scheduler watches: the jobs of its panels, by its schedules and its timer.
struct Watched {
    schedules: Vec<Schedule>,
    timer: Arc<dyn Timer>,
    jobs: BTreeMap<(String, Job), JobRuns>,
}

impl Watched {
    fn new(panels: &[&str], schedules: &[Schedule], timer: &Arc<dyn Timer>) -> Self {
        let now = timer.now();
        let jobs = panels.iter().flat_map(|panel| {
            schedules
                .iter()
                .map(move |schedule| (((*panel).to_owned(), schedule.job()), JobRuns::new(now)))
        });
        Self {
            schedules: schedules.to_vec(),
            timer: Arc::clone(timer),
            jobs: jobs.collect(),
        }
    }
}

impl fmt::Debug for SchedulerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerHealth")
            .field("jobs", &self.lock().jobs)
            .finish_non_exhaustive()
    }
}

/// Whether all jobs of all panels do what they should, at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether every job is.
    #[serde(rename = "healthy")]
    pub is_healthy: bool,
    /// The moment, UTC.
    pub now: DateTime<Utc>,
    /// Each job of each panel, by panel and job.
    pub jobs: Vec<JobHealth>,
}

/// Whether one job of one panel does what it should.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct JobHealth {
    /// The panel's name.
    pub panel: String,
    /// The job.
    pub job: Job,
    /// Whether it does what it should.
    #[serde(rename = "verdict")]
    pub status: HealthStatus,
    /// How the last run ended; none before the first.
    #[serde(serialize_with = "word")]
    pub outcome: Option<Outcome>,
    /// Since when the runs end so; without a run, since when it is scheduled.
    pub since: DateTime<Utc>,
    /// When the last run began.
    pub last_run: Option<DateTime<Utc>>,
    /// When the next one is due.
    pub next_run: Option<DateTime<Utc>>,
    /// Its cron text.
    pub schedule: String,
    /// Why the last run did not complete, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it so"
)]
fn word<S: Serializer>(end: &Option<Outcome>, serializer: S) -> Result<S::Ok, S::Error> {
    end.map(Outcome::as_str).serialize(serializer)
}

impl SchedulerHealth {
    pub(super) fn new(panels: &[&str], schedules: &[Schedule], timer: &Arc<dyn Timer>) -> Self {
        Self(Arc::new(Mutex::new(Watched::new(panels, schedules, timer))))
    }

    /// Watches other panels, schedules or another timer from now on, by all clones of the handle.
    pub(super) fn watch(&self, panels: &[&str], schedules: &[Schedule], timer: &Arc<dyn Timer>) {
        *self.lock() = Watched::new(panels, schedules, timer);
    }

    /// Notes a run that ended.
    pub(super) fn record(&self, run: &FinishedRun) {
        if let Some(runs) = self.lock().jobs.get_mut(&(run.panel_name.clone(), run.job)) {
            runs.record(run.started_at, run.end, run.error.clone());
        }
    }

    /// Returns the health at the present moment of the scheduler's timer.
    #[must_use]
    pub fn now(&self) -> Health {
        let now = self.lock().timer.now();
        self.at(now)
    }

    fn at(&self, now: DateTime<Utc>) -> Health {
        let watched = self.lock();
        let jobs: Vec<JobHealth> = watched
            .jobs
            .iter()
            .filter_map(|((panel, job), runs)| {
                let schedule = watched.schedules.iter().find(|schedule| schedule.job() == *job)?;
                let last = runs.last.as_ref();
                Some(JobHealth {
                    panel: panel.clone(),
                    job: *job,
                    status: runs.status(schedule, now),
                    outcome: last.map(|last| last.end),
                    since: last.map_or(runs.scheduled_since, |last| last.since),
                    last_run: last.map(|last| last.started_at),
                    next_run: schedule.next_after(now),
                    schedule: schedule.cron().to_owned(),
                    error: last.and_then(|last| last.error.clone()),
                })
            })
            .collect();
        Health {
            is_healthy: jobs.iter().all(|job| job.status == HealthStatus::Healthy),
            now: now.trunc_subsecs(0),
            jobs,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::SystemTimer;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2025-09-{time}:00Z").parse().unwrap()
    }

    /// A job whose process started on the 14th at noon, with these runs, judged then.
    #[track_caller]
    fn check(job: Job, runs: &[(&str, Outcome)], now: &str, expected: HealthStatus) {
        let mut runs_so_far = JobRuns::new(at("14T12:00"));
        for (began, end) in runs {
            runs_so_far.record(at(began), *end, None);
        }
        let status = runs_so_far.status(&Schedule::default_of(job), at(now));
        assert_eq!(status, expected, "{job} with {runs:?} at {now}");
    }

    #[test]
    fn a_job_is_late_when_two_ticks_and_its_time_limit_have_passed() {
        use Outcome::Completed;
        let status = Job::SyncUserStatusFromMarzban;
        // Ticks at 12:30 and 13:30; a run of the latter may take until 14:00.
        check(status, &[], "14T12:00", HealthStatus::Healthy);
        check(status, &[], "14T13:59", HealthStatus::Healthy);
        check(status, &[], "14T14:00", HealthStatus::Late);
        check(
            status,
            &[("14T13:30", Completed)],
            "14T15:59",
            HealthStatus::Healthy,
        );
        check(status, &[("14T13:30", Completed)], "14T16:00", HealthStatus::Late);
        check(status, &[("14T13:29", Completed)], "14T15:00", HealthStatus::Late);
        // The statistics come every 15 minutes, and may take 30.
        let figures = Job::GetMarzbanSystemStats;
        check(
            figures,
            &[("14T13:15", Completed)],
            "14T14:14",
            HealthStatus::Healthy,
        );
        check(
            figures,
            &[("14T13:15", Completed)],
            "14T14:15",
            HealthStatus::Late,
        );
        // The cleanup is due on Mondays, the 15th and the 22nd.
        let cleanup = Job::CleanupExpiredMarzbanUsers;
        check(cleanup, &[], "21T23:59", HealthStatus::Healthy);
        check(cleanup, &[], "22T01:29", HealthStatus::Healthy);
        check(cleanup, &[], "22T01:30", HealthStatus::Late);
    }

    #[test]
    fn the_last_run_counts_and_no_earlier_one() {
        let job = Job::SyncSubscriptionsFromMarzban;
        for outcome in Outcome::ALL {
            let expected = if outcome.is_failure() {
                HealthStatus::Failed
            } else {
                HealthStatus::Healthy
            };
            check(job, &[("14T14:00", outcome)], "14T14:05", expected);
            check(
                job,
                &[("14T14:00", outcome), ("14T16:00", Outcome::Completed)],
                "14T16:05",
                HealthStatus::Healthy,
            );
        }
    }

    #[test]
    fn since_is_the_first_of_the_runs_that_ended_alike() {
        let mut runs = JobRuns::new(at("14T12:00"));
        for (began, end) in [
            ("14T12:30", Outcome::Completed),
            ("14T13:30", Outcome::Panel),
            ("14T14:30", Outcome::Panel),
        ] {
            runs.record(at(began), end, None);
        }
        let last = runs.last.unwrap();
        assert_eq!((last.started_at, last.since), (at("14T14:30"), at("14T13:30")));
    }

    #[test]
    fn one_job_of_one_panel_is_enough_to_be_unhealthy() {
        let timer: Arc<dyn Timer> = Arc::new(SystemTimer);
        let health = SchedulerHealth::new(&["de", "nl"], &Schedule::defaults(), &timer);
        for runs in health.lock().jobs.values_mut() {
            runs.scheduled_since = at("14T12:00");
        }
        assert!(health.at(at("14T12:01")).is_healthy);
        let stats = Job::GetMarzbanSystemStats;
        if let Some(runs) = health.lock().jobs.get_mut(&("nl".to_owned(), stats)) {
            runs.record(at("14T12:15"), Outcome::Panel, None);
        }
        let now = health.at(at("14T12:16"));
        let ill: Vec<(&str, Job)> = now
            .jobs
            .iter()
            .filter(|job| job.status != HealthStatus::Healthy)
            .map(|job| (job.panel.as_str(), job.job))
            .collect();
        assert_eq!((now.is_healthy, now.jobs.len()), (false, 8));
        assert_eq!(ill, [("nl", stats)]);
    }
}
