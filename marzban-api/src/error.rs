//! The one error of this crate: opaque, small, cloneable, and without a secret in any of its texts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;

use crate::request::Request;

/// The longest piece of a panel's `detail` that a message repeats, in characters.
const MAX_DETAIL_CHARS: usize = 200;

/// The panel's text of a 404 about a user; an unknown route says `Not Found` instead.
const USER_NOT_FOUND: &str = "User not found";

/// Why an operation failed; ask [`Error::kind`] for the reason and the other methods for the circumstances.
///
/// `Display` tells this layer only: operation, method, path template, status, attempts and what the panel said.
/// The cause, such as the error of the TCP connection, is in [`source`](StdError::source).
/// Neither text contains a password, a token, a body or a full URL.
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

/// What went wrong, in the terms that a caller acts upon.
///
/// "Retried" means by the client itself, as its [`RetryPolicy`](crate::RetryPolicy) allows.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::ErrorKind;
///
/// match client.users().get("alice").await {
///     Ok(alice) => println!("{}", alice.status),
///     Err(error) if error.is_user_not_found() => println!("does not exist"),
///     Err(error) => match error.kind() {
///         ErrorKind::Forbidden => println!("belongs to another administrator"),
///         ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::Server => println!("later, perhaps"),
///         _ => return Err(error),
///     },
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client could not be built: its URL, certificate or proxy is unusable. Never retried.
    Config,
    /// The arguments make no request, such as an empty user name. Nothing was sent; never retried.
    InvalidInput,
    /// No connection could be made, or it broke before the whole answer was read.
    /// Retried for requests that change nothing, and for all others while nothing has been sent.
    Connect,
    /// The connection, a pause between two parts of the answer, or the whole exchange took too long.
    /// Retried as [`Connect`](Self::Connect), except for a login that has been sent.
    Timeout,
    /// Status 429. Retried after the time that `Retry-After` names, up to a cap.
    RateLimited,
    /// Status 401 of the panel: the login was refused, or a token was refused that had just been made.
    /// A refused login is never retried; a refused token is replaced once.
    Unauthorized,
    /// Status 403 of the panel: the administrator may not do this, for example see another one's user. Never retried.
    Forbidden,
    /// Status 404 of the panel, of an unknown route too; see [`Error::is_user_not_found`]. Never retried.
    NotFound,
    /// Status 409: it exists already. Never retried.
    Conflict,
    /// Status 400, 422 or another 4xx of the panel: it does not accept the request; [`Error::detail`] says why.
    /// Never retried.
    Rejected,
    /// Status 5xx, of the panel or of a proxy before it. 502, 503 and 504 are retried for requests that change
    /// nothing, 500 for such requests about a single thing or told by a proxy's page. Of a deletion: it failed and the user is still there.
    Server,
    /// A change was sent and its outcome is unknown, also after looking: it may have failed on the way, or the panel
    /// reported a success that cannot be read. Never retried: read before acting.
    Indeterminate,
    /// Something else answered in the panel's place: an HTML page, a redirect, a proxy's own refusal. Never retried.
    /// Nothing is known of the panel then: a proxy may hide its answer to a change.
    UnexpectedResponse,
    /// The answer is larger than [`ClientBuilder::max_body_bytes`](crate::ClientBuilder::max_body_bytes). Never retried.
    /// The same of a change that succeeded is [`Indeterminate`](Self::Indeterminate).
    TooLarge,
    /// The panel's answer is JSON, but not what this operation answers with; the source names the place.
    /// Never retried. The same of a change is [`Indeterminate`](Self::Indeterminate).
    Decode,
}

