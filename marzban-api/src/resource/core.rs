//! Operations on the panel's own Xray core.

use serde_json::{Map, Value};

use super::execute_ack;
use crate::client::Client;
use crate::error::Error;
use crate::model::CoreStats;
use crate::request::Request;

const CONFIG: &str = "/api/core/config";

/// Operations on the panel's own Xray core; made by [`Client::core`].
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

    /// Reads the version of the core and whether it runs.
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
    /// The failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn stats(&self) -> Result<CoreStats, Error> {
        self.client.fetch(&Request::get("core.stats", "/api/core")).await
    }

    /// Restarts the core and those of all nodes. Every user's connections break.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, [`Indeterminate`](crate::ErrorKind::Indeterminate) when
    /// the outcome is unknown, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the core may restart or not.
    pub async fn restart(&self) -> Result<(), Error> {
        let request = Request::post("core.restart", "/api/core/restart");
        execute_ack(self.client, &request).await
    }

    /// Reads the configuration of the core, as Xray defines it. It contains private keys.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn config(&self) -> Result<Map<String, Value>, Error> {
        self.client.fetch(&Request::get("core.config", CONFIG)).await
    }

    /// Replaces the whole configuration of the core and restarts it: every user's connections break.
    ///
    /// Answers with the configuration that is now in force.
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
    /// [`Rejected`](crate::ErrorKind::Rejected) for a configuration that the panel refuses, for example one with two
    /// inbounds of one tag; the old one then stays. [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when the outcome is unknown. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the configuration may be replaced or not. Doing it again is safe, but for the restart.
    pub async fn replace_config(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let request = Request::put("core.replace_config", CONFIG).json(config)?;
        self.client.changed(&request).await
    }
}
