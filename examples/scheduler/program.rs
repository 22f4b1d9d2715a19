//! The process from its arguments to its exit code.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Parser;
use marzban_sync_core::Context;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::error::chain;
use marzban_sync_core::history::last_ended;
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::store::Store;
use marzban_sync_examples::environment::{self, Database, Failure, PanelName};
use marzban_sync_examples::policies::{Policies, policies_from_environment};
use marzban_sync_examples::signals;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, Arguments};
use crate::demo;
use crate::health::Standings;
use crate::logging;
use crate::panel_loop::{self, PanelLoop, Surroundings};
use crate::server::{self, App};
use crate::time::Time;

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
    let (contexts, last_runs) = contexts(&database, &panels, adapters, &policies, arguments.migrate).await?;
    let time = Time::Host;
    let names: Vec<String> = contexts.iter().map(|(name, _)| name.clone()).collect();
    let surroundings = Surroundings {
        standings: Standings::new(&names, &schedules, time.now()),
        time,
        jitter: arguments.jitter(),
        until: None,
        stop: stop.clone(),
        screen: None,
    };
    keep_in_step(arguments, &schedules, contexts, &last_runs, &surroundings).await
}

/// What each panel's loop needs, and when the jobs last ran.
async fn contexts(
    database: &Database,
    panels: &[PanelName],
    adapters: Vec<MarzbanPanel>,
    policies: &Policies,
    migrate: bool,
) -> Result<(Vec<(String, ContextBuilder)>, LastRuns), Failure> {
    let mut contexts = Vec::new();
    let mut last_runs = LastRuns::new();
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
        if contexts.is_empty() {
            let read = last_ended(&*store).await;
            last_runs = read.map_err(|error| Failure::Run(chain(&error)))?;
        }
        let context = policies.set_up(Context::builder(adapter, store));
        contexts.push((panel.as_str().to_owned(), context));
    }
    Ok((contexts, last_runs))
}

/// When the jobs of each panel last ran.
pub(crate) type LastRuns = BTreeMap<(String, Job), DateTime<Utc>>;

/// Serves and runs the loops of all panels, until they are asked to stop or have come to their end.
pub(crate) async fn keep_in_step(
    arguments: &Arguments,
    schedules: &[Schedule],
    contexts: Vec<(String, ContextBuilder)>,
    last_runs: &LastRuns,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let metrics = server::install_recorder().map_err(|error| Failure::Run(chain(&error)))?;
    let app = App {
        standings: surroundings.standings.clone(),
        time: surroundings.time.clone(),
        metrics,
    };
    let (address, server) = server::serve(arguments.listen, app)
        .await
        .map_err(|error| Failure::Run(format!("--listen {}: {error}", arguments.listen)))?;
    tracing::info!(%address, "listening");
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");

    let now = surroundings.time.now();
    let mut loops = JoinSet::new();
    for (panel, context) in contexts {
        let last_run = |job| last_runs.get(&(panel.clone(), job)).copied();
        let agenda = panel_loop::agenda(schedules.to_vec(), now, arguments.run_now, last_run);
        loops.spawn(PanelLoop::new(panel, context, agenda, surroundings.clone()).run());
    }
    let stopped = async {
        surroundings.stop.cancelled().await;
        tracing::info!("stopping: runs finish their batch");
        tokio::time::sleep(arguments.stop_within()).await;
    };
    let ended = tokio::select! {
        all = finish(&mut loops) => all,
        () = stopped => Err(Failure::Run(format!(
            "the runs did not stop within {} seconds and were dropped",
            arguments.stop_within().as_secs()
        ))),
    };
    server.abort();
    ended
}

async fn finish(loops: &mut JoinSet<()>) -> Result<(), Failure> {
    let mut ended = Ok(());
    while let Some(joined) = loops.join_next().await {
        // The others go on, and /health says that this one does not.
        if let Err(error) = joined {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the loop of a panel ended"
            );
            ended = Err(Failure::Run(format!("the loop of a panel ended: {error}")));
        }
    }
    ended
}
