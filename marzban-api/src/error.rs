//! The error of this crate: opaque, small, cloneable, and without secrets in its texts.

mod detail;
mod kind;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

pub use self::detail::Detail;
pub use self::kind::ErrorKind;
use crate::request::Request;

/// The panel's message with status 404 for an unknown user; for an unknown route it is `Not Found`.
const USER_NOT_FOUND: &str = "User not found";

/// An operation failed. [`Error::kind`] is the reason; the other methods describe the circumstances.
///
/// `Display` covers this layer only: operation, method, path template, status, attempts and the panel's message. The
/// cause, such as the error of a TCP connection, is the [`source`](StdError::source). Neither contains a password, a
/// token, a body or a full URL.
///
/// # Examples
///
/// ```no_run
/// use marzban_api::ErrorKind;
///
/// # async fn example(client: marzban_api::Client) {
/// match client.users().get("alice").await {
///     Ok(user) => println!("{:?}", user.status),
///     Err(error) if error.is_user_not_found() => println!("there is no alice"),
///     Err(error) if error.kind() == ErrorKind::Unauthorized => println!("the password is wrong"),
///     Err(error) if error.is_retryable() => println!("later: {error}"),
///     Err(error) => println!("{error}"),
/// }
/// # }
/// ```
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::{Detail, ErrorKind};
///
/// let error = client.users().get("nobody").await.unwrap_err();
/// assert_eq!((error.kind(), error.kind().as_str()), (ErrorKind::NotFound, "not_found"));
/// assert!(error.is_user_not_found() && !error.is_retryable());
/// assert_eq!((error.operation(), error.status(), error.attempts()), ("users.get", Some(404), 1));
/// assert_eq!(error.detail(), Some(&Detail::Message("User not found".to_owned())));
/// assert_eq!(error.retry_after(), None);
/// println!("{} ms", error.elapsed().as_millis());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    reason: Option<Cow<'static, str>>,
    operation: &'static str,
    method: Option<Method>,
    path: &'static str,
    status: Option<u16>,
    sent: bool,
    by_proxy: bool,
    retry_after: Option<Duration>,
    attempts: u32,
    elapsed: Duration,
    detail: Option<Detail>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            reason: None,
            operation: "client.build",
            method: None,
            path: "",
            status: None,
            sent: false,
            by_proxy: false,
            retry_after: None,
            attempts: 0,
            elapsed: Duration::ZERO,
            detail: None,
            source: None,
        }))
    }

    /// An error while building a client.
    pub(crate) fn build(reason: &'static str) -> Self {
        Self::new(ErrorKind::Config).with_message(reason)
    }

    /// A failed exchange. It counts as sent unless the panel cannot have seen anything.
    pub(crate) fn transport(error: reqwest::Error) -> Self {
        let (timeout, connect) = (error.is_timeout(), error.is_connect());
        let mut this = Self::new(if timeout {
            ErrorKind::Timeout
        } else {
            ErrorKind::Connect
        });
        this.0.sent = !connect;
        this.with_source(error.without_url())
    }

    pub(crate) fn with_message(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn with_operation(mut self, request: &Request) -> Self {
        self.0.operation = request.operation();
        self.0.method = Some(request.method().clone());
        self.0.path = request.template();
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self.0.sent = true;
        self
    }

    /// Marks a failure that was reported by an HTML page. The panel never sends one, and may still be processing the
    /// request.
    pub(crate) fn with_proxy_page(mut self, by_proxy: bool) -> Self {
        self.0.by_proxy = by_proxy;
        self
    }

    pub(crate) fn with_detail(mut self, detail: Option<Detail>) -> Self {
        self.0.detail = detail;
        self
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32, elapsed: Duration) -> Self {
        self.0.attempts = attempts;
        self.0.elapsed = elapsed;
        self
    }

    /// Returns an error of another kind in the same circumstances, with this one as its source.
    pub(crate) fn with_kind(self, kind: ErrorKind, reason: &'static str) -> Self {
        let inner = Inner {
            kind,
            reason: Some(reason.into()),
            detail: None,
            ..(*self.0).clone()
        };
        Self(Box::new(inner)).with_source(self)
    }

    /// Returns whether the response itself shows that it is not the panel's.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.0.by_proxy
    }

    /// Returns whether the panel may have seen the request.
    pub(crate) fn was_sent(&self) -> bool {
        self.0.sent
    }

    /// Returns whether a change may have been made although it failed. A failed login changed nothing.
    pub(crate) fn is_ambiguous(&self, request: &Request) -> bool {
        let unclear = match self.0.kind {
            ErrorKind::Server | ErrorKind::Connect | ErrorKind::Timeout => self.0.sent,
            // The panel reports a success that cannot be decoded.
            ErrorKind::Decode | ErrorKind::TooLarge => {
                self.0.status.is_some_and(|status| (200..300).contains(&status))
            }
            _ => false,
        };
        unclear && self.0.operation == request.operation()
    }

    /// Turns an ambiguous failure of a change into [`Indeterminate`](ErrorKind::Indeterminate), and returns any other
    /// failure as it is.
    pub(crate) fn into_indeterminate(self, request: &Request) -> Self {
        if self.is_ambiguous(request) {
            self.with_kind(
                ErrorKind::Indeterminate,
                "the change may or may not have happened",
            )
        } else {
            self
        }
    }

    /// Returns whether the panel itself answered 404 with this message, which differs from that for an unknown route.
    pub(crate) fn is_not_found_with(&self, message: &str) -> bool {
        self.0.kind == ErrorKind::NotFound
            && self.0.status == Some(404)
            && matches!(&self.0.detail, Some(Detail::Message(said)) if said == message)
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same call may succeed later without any change.
    ///
    /// This is the case for [`Connect`](ErrorKind::Connect), [`Timeout`](ErrorKind::Timeout),
    /// [`RateLimited`](ErrorKind::RateLimited) and [`Server`](ErrorKind::Server), whether or not the client has
    /// retried the request.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::Server
        )
    }

    /// Returns whether the panel itself reported that this user does not exist.
    ///
    /// This requires status 404 with the panel's own body `{"detail":"User not found"}`. A proxy's 404 page and the
    /// `{"detail":"Not Found"}` of a route that this panel lacks prove nothing about a user.
    #[must_use]
    pub fn is_user_not_found(&self) -> bool {
        self.is_not_found_with(USER_NOT_FOUND)
    }

    /// Returns the status code of the last response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns how long the panel or its proxy asked to wait, uncapped.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns how often the client tried to send the request; 0 if it never did.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Returns how long all attempts and the pauses between them took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns the name of the operation, such as `users.get`. The login that an operation needs is `admins.token`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the panel's explanation, if it sent one in its own form.
    #[must_use]
    pub fn detail(&self) -> Option<&Detail> {
        self.0.detail.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(
            f,
            "{}: {}",
            inner.operation,
            inner.reason.as_deref().unwrap_or(inner.kind.text())
        )?;
        if let Some(method) = &inner.method {
            write!(f, " ({method} {}", inner.path)?;
            if let Some(status) = inner.status {
                write!(f, ", status {status}")?;
            }
            let plural = if inner.attempts == 1 { "" } else { "s" };
            write!(
                f,
                ", {} attempt{plural} in {} ms)",
                inner.attempts,
                inner.elapsed.as_millis()
            )?;
        }
        match &inner.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Error>();
    assert!(size_of::<Error>() <= 16);
};
