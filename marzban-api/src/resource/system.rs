use crate::client::Client;
use crate::error::Error;
use crate::model::SystemStats;
use crate::request::Request;

/// Operations on the panel's host; made by [`Client::system`].
#[derive(Clone, Copy, Debug)]
pub struct System<'a> {
    client: &'a Client,
}

impl<'a> System<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Reads the state of the host and the numbers of users.
    ///
    /// # Errors
    ///
    /// The failures of every operation: [`Connect`](crate::ErrorKind::Connect),
    /// [`Timeout`](crate::ErrorKind::Timeout), [`Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`Server`](crate::ErrorKind::Server), [`NotPanel`](crate::ErrorKind::NotPanel) and
    /// [`Decode`](crate::ErrorKind::Decode) among them.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn stats(&self) -> Result<SystemStats, Error> {
        self.client
            .fetch(&Request::get("system.stats", "/api/system"))
            .await
    }
}
