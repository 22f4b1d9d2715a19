//! Schedulers, workers and a board for Marzban syncs, on any number of machines over one PostgreSQL.
//!
//! `cargo run -p marzban-sync-worker -- --help`, and `README.md` beside it.

mod auth;
mod board;
mod cli;
mod enqueue;
mod logging;
mod page;
mod queue;
mod retry;
mod run;
mod scheduler;
mod task;
mod work;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use marzban_sync_core::error::chain;
use marzban_sync_core::panel::Panel;
use marzban_sync_core::scheduler::SystemTimer;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_examples::environment::{self, Database, Failure, PanelName};
use marzban_sync_examples::http::{self, Metrics};
use marzban_sync_examples::policies::policies_from_environment;
use marzban_sync_examples::signals;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::Access;
use crate::board::{BoardState, Broadcaster};
use crate::cli::{Arguments, Command, Role, Run};
use crate::queue::Queue;
use crate::run::JobRunner;
use crate::scheduler::Scheduler;

#[tokio::main]
async fn main() -> ExitCode {
    perform(Arguments::parse()).await.unwrap_or_else(|failure| {
        // Nothing is left to do when standard error is closed.
        let _ = writeln!(io::stderr(), "{}", environment::errors(&failure));
        failure.code()
    })
}

async fn perform(arguments: Arguments) -> Result<ExitCode, Failure> {
    environment::load_dotenv().map_err(Failure::Configuration)?;
    let broadcaster = logging::install(environment::log_filter().map_err(Failure::Configuration)?);
    let url = match Database::from_environment().map_err(Failure::Configuration)? {
        Database::Postgres(url) => url,
        Database::Sqlite(_) => {
            return Err(Failure::Configuration(
                "DATABASE_URL must begin with postgres://: the queue needs PostgreSQL".to_owned(),
            ));
        }
    };
    match arguments.command {
        Some(Command::Migrate) => {
            let migration = connect(&url).await?.migrate().await;
            let migration = migration.map_err(|error| Failure::Run(chain(&error)))?;
            Queue::new(&url, 1)?.migrate().await?;
            enqueue::print(&serde_json::json!({ "job": "migrate", "created": migration.created }))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Enqueue(order)) => Ok(enqueue::run(&url, &order).await?),
        None => {
            arguments.run.check().map_err(Failure::Configuration)?;
            run(&arguments.run, url, broadcaster).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn connect(url: &str) -> Result<PostgresStore, Failure> {
    let connected = PostgresStore::connect(url).await;
    connected.map_err(|error| environment::not_connected(&error))
}

/// Runs all roles of this process until it is asked to end. When one role ends, the others end in order.
async fn run(run: &Run, url: String, broadcaster: Broadcaster) -> Result<(), Failure> {
    let has = |role| run.has(role);
    let access = if has(Role::Board) {
        Some(Access::from_environment(run.listen).map_err(Failure::Configuration)?)
    } else {
        None
    };
    let panels = if has(Role::Worker) {
        panels(&run.panels)?
    } else {
        BTreeMap::new()
    };
    let policies = policies_from_environment().map_err(Failure::Configuration)?;
    let schedules = run
        .schedules(policies.deadline())
        .map_err(Failure::Configuration)?;
    let store = connect(&url).await?;
    let queue = Queue::new(&url, run.max_attempts)?;
    queue.verify().await?;

    let metrics = Metrics::install().map_err(|error| Failure::Run(chain(&error)))?;
    let cancellation = signals::cancelled_by_signal();
    let mut roles = JoinSet::new();
    if let Some(address) = run.metrics {
        roles.spawn(serve_metrics(
            bind("--metrics", address).await?,
            metrics.clone(),
            cancellation.clone(),
        ));
    }
    if let Some(access) = access {
        let listener = bind("--listen", run.listen).await?;
        let state = BoardState::new(
            queue.clone(),
            store,
            run.panel_names(),
            schedules.clone(),
            metrics.clone(),
        );
        let liveness = run.work.liveness;
        roles.spawn(board::run(
            listener,
            state,
            liveness,
            access,
            broadcaster,
            cancellation.clone(),
        ));
    }
    if has(Role::Scheduler) {
        let ticker = Scheduler {
            queue,
            panels: run.panel_names(),
            schedules: schedules.clone(),
            timer: Arc::new(SystemTimer),
            keep_finished: run.keep_finished,
        };
        roles.spawn(ticker.run(cancellation.clone()));
    }
    if has(Role::Worker) {
        let mut stores = Vec::new();
        for _ in 0..run.work.concurrency {
            stores.push(connect(&url).await?);
        }
        let runner = Arc::new(JobRunner::new(panels, policies, stores, &schedules));
        let settings = work::Settings {
            url,
            work: run.work.clone(),
        };
        roles.spawn(work::run(settings, runner, cancellation.clone()));
    }
    tokio::select! {
        ended = all_end(roles, &cancellation) => ended,
        () = metrics.upkeep() => Ok(()),
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let failed = |error| Failure::Configuration(format!("{flag} {address}: {error}"));
    TcpListener::bind(address).await.map_err(failed)
}

/// Serves the metrics of a process until it is asked to end.
async fn serve_metrics(
    listener: TcpListener,
    metrics: Metrics,
    cancellation: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "the metrics are served");
    tokio::select! {
        served = http::serve_metrics(listener, metrics) => served.context("the metrics cannot be served"),
        () = cancellation.cancelled() => Ok(()),
    }
}

async fn all_end(
    mut roles: JoinSet<anyhow::Result<()>>,
    cancellation: &CancellationToken,
) -> Result<(), Failure> {
    let mut first_failure = Ok(());
    while let Some(ended) = roles.join_next().await {
        cancellation.cancel();
        let ended = ended.context("a role ended in disorder").and_then(|ended| ended);
        if first_failure.is_ok() {
            first_failure = ended;
        }
    }
    Ok(first_failure?)
}

fn panels(names: &[PanelName]) -> Result<BTreeMap<String, Arc<dyn Panel>>, Failure> {
    let panel = |name: &PanelName| {
        let panel: Arc<dyn Panel> = Arc::new(name.panel_from_environment()?);
        Ok((name.as_str().to_owned(), panel))
    };
    let panels: Result<_, String> = names.iter().map(panel).collect();
    panels.map_err(Failure::Configuration)
}
