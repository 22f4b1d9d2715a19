//! Operations on the panel's own Xray core.

use serde_json::{Map, Value};

use super::execute_ack;
use crate::client::Client;
use crate::error::Error;
use crate::model::CoreStats;
use crate::request::Request;

const CONFIG: &str = "/api/core/config";

/// Operations on the panel's own Xray core; see [`Client::core`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// assert!(client.core().stats().await?.started);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Core<'a> {
    pub(super) client: &'a Client,
}

impl<'a> Core<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Fetches the core's version and whether it is running.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let core = client.core().stats().await?;
    /// println!("Xray {}", core.version);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The [errors of every operation](crate::resource#errors).
    pub async fn stats(&self) -> Result<CoreStats, Error> {
        self.client.fetch(&Request::get("core.stats", "/api/core")).await
    }

    /// Restarts the core and the cores of all nodes, which breaks every user's connections.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.core().restart().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the core may restart.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the core may or may not restart.
    pub async fn restart(&self) -> Result<(), Error> {
        let request = Request::post("core.restart", "/api/core/restart");
        execute_ack(self.client, &request).await
    }

    /// Fetches the core's configuration, as defined by Xray. It contains private keys.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let config = client.core().config().await?;
    /// println!("{:?}", config.get("inbounds"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn config(&self) -> Result<Map<String, Value>, Error> {
        self.client.fetch(&Request::get("core.config", CONFIG)).await
    }

    /// Replaces the core's whole configuration, restarts the core, which breaks every user's connections, and returns
    /// the configuration that is now in force.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let mut config = client.core().config().await?;
    /// config.insert("log".to_owned(), serde_json::json!({"loglevel": "warning"}));
    /// client.core().replace_config(&config).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the configuration, for example because
    ///   two inbounds share a tag. The old one stays.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the configuration may have been replaced.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the configuration may or may not have been replaced. Calling again is safe, but restarts the core
    /// again.
    pub async fn replace_config(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let request = Request::put("core.replace_config", CONFIG).json(config)?;
        self.client.changed(&request).await
    }
}
