//! Schedulers, workers and a board for Marzban syncs, on any number of machines over one PostgreSQL.
//!
//! `cargo run -p marzban-sync-worker -- --help`, and `README.md` beside it.

mod auth;
mod board;
mod cli;
mod clock;
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
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use marzban_sync_core::error::{StoreErrorKind, chain};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_examples::environment::{self, Database, PanelName};
use marzban_sync_examples::policies::policies_from_environment;
use marzban_sync_examples::signals;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::Access;
use crate::board::{BoardState, Broadcaster};
use crate::cli::{Arguments, Command, Role, Run};
use crate::queue::Queue;
use crate::retry::Policy;
use crate::run::JobRunner;
use crate::scheduler::Scheduler;

/// Why the program ends without having done what it was asked: one clear line, and an exit code.
#[derive(Debug)]
enum Failure {
    /// Exit code 2.
    Configuration(String),
    /// Exit code 1.
    Run(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(format!("{error:#}"))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let (message, code) = match perform(Arguments::parse()).await {
        Ok(code) => return code,
        Err(Failure::Configuration(message)) => (message, 2),
        Err(Failure::Run(message)) => (message, 1),
    };
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr(), "{}", environment::errors(&message));
    ExitCode::from(code)
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

/// A URL that makes no sense is the configuration's fault, a server that does not answer is not.
async fn connect(url: &str) -> Result<PostgresStore, Failure> {
    PostgresStore::connect(url)
        .await
        .map_err(|error| match error.kind() {
            StoreErrorKind::Invalid => Failure::Configuration(format!("DATABASE_URL: {}", chain(&error))),
            _ => Failure::Run(chain(&error)),
        })
}

/// Fills all roles of this process until it is asked to end, or until one of them ends; then all do, in order.
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

    let cancellation = signals::cancelled_by_signal();
    let mut roles = JoinSet::new();
    if let Some(access) = access {
        let listener = TcpListener::bind(run.listen)
            .await
            .map_err(|error| Failure::Configuration(format!("--listen {}: {error}", run.listen)))?;
        let state = BoardState::new(queue.clone(), store, run.panel_names(), schedules.clone());
        let liveness = run.liveness();
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
            clock: run.clock(),
            keep_finished: run.keep_finished,
        };
        roles.spawn(ticker.run(cancellation.clone()));
    }
    if has(Role::Worker) {
        let mut stores = Vec::new();
        for _ in 0..run.concurrency {
            stores.push(connect(&url).await?);
        }
        let runner = Arc::new(JobRunner::new(panels, policies, stores, &schedules));
        roles.spawn(work::run(settings(run, url), runner, cancellation.clone()));
    }
    all_end(roles, &cancellation).await
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

fn settings(run: &Run, url: String) -> work::Settings {
    work::Settings {
        url,
        liveness: run.liveness(),
        concurrency: run.concurrency,
        max_jobs: run.max_jobs,
        poll: run.poll,
        expires: run.expires,
        grace: run.grace,
        policy: Policy {
            backoff: run.backoff,
            busy_pause: run.busy_pause,
        },
    }
}

fn panels(names: &[PanelName]) -> Result<BTreeMap<String, Arc<MarzbanPanel>>, Failure> {
    let panel = |name: &PanelName| Ok((name.as_str().to_owned(), Arc::new(name.panel_from_environment()?)));
    let panels: Result<_, String> = names.iter().map(panel).collect();
    panels.map_err(Failure::Configuration)
}
