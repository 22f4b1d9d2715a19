//! Parsers for jobs and schedules on a command line; each error is one line.

use marzban_sync_core::error::chain;
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;

/// Parses a job, such as `sync-user-status-from-marzban`.
///
/// # Errors
/// When there is no such job.
pub fn job(name: &str) -> Result<Job, String> {
    Job::parse(name.trim()).ok_or_else(|| {
        let jobs = Job::ALL.map(|job| job.as_str().replace('_', "-")).join(", ");
        format!("there is no job {name:?}; the jobs are {jobs}")
    })
}

/// Parses `JOB=CRON`, such as `sync-user-status-from-marzban=30 * * * *`.
///
/// # Errors
/// When there is no such job, or the expression is invalid or never comes true.
pub fn schedule(text: &str) -> Result<Schedule, String> {
    let (name, cron) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not JOB=CRON"))?;
    Schedule::new(job(name)?, cron.trim()).map_err(|error| chain(&error))
}

/// Returns the schedules of all four jobs: the chosen ones, and defaults for the others.
///
/// # Errors
/// When two were chosen for one job.
pub fn all(chosen: &[Schedule]) -> Result<Vec<Schedule>, String> {
    let of = |job| {
        let mut of_job = chosen.iter().filter(|schedule| schedule.job() == job);
        match (of_job.next(), of_job.next()) {
            (None, _) => Ok(Schedule::default_of(job)),
            (Some(schedule), None) => Ok(schedule.clone()),
            (Some(_), Some(_)) => Err(format!("--schedule is given twice for {job}")),
        }
    };
    Job::ALL.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_of_ones_own_replaces_the_default_of_its_job_alone() {
        for spelling in ["get-marzban-system-stats", "get_marzban_system_stats"] {
            let chosen = schedule(&format!("{spelling}=*/5 * * * *")).unwrap();
            let schedules: Vec<String> = all(&[chosen]).unwrap().iter().map(Schedule::to_string).collect();
            assert_eq!(
                schedules,
                [
                    "0 */2 * * * sync_subscriptions_from_marzban",
                    "30 * * * * sync_user_status_from_marzban",
                    "0 1 * * 1 cleanup_expired_marzban_users",
                    "*/5 * * * * get_marzban_system_stats",
                ]
            );
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused_in_one_line() {
        for (text, words) in [
            ("nonsense", "\"nonsense\" is not JOB=CRON"),
            (
                "sync=* * * * *",
                "there is no job \"sync\"; the jobs are sync-subscriptions-",
            ),
            (
                "get_marzban_system_stats=hourly",
                "\"hourly\" is not a cron expression",
            ),
            ("get_marzban_system_stats=0 0 30 2 *", "that comes true"),
        ] {
            let line = schedule(text).unwrap_err();
            assert!(line.contains(words) && !line.contains('\n'), "{text}: {line}");
        }
        let twice = schedule("get_marzban_system_stats=* * * * *").unwrap();
        let line = all(&[twice.clone(), twice]).unwrap_err();
        assert_eq!(line, "--schedule is given twice for get_marzban_system_stats");
    }
}
