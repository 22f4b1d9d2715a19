//! The client: one address, one administrator, one token, one pace.

mod answer;
mod auth;
mod builder;
mod pacing;
mod retry;
mod transport;

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) use self::answer::{Answer, decode};
use self::auth::Auth;
pub use self::builder::{ClientBuilder, Timeouts};
pub use self::pacing::Pacing;
pub use self::retry::RetryPolicy;
use self::transport::Transport;
use crate::error::{Error, ErrorKind};
use crate::paging::Batching;
use crate::request::Request;
use crate::resource::{Admins, System, Users};

/// A connection to one panel as one of its administrators.
///
/// Clones are cheap and share everything: the token, the connections, the pause between requests.
/// Build it once and keep it; building reads the certificates of the system.
///
/// The client signs in when an operation first needs it, replaces the token before its end, and, when the panel
/// refuses it, replaces it once and sends the very same request again.
/// A token that is refused in the second in which it was made is replaced in the next second: the panel makes dead
/// tokens in the second of a change of the password.
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
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    /// The operations on users.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users::new(self)
    }

    /// The operations on the panel's host.
    #[must_use]
    pub fn system(&self) -> System<'_> {
        System::new(self)
    }

    /// The operations on administrators.
    #[must_use]
    pub fn admins(&self) -> Admins<'_> {
        Admins::new(self)
    }

    /// The path under which this panel serves subscriptions, without slashes around it; `sub` unless it was set.
    #[must_use]
    pub fn subscription_path(&self) -> &str {
        &self.0.subscription_path
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

    /// Performs a request as the signed-in administrator.
    pub(crate) async fn execute(&self, request: &Request) -> Result<Answer, Error> {
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
