//! Whether every job does what it should: a decision about facts, with the time as an argument.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_examples::supervision::{Ended, Outcome};
use serde::Serialize;

/// What is known of the runs of one job for one panel.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// When the process began to run it.
    pub(crate) since_start: DateTime<Utc>,
    /// The last run.
    pub(crate) last: Option<LastRun>,
    /// How many runs ended, by outcome.
    pub(crate) runs: BTreeMap<Outcome, u64>,
}

/// The last run of a job.
#[derive(Clone, Debug)]
pub(crate) struct LastRun {
    pub(crate) began: DateTime<Utc>,
    pub(crate) outcome: Outcome,
    /// The first of the latest runs that all ended so.
    pub(crate) since: DateTime<Utc>,
    pub(crate) error: Option<String>,
}

/// Whether a job does what it should, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It ran when it should, or is not due yet, and did not fail the last time.
    Healthy,
    /// The last run failed.
    Failed,
    /// The last run is older than the second-last tick, and the time limit of a run has passed since.
    Late,
}

impl Standing {
    fn new(since_start: DateTime<Utc>) -> Self {
        Self {
            since_start: since_start.trunc_subsecs(0),
            last: None,
            runs: BTreeMap::new(),
        }
    }

    /// Notes a run; no reader cares for the fraction of its second.
    fn record(&mut self, began: DateTime<Utc>, ended: &Ended) {
        let began = began.trunc_subsecs(0);
        *self.runs.entry(ended.outcome).or_default() += 1;
        let since = self
            .last
            .as_ref()
            .filter(|last| last.outcome == ended.outcome)
            .map_or(began, |last| last.since);
        self.last = Some(LastRun {
            began,
            outcome: ended.outcome,
            since,
            error: ended.error.clone(),
        });
    }

    /// Judges the job at `now`.
    ///
    /// A run may begin late, by jitter or behind the one before, and take as long as its limit, so only the tick
    /// before the last one counts, and only once a run of it must have ended.
    pub(crate) fn judge(&self, schedule: &Schedule, now: DateTime<Utc>) -> Verdict {
        if self.last.as_ref().is_some_and(|last| last.outcome.is_failure()) {
            return Verdict::Failed;
        }
        let latest = self.last.as_ref().map_or(self.since_start, |last| last.began);
        let second_last = schedule
            .last_at(now - schedule.time_limit())
            .and_then(|last| schedule.last_at(last - TimeDelta::seconds(1)));
        match second_last {
            Some(tick) if latest < tick => Verdict::Late,
            _ => Verdict::Healthy,
        }
    }
}

/// The standings of all jobs of all panels; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Standings {
    schedules: Arc<[Schedule]>,
    inner: Arc<Mutex<BTreeMap<(String, Job), Standing>>>,
}

/// What `/health` tells.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) healthy: bool,
    pub(crate) now: DateTime<Utc>,
    pub(crate) jobs: Vec<JobHealth>,
}

