//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand, ValueEnum};
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::store::DEFAULT_PANEL;
use marzban_sync_examples::environment::PanelName;
use marzban_sync_examples::{policies, schedules};

const AFTER_HELP: &str = "\
Environment (a .env file is read too):
  DATABASE_URL                           postgres://user:password@host/database, the bot's; the queue lies there too
  MARZBAN_URL                            the panel, such as https://panel.example.com:8000
  MARZBAN_USERNAME, MARZBAN_PASSWORD     an admin of the panel; sudo sees every user
  MARZBAN_SUBSCRIPTION_PATH              where the panel serves subscriptions [default: sub]
  MARZBAN_PAUSE_MS                       pause between requests, A..B; 0..0 for none [default: 50..100]
  MARZBAN_CA_FILE                        a PEM file with a certificate authority to trust
  MARZBAN_DANGER_ACCEPT_INVALID_CERTS    true to trust any certificate
  MARZBAN_BOARD_USERNAME, MARZBAN_BOARD_PASSWORD, MARZBAN_BOARD_TOKEN
                                         who may see the board: a browser's login, a program's bearer token
  RUST_LOG                               log filter [default: info]
With --panel de-1 the panel's variables are MARZBAN_DE_1_URL, MARZBAN_DE_1_USERNAME and so on.
";

const EXIT_CODES: &str = "
Exit code: 0 it ended in order, 1 it could not run, 2 bad usage or configuration.";

/// Schedulers, workers and a board for Marzban syncs, on any number of machines over one PostgreSQL.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    after_help = format!("{AFTER_HELP}\n{}{EXIT_CODES}", policies::HELP),
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask for one run of a job by hand, and print the id of its task.
    Enqueue(Enqueue),
    /// Create the tables of the queue and of the library, and columns that are missing; only adds.
    Migrate,
}

#[derive(Debug, Args)]
pub(crate) struct Enqueue {
    /// The job, such as sync-subscriptions-from-marzban.
    #[arg(value_parser = schedules::job)]
    pub(crate) job: Job,
    /// One of several panels.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PANEL, hide_default_value = true)]
    pub(crate) panel: PanelName,
    /// Apply what the safety limits would withhold; look at a dry run of the `sync` example first.
    #[arg(long)]
    pub(crate) allow_mass_changes: bool,
    /// Wait for its end, and print the report.
    #[arg(long)]
    pub(crate) wait: bool,
    /// How often the run is tried.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_attempts: u32,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Puts a task for each panel and tick into the queue.
    Scheduler,
    /// Runs the tasks.
    Worker,
    /// Serves the board.
    Board,
    /// All three.
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What this process does; may be given several times.
    #[arg(long = "role", value_enum, value_name = "ROLE", default_value = "all")]
    roles: Vec<Role>,
    /// One of several panels; may be given several times. All processes should be given the same ones.
    #[arg(long = "panel", value_name = "NAME", default_value = DEFAULT_PANEL)]
    pub(crate) panels: Vec<PanelName>,
    /// Another schedule of a job, in UTC, such as get-marzban-system-stats="*/5 * * * *".
    #[arg(long = "schedule", value_name = "JOB=CRON", value_parser = schedules::schedule)]
    schedules: Vec<Schedule>,
    #[command(flatten)]
    pub(crate) work: Work,
    /// How often a run is tried, all in all.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) max_attempts: u32,
    /// How long a run may take; by default `MARZBAN_SYNC_DEADLINE`, or else 30 minutes.
    #[arg(long, value_name = "TIME", value_parser = time)]
    time_limit: Option<Duration>,
    /// How long ended tasks are kept; at least an hour.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    pub(crate) keep_finished: Duration,
    /// Where the board listens; beyond this machine only with credentials.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8088")]
    pub(crate) listen: SocketAddr,
    /// Where /live and /metrics of this process are served, without credentials; the board serves /metrics too.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
}

/// How a worker works.
#[derive(Clone, Debug, Args)]
pub(crate) struct Work {
    /// How many runs this process performs at a time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrency: u16,
    /// End in order after this many runs, so that a supervisor starts the process afresh.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_jobs: Option<u64>,
    /// Skip a scheduled run that is this old when a later one waits; a run by hand that is this old may no longer
    /// make mass changes.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub(crate) expires: Duration,
    /// How long running jobs are waited for when the process is asked to end.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time)]
    pub(crate) grace: Duration,
    /// How often an idle worker looks into the queue.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    pub(crate) poll: Duration,
    #[command(flatten)]
    pub(crate) retries: Retries,
    #[command(flatten)]
    pub(crate) liveness: Liveness,
}

