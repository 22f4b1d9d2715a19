use crate::client::Client;
use crate::error::Error;
use crate::model::Admin;
use crate::request::Request;

/// Operations on administrators; made by [`Client::admins`].
#[derive(Clone, Copy, Debug)]
pub struct Admins<'a> {
    client: &'a Client,
}

impl<'a> Admins<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Reads the administrator that this client is signed in as; a cheap way to check URL and password.
    ///
    /// # Errors
    ///
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized) when the panel refuses the credentials, and the failures of
    /// every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn current(&self) -> Result<Admin, Error> {
        self.client
            .fetch(&Request::get("admins.current", "/api/admin"))
            .await
    }
}
