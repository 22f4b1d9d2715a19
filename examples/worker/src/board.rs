//! The board: apalis's pages and API, runs by hand, metrics, and the operator's page, all behind authentication.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use apalis_board::axum::framework::{ApiBuilder, RegisterRoute};
use apalis_board::axum::sse::TracingBroadcaster;
use apalis_board::axum::ui::ServeUI;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use chrono::{DateTime, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::error::chain;
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::Schedule;
use marzban_sync_core::scheduler::metrics;
use marzban_sync_core::store::{DEFAULT_PANEL, Journal, PostgresStore};
use marzban_sync_examples::http::Metrics;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Access};
use crate::cli::Liveness;
use crate::page;
use crate::queue::{Pushed, QUEUE, Queue};
use crate::task::SyncTask;

/// The time that connections have to end at shutdown; a stream of logs would never end.
const GRACE: Duration = Duration::from_secs(2);

/// The log that the board's pages subscribe to.
pub(crate) type Broadcaster = Arc<Mutex<TracingBroadcaster>>;

/// The state of the board's handlers.
#[derive(Clone, Debug)]
pub(crate) struct BoardState {
    /// The queue, whose [`Queue::pool`] is also a way to the bot's database.
    pub(crate) queue: Queue,
    pub(crate) store: PostgresStore,
    /// The names of the panels.
    pub(crate) panels: Arc<[String]>,
    pub(crate) schedules: Arc<[Schedule]>,
    metrics: Metrics,
    /// When the board started: a job that never ran counts as scheduled since then.
    since: DateTime<Utc>,
}

/// Why a run cannot be queued.
#[derive(Debug)]
pub(crate) enum EnqueueError {
    /// This process has no panel of that name.
    UnknownPanel,
    /// The database refused the task or did not answer.
    Queue(anyhow::Error),
}

impl BoardState {
    pub(crate) fn new(
        queue: Queue,
        store: PostgresStore,
        panels: Vec<String>,
        schedules: Vec<Schedule>,
        metrics: Metrics,
    ) -> Self {
        Self {
            queue,
            store,
            panels: panels.into(),
            schedules: schedules.into(),
            metrics,
            since: SystemClock.now(),
        }
    }

    /// Queues a run by hand and returns the id of its task.
    pub(crate) async fn push(&self, task: SyncTask) -> Result<String, EnqueueError> {
        let (job, panel, allow_mass_changes) =
            (task.job.clone(), task.panel.clone(), task.allow_mass_changes);
        let (trust_panel, trust_bot) = (task.trust_panel.len(), task.trust_bot.len());
        if !self.panels.contains(&panel) {
            return Err(EnqueueError::UnknownPanel);
        }
        match self.queue.push(task).await.map_err(EnqueueError::Queue)? {
            Pushed::Queued(id) => {
                tracing::info!(
                    job,
                    panel,
                    task.id = id,
                    allow_mass_changes,
                    trust_panel,
                    trust_bot,
                    "a run was asked for by hand"
                );
                Ok(id)
            }
            Pushed::AlreadyQueued => Err(EnqueueError::Queue(anyhow::anyhow!("a run by hand has no key"))),
        }
    }
}

/// Builds the router of the board.
fn router(state: BoardState, liveness: Liveness, access: Access, broadcaster: Broadcaster) -> Router {
    let api = ApiBuilder::new(Router::new())
        .register(QUEUE, state.queue.storage(liveness))
        .build();
    let guarded = Router::new()
        .nest("/api/v1", api)
        .merge(page::router(state.clone()))
        .route("/api/jobs", post(enqueue).with_state(state.clone()))
        .route("/metrics", get(exposition).with_state(state.clone()))
        .fallback_service(ServeUI::new())
        .layer(Extension(broadcaster))
        .layer(middleware::from_fn_with_state(Arc::new(access), auth::guard));
    let health = Router::new().route("/health", get(health)).with_state(state);
    health.merge(guarded)
}

