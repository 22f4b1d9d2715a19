//! The client: one address, one administrator, one token, one pace.

mod answer;
mod auth;
mod builder;
mod observe;
mod pacing;
mod raw;
mod retry;
#[cfg(feature = "logs")]
mod socket;
mod transport;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::answer::{Answer, Mismatch, decode};
use self::auth::Auth;
pub use self::builder::{ClientBuilder, Timeouts};
use self::observe::observed;
pub use self::pacing::Pacing;
pub use self::raw::RawRequest;
#[cfg(feature = "logs")]
pub(crate) use self::retry::Retries;
pub use self::retry::RetryPolicy;
#[cfg(feature = "logs")]
pub(crate) use self::socket::Socket;
use self::transport::Transport;
pub(crate) use self::transport::wall_clock;
use crate::error::{Error, ErrorKind};
use crate::paging::Batching;
use crate::request::Request;
use crate::resource::{Admins, Core, Nodes, Subscription, System, Templates, Users};

/// A connection to one panel as one of its administrators.
///
/// Clones are cheap and share everything: the token, the connections, the pause between requests.
/// Build it once and keep it; building reads the certificates of the system.
///
/// The client signs in when an operation first needs it, replaces the token before its end, and, when the panel
/// refuses it, replaces it once and sends the very same request again.
/// A token that is refused in the second in which it was made is replaced in the next second, as far as
/// [`RetryPolicy::max_delay`] lets it wait: the panel makes dead tokens in the second of a change of the password.
///
/// # Examples
///
/// ```no_run
/// use marzban_api::{Client, SecretString};
///
/// # async fn example() -> Result<(), marzban_api::Error> {
/// let client = Client::builder("https://panel.example.com:8000")
///     .credentials("admin", SecretString::from("secret"))
///     .build()?;
/// println!("{:?}", client.users().get("alice").await?.status);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Every operation may be dropped at any time.
/// A login under way is then given up, and the next operation begins another.
/// A change of the panel that was already sent may still happen.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    auth: Auth,
    batching: Batching,
    subscription_path: String,
}

impl Client {
    /// Begins a client of the panel at `url`: `http` or `https`, with an optional path prefix, such as
    /// `https://panel.example:8000/prefix`.
    ///
    /// See [`ClientBuilder`] for an example.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// The operations on users.
    ///
    /// See [`Users`] for an example.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users::new(self)
    }

    /// The operations on the panel's host.
    ///
    /// See [`System`] for an example.
    #[must_use]
    pub fn system(&self) -> System<'_> {
        System::new(self)
    }

    /// The operations on administrators.
    ///
    /// See [`Admins`] for an example.
    #[must_use]
    pub fn admins(&self) -> Admins<'_> {
        Admins::new(self)
    }

    /// The operations on templates for users.
    ///
    /// See [`Templates`] for an example.
    #[must_use]
    pub fn templates(&self) -> Templates<'_> {
        Templates::new(self)
    }

    /// The operations on nodes.
    ///
    /// See [`Nodes`] for an example.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes::new(self)
    }

    /// The operations on the panel's own Xray core.
    ///
    /// See [`Core`] for an example.
    #[must_use]
    pub fn core(&self) -> Core<'_> {
        Core::new(self)
    }

    /// The public operations of the subscription that this token opens: the last part of a user's
    /// [`subscription_url`](crate::model::User::subscription_url).
    ///
    /// See [`Subscription`] for an example.
    #[must_use]
    pub fn subscription(&self, token: impl Into<SecretString>) -> Subscription<'_> {
        Subscription::new(self, token.into())
    }

    /// Begins a request that this crate has no method for. The path begins with a slash, follows the panel's own
    /// address, and is percent-encoded where it has to be.
    ///
    /// See [`RawRequest`] for an example.
    pub fn request(&self, method: Method, path: &str) -> RawRequest<'_> {
        RawRequest::new(self, method, path)
    }

    /// The path under which this panel serves subscriptions, without slashes around it; `sub` unless it was set.
    ///
    /// See [`ClientBuilder`] for an example.
    #[must_use]
    pub fn subscription_path(&self) -> &str {
        &self.0.subscription_path
    }

    /// The panel's own address, without a slash at its end.
    pub(crate) fn base_url(&self) -> &str {
        &self.0.transport.base
    }

    /// When the panel answered last, by its own clock: the `Date` header of that answer, in whole seconds.
    ///
    /// Clones share it. It is none until an answer with such a header has come. Only what the panel itself says counts,
    /// a refusal too, and neither a proxy's page nor a 5xx nor a websocket. The panel's users expire by its clock, so
    /// compare it with the host's, soon after an answer. A proxy in front of the panel may put its own date into
    /// answers that it passes on.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let panel = marzban_api::testing::FakePanel::start().await;
    /// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
    /// # panel.set_now("2025-09-15T00:00:00.5Z".parse()?);
    /// assert_eq!(client.last_date(), None);
    /// client.system().stats().await?;
    /// assert_eq!(client.last_date(), Some("2025-09-15T00:00:00Z".parse()?));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn last_date(&self) -> Option<DateTime<Utc>> {
        self.0.transport.last_date.get()
    }

    pub(crate) fn batching(&self) -> &Batching {
        &self.0.batching
    }

    /// How many bytes the panel's own path prefix adds to a request's target.
    pub(crate) fn prefix_len(&self) -> usize {
        self.0.transport.prefix_len()
    }

    /// Performs a request as the signed-in administrator and reads its answer.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.execute(request).await?.decode(request)
    }

    /// Performs a request as nobody.
    pub(crate) async fn execute_public(&self, request: &Request) -> Result<Answer, Error> {
        observed(
            &self.0.transport.panel_name,
            request,
            self.0.transport.send(request, None),
        )
        .await
    }

    /// Performs a change as the signed-in administrator. When it may have happened although it failed, the error says
    /// so: the panel often fails after the change is made.
    pub(crate) async fn change(&self, request: &Request) -> Result<Answer, Error> {
        self.execute(request)
            .await
            .map_err(|error| error.or_unclear(request))
    }

    /// Performs a change as [`change`](Self::change) does and reads its answer. A success that cannot be read leaves
    /// open what has happened.
    pub(crate) async fn changed<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.fetch(request)
            .await
            .map_err(|error| error.or_unclear(request))
    }

    /// Performs a request as the signed-in administrator.
    pub(crate) async fn execute(&self, request: &Request) -> Result<Answer, Error> {
        observed(&self.0.transport.panel_name, request, self.send(request)).await
    }

    async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let Inner { transport, auth, .. } = &*self.0;
        let started = Instant::now();
        let token = auth.token(transport, None).await?;
        let refusal = match transport.send(request, Some(&token)).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => error,
            outcome => return outcome,
        };
        let token = auth.token(transport, Some(&token)).await?;
        let outcome = transport.send(request, Some(&token)).await;
        let earlier = refusal.attempts();
        match outcome {
            Ok(answer) => Ok(Answer {
                attempts: earlier + answer.attempts,
                elapsed: started.elapsed(),
                ..answer
            }),
            Err(error) => {
                let attempts = earlier + error.attempts();
                Err(error.after(attempts, started.elapsed()))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("auth", &self.0.auth)
            .finish_non_exhaustive()
    }
}
