//! The command line, and what it asks for.

use std::collections::BTreeSet;

use clap::{Parser, ValueEnum};
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_examples::environment::{HELP, PanelName};
use marzban_sync_examples::policies;

use crate::output::Format;

const AFTER_HELP: &str = "  RUST_LOG                               log filter [default: info]
With --panel de-1 the panel's variables are MARZBAN_DE_1_URL, MARZBAN_DE_1_USERNAME and so on, and its accounts are
those whose vpn_configs.panel is de-1; without it, those whose panel is null.
migrate, explain and undo need DATABASE_URL alone.
";

const EXIT_CODES: &str = "
Exit code: 0 the job ran, 1 it could not run or was stopped, 2 bad usage or configuration.";

/// Brings a bot's database in step with its Marzban panel.
#[derive(Debug, Parser)]
#[command(name = "sync", after_help = format!("{HELP}{AFTER_HELP}\n{}{EXIT_CODES}", policies::HELP))]
pub(crate) struct Arguments {
    /// What to run.
    #[arg(value_enum)]
    task: Task,
    /// For explain a telegram id or the name of a panel user, for undo the id of a run.
    #[arg(value_name = "WHOM OR WHICH")]
    subject: Option<String>,
    /// One of several panels, by the name that `vpn_configs.panel` has.
    #[arg(long, value_name = "NAME")]
    panel: Option<PanelName>,
    /// Say what would be done, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How to print reports; by default a table on a terminal, and JSON elsewhere.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// No progress bar, even on a terminal.
    #[arg(long)]
    pub(crate) no_progress: bool,
    /// Apply what the safety limits would withhold; look at a dry run first. For one job, not for all.
    #[arg(long)]
    allow_mass_changes: bool,
    /// Where the two ends differ, the panel is right: the row gets the panel's, under the safety limits. For these panel
    /// users, or without names for all; look at a dry run first.
    #[arg(long, value_name = "NAME", num_args = 0.., value_delimiter = ',')]
    trust_panel: Option<Vec<String>>,
    /// Where the two ends differ, the bot is right: its end counts, and the panel is behind. For these panel users, or
    /// without names for all.
    #[arg(long, value_name = "NAME", num_args = 0.., value_delimiter = ',')]
    trust_bot: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Status, end dates, traffic and last connection of subscriptions.
    #[value(alias = "sync_subscriptions_from_marzban")]
    SyncSubscriptionsFromMarzban,
    /// Do the users still exist, does their access work.
    #[value(alias = "sync_user_status_from_marzban")]
    SyncUserStatusFromMarzban,
    /// Delete panel users whose subscriptions ended more than 7 days ago.
    #[value(alias = "cleanup_expired_marzban_users")]
    CleanupExpiredMarzbanUsers,
    /// Collect the figures of the panel and its host.
    #[value(alias = "get_marzban_system_stats")]
    GetMarzbanSystemStats,
    /// All four, one after the other.
    All,
    /// Create the library's own tables, and columns that are missing; only adds.
    Migrate,
    /// Say what is known of a customer: the rows, what was agreed, and what was changed and why.
    Explain,
    /// Put the old values back that a run changed, where the rows still have the new ones.
    Undo,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// To run these jobs, with these answers.
    Jobs(&'static [Job], Answers),
    /// To create what is missing.
    Migrate,
    /// To explain the customer with this telegram id or name.
    Explain(String),
    /// To put back what this run changed.
    Undo(RunId),
}

impl Arguments {
    /// What is asked for.
    ///
    /// # Errors
    /// One line, when the arguments contradict each other.
    pub(crate) fn order(&self) -> Result<Order, String> {
        let answers = self.answers()?;
        let jobs = |jobs| Ok(Order::Jobs(jobs, answers));
        let is_about_something = matches!(self.task, Task::Explain | Task::Undo);
        if let Some(subject) = self.subject.as_deref().filter(|_| !is_about_something) {
            return Err(format!(
                "unexpected argument {subject:?}: only explain and undo take one"
            ));
        }
        match self.task {
            Task::SyncSubscriptionsFromMarzban => jobs(&[Job::SyncSubscriptionsFromMarzban]),
            Task::SyncUserStatusFromMarzban => jobs(&[Job::SyncUserStatusFromMarzban]),
            Task::CleanupExpiredMarzbanUsers => jobs(&[Job::CleanupExpiredMarzbanUsers]),
            Task::GetMarzbanSystemStats => jobs(&[Job::GetMarzbanSystemStats]),
            Task::All => jobs(&Job::ALL),
            Task::Migrate if self.dry_run => {
                Err("migrate has no --dry-run; it only adds what is missing".to_owned())
            }
            Task::Migrate => Ok(Order::Migrate),
            Task::Explain => self
                .subject("explain whom? Give a telegram id or the name of a panel user")
                .map(Order::Explain),
            Task::Undo => {
                let run = self.subject("undo which run? Give its id: explain shows it")?;
                let id = run
                    .parse()
                    .map_err(|_| format!("{run:?} is not the id of a run, a number: explain shows it"))?;
                Ok(Order::Undo(RunId(id)))
            }
        }
    }

    /// The panel whose accounts these are.
    pub(crate) fn panel(&self) -> PanelName {
        self.panel.clone().unwrap_or_default()
    }

    /// The panel, if one was named.
    pub(crate) fn named_panel(&self) -> Option<&str> {
        self.panel.as_ref().map(PanelName::as_str)
    }

    fn subject(&self, question: &str) -> Result<String, String> {
        let subject = self
            .subject
            .as_deref()
            .map(str::trim)
            .filter(|subject| !subject.is_empty());
        subject.map(str::to_owned).ok_or_else(|| question.to_owned())
    }

