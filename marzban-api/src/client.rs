//! The client: one URL, one admin, one token, one throttle.

mod auth;
mod builder;
mod request_builder;
mod response;
mod retry;
#[cfg(feature = "logs")]
mod socket;
mod telemetry;
mod throttle;
mod transport;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::auth::Auth;
pub use self::builder::{ClientBuilder, Timeouts};
pub use self::request_builder::RequestBuilder;
pub(crate) use self::response::{DecodeError, Response, decode};
#[cfg(feature = "logs")]
pub(crate) use self::retry::Retries;
pub use self::retry::RetryPolicy;
#[cfg(feature = "logs")]
pub(crate) use self::socket::Socket;
use self::telemetry::instrumented;
pub use self::throttle::Throttle;
use self::transport::Transport;
pub(crate) use self::transport::wall_clock;
use crate::error::{Error, ErrorKind};
use crate::paging::Batching;
use crate::request::Request;
use crate::resource::{Admins, Core, Nodes, Subscription, System, Templates, Users};

/// A client of one panel, logged in as one of its admins.
///
/// Clones are cheap and share everything: the token, the connections and the throttle. Build a client once and keep
/// it, because building it reads the system's root certificates.
///
/// The client logs in when an operation first needs a token and replaces the token before it expires. If the panel
/// rejects a token, the client replaces it once and sends the same request again. A token that is rejected in the
/// second in which it was issued is replaced in the next second, as far as [`RetryPolicy::max_delay`] permits: the
/// panel issues dead tokens in the second of a password change.
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
/// Every operation may be dropped at any time. A login in progress is then abandoned, and the next operation starts
/// another. A change that has already been sent may still be made.
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
    /// Starts building a client for the panel at `url`: `http` or `https`, with an optional path prefix, such as
    /// `https://panel.example:8000/prefix`.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// Returns the operations on users.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users::new(self)
    }

    /// Returns the operations on the panel's host.
    #[must_use]
    pub fn system(&self) -> System<'_> {
        System::new(self)
    }

    /// Returns the operations on admins.
    #[must_use]
    pub fn admins(&self) -> Admins<'_> {
        Admins::new(self)
    }

    /// Returns the operations on user templates.
    #[must_use]
    pub fn templates(&self) -> Templates<'_> {
        Templates::new(self)
    }

    /// Returns the operations on nodes.
    #[must_use]
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes::new(self)
    }

    /// Returns the operations on the panel's own Xray core.
    #[must_use]
    pub fn core(&self) -> Core<'_> {
        Core::new(self)
    }

    /// Returns the public operations on the subscription with this token, the last part of a user's
    /// [`subscription_url`](crate::model::User::subscription_url).
    #[must_use]
    pub fn subscription(&self, token: impl Into<SecretString>) -> Subscription<'_> {
        Subscription::new(self, token.into())
    }

    /// Starts a request to an endpoint without a typed method.
    ///
    /// `path` is appended to the base URL; it must start with `/` and already be percent-encoded.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, method, path)
    }

    /// Returns the path under which this panel serves subscriptions, without slashes around it; by default `sub`.
    #[must_use]
    pub fn subscription_path(&self) -> &str {
        &self.0.subscription_path
    }

    /// Returns the panel's own address, without a slash at its end.
    pub(crate) fn base_url(&self) -> &str {
        &self.0.transport.base
    }

    /// Returns when the panel last answered, by its own clock: the `Date` header of that response, in whole seconds.
    ///
    /// Returns `None` until a response with such a header has arrived. Clones share the value. Only responses of the
    /// panel itself count, rejections included; a proxy's page, a 5xx or a websocket does not.
    ///
    /// The panel's users expire by its clock, so compare this value with the host's time soon after a response. A
    /// proxy in front of the panel may put its own date into responses that it passes on.
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

    /// The length of the base URL's path prefix in bytes.
    pub(crate) fn prefix_len(&self) -> usize {
        self.0.transport.prefix_len()
    }

    /// Performs a request as the logged-in admin and decodes the response.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.execute(request).await?.decode(request)
    }

    /// Performs a request without authentication.
    pub(crate) async fn execute_public(&self, request: &Request) -> Result<Response, Error> {
        instrumented(
            &self.0.transport.panel_name,
            request,
            self.0.transport.send(request, None),
        )
        .await
    }

    /// Performs a change as the logged-in admin. The error is [`Indeterminate`](ErrorKind::Indeterminate) if the
    /// change may have been made anyway: the panel often fails after making one.
    pub(crate) async fn change(&self, request: &Request) -> Result<Response, Error> {
        self.execute(request)
            .await
            .map_err(|error| error.into_indeterminate(request))
    }

    /// Performs a change like [`change`](Self::change) and decodes the response. A success that cannot be decoded is
    /// [`Indeterminate`](ErrorKind::Indeterminate).
    pub(crate) async fn changed<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.fetch(request)
            .await
            .map_err(|error| error.into_indeterminate(request))
    }

    /// Performs a request as the logged-in admin.
    pub(crate) async fn execute(&self, request: &Request) -> Result<Response, Error> {
        instrumented(&self.0.transport.panel_name, request, self.send(request)).await
    }

    async fn send(&self, request: &Request) -> Result<Response, Error> {
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
            Ok(response) => Ok(Response {
                attempts: earlier + response.attempts,
                elapsed: started.elapsed(),
                ..response
            }),
            Err(error) => {
                let attempts = earlier + error.attempts();
                Err(error.with_attempts(attempts, started.elapsed()))
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
