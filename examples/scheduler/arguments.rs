//! The command line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_examples::environment::{HELP, PanelName};
use marzban_sync_examples::logging::LogFormat;
use marzban_sync_examples::{policies, schedules};

const AFTER_HELP: &str = "  RUST_LOG                               log filter [default: info]
With --panel de-1 the panel's variables are MARZBAN_DE_1_URL, MARZBAN_DE_1_USERNAME and so on, and its accounts are
those whose vpn_configs.panel is de-1; without any --panel there is one, whose accounts have a null there.
";

const LAST_HELP: &str = "
Schedules (UTC), unless --schedule says otherwise:
  sync_subscriptions_from_marzban   0 */2 * * *
  sync_user_status_from_marzban     30 * * * *
  cleanup_expired_marzban_users     0 1 * * 1
  get_marzban_system_stats          */15 * * * *

HTTP: /live answers while the process does, /health says whether every job of every panel does what it should (503
if not), /metrics is for Prometheus.

Ctrl-C or SIGTERM: the runs finish their batch and free their locks; a second one ends the process at once.
Exit code: 0 it was asked to stop, 1 it could not run or not stop in time, 2 bad usage or configuration.";

/// Keeps a bot's database in step with its Marzban panels, on schedule.
#[derive(Debug, Parser)]
#[command(name = "scheduler", after_help = format!("{HELP}{AFTER_HELP}\n{}{LAST_HELP}", policies::HELP))]
pub(crate) struct Arguments {
    /// One of several panels, by the name that `vpn_configs.panel` has; may be given several times.
    #[arg(long = "panel", value_name = "NAME")]
    panels: Vec<PanelName>,
    /// Another schedule, such as `sync_user_status_from_marzban="30 * * * *"`; may be given several times.
    #[arg(long = "schedule", value_name = "JOB=CRON", value_parser = schedules::schedule)]
    schedules: Vec<Schedule>,
    /// The longest random wait before each run, so that many bots do not ask at the same second.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3600))]
    jitter: u64,
    /// Run every job once at the start, and not only when it is due.
    #[arg(long)]
    pub(crate) run_now: bool,
    /// Create the library's own tables and missing columns first; only adds.
    #[arg(long)]
    pub(crate) migrate: bool,
    /// Where /health, /live and /metrics are served; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9185")]
    pub(crate) listen: SocketAddr,
    /// How to log; by default text on a terminal, and JSON elsewhere.
    #[arg(long, value_enum)]
    pub(crate) log: Option<LogFormat>,
    /// How long the runs may take to stop in order.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    stop_within: u64,
    /// Moved: `cargo run --example day` is the demonstration now.
    #[arg(long, hide = true)]
    demo: bool,
}

impl Arguments {
    /// The panels, of which no two are the same; the default one if none is named.
    pub(crate) fn panels(&self) -> Result<Vec<PanelName>, String> {
        if self.demo {
            return Err("--demo is a program of its own: cargo run --example day".to_owned());
        }
        if self.panels.is_empty() {
            return Ok(vec![PanelName::default()]);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.panels.iter().find(|panel| !names.insert(panel.as_str())) {
            return Err(format!("--panel {} is given twice", twice.as_str()));
        }
        Ok(self.panels.clone())
    }

    /// The schedules of the four jobs: the defaults, and what is said of them.
    pub(crate) fn schedules(&self) -> Result<Vec<Schedule>, String> {
        schedules::all(&self.schedules)
    }

    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_secs(self.jitter)
    }

    pub(crate) fn stop_within(&self) -> Duration {
        Duration::from_secs(self.stop_within)
    }
}

#[cfg(test)]
mod tests {
    use marzban_sync_core::report::Job;
    use marzban_sync_examples::program::one_line;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, String> {
        let name = std::iter::once(&"scheduler");
        Arguments::try_parse_from(name.chain(arguments)).map_err(|error| one_line(&error))
    }

    #[test]
    fn the_help_tells_the_default_schedules() {
        for job in Job::ALL {
            let line = format!("  {:<33} {}\n", job.as_str(), Schedule::default_cron(job));
            assert!(LAST_HELP.contains(&line), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_usage_is_one_line() {
        let twice = "get_marzban_system_stats=* * * * *";
        for (arguments, words) in [
            (&["--schedule", "nonsense"][..], "\"nonsense\" is not JOB=CRON"),
            (&["--schedule", "sync=* * * * *"], "there is no job \"sync\""),
            (&["--schedule", twice, "--schedule", twice], "given twice"),
            (&["--panel", "de", "--panel", "de"], "--panel de is given twice"),
            (&["--panel", "d e"], "a panel's name is"),
            (&["--listen", "everywhere"], "--listen"),
            (&["--jitter", "3601"], "--jitter"),
            (&["--demo"], "cargo run --example day"),
            (&["--log", "xml"], "xml"),
        ] {
            let refused = parse(arguments).and_then(|arguments| {
                arguments.panels()?;
                arguments.schedules()
            });
            let line = refused.unwrap_err();
            assert!(line.contains(words), "{arguments:?}: {line}");
            assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
        }
    }
}
