//! The one path by which requests leave: throttle, exchange, retries.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::auth::Token;
use super::response::{LastDate, Response};
use super::retry::{Retries, RetryPolicy};
use super::throttle::Throttler;
use crate::error::{Error, ErrorKind};
use crate::request::{Request, RetryClass};

/// How much is allocated at once for a body that announces this much or more; a page of users takes a fifth of it.
const INITIAL_BODY_CAPACITY: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Transport {
    /// Scheme, host, port and path prefix, without a trailing slash.
    pub(super) base: String,
    pub(super) prefix_len: usize,
    /// Keeps connections alive, for requests that can be retried when such a connection turns out to be dead.
    pub(super) pooled: reqwest::Client,
    /// Opens a connection for each request: a change cannot be retried, so it must not meet a dead connection.
    pub(super) unpooled: reqwest::Client,
    pub(super) throttler: Throttler,
    pub(super) retry: RetryPolicy,
    pub(super) max_body: usize,
    /// The panel's name in spans and metrics.
    pub(super) panel_name: Arc<str>,
    pub(super) last_date: LastDate,
}

impl Transport {
    pub(crate) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// The length of the base URL's path prefix in bytes.
    pub(crate) fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// Sends the request until it succeeds, fails permanently, or the policy allows no further attempt.
    pub(crate) async fn send(&self, request: &Request, token: Option<&Token>) -> Result<Response, Error> {
        let started = Instant::now();
        let mut retries = Retries::new(self.retry);
        loop {
            let outcome = self.exchange(request, token).await;
            let attempt = retries.tried() + 1;
            let (operation, path) = (request.operation(), request.template());
            let error = match outcome {
                Ok(response) => {
                    let (status, took) = (response.status.as_u16(), response.took.as_millis());
                    tracing::debug!(
                        operation,
                        path,
                        attempt,
                        status,
                        took_ms = took,
                        "Panel responded"
                    );
                    return Ok(Response {
                        attempts: attempt,
                        elapsed: started.elapsed(),
                        ..response
                    });
                }
                Err(error) => error
                    .with_operation(request)
                    .with_attempts(attempt, started.elapsed()),
            };
            let delay = retries.after(&error, request.retry_class());
            tracing::debug!(
                operation,
                path,
                attempt,
                status = error.status(),
                kind = ?error.kind(),
                retry_in_ms = delay.map(|delay| delay.as_millis()),
                "Panel request failed"
            );
            match delay {
                Some(delay) => sleep(delay).await,
                None => return Err(error),
            }
        }
    }

    /// Sends one request and reads its whole response.
    async fn exchange(&self, request: &Request, token: Option<&Token>) -> Result<Response, Error> {
        let http = match request.retry_class() {
            RetryClass::Safe | RetryClass::SplittableRead => &self.pooled,
            RetryClass::Login | RetryClass::Mutation => &self.unpooled,
        };
        let url = format!("{}{}", self.base, request.target());
        let mut outgoing = http
            .request(request.method().clone(), url)
            .headers(request.headers().clone());
        if let Some(token) = token {
            outgoing = outgoing.header(AUTHORIZATION, token.bearer().clone());
        }
        if let Some(content) = request.content() {
            outgoing = outgoing
                .header(CONTENT_TYPE, content.media_type)
                .body(content.text.expose_secret().to_owned());
        }
        let _permit = self.throttler.acquire().await;
        let started = Instant::now();
        let mut response = outgoing.send().await.map_err(Error::transport)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = match self.read(response).await {
            // The status is enough, and the socket of a failing panel often ends early.
            Err(_) if status.is_server_error() => Bytes::new(),
            body => body.map_err(|error| error.with_status(status.as_u16()))?,
        };
        let took = started.elapsed();
        let response = Response {
            status,
            headers,
            body,
            took,
            attempts: 1,
            elapsed: took,
        };
        self.last_date.note(&response);
        response.into_result(wall_clock())
    }

    /// Reads a body up to the limit, which applies after decompression.
    pub(super) async fn read(&self, mut response: reqwest::Response) -> Result<Bytes, Error> {
        let announced = response.content_length().unwrap_or_default();
        let mut body = BytesMut::with_capacity(
            usize::try_from(announced).map_or(INITIAL_BODY_CAPACITY, |room| room.min(INITIAL_BODY_CAPACITY)),
        );
        while let Some(chunk) = response.chunk().await.map_err(Error::transport)? {
            if body.len() + chunk.len() > self.max_body {
                return Err(Error::new(ErrorKind::TooLarge));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The host's time, to interpret absolute times of a server that does not send its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the meaning of an HTTP date, not a decision about an account"
)]
pub(crate) fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}