    fn answers(&self) -> Result<Answers, String> {
        let trust_panel = trust("--trust-panel", self.trust_panel.as_deref())?;
        let trust_bot = trust("--trust-bot", self.trust_bot.as_deref())?;
        let is_answered = trust_panel != Trust::Nobody || trust_bot != Trust::Nobody;
        if is_answered && !matches!(self.task, Task::SyncSubscriptionsFromMarzban | Task::All) {
            return Err(
                "--trust-panel and --trust-bot are for sync-subscriptions-from-marzban, or all".to_owned(),
            );
        }
        if self.allow_mass_changes && self.task == Task::All {
            let line =
                "--allow-mass-changes is not for all: name the job whose withheld changes you have seen";
            return Err(line.to_owned());
        }
        contradiction(&trust_panel, &trust_bot)?;
        Ok(Answers {
            trust_panel,
            trust_bot,
            allow_mass_changes: self.allow_mass_changes,
        })
    }
}

/// Returns whom a flag is about: without the flag no account, without names every account.
fn trust(flag: &str, names: Option<&[String]>) -> Result<Trust, String> {
    let Some(names) = names else {
        return Ok(Trust::Nobody);
    };
    if names.is_empty() {
        return Ok(Trust::Everybody);
    }
    let names: BTreeSet<String> = names.iter().map(|name| name.trim().to_owned()).collect();
    // An empty variable in a script must not select every account by mistake.
    if names.contains("") {
        return Err(format!(
            "{flag} has an empty name: give names, or none at all for everybody"
        ));
    }
    Ok(Trust::Names(names))
}

/// Refuses to trust both sides for one account; `--trust-panel` for all with names for the bot is fine.
fn contradiction(trust_panel: &Trust, trust_bot: &Trust) -> Result<(), String> {
    let twice = match (trust_panel, trust_bot) {
        (Trust::Names(panel), Trust::Names(bot)) => {
            panel.intersection(bot).next().map(|name| format!("{name:?}"))
        }
        (Trust::Names(_) | Trust::Everybody, Trust::Everybody) => Some("everybody".to_owned()),
        (Trust::Nobody, _) | (_, Trust::Nobody | Trust::Names(_)) => None,
    };
    twice.map_or(Ok(()), |whom| {
        Err(format!(
            "--trust-panel and --trust-bot both answer for {whom}: only one can be right"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(arguments: &[&str]) -> Result<Order, String> {
        let arguments = [&["sync"], arguments].concat();
        let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        arguments.order()
    }

    fn names(names: &[&str]) -> Trust {
        Trust::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    const JOB: &str = "sync-subscriptions-from-marzban";

    #[test]
    fn jobs_are_accepted_with_hyphens_and_with_underscores() {
        for job in Job::ALL {
            let underscores = job.as_str();
            let hyphens = underscores.replace('_', "-");
            for name in [underscores, &hyphens] {
                assert!(
                    matches!(order(&[name]), Ok(Order::Jobs(jobs, _)) if *jobs == [job]),
                    "{name}"
                );
            }
        }
        assert!(matches!(order(&["all"]), Ok(Order::Jobs(jobs, _)) if *jobs == Job::ALL));
    }

    #[test]
    fn answers_are_for_names_or_for_everybody() {
        for (arguments, trust_panel, trust_bot) in [
            (&[JOB][..], Trust::Nobody, Trust::Nobody),
            (&[JOB, "--trust-panel"], Trust::Everybody, Trust::Nobody),
            (
                &[JOB, "--trust-panel", "--dry-run"],
                Trust::Everybody,
                Trust::Nobody,
            ),
            (
                &[JOB, "--trust-panel", "anna", "boris"],
                names(&["anna", "boris"]),
                Trust::Nobody,
            ),
            (
                &[JOB, "--trust-bot", "anna, boris"],
                Trust::Nobody,
                names(&["anna", "boris"]),
            ),
            (&["all", "--trust-bot=anna"], Trust::Nobody, names(&["anna"])),
            (
                &[JOB, "--trust-panel", "--trust-bot", "anna"],
                Trust::Everybody,
                names(&["anna"]),
            ),
        ] {
            let Ok(Order::Jobs(_, answers)) = order(arguments) else {
                panic!("{arguments:?}: {:?}", order(arguments));
            };
            assert_eq!(
                (answers.trust_panel, answers.trust_bot),
                (trust_panel, trust_bot),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn arguments_that_contradict_each_other_are_one_line() {
        for (arguments, words) in [
            (&[JOB, "--trust-panel", ""][..], "--trust-panel has an empty name"),
            (&[JOB, "--trust-bot", "anna,"], "--trust-bot has an empty name"),
            (
                &[JOB, "--trust-panel", "a", "--trust-bot", "a"],
                "both answer for \"a\"",
            ),
            (
                &[JOB, "--trust-panel", "--trust-bot"],
                "both answer for everybody",
            ),
            (
                &[JOB, "--trust-panel", "a", "--trust-bot"],
                "both answer for everybody",
            ),
            (
                &["sync-user-status-from-marzban", "--trust-bot"],
                "are for sync-subscriptions-from-marzban",
            ),
            (
                &["explain", "7", "--trust-panel"],
                "are for sync-subscriptions-from-marzban",
            ),
            (&["all", "--allow-mass-changes"], "name the job"),
            (&["migrate", "--dry-run"], "migrate has no --dry-run"),
            (&["all", "anna"], "unexpected argument \"anna\""),
            (&["explain"], "explain whom?"),
            (&["undo"], "undo which run?"),
            (&["undo", "last"], "\"last\" is not the id of a run"),
        ] {
            let line = order(arguments).unwrap_err();
            assert!(
                line.contains(words) && !line.contains('\n'),
                "{arguments:?}: {line}"
            );
        }
    }
}
