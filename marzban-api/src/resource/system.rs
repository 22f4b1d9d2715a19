use std::collections::BTreeMap;

use http::header::{ACCEPT, HeaderValue};

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::model::{Host, Inbound, SystemStats};
use crate::request::Request;

const HOSTS: &str = "/api/hosts";

/// Operations on the panel's host; see [`Client::system`].
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

    /// Fetches the state of the host and the number of users.
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
    /// The [errors of every operation](crate::resource#errors).
    pub async fn stats(&self) -> Result<SystemStats, Error> {
        self.client
            .fetch(&Request::get("system.stats", "/api/system"))
            .await
    }

    /// Fetches `GET /` without authentication, i.e. the page a browser would see.
    ///
    /// It shows that a server responds at this URL, not that it is a panel.
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
    /// Besides the [errors of every operation](crate::resource#errors) except those of the login,
    /// [`Decode`](crate::ErrorKind::Decode) for a page that is not UTF-8.
    pub async fn home_page(&self) -> Result<String, Error> {
        let request =
            Request::get("system.home_page", "/").header(ACCEPT, HeaderValue::from_static("text/html"));
        let response = self.client.execute_public(&request).await?;
        String::from_utf8(response.body.to_vec()).map_err(|error| {
            response
                .error(ErrorKind::Decode, &request)
                .with_source(error.utf8_error())
        })
    }

    /// Fetches the core's inbounds, by protocol.
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
    /// The [errors of every operation](crate::resource#errors).
    pub async fn inbounds(&self) -> Result<BTreeMap<String, Vec<Inbound>>, Error> {
        self.client
            .fetch(&Request::get("system.inbounds", "/api/inbounds"))
            .await
    }

    /// Fetches the hosts of each inbound, by the inbound's tag.
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
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn hosts(&self) -> Result<BTreeMap<String, Vec<Host>>, Error> {
        self.client.fetch(&Request::get("system.hosts", HOSTS)).await
    }

    /// Replaces the hosts of the given inbound tags and returns the hosts of all tags.
    ///
    /// A tag's list becomes exactly the given one, even if that is empty. Tags that are not given keep their hosts.
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
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Rejected`](crate::ErrorKind::Rejected): no inbound has the tag, or the panel does not accept the settings.
    ///   Nothing is changed.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the hosts may have been replaced.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the hosts may or may not have been replaced. Calling again is safe.
    pub async fn replace_hosts(
        &self,
        hosts: &BTreeMap<String, Vec<Host>>,
    ) -> Result<BTreeMap<String, Vec<Host>>, Error> {
        let request = Request::put("system.replace_hosts", HOSTS).json(hosts)?;
        self.client.changed(&request).await
    }
}