/// What the panel said about a refused request.
///
/// The panel answers with a string, and to an invalid request with an object of field names and messages
/// (its own handler replaces the framework's list form).
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::Detail;
///
/// if let Err(error) = client.users().get("alice").await {
///     match error.detail() {
///         Some(Detail::Message(message)) => println!("the panel says: {message}"),
///         Some(Detail::Fields(fields)) => println!("not accepted: {fields:?}"),
///         Some(Detail::Other(_)) | None => println!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// One message, such as `User already exists`.
    Message(String),
    /// A message for each field that was not accepted. The name is only the last part of the field's path.
    Fields(BTreeMap<String, String>),
    /// Anything else, as it came.
    Other(serde_json::Value),
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

    /// An error before anything can be sent.
    pub(crate) fn build(reason: &'static str) -> Self {
        Self::new(ErrorKind::Config).with_message(reason)
    }

    /// A failed exchange; `sent` unless it is sure that the panel has seen nothing.
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

    /// A failure that a page told, which the panel never sends: the panel may still be at work.
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

    /// This failure as the cause of another kind, with the same circumstances.
    pub(crate) fn with_kind(self, kind: ErrorKind, reason: &'static str) -> Self {
        let inner = Inner {
            kind,
            reason: Some(reason.into()),
            detail: None,
            ..(*self.0).clone()
        };
        Self(Box::new(inner)).with_source(self)
    }

    /// Whether the answer itself says that it is not the panel's.
    pub(crate) fn is_by_proxy(&self) -> bool {
        self.0.by_proxy
    }

    /// Whether the panel may have seen the request.
    pub(crate) fn was_sent(&self) -> bool {
        self.0.sent
    }

    /// Whether a change may have happened although it failed. A login that failed on the way changed nothing.
    pub(crate) fn is_ambiguous(&self, request: &Request) -> bool {
        let unclear = match self.0.kind {
            ErrorKind::Server | ErrorKind::Connect | ErrorKind::Timeout => self.0.sent,
            // The panel reports a success, in a form that cannot be read.
            ErrorKind::Decode | ErrorKind::TooLarge => {
                self.0.status.is_some_and(|status| (200..300).contains(&status))
            }
            _ => false,
        };
        unclear && self.0.operation == request.operation()
    }

    /// This failure of a change, or [`Indeterminate`](ErrorKind::Indeterminate) when the change may have happened.
    pub(crate) fn into_indeterminate(self, request: &Request) -> Self {
        if self.is_ambiguous(request) {
            self.with_kind(ErrorKind::Indeterminate, "the change may have happened or not")
        } else {
            self
        }
    }

    /// Whether the panel itself answered 404 in these words, which differ from those about an unknown route.
    pub(crate) fn is_not_found_with(&self, message: &str) -> bool {
        self.0.kind == ErrorKind::NotFound
            && self.0.status == Some(404)
            && matches!(&self.0.detail, Some(Detail::Message(said)) if said == message)
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without anything being changed.
    ///
    /// True for [`Connect`](ErrorKind::Connect), [`Timeout`](ErrorKind::Timeout),
    /// [`RateLimited`](ErrorKind::RateLimited) and [`Server`](ErrorKind::Server).
    /// The client has then already used up the tries of its policy.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect | ErrorKind::Timeout | ErrorKind::RateLimited | ErrorKind::Server
        )
    }

    /// Whether the panel itself said that this user does not exist.
    ///
    /// True only for status 404 with the panel's own body `{"detail":"User not found"}`.
    /// A proxy's 404 page and the `{"detail":"Not Found"}` of a route that this panel lacks prove nothing about a user.
    #[must_use]
    pub fn is_user_not_found(&self) -> bool {
        self.is_not_found_with(USER_NOT_FOUND)
    }

    /// The status code of the last answer, if one came.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How long the panel or its proxy asked to wait, uncapped.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How often the request was sent or tried to be sent; 0 if it never came to that.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long all attempts and the pauses between them took.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The name of the operation, such as `users.get`; the login that an operation needs is `admins.token`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What the panel said, if it said something in its own form.
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

impl ErrorKind {
    /// The kind in one word for logs and metrics, such as `rate_limited`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::InvalidInput => "invalid_input",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Server => "server",
            Self::Indeterminate => "indeterminate",
            Self::UnexpectedResponse => "unexpected_response",
            Self::TooLarge => "too_large",
            Self::Decode => "decode",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Config => "the client cannot be built",
            Self::InvalidInput => "the arguments make no request",
            Self::Connect => "no connection, or it broke off",
            Self::Timeout => "timed out",
            Self::RateLimited => "too many requests",
            Self::Unauthorized => "not signed in",
            Self::Forbidden => "not permitted",
            Self::NotFound => "not found",
            Self::Conflict => "exists already",
            Self::Rejected => "not accepted",
            Self::Server => "the server failed",
            Self::Indeterminate => "the outcome is unknown",
            Self::UnexpectedResponse => "the answer is not the panel's",
            Self::TooLarge => "the answer is too large",
            Self::Decode => "the answer cannot be read",
        }
    }
}

impl fmt::Display for Detail {
    /// Writes the detail on one line, escaped and shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => shown(f, message),
            Self::Fields(fields) => {
                let text: Vec<_> = fields
                    .iter()
                    .map(|(field, message)| format!("{field}: {message}"))
                    .collect();
                shown(f, &text.join(", "))
            }
            Self::Other(value) => shown(f, &value.to_string()),
        }
    }
}

fn shown(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match text.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => write!(f, "{}…", text.get(..end).unwrap_or_default().escape_debug()),
        None => write!(f, "{}", text.escape_debug()),
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Error>();
    assert!(size_of::<Error>() <= 16);
};
