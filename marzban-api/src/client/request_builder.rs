//! Requests to endpoints without a typed method.

use std::fmt;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Client;
use crate::error::{Error, ErrorKind};
use crate::request::{Request, RetryClass};

/// A request to an endpoint without a typed method; see [`Client::request`].
///
/// It is sent like any other request: as the logged-in admin, and throttled. `GET` and `HEAD` are retried after every
/// transient failure, other methods only if nothing can have happened. Logs and errors contain neither path nor
/// query, because these may name users.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::Method;
/// use serde_json::{Value, json};
///
/// let users: Value = client.request(Method::GET, "/api/users").query("limit", "1").send_json().await?;
/// assert_eq!(users["total"], 0);
/// let request = client.request(Method::PUT, "/api/hosts").json(&json!({}));
/// let (status, _) = request.send().await?;
/// assert_eq!(status, 200);
/// # Ok(())
/// # }
/// ```
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder<'a> {
    client: &'a Client,
    request: Result<Request, Error>,
}

/// Why a path is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusablePath {
    #[error("the path does not begin with a slash")]
    Relative,
    #[error("the path has an empty segment, `.` or `..`")]
    Segment,
    #[error("the path has a character that has to be percent-encoded")]
    Character,
}

impl<'a> RequestBuilder<'a> {
    pub(super) fn new(client: &'a Client, method: Method, path: &str) -> Self {
        let class = if method.is_safe() {
            RetryClass::Safe
        } else {
            RetryClass::Mutation
        };
        let request = Request::new("client.request", method, "/{path}", class);
        let request = match check(path) {
            Ok(()) => Ok(request.at_path(path)),
            Err(error) => Err(Error::new(ErrorKind::InvalidInput)
                .with_operation(&request)
                .with_source(error)),
        };
        Self { client, request }
    }

    /// Appends `key=value` to the query. A key may occur several times.
    pub fn query(self, key: &str, value: &str) -> Self {
        Self {
            request: self.request.map(|request| request.query(key, value)),
            ..self
        }
    }

    /// Sets the body to `value` as JSON. If it cannot be serialized, sending fails.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        Self {
            request: self.request.and_then(|request| request.json(value)),
            ..self
        }
    }

    /// Sends the request and decodes the response as JSON.
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`InvalidInput`](ErrorKind::InvalidInput) for
    /// a path that does not start with a slash, has a query, or has an empty segment, `.`, `..` or a character that
    /// must be percent-encoded.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the request may or may not have been sent.
    pub async fn send_json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let request = self.request?;
        match request.retry_class() {
            RetryClass::Safe | RetryClass::SplittableRead => self.client.fetch(&request).await,
            RetryClass::Login | RetryClass::Mutation => self.client.changed(&request).await,
        }
    }

    /// Sends the request and returns the status and the body as received.
    ///
    /// # Errors
    ///
    /// See [`send_json`](Self::send_json); the body may have any form.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the request may or may not have been sent.
    pub async fn send(self) -> Result<(StatusCode, Bytes), Error> {
        let request = self.request?;
        let response = match request.retry_class() {
            RetryClass::Safe | RetryClass::SplittableRead => self.client.execute(&request).await,
            RetryClass::Login | RetryClass::Mutation => self.client.change(&request).await,
        }?;
        Ok((response.status, response.body))
    }
}

/// Rejects paths that could leave the base URL: URL parsers resolve dots, backslashes and a host after two slashes,
/// also if they are encoded.
fn check(path: &str) -> Result<(), UnusablePath> {
    let segments = path.strip_prefix('/').ok_or(UnusablePath::Relative)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/".contains(&byte);
    if !segments.bytes().all(plain) {
        return Err(UnusablePath::Character);
    }
    // A trailing slash is part of some routes.
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    for segment in segments.split('/') {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        if matches!(&*decoded, b"" | b"." | b"..") && !path.eq("/") {
            return Err(UnusablePath::Segment);
        }
    }
    Ok(())
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_address_of_the_panel() {
        for path in [
            "/",
            "/api/users",
            "/api/user/a%40b",
            "/api/user/a%2Fb",
            "/sub/token/",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        for (path, reason) in [
            ("", UnusablePath::Relative),
            ("api/users", UnusablePath::Relative),
            ("http://elsewhere.example/", UnusablePath::Relative),
            ("@elsewhere.example/", UnusablePath::Relative),
            ("//elsewhere.example/", UnusablePath::Segment),
            ("/api//users", UnusablePath::Segment),
            ("/api/../other", UnusablePath::Segment),
            ("/api/./users", UnusablePath::Segment),
            ("/api/%2e%2E/other", UnusablePath::Segment),
            ("/api/.%2e", UnusablePath::Segment),
            ("/..", UnusablePath::Segment),
            ("/api\\..\\other", UnusablePath::Character),
            ("/api/users?limit=1", UnusablePath::Character),
            ("/api/users#top", UnusablePath::Character),
            ("/api/us\ners", UnusablePath::Character),
            ("/api/имя", UnusablePath::Character),
        ] {
            assert_eq!(check(path), Err(reason), "{path}");
        }
    }
}
