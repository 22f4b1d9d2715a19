//! Runs one job, or all four, once: for a cron job, a systemd timer, or by hand.
//!
//! `cargo run --example sync -- sync-subscriptions-from-marzban --dry-run`
//!
//! The environment (and a `.env` file) says which panel and which database; `--help` lists the variables.

mod output;
mod progress;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use marzban_sync_core::error::chain;
use marzban_sync_core::report::Job;
use marzban_sync_core::safety::SafetyLimits;
use marzban_sync_core::store::DEFAULT_PANEL;
use marzban_sync_core::{Context, jobs};
use marzban_sync_examples::environment::{self, Database, Failure, HELP, PanelName};
use marzban_sync_examples::signals;

use crate::output::Format;
use crate::progress::Progress;

const AFTER_HELP: &str = "  RUST_LOG                               log filter [default: info]
With --panel de-1 the panel's variables are MARZBAN_DE_1_URL, MARZBAN_DE_1_USERNAME and so on, and its accounts are
those whose vpn_configs.panel is de-1; without it, those whose panel is null.

Exit code: 0 the job ran, 1 it could not run or was stopped, 2 bad usage or configuration.";

/// Brings a bot's database in step with its Marzban panel.
#[derive(Debug, Parser)]
#[command(name = "sync", after_help = format!("{HELP}{AFTER_HELP}"))]
struct Arguments {
    /// What to run.
    #[arg(value_enum)]
    task: Task,
    /// One of several panels, by the name that `vpn_configs.panel` has.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PANEL, hide_default_value = true)]
    panel: PanelName,
    /// Say what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print reports; by default a table on a terminal, and JSON elsewhere.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// No progress bar, even on a terminal.
    #[arg(long)]
    no_progress: bool,
    /// Apply what the safety limits would withhold; look at a dry run first.
    #[arg(long)]
    allow_mass_changes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Status, end dates, traffic and last connection of subscriptions.
    SyncSubscriptionsFromMarzban,
    /// Do the users still exist, does their access work.
    SyncUserStatusFromMarzban,
    /// Delete panel users whose subscriptions ended more than 7 days ago.
    CleanupExpiredMarzbanUsers,
    /// Collect the figures of the panel and its host.
    GetMarzbanSystemStats,
    /// All four, one after the other.
    All,
    /// Create the library's own tables, and columns that are missing; only adds.
    Migrate,
}

impl Task {
    fn jobs(self) -> &'static [Job] {
        match self {
            Self::SyncSubscriptionsFromMarzban => &[Job::SyncSubscriptionsFromMarzban],
            Self::SyncUserStatusFromMarzban => &[Job::SyncUserStatusFromMarzban],
            Self::CleanupExpiredMarzbanUsers => &[Job::CleanupExpiredMarzbanUsers],
            Self::GetMarzbanSystemStats => &[Job::GetMarzbanSystemStats],
            Self::All => &Job::ALL,
            Self::Migrate => &[],
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Progress::new(!arguments.no_progress && std::io::stderr().is_terminal());
    run(&arguments, &progress).await.unwrap_or_else(|failure| {
        progress.println(&format!("error: {failure}"));
        failure.code()
    })
}

async fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode, Failure> {
    environment::load_dotenv().map_err(Failure::Configuration)?;
    progress.install_logging(environment::log_filter().map_err(Failure::Configuration)?);
    let format = arguments.format.unwrap_or_else(Format::for_stdout);
    let database = Database::from_environment().map_err(Failure::Configuration)?;
    if arguments.task == Task::Migrate {
        return migrate(&database, arguments.dry_run, format).await;
    }
    let panel = arguments
        .panel
        .panel_from_environment()
        .map_err(Failure::Configuration)?;
    let reading = arguments
        .panel
        .status_reading_from_environment()
        .map_err(Failure::Configuration)?;
    let connected = database.connect().await?;
    let history = connected.history();
    let mut limits = SafetyLimits::default();
    limits.allow_mass_changes = arguments.allow_mass_changes;
    let context = Context::builder(panel, connected.into_store())
        .panel_name(arguments.panel.as_str())
        .limits(limits)
        .dry_run(arguments.dry_run)
        .status_reads(reading.over(history))
        .observer(progress.clone())
        .cancellation(signals::cancelled_by_signal())
        .build();
    let mut complete = true;
    for job in arguments.task.jobs() {
        complete &= run_job(*job, &context, format, progress).await;
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn migrate(database: &Database, dry_run: bool, format: Format) -> Result<ExitCode, Failure> {
    if dry_run {
        let message = "migrate has no --dry-run; it only adds what is missing";
        return Err(Failure::Configuration(message.to_owned()));
    }
    let store = database.connect().await?;
    format.print_migration(&store.migrate().await?);
    Ok(ExitCode::SUCCESS)
}

/// Runs one job and prints its report; returns whether it ran to its end.
async fn run_job(job: Job, context: &Context, format: Format, progress: &Progress) -> bool {
    progress.begin(job);
    let result = jobs::run(job, context).await;
    progress.finish();
    match result {
        Ok(report) => {
            format.print_report(&report);
            let Some(run) = report.run() else { return true };
            if run.stopped.is_some() {
                let why = run.withheld_because.as_deref().unwrap_or("see the report");
                progress.println(&format!("{job} was stopped: {why}"));
            }
            run.stopped.is_none()
        }
        Err(error) => {
            format.print_failure(&error);
            progress.println(&format!("error: {}", chain(&error)));
            false
        }
    }
}
