//! Operations on nodes.

use serde::Deserialize;

use super::{DeleteOutcome, delete, execute_ack, path_id};
use crate::client::Client;
use crate::error::Error;
use crate::model::{NewNode, Node, NodeSettings, NodeUpdate, NodeUsage, UsageRange};
use crate::request::Request;

const NODE: &str = "/api/node/{node_id}";

/// The panel's message with status 404 for an unknown node; for an unknown route it is `Not Found`.
const NODE_NOT_FOUND: &str = "Node not found";

/// Operations on nodes. All need sudo rights. See [`Client::nodes`].
///
/// The panel looks up the node before it checks the token, so a [`NotFound`](crate::ErrorKind::NotFound) does not
/// show that the client is logged in.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::NewNode;
///
/// client.nodes().create(&NewNode::new("de-1", "192.0.2.7")).await?;
/// assert_eq!(client.nodes().list().await?[0].name, "de-1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    pub(super) client: &'a Client,
}

impl<'a> Nodes<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Fetches what a host needs to become a node.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let settings = client.nodes().settings().await?;
    /// println!("{}", settings.certificate);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn settings(&self) -> Result<NodeSettings, Error> {
        self.client
            .fetch(&Request::get("nodes.settings", "/api/node/settings"))
            .await
    }

    /// Fetches all nodes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// for node in client.nodes().list().await? {
    ///     println!("{} {:?}", node.name, node.status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn list(&self) -> Result<Vec<Node>, Error> {
        self.client.fetch(&Request::get("nodes.list", "/api/nodes")).await
    }

    /// Fetches one node.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let node = client.nodes().get(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such node.
    /// - [`Forbidden`](crate::ErrorKind::Forbidden): the client's admin has no sudo rights.
    pub async fn get(&self, id: i64) -> Result<Node, Error> {
        let request = path_id(Request::get("nodes.get", NODE), id)?;
        self.client.fetch(&request).await
    }

    /// Creates a node. The panel connects to it after it has responded.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::NewNode;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.nodes().create(&NewNode::new("de-1", "192.0.2.7")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Conflict`](crate::ErrorKind::Conflict): the name is taken.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the node may have been created. Look it up with
    ///   [`list`](Self::list) before trying again.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the node may or may not have been created.
    pub async fn create(&self, node: &NewNode) -> Result<Node, Error> {
        let request = Request::post("nodes.create", "/api/node").json(node)?;
        self.client.changed(&request).await
    }

    /// Updates a node. Unless the node is disabled, the panel reconnects to it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::NodeUpdate;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.nodes().update(1, &NodeUpdate::new().usage_coefficient(1.5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such node.
    /// - [`Rejected`](crate::ErrorKind::Rejected): the panel does not accept the settings.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the node may have been updated. With status 500 this is
    ///   also the kind for a name that is taken, which the panel does not check.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the node may or may not have been updated. Calling again is safe.
    pub async fn update(&self, id: i64, update: &NodeUpdate) -> Result<Node, Error> {
        let request = path_id(Request::put("nodes.update", NODE), id)?.json(update)?;
        self.client.changed(&request).await
    }

    /// Asks the panel to reconnect to a node. The response does not wait for the connection; read the node's status.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.nodes().reconnect(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](crate::ErrorKind::NotFound): there is no such node.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the panel may reconnect.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the panel may or may not reconnect. Calling again is safe.
    pub async fn reconnect(&self, id: i64) -> Result<(), Error> {
        let request = path_id(
            Request::post("nodes.reconnect", "/api/node/{node_id}/reconnect"),
            id,
        )?;
        execute_ack(self.client, &request).await
    }

    /// Deletes a node.
    ///
    /// If the response does not settle the outcome, the node is read again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// client.nodes().delete(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`Server`](crate::ErrorKind::Server): the deletion failed and the node still exists.
    /// - [`Indeterminate`](crate::ErrorKind::Indeterminate): the node may be deleted now or later.
    /// - [`NotFound`](crate::ErrorKind::NotFound): the route is unknown, which proves nothing about the node.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the node may or may not be deleted. Calling again is safe.
    pub async fn delete(&self, id: i64) -> Result<DeleteOutcome, Error> {
        let request = path_id(Request::delete("nodes.delete", NODE), id)?;
        delete(self.client, &request, is_absent, || self.get(id)).await
    }

    /// Fetches how much traffic each node carried within a range, including the panel's own core.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::UsageRange;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// for node in client.nodes().usage(UsageRange::last_30_days()).await? {
    ///     println!("{} {} {}", node.node_name, node.uplink, node.downlink);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors), [`Forbidden`](crate::ErrorKind::Forbidden)
    /// without sudo rights.
    pub async fn usage(&self, range: UsageRange) -> Result<Vec<NodeUsage>, Error> {
        #[derive(Deserialize)]
        struct Usages {
            usages: Vec<NodeUsage>,
        }
        let request = range.query(Request::get("nodes.usage", "/api/nodes/usage"));
        let Usages { usages } = self.client.fetch(&request).await?;
        Ok(usages)
    }
}

fn is_absent(error: &Error) -> bool {
    error.is_not_found_with(NODE_NOT_FOUND)
}
