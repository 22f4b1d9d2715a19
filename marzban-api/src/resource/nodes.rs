//! Operations on nodes.

use serde::Deserialize;

use super::{DeleteOutcome, delete, execute_ack, path_id};
use crate::client::Client;
use crate::error::Error;
use crate::model::{NewNode, Node, NodeSettings, NodeUpdate, NodeUsage, UsageRange};
use crate::request::Request;

const NODE: &str = "/api/node/{node_id}";

/// The panel's text of a 404 about a node; an unknown route says `Not Found` instead.
const NODE_NOT_FOUND: &str = "Node not found";

/// Operations on nodes, all of them for administrators with sudo rights; made by [`Client::nodes`].
///
/// The panel looks for the node before it looks at the token: a [`NotFound`](crate::ErrorKind::NotFound) does not show that
/// the administrator is signed in.
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

    /// Reads what a host needs to become a node.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn settings(&self) -> Result<NodeSettings, Error> {
        self.client
            .fetch(&Request::get("nodes.settings", "/api/node/settings"))
            .await
    }

    /// Reads all nodes.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn list(&self) -> Result<Vec<Node>, Error> {
        self.client.fetch(&Request::get("nodes.list", "/api/nodes")).await
    }

    /// Reads one node.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such node, [`Forbidden`](crate::ErrorKind::Forbidden) without sudo
    /// rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn get(&self, id: i64) -> Result<Node, Error> {
        let request = path_id(Request::get("nodes.get", NODE), id)?;
        self.client.fetch(&request).await
    }

    /// Makes a node and lets the panel connect to it, which goes on after the answer.
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
    /// [`Conflict`](crate::ErrorKind::Conflict) when there is a node of this name. [`Rejected`](crate::ErrorKind::Rejected) for what
    /// the panel does not accept. [`Indeterminate`](crate::ErrorKind::Indeterminate) when the node may have been made: look for its name
    /// in [`list`](Self::list) before trying again. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the node may have been made or not.
    pub async fn create(&self, node: &NewNode) -> Result<Node, Error> {
        let request = Request::post("nodes.create", "/api/node").json(node)?;
        self.client.changed(&request).await
    }

    /// Changes a node and, unless it is switched off, lets the panel connect anew.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such node. [`Rejected`](crate::ErrorKind::Rejected) for what the
    /// panel does not accept. [`Indeterminate`](crate::ErrorKind::Indeterminate) with status 500 for the name of another node, which
    /// the panel does not check, and whenever the outcome is unknown. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the node may have been changed or not. Doing it again is safe.
    pub async fn update(&self, id: i64, change: &NodeUpdate) -> Result<Node, Error> {
        let request = path_id(Request::put("nodes.update", NODE), id)?.json(change)?;
        self.client.changed(&request).await
    }

    /// Asks the panel to connect to a node anew. The answer does not wait for it: read the status of the node.
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
    /// [`NotFound`](crate::ErrorKind::NotFound) when there is no such node, [`Indeterminate`](crate::ErrorKind::Indeterminate) when the outcome
    /// is unknown, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the panel may have been asked or not. Doing it again is safe.
    pub async fn reconnect(&self, id: i64) -> Result<(), Error> {
        let request = path_id(
            Request::post("nodes.reconnect", "/api/node/{node_id}/reconnect"),
            id,
        )?;
        execute_ack(self.client, &request).await
    }

    /// Deletes a node. When the answer is unclear, the node is read again before anything is said.
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
    /// [`Server`](crate::ErrorKind::Server) when the deletion failed and the node is still there.
    /// [`Indeterminate`](crate::ErrorKind::Indeterminate) when it may or may not be. [`NotFound`](crate::ErrorKind::NotFound) when the address
    /// is unknown, which proves nothing about the node. And the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the node may be deleted or not. Doing it again is safe.
    pub async fn delete(&self, id: i64) -> Result<DeleteOutcome, Error> {
        let request = path_id(Request::delete("nodes.delete", NODE), id)?;
        delete(self.client, &request, is_absent, || self.get(id)).await
    }

    /// Reads what each node carried in a time, the panel's own core among them.
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
    /// [`Forbidden`](crate::ErrorKind::Forbidden) without sudo rights, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
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
