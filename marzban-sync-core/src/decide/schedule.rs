//! When the jobs run: the default schedules as data, and what is due at a moment.
//!
//! Pure: the time is an argument, so the same questions have the same answers on any machine and in any test. All
//! times are UTC.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use croner::errors::CronError;

use crate::model::report::Job;
use crate::model::run::RUN_DEADLINE;

/// When a job runs, and how long a run of it may take.
///
/// The cron text has five fields (minute, hour, day of month, month, day of week with 1 or `MON` for Monday), and is
/// read in UTC.
///
/// # Examples
///
/// ```
/// use marzban_sync_core::report::Job;
/// use marzban_sync_core::schedule::Schedule;
///
/// let schedule = Schedule::default_of(Job::CleanupExpiredMarzbanUsers);
/// assert_eq!(schedule.cron(), "0 1 * * 1");
/// let sunday = "2025-09-14T12:00:00Z".parse()?;
/// let monday = schedule.next_after(sunday).expect("there is always a next Monday");
/// assert_eq!(monday.to_rfc3339(), "2025-09-15T01:00:00+00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    job: Job,
    cron: String,
    pattern: Cron,
    time_limit: TimeDelta,
}

/// A cron text that cannot be read, or that never comes true.
#[derive(Debug, thiserror::Error)]
#[error("{cron:?} is not a cron expression of five fields that comes true")]
pub struct ScheduleError {
    cron: String,
    #[source]
    source: Option<CronError>,
}

impl Schedule {
    /// A schedule of a job, with the default time limit of 30 minutes.
    ///
    /// # Errors
    /// When the text is no cron expression of five fields, or names a moment that never comes, such as 30 February.
    pub fn new(job: Job, cron: &str) -> Result<Self, ScheduleError> {
        let refused = |source| ScheduleError {
            cron: cron.to_owned(),
            source,
        };
        if cron.split_whitespace().count() != 5 {
            return Err(refused(None));
        }
        let pattern = Cron::from_str(cron).map_err(|error| refused(Some(error)))?;
        let schedule = Self {
            job,
            cron: cron.to_owned(),
            pattern,
            time_limit: RUN_DEADLINE,
        };
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(refused(None)),
        }
    }

    /// The cron text of the default schedule of a job.
    #[must_use]
    pub fn default_cron(job: Job) -> &'static str {
        match job {
            Job::SyncSubscriptionsFromMarzban => "0 */2 * * *",
            Job::SyncUserStatusFromMarzban => "30 * * * *",
            Job::CleanupExpiredMarzbanUsers => "0 1 * * 1",
            Job::GetMarzbanSystemStats => "*/15 * * * *",
        }
    }

    /// The default schedule of a job.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "each of the four texts is sound, which a test holds"
    )]
    pub fn default_of(job: Job) -> Self {
        Self::new(job, Self::default_cron(job)).expect("a sound expression")
    }

    /// The default schedules of all four jobs.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        Job::ALL.into_iter().map(Self::default_of).collect()
    }

    /// The same schedule with another limit to how long a run may take.
    #[must_use]
    pub fn with_time_limit(self, time_limit: TimeDelta) -> Self {
        Self { time_limit, ..self }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> Job {
        self.job
    }

    /// The cron text.
    #[must_use]
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// How long a run may take.
    #[must_use]
    pub fn time_limit(&self) -> TimeDelta {
        self.time_limit
    }

    /// The first tick after `time`, which is never `time` itself; none at the end of the calendar.
    #[must_use]
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.pattern.find_next_occurrence(&time, false).ok()
    }

    /// The last tick at or before `time`; none at the beginning of the calendar.
    #[must_use]
    pub fn last_at(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.pattern.find_previous_occurrence(&time, true).ok()
    }

    /// All ticks after `after` and up to `until`, that one included.
    pub fn ticks(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |tick| self.next_after(*tick))
            .take_while(move |tick| *tick <= until)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.job)
    }
}

/// One run that is due: a job, and the tick that it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick {
    /// When it was due.
    pub at: DateTime<Utc>,
    /// The job.
    pub job: Job,
}

/// Which ticks of some schedules have been answered.
///
/// # Rules
/// - *Missed runs coalesce*: after a sleep, a downtime or a run that took long, a job is due once, for the latest of
///   the ticks that it missed.
/// - *Runs do not overlap*: while a job is under way it is not due; ticks that come meanwhile coalesce likewise.
/// - *A clock that jumps back* makes nothing due twice, and does not silence a job either: from then on the ticks
///   after the new time count.
#[derive(Clone, Debug)]
pub struct Agenda {
    schedules: Vec<Schedule>,
    answered: BTreeMap<Job, DateTime<Utc>>,
}

impl Agenda {
    /// An agenda that begins at `now`: what was missed before is not made good.
    #[must_use]
    pub fn new(schedules: Vec<Schedule>, now: DateTime<Utc>) -> Self {
        Self::resumed(schedules, now, |_| None)
    }

    /// An agenda that goes on from the last runs of the jobs, so that a run missed in a downtime is made good, once.
    ///
    /// `last_run` tells when a job last began; a job that never ran begins at `now`.
    #[must_use]
    pub fn resumed(
        schedules: Vec<Schedule>,
        now: DateTime<Utc>,
        last_run: impl Fn(Job) -> Option<DateTime<Utc>>,
    ) -> Self {
        let answered = schedules
            .iter()
            .map(|schedule| {
                (
                    schedule.job,
                    last_run(schedule.job).map_or(now, |last| last.min(now)),
                )
            })
            .collect();
        Self { schedules, answered }
    }

    /// The schedules.
    #[must_use]
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Takes the runs that are due at `now`, the earliest tick first, and counts them as answered; jobs that are under
    /// way are left for later.
    pub fn take_due(&mut self, now: DateTime<Utc>, is_under_way: impl Fn(Job) -> bool) -> Vec<Tick> {
        let mut due = Vec::new();
        for schedule in &self.schedules {
            let answered = self.answered.entry(schedule.job).or_insert(now);
            *answered = (*answered).min(now);
            let latest = schedule.last_at(now).filter(|tick| *tick > *answered);
            if let Some(at) = latest.filter(|_| !is_under_way(schedule.job)) {
                *answered = now;
                due.push(Tick {
                    at,
                    job: schedule.job,
                });
            }
        }
        due.sort();
        due
    }

    /// When something is next due, at the earliest: the time to sleep until, were nothing to end before.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.schedules
            .iter()
            .filter_map(|schedule| schedule.next_after(now))
            .min()
    }
}
