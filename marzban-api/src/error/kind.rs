//! What went wrong, in terms that a caller can act upon.

/// What went wrong, in terms that a caller can act upon.
///
/// "Retried" means by the client itself, as far as its [`RetryPolicy`](crate::RetryPolicy) permits. "Reads" are
/// requests that change nothing.
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
///         ErrorKind::Forbidden => println!("belongs to another admin"),
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
    /// The client could not be built: its URL, a certificate or its proxy is unusable. Never retried.
    Config,
    /// The arguments cannot be sent, such as an empty username. Nothing has been sent; never retried.
    InvalidInput,
    /// No connection could be made, or it broke before the whole response was read. Reads are retried, changes only
    /// if nothing has been sent.
    Connect,
    /// Connecting, waiting for the next part of the response, or the whole attempt took too long. Retried like
    /// [`Connect`](Self::Connect), except for a login that has been sent.
    Timeout,
    /// Status 429. Retried after the time in `Retry-After`, up to a maximum.
    RateLimited,
    /// The panel returned 401: it rejected the login, or a token that it had just issued. A rejected login is never
    /// retried; a rejected token is replaced once.
    Unauthorized,
    /// The panel returned 403: the admin lacks the rights, for example to another admin's user. Never retried.
    Forbidden,
    /// The panel returned 404, also for an unknown route; see
    /// [`Error::is_user_not_found`](super::Error::is_user_not_found). Never retried.
    NotFound,
    /// The panel returned 409: the resource exists already. Never retried.
    Conflict,
    /// The panel returned 400, 422 or another 4xx: it does not accept the request.
    /// [`Error::detail`](super::Error::detail) may say why. Never retried.
    Rejected,
    /// The panel or a proxy returned 5xx. Reads are retried on 502–504, and on 500 unless the request covers several
    /// users and the panel itself has answered. After a `delete`, this means that the deletion failed and the
    /// resource still exists.
    Server,
    /// A change was sent and its outcome is unknown, even after reading the resource again: the request failed on the
    /// way, or the panel's success cannot be decoded. Never retried; read the panel before acting.
    Indeterminate,
    /// The response is not the panel's: an HTML page, a redirect, or a proxy's own rejection. Never retried. It
    /// proves nothing about the panel, and may hide its response to a change.
    UnexpectedResponse,
    /// The response exceeds [`ClientBuilder::max_body_bytes`](crate::ClientBuilder::max_body_bytes). Never retried.
    /// For a change that succeeded, the kind is [`Indeterminate`](Self::Indeterminate) instead.
    TooLarge,
    /// The response is JSON, but not of the expected form; the source names the place. Never retried. For a change,
    /// the kind is [`Indeterminate`](Self::Indeterminate) instead.
    Decode,
}

impl ErrorKind {
    /// Returns the kind in one word for logs and metrics, such as `rate_limited`.
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

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Config => "the client cannot be built",
            Self::InvalidInput => "the arguments cannot be sent",
            Self::Connect => "no connection, or it broke",
            Self::Timeout => "timed out",
            Self::RateLimited => "too many requests",
            Self::Unauthorized => "not logged in",
            Self::Forbidden => "not permitted",
            Self::NotFound => "not found",
            Self::Conflict => "already exists",
            Self::Rejected => "not accepted",
            Self::Server => "the server failed",
            Self::Indeterminate => "the outcome is unknown",
            Self::UnexpectedResponse => "the response is not the panel's",
            Self::TooLarge => "the response is too large",
            Self::Decode => "the response cannot be decoded",
        }
    }
}
