//! What the process tells over HTTP: that it lives, whether all is well, and figures for Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use marzban_sync_core::scheduler::SchedulerHealth;
use marzban_sync_core::scheduler::metrics::{self, REQUEST_DURATION, RUN_DURATION};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How often the recorder tidies up what was recorded since the last scrape.
const UPKEEP: Duration = Duration::from_secs(5);

const REQUEST_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const RUN_BUCKETS: [f64; 9] = [0.01, 0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0];

/// Installs the recorder that everything in the process records to.
pub(crate) fn install_recorder() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(REQUEST_DURATION.to_owned()), &REQUEST_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(RUN_DURATION.to_owned()), &RUN_BUCKETS)?
        .install_recorder()?;
    metrics::describe();
    Ok(handle)
}

#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) health: SchedulerHealth,
    pub(crate) metrics: PrometheusHandle,
}

/// Serves from now on; dropping the handle's task ends it.
pub(crate) async fn serve(
    listen: SocketAddr,
    app: App,
) -> std::io::Result<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let metrics = app.metrics.clone();
    let router = Router::new()
        .route("/live", get("ok\n"))
        .route("/health", get(health))
        .route("/metrics", get(exposition))
        .with_state(app);
    let server = tokio::spawn(async move {
        let upkeep = async {
            let mut interval = tokio::time::interval(UPKEEP);
            loop {
                interval.tick().await;
                metrics.run_upkeep();
            }
        };
        tokio::select! {
            served = axum::serve(listener, router).into_future() => served,
            () = upkeep => Ok(()),
        }
    });
    Ok((address, server))
}

async fn health(State(app): State<App>) -> impl IntoResponse {
    let health = app.health.now();
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

async fn exposition(State(app): State<App>) -> impl IntoResponse {
    metrics::record_health(&app.health.now());
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, format)], app.metrics.render())
}
