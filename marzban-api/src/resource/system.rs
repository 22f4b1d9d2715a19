use std::collections::BTreeMap;

use http::header::{ACCEPT, HeaderValue};

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::model::{Host, Inbound, SystemStats};
use crate::request::Request;

const HOSTS: &str = "/api/hosts";

/// Operations on the panel's host; made by [`Client::system`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// assert_eq!(client.system().stats().await?.version, "0.8.4");
/// # Ok(())
/// # }
/// ```
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
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let stats = client.system().stats().await?;
    /// println!("{} users, {} of {} bytes of memory", stats.total_user, stats.mem_used, stats.mem_total);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The failures of every operation: [`Connect`](crate::ErrorKind::Connect),
    /// [`Timeout`](crate::ErrorKind::Timeout), [`Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`Server`](crate::ErrorKind::Server), [`UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) and
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

    /// Reads the page at the panel's address, as nobody: what a browser is shown that opens it.
    ///
    /// It shows that something answers there, and not that it is a panel.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let html: String = client.system().home_page().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for a page that is no UTF-8, and the failures of every operation but those
    /// of signing in.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn home_page(&self) -> Result<String, Error> {
        let request =
            Request::get("system.home_page", "/").header(ACCEPT, HeaderValue::from_static("text/html"));
        let answer = self.client.execute_public(&request).await?;
        String::from_utf8(answer.body.to_vec()).map_err(|error| {
            answer
                .error(ErrorKind::Decode, &request)
                .with_source(error.utf8_error())
        })
    }

    /// Reads the inbounds of the core, by protocol.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// for (protocol, inbounds) in client.system().inbounds().await? {
    ///     println!("{protocol}: {}", inbounds.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn inbounds(&self) -> Result<BTreeMap<String, Vec<Inbound>>, Error> {
        self.client
            .fetch(&Request::get("system.inbounds", "/api/inbounds"))
            .await
    }

    /// Reads the hosts of each inbound, by its tag.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let hosts = client.system().hosts().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn hosts(&self) -> Result<BTreeMap<String, Vec<Host>>, Error> {
        self.client.fetch(&Request::get("system.hosts", HOSTS)).await
    }

    /// Replaces the hosts of the given tags. The list of a tag becomes exactly the given one, an empty one included;
    /// tags that are not given keep theirs. Answers with the hosts of all tags.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let mut hosts = client.system().hosts().await?;
    /// if let Some(hosts) = hosts.get_mut("VLESS TCP REALITY") {
    ///     hosts.truncate(1);
    /// }
    /// client.system().replace_hosts(&hosts).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Rejected`](crate::ErrorKind::Rejected) for a tag that no inbound has and for settings that the panel refuses;
    /// nothing is changed then. [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when the outcome is unknown. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the hosts may be replaced or not. Doing it again is safe.
    pub async fn replace_hosts(
        &self,
        hosts: &BTreeMap<String, Vec<Host>>,
    ) -> Result<BTreeMap<String, Vec<Host>>, Error> {
        let request = Request::put("system.replace_hosts", HOSTS).json(hosts)?;
        self.client.changed(&request).await
    }
}