/// How failures are made good.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Retries {
    /// The pause before the second attempt; it doubles, up to 10 minutes, and is spread by chance.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) backoff: Duration,
    /// The pause before a run is tried again that found another run of its job and panel.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) busy_pause: Duration,
}

/// How a worker is known to be alive.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Liveness {
    /// How often a worker sends a heartbeat.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) heartbeat: Duration,
    /// After how many missed heartbeats others take over a worker's jobs.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) missed_heartbeats: u32,
}

impl Liveness {
    /// Returns how long a worker may be silent before others take over its tasks; apalis counts whole seconds.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs((self.heartbeat * self.missed_heartbeats).as_secs())
    }
}

impl Run {
    /// Whether this process has a role.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.roles.iter().any(|given| [role, Role::All].contains(given))
    }

    /// Checks the flags against each other.
    ///
    /// # Errors
    /// One clear line.
    pub(crate) fn check(&self) -> Result<(), String> {
        let liveness = self.work.liveness;
        if liveness.patience() < Duration::from_secs(1) || liveness.patience() <= liveness.heartbeat {
            return Err("--heartbeat times --missed-heartbeats must be at least a second, and more than one heartbeat".to_owned());
        }
        if self.keep_finished < Duration::from_hours(1) {
            return Err("--keep-finished must be at least 1h".to_owned());
        }
        let mut names: Vec<_> = self.panel_names();
        names.sort_unstable();
        names.dedup();
        if names.len() != self.panels.len() {
            return Err("--panel names a panel twice".to_owned());
        }
        self.schedules(None).map(drop)
    }

    pub(crate) fn panel_names(&self) -> Vec<String> {
        self.panels
            .iter()
            .map(|panel| panel.as_str().to_owned())
            .collect()
    }

    /// Returns the schedules of all four jobs, with `--time-limit` or else with this deadline.
    pub(crate) fn schedules(&self, deadline: Option<TimeDelta>) -> Result<Vec<Schedule>, String> {
        let time_limit = self.time_limit.and_then(|limit| TimeDelta::from_std(limit).ok());
        let limited = |schedule: Schedule| match time_limit.or(deadline) {
            Some(time_limit) => schedule.with_time_limit(time_limit),
            None => schedule,
        };
        let all = schedules::all(&self.schedules)?;
        Ok(all.into_iter().map(limited).collect())
    }
}

/// Parses a time such as `30s`, `500ms` or `7d`, of at least a millisecond.
fn time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_millis(1) || time > Duration::from_hours(366 * 24) {
        return Err("it must be between 1ms and a year".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Result<Run, String> {
        let arguments = [&["worker"], arguments].concat();
        let run = Arguments::try_parse_from(arguments)
            .map_err(|error| error.to_string())?
            .run;
        run.check().map(|()| run)
    }

    #[test]
    fn the_command_line_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_process_does_everything_unless_told() {
        let all = run(&[]).unwrap();
        assert!(
            [Role::Scheduler, Role::Worker, Role::Board]
                .into_iter()
                .all(|role| all.has(role))
        );
        let two = run(&["--role", "scheduler", "--role", "board"]).unwrap();
        assert!(two.has(Role::Scheduler) && two.has(Role::Board) && !two.has(Role::Worker));
    }

    #[test]
    fn a_schedule_and_the_time_limit_can_be_replaced() {
        let run = run(&[
            "--schedule",
            "get-marzban-system-stats=*/5 * * * *",
            "--time-limit",
            "2m",
        ])
        .unwrap();
        let schedules = run.schedules(Some(TimeDelta::minutes(5))).unwrap();
        assert_eq!(schedules[3].to_string(), "*/5 * * * * get_marzban_system_stats");
        assert!(
            schedules
                .iter()
                .all(|schedule| schedule.time_limit() == TimeDelta::minutes(2))
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (arguments, why) in [
            (&["--schedule", "reboot=* * * * *"][..], "the jobs are"),
            (
                &["--schedule", "get-marzban-system-stats=soon"],
                "not a cron expression",
            ),
            (&["--panel", "de", "--panel", "de"], "twice"),
            (&["--panel", "d:e"], "letters"),
            (&["--heartbeat", "1ms"], "at least a second"),
            (&["--keep-finished", "5m"], "at least 1h"),
            (&["--poll", "0s"], "between 1ms"),
            (&["--concurrency", "0"], "0 is not in 1..=256"),
        ] {
            let refused = run(arguments).map(|_| ()).unwrap_err();
            assert!(refused.contains(why), "{arguments:?}: {refused}");
        }
    }
}
