//! The process from its arguments to its exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use marzban_sync_core::Context;
use marzban_sync_core::error::chain;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::Scheduler;
use marzban_sync_examples::environment::{self, Database, Failure, PanelName};
use marzban_sync_examples::policies::{Policies, policies_from_environment};
use marzban_sync_examples::signals;
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, Arguments};
use crate::demo;
use crate::logging;
use crate::server::{self, App};

/// The process: its arguments, what it says in one line when it cannot go on, and its exit code.
pub(crate) fn main() -> ExitCode {
    let ended = Arguments::try_parse()
        .map_err(|error| {
            if error.use_stderr() {
                return Some(Failure::Configuration(arguments::one_line(&error)));
            }
            // The help; that nobody reads it is no reason to fail.
            let _ = error.print();
            None
        })
        .and_then(|arguments| start(&arguments).map_err(Some));
    match ended {
        Ok(()) | Err(None) => ExitCode::SUCCESS,
        Err(Some(failure)) => {
            let _ = writeln!(std::io::stderr(), "{}", environment::errors(&failure));
            failure.code()
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::Run(error.to_string()))?;
    let ended = runtime.block_on(async {
        let (stop, end_at_once) = signals::cancelled_by_signals();
        tokio::select! {
            ended = run(arguments, &stop) => ended,
            () = end_at_once.cancelled() => Err(Failure::Run("ended at once by a second signal".to_owned())),
        }
    });
    // A database that hangs must not keep the process: its thread is left to the end of it.
    runtime.shutdown_background();
    ended
}

async fn run(arguments: &Arguments, stop: &CancellationToken) -> Result<(), Failure> {
    environment::load_dotenv().map_err(Failure::Configuration)?;
    let default = if arguments.demo { "error" } else { "info" };
    let filter = environment::log_filter_or(default).map_err(Failure::Configuration)?;
    let schedules = arguments.schedules().map_err(Failure::Configuration)?;
    let panels = arguments.panels().map_err(Failure::Configuration)?;
    if arguments.demo {
        logging::install(arguments.log, filter);
        return demo::run(arguments, schedules, stop).await;
    }
    let database = Database::from_environment().map_err(Failure::Configuration)?;
    let adapters = panels
        .iter()
        .map(PanelName::panel_from_environment)
        .collect::<Result<Vec<_>, String>>()
        .map_err(Failure::Configuration)?;
    let policies = policies_from_environment().map_err(Failure::Configuration)?;
    let schedules = policies.limit(schedules);
    logging::install(arguments.log, filter);
    let contexts = contexts(&database, &panels, adapters, &policies, arguments.migrate).await?;
    let jobs = scheduler_of(schedules, contexts).jitter(arguments.jitter());
    serve_and_run(arguments, jobs, stop).await
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
        // A pool for each panel: the runs of one that hangs would hold the connections that another's need.
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

/// Builds the scheduler of at least one panel.
pub(crate) fn scheduler_of(schedules: Vec<Schedule>, contexts: Vec<Context>) -> Scheduler {
    let mut contexts = contexts.into_iter();
    #[expect(clippy::expect_used, reason = "without --panel there is the default one")]
    let first = Scheduler::new(contexts.next().expect("a panel"));
    let with_panels = contexts.fold(first, Scheduler::panel);
    schedules.into_iter().fold(with_panels, Scheduler::schedule)
}

/// Serves, and runs the jobs until they are asked to stop or have come to their end.
pub(crate) async fn serve_and_run(
    arguments: &Arguments,
    scheduler: Scheduler,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let metrics = server::install_recorder().map_err(|error| Failure::Run(chain(&error)))?;
    let scheduler = scheduler
        .run_now(arguments.run_now)
        .stop_within(arguments.stop_within());
    let app = App {
        health: scheduler.health(),
        metrics,
    };
    let (address, server) = server::serve(arguments.listen, app)
        .await
        .map_err(|error| Failure::Run(format!("--listen {}: {error}", arguments.listen)))?;
    tracing::info!(%address, "listening");
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let ended = scheduler.run(stop.cancelled()).await;
    server.abort();
    ended.map_err(|error| Failure::Run(chain(&error)))
}
