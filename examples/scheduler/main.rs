//! One bot process that keeps its database in step with its panels, on schedule.
//!
//! `cargo run --example scheduler -- --help`; `cargo run --example day` shows it at work with nothing to set up.
//!
//! The core's `Scheduler` does the work: late runs coalesce, a job does not overlap itself, and an outage, a panic or a
//! database that hangs ends that run and nothing else. The program adds arguments, a log, and `/health`, `/live` and
//! `/metrics` over HTTP.
//!
//! Several such processes may share a database: the lock of a run sees to it that one of them does the work. For queues
//! and many machines there is `examples/worker`.

mod arguments;

use std::process::ExitCode;
use std::sync::Arc;

use marzban_sync_core::Context;
use marzban_sync_core::error::chain;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::scheduler::Scheduler;
use marzban_sync_examples::environment::{self, Database, Failure, PanelName};
use marzban_sync_examples::policies::{Policies, policies_from_environment};
use marzban_sync_examples::{http, logging, program};
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    program::run(run)
}

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<(), Failure> {
    let panels = arguments.panels().map_err(Failure::Configuration)?;
    let schedules = arguments.schedules().map_err(Failure::Configuration)?;
    environment::load_dotenv().map_err(Failure::Configuration)?;
    let filter = environment::log_filter().map_err(Failure::Configuration)?;
    let database = Database::from_environment().map_err(Failure::Configuration)?;
    let adapters = panels
        .iter()
        .map(PanelName::panel_from_environment)
        .collect::<Result<Vec<_>, String>>()
        .map_err(Failure::Configuration)?;
    let policies = policies_from_environment().map_err(Failure::Configuration)?;
    logging::install(arguments.log, filter);
    let mut contexts = contexts(&database, &panels, adapters, &policies, arguments.migrate)
        .await?
        .into_iter();
    #[expect(clippy::expect_used, reason = "without --panel there is the default one")]
    let jobs = Scheduler::new(contexts.next().expect("a panel"));
    let jobs = contexts.fold(jobs, Scheduler::panel);
    let jobs = policies
        .limit(schedules)
        .into_iter()
        .fold(jobs, Scheduler::schedule)
        .jitter(arguments.jitter())
        .run_now(arguments.run_now)
        .stop_within(arguments.stop_within());
    http::run_scheduler(jobs, arguments.listen, &stop).await
}

/// What each panel's jobs need.
async fn contexts(
    database: &Database,
    panels: &[PanelName],
    adapters: Vec<MarzbanPanel>,
    policies: &Policies,
    migrate: bool,
) -> Result<Vec<Context>, Failure> {
    let mut contexts = Vec::new();
    for (panel, adapter) in panels.iter().zip(adapters) {
        // A pool per panel: the runs of one that hangs would hold the connections that another's need.
        let connected = database.connect().await?;
        if migrate && contexts.is_empty() {
            connected.migrate().await?;
        }
        let store = connected.into_store();
        store
            .verify_schema()
            .await
            .map_err(|error| Failure::Run(format!("{}; --migrate adds what is missing", chain(&error))))?;
        let context = policies.set_up(Context::shared(Arc::new(adapter), Arc::clone(&store) as _, store));
        contexts.push(context.panel_name(panel.as_str()).build());
    }
    Ok(contexts)
}
