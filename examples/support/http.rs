//! `/live`, `/health` and `/metrics` of a process.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use marzban_sync_core::error::chain;
use marzban_sync_core::scheduler::metrics::{self, REQUEST_DURATION, RUN_DURATION};
use marzban_sync_core::scheduler::{Scheduler, SchedulerHealth};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::environment::Failure;

/// How often the recorder tidies up what was recorded since the last scrape.
const UPKEEP: Duration = Duration::from_secs(5);

const REQUEST_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const RUN_BUCKETS: [f64; 9] = [0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0];

/// The metrics of the process; a clone is the same.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder of the process, once.
    ///
    /// # Errors
    /// When there is a recorder already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(REQUEST_DURATION.to_owned()), &REQUEST_BUCKETS)?
            .set_buckets_for_metric(Matcher::Full(RUN_DURATION.to_owned()), &RUN_BUCKETS)?
            .install_recorder()?;
        metrics::describe();
        Ok(Self(handle))
    }

    /// Tidies up until it is dropped; without it, memory grows between scrapes.
    pub async fn upkeep(&self) {
        let mut interval = tokio::time::interval(UPKEEP);
        loop {
            interval.tick().await;
            self.0.run_upkeep();
        }
    }

    /// Answers a scrape.
    #[must_use]
    pub fn response(&self) -> impl IntoResponse + use<> {
        let format = "text/plain; version=0.0.4; charset=utf-8";
        ([(CONTENT_TYPE, format)], self.0.render())
    }
}

/// Serves `/live` and `/metrics` of a process that has nothing else to serve, until it is dropped.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(listener: TcpListener, metrics: Metrics) -> std::io::Result<()> {
    let scraped = metrics.clone();
    let router = Router::new()
        .route("/live", get("ok\n"))
        .route("/metrics", get(async move || scraped.response()));
    axum::serve(listener, router).await
}

/// Runs a scheduler and serves its health and metrics, until it is asked to stop or has come to its end.
///
/// Prints the address on stdout.
///
/// # Errors
/// [`Failure::Run`] when the address is taken, and when the scheduler did not end in order.
pub async fn run_scheduler(
    scheduler: Scheduler,
    listen: SocketAddr,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let metrics = Metrics::install().map_err(|error| Failure::Run(chain(&error)))?;
    let in_use = |error| Failure::Run(format!("--listen {listen}: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(in_use)?;
    let address = listener.local_addr().map_err(in_use)?;
    let router = Router::new()
        .route("/live", get("ok\n"))
        .route("/health", get(health))
        .route("/metrics", get(exposition))
        .with_state((scheduler.health(), metrics.clone()));
    tracing::info!(%address, "listening");
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    tokio::select! {
        ended = scheduler.run(stop.cancelled()) => ended.map_err(|error| Failure::Run(chain(&error))),
        served = axum::serve(listener, router).into_future() => served.map_err(in_use),
        () = metrics.upkeep() => Ok(()),
    }
}

type AppState = (SchedulerHealth, Metrics);

async fn health(State((health, _)): State<AppState>) -> impl IntoResponse {
    let health = health.now();
    let status = if health.is_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match serde_json::to_string(&health) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body + "\n"),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

async fn exposition(State((health, metrics)): State<AppState>) -> impl IntoResponse {
    metrics::record_health(&health.now());
    metrics.response()
}
