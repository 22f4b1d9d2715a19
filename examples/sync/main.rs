//! Runs one job, or all four, once: for a cron job, a systemd timer, or by hand; and answers questions about past runs.
//!
//! `cargo run --example sync -- sync-subscriptions-from-marzban --dry-run`
//!
//! The environment (and a `.env` file) says which panel and which database; `--help` lists the variables.

mod arguments;
mod lookups;
mod output;
mod progress;
mod table;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::error::{StoreError, chain};
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::Job;
use marzban_sync_core::store::AccountStore;
use marzban_sync_core::{Context, jobs};
use marzban_sync_examples::environment::{self, Database, Failure};
use marzban_sync_examples::policies::policies_from_environment;
use marzban_sync_examples::signals;

use crate::arguments::{Arguments, Order};
use crate::output::Format;
use crate::progress::Progress;

/// Customers that are read at once when names are looked up.
const PAGE: u32 = 5_000;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Progress::new(!arguments.no_progress && std::io::stderr().is_terminal());
    run(&arguments, &progress).await.unwrap_or_else(|failure| {
        progress.println(&environment::errors(&failure));
        failure.code()
    })
}

async fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode, Failure> {
    let order = arguments.order().map_err(Failure::Configuration)?;
    environment::load_dotenv().map_err(Failure::Configuration)?;
    progress.install_logging(environment::log_filter().map_err(Failure::Configuration)?);
    let format = arguments.format.unwrap_or_else(Format::for_stdout);
    let database = Database::from_environment().map_err(Failure::Configuration)?;
    let panel = arguments.named_panel();
    match order {
        Order::Migrate => migrate(&database, format).await,
        Order::Explain(name) => lookups::explain(&database, panel, &name, format).await,
        Order::Undo(run) => lookups::undo(&database, panel, run, arguments.dry_run, format).await,
        Order::Jobs(jobs, answers) => {
            let context = context(arguments, &database, answers, progress).await?;
            let mut complete = true;
            for job in jobs {
                complete &= run_job(*job, &context, format, progress).await;
            }
            Ok(if complete {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

/// What the jobs need, as the environment and the arguments say.
async fn context(
    arguments: &Arguments,
    database: &Database,
    answers: Answers,
    progress: &Progress,
) -> Result<Context, Failure> {
    let name = arguments.panel();
    let panel = name.panel_from_environment().map_err(Failure::Configuration)?;
    let policies = policies_from_environment().map_err(Failure::Configuration)?;
    let store = database.connect().await?.into_store();
    for (flag, trust) in [
        ("--trust-panel", &answers.trust_panel),
        ("--trust-bot", &answers.trust_bot),
    ] {
        // Where the accounts cannot be read, the job says why.
        for unknown in unknown_names(&*store, name.as_str(), trust)
            .await
            .unwrap_or_default()
        {
            let panel = name.as_str();
            progress.println(&format!(
                "warning: {flag} {unknown}: the panel {panel:?} has no account of this name"
            ));
        }
    }
    let context = Context::shared(Arc::new(panel), Arc::clone(&store) as _, store)
        .panel_name(name.as_str())
        .dry_run(arguments.dry_run)
        .answers(answers)
        .observer(progress.clone())
        .cancellation(signals::cancelled_by_signal());
    Ok(policies.set_up(context).build())
}

/// The names that no account of the panel has.
async fn unknown_names(
    store: &dyn AccountStore,
    panel: &str,
    trust: &Trust,
) -> Result<BTreeSet<String>, StoreError> {
    let Trust::Names(names) = trust else {
        return Ok(BTreeSet::new());
    };
    let mut unknown = names.clone();
    let mut after = None;
    loop {
        let page = store.page_accounts(panel, after, PAGE, SystemClock.now()).await?;
        for account in &page.accounts {
            unknown.remove(&account.name);
        }
        match page.next {
            Some(next) if !unknown.is_empty() => after = Some(next),
            _ => return Ok(unknown),
        }
    }
}

async fn migrate(database: &Database, format: Format) -> Result<ExitCode, Failure> {
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