/// Serves the board until it is asked to end.
pub(crate) async fn run(
    listener: TcpListener,
    state: BoardState,
    liveness: Liveness,
    access: Access,
    broadcaster: Broadcaster,
    cancellation: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "the board listens");
    let router = router(state, liveness, access, broadcaster);
    let served = axum::serve(listener, router).with_graceful_shutdown(cancellation.clone().cancelled_owned());
    tokio::select! {
        served = served => served.context("the board cannot be served"),
        () = async { cancellation.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    job: String,
    #[serde(default = "default_panel")]
    panel: String,
    #[serde(default)]
    allow_mass_changes: bool,
    #[serde(default)]
    trust_panel: Vec<String>,
    #[serde(default)]
    trust_bot: Vec<String>,
}

impl Order {
    /// Returns the task that is asked for, or why there is none in one line.
    fn task(self) -> Result<SyncTask, String> {
        let Some(job) = Job::parse(&self.job) else {
            return Err(format!("the jobs are {}", Job::ALL.map(Job::as_str).join(", ")));
        };
        let mut names = self.trust_panel.iter().chain(&self.trust_bot).peekable();
        if names.peek().is_some() && job != Job::SyncSubscriptionsFromMarzban {
            return Err("trust_panel and trust_bot are for sync_subscriptions_from_marzban".to_owned());
        }
        if names.any(String::is_empty) {
            return Err("trust_panel and trust_bot are lists of names, and none is empty".to_owned());
        }
        if let Some(name) = self.trust_panel.iter().find(|name| self.trust_bot.contains(name)) {
            return Err(format!(
                "trust_panel and trust_bot both have {name:?}: only one can be right"
            ));
        }
        Ok(SyncTask {
            trust_panel: self.trust_panel,
            trust_bot: self.trust_bot,
            ..SyncTask::manual(job, &self.panel, self.allow_mass_changes)
        })
    }
}

fn default_panel() -> String {
    DEFAULT_PANEL.to_owned()
}

/// `POST /api/jobs`: 202 with the id of the task.
async fn enqueue(State(state): State<BoardState>, order: Result<Json<Order>, JsonRejection>) -> Response {
    let error =
        |status: StatusCode, message: String| (status, Json(json!({ "error": message }))).into_response();
    let task = match order {
        Ok(Json(order)) => order.task(),
        Err(rejection) => return error(rejection.status(), rejection.body_text()),
    };
    let task = match task {
        Ok(task) => task,
        Err(line) => return error(StatusCode::UNPROCESSABLE_ENTITY, line),
    };
    let (job, panel) = (task.job.clone(), task.panel.clone());
    match state.push(task).await {
        Ok(id) => (
            StatusCode::ACCEPTED,
            Json(json!({ "task": id, "job": job, "panel": panel })),
        )
            .into_response(),
        Err(EnqueueError::UnknownPanel) => {
            let names = state.panels.join(", ");
            error(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("the panels are {names}"),
            )
        }
        Err(EnqueueError::Queue(cause)) => {
            tracing::error!(error = format!("{cause:#}"), "a run by hand was not queued");
            error(
                StatusCode::SERVICE_UNAVAILABLE,
                "the queue does not take it now".to_owned(),
            )
        }
    }
}

/// `GET /metrics`: the metrics of this process, and the health of every job by the history, wherever the job runs.
async fn exposition(State(state): State<BoardState>) -> Response {
    let latest = match state.store.latest_runs(None).await {
        Ok(latest) => latest,
        Err(error) => {
            tracing::warn!(error = chain(&error), "the last runs cannot be read");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    for (panel, schedule) in state
        .panels
        .iter()
        .flat_map(|panel| state.schedules.iter().map(move |of| (panel, of)))
    {
        let last = latest
            .iter()
            .find(|run| run.panel == *panel && run.job == schedule.job());
        let status = page::status(last, schedule, state.since, SystemClock.now());
        metrics::record_status(panel, schedule.job(), status);
    }
    state.metrics.response().into_response()
}

/// `GET /health`: returns only whether the database answers, and needs no credentials.
async fn health(State(state): State<BoardState>) -> Response {
    match state.queue.verify().await {
        Ok(()) => Json(json!({ "status": "ok" })).into_response(),
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "the queue does not answer");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Json(json!({ "status": "unavailable" })),
            )
                .into_response()
        }
    }
}
