//! Spans of operations, and their metrics behind the feature `metrics`.

use std::future::Future;
use std::sync::Arc;

#[cfg(feature = "metrics")]
use metrics::SharedString;
use tokio::time::Instant;
use tracing::Instrument;
use tracing::field::Empty;

use super::response::Response;
use crate::error::Error;
use crate::request::Request;
#[cfg(feature = "metrics")]
use crate::request::RetryClass;

/// How an operation ended, without anything that names a user or is a secret.
struct Outcome {
    label: &'static str,
    status: Option<u16>,
    attempts: u32,
}

/// Performs an operation within its span and counts it. An operation that is dropped is not counted.
pub(super) async fn instrumented(
    panel: &Arc<str>,
    request: &Request,
    work: impl Future<Output = Result<Response, Error>> + Send,
) -> Result<Response, Error> {
    let span = tracing::info_span!(
        "panel",
        panel.name = panel.as_ref(),
        operation = request.operation(),
        method = %request.method(),
        path = request.template(),
        status = Empty,
        attempts = Empty,
        outcome = Empty,
    );
    let started = Instant::now();
    let result = work.instrument(span.clone()).await;
    let outcome = Outcome::of(&result);
    span.record("status", outcome.status);
    span.record("attempts", outcome.attempts);
    span.record("outcome", outcome.label);
    outcome.count(panel, request, started);
    result
}

impl Outcome {
    fn of(outcome: &Result<Response, Error>) -> Self {
        match outcome {
            Ok(response) => Self {
                label: "ok",
                status: Some(response.status.as_u16()),
                attempts: response.attempts,
            },
            Err(error) => Self {
                label: error.kind().as_str(),
                status: error.status(),
                attempts: error.attempts(),
            },
        }
    }

    #[cfg(feature = "metrics")]
    fn count(&self, panel: &Arc<str>, request: &Request, started: Instant) {
        let retries = self.attempts.saturating_sub(1);
        let panel: (_, SharedString) = ("panel", Arc::clone(panel).into());
        let operation = ("operation", request.operation().into());
        let outcome = ("outcome", self.label.into());
        let of_operation = [panel.clone(), operation.clone()];
        let requests = [panel.clone(), operation, outcome.clone()];
        metrics::counter!("marzban_api_requests_total", &requests).increment(1);
        metrics::counter!("marzban_api_retries_total", &of_operation).increment(retries.into());
        metrics::histogram!("marzban_api_request_duration_seconds", &of_operation).record(started.elapsed());
        if request.retry_class() == RetryClass::Login {
            metrics::counter!("marzban_api_logins_total", &[panel, outcome]).increment(1);
        }
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(
        clippy::unused_self,
        reason = "without the feature there is nothing to count for"
    )]
    fn count(&self, _: &Arc<str>, _: &Request, _: Instant) {}
}