/// What `/health` tells of one job of one panel.
#[derive(Debug, Serialize)]
pub(crate) struct JobHealth {
    pub(crate) panel: String,
    pub(crate) job: Job,
    pub(crate) verdict: Verdict,
    /// How the last run ended; none before the first.
    outcome: Option<&'static str>,
    /// Since when the runs end so; without a run, since when the process waits for one.
    since: DateTime<Utc>,
    last_run: Option<DateTime<Utc>>,
    next_run: Option<DateTime<Utc>>,
    schedule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Standings {
    pub(crate) fn new(panels: &[String], schedules: &[Schedule], now: DateTime<Utc>) -> Self {
        let jobs = panels.iter().flat_map(|panel| {
            schedules
                .iter()
                .map(move |schedule| ((panel.clone(), schedule.job()), Standing::new(now)))
        });
        Self {
            schedules: schedules.into(),
            inner: Arc::new(Mutex::new(jobs.collect())),
        }
    }

    /// Notes a run that began then.
    pub(crate) fn record(&self, panel: &str, job: Job, began: DateTime<Utc>, ended: &Ended) {
        if let Some(standing) = self.lock().get_mut(&(panel.to_owned(), job)) {
            standing.record(began, ended);
        }
    }

    /// What is known of every job, by panel and job.
    pub(crate) fn snapshot(&self) -> BTreeMap<(String, Job), Standing> {
        self.lock().clone()
    }

    /// Judges all jobs at `now`.
    pub(crate) fn health(&self, now: DateTime<Utc>) -> Health {
        let standings = self.snapshot();
        let jobs: Vec<JobHealth> = standings
            .into_iter()
            .filter_map(|((panel, job), standing)| {
                let schedule = self.schedules.iter().find(|schedule| schedule.job() == job)?;
                let verdict = standing.judge(schedule, now);
                let last = standing.last;
                Some(JobHealth {
                    panel,
                    job,
                    verdict,
                    outcome: last.as_ref().map(|last| last.outcome.as_str()),
                    since: last.as_ref().map_or(standing.since_start, |last| last.since),
                    last_run: last.as_ref().map(|last| last.began),
                    next_run: schedule.next_after(now),
                    schedule: schedule.cron().to_owned(),
                    error: last.and_then(|last| last.error),
                })
            })
            .collect();
        Health {
            healthy: jobs.iter().all(|job| job.verdict == Verdict::Healthy),
            now: now.trunc_subsecs(0),
            jobs,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, Job), Standing>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2025-09-{time}:00Z").parse().unwrap()
    }

    fn ended(outcome: Outcome) -> Ended {
        Ended {
            outcome,
            report: None,
            error: None,
            duration: Duration::ZERO,
        }
    }

    /// A job whose process started on the 14th at noon, with these runs, judged then.
    #[track_caller]
    fn check(job: Job, runs: &[(&str, Outcome)], now: &str, expected: Verdict) {
        let mut standing = Standing::new(at("14T12:00"));
        for (began, outcome) in runs {
            standing.record(at(began), &ended(*outcome));
        }
        let verdict = standing.judge(&Schedule::default_of(job), at(now));
        assert_eq!(verdict, expected, "{job} with {runs:?} at {now}");
    }

    #[test]
    fn a_job_is_late_when_two_ticks_and_its_time_limit_have_passed() {
        use Outcome::Completed;
        let status = Job::SyncUserStatusFromMarzban;
        // Ticks at 12:30 and 13:30; a run of the latter may take until 14:00.
        check(status, &[], "14T12:00", Verdict::Healthy);
        check(status, &[], "14T13:59", Verdict::Healthy);
        check(status, &[], "14T14:00", Verdict::Late);
        check(status, &[("14T13:30", Completed)], "14T15:59", Verdict::Healthy);
        check(status, &[("14T13:30", Completed)], "14T16:00", Verdict::Late);
        check(status, &[("14T13:29", Completed)], "14T15:00", Verdict::Late);
        // The statistics come every 15 minutes, and may take 30.
        let figures = Job::GetMarzbanSystemStats;
        check(figures, &[("14T13:15", Completed)], "14T14:14", Verdict::Healthy);
        check(figures, &[("14T13:15", Completed)], "14T14:15", Verdict::Late);
        // The cleanup is due on Mondays, the 15th and the 22nd.
        let cleanup = Job::CleanupExpiredMarzbanUsers;
        check(cleanup, &[], "21T23:59", Verdict::Healthy);
        check(cleanup, &[], "22T01:29", Verdict::Healthy);
        check(cleanup, &[], "22T01:30", Verdict::Late);
    }

    #[test]
    fn the_last_run_counts_and_no_earlier_one() {
        let job = Job::SyncSubscriptionsFromMarzban;
        for outcome in Outcome::ALL {
            let expected = if outcome.is_failure() {
                Verdict::Failed
            } else {
                Verdict::Healthy
            };
            check(job, &[("14T14:00", outcome)], "14T14:05", expected);
            check(
                job,
                &[("14T14:00", outcome), ("14T16:00", Outcome::Completed)],
                "14T16:05",
                Verdict::Healthy,
            );
        }
    }

    #[test]
    fn since_is_the_first_of_the_runs_that_ended_alike() {
        let mut standing = Standing::new(at("14T12:00"));
        for (began, outcome) in [
            ("14T12:30", Outcome::Completed),
            ("14T13:30", Outcome::Panel),
            ("14T14:30", Outcome::Panel),
        ] {
            standing.record(at(began), &ended(outcome));
        }
        let last = standing.last.unwrap();
        assert_eq!((last.began, last.since), (at("14T14:30"), at("14T13:30")));
        assert_eq!(standing.runs[&Outcome::Panel], 2);
    }

    #[test]
    fn one_job_of_one_panel_is_enough_to_be_unhealthy() {
        let panels = ["de".to_owned(), "nl".to_owned()];
        let standings = Standings::new(&panels, &Schedule::defaults(), at("14T12:00"));
        assert!(standings.health(at("14T12:01")).healthy);
        let stats = Job::GetMarzbanSystemStats;
        standings.record("nl", stats, at("14T12:15"), &ended(Outcome::Panel));
        let health = standings.health(at("14T12:16"));
        let ill: Vec<(&str, Job)> = health
            .jobs
            .iter()
            .filter(|job| job.verdict != Verdict::Healthy)
            .map(|job| (job.panel.as_str(), job.job))
            .collect();
        assert_eq!((health.healthy, health.jobs.len()), (false, 8));
        assert_eq!(ill, [("nl", stats)]);
    }
}
