//! One node of the fake panel, which has a record but no machine behind it.

use serde::Serialize;

/// The version of Xray on the panel and on its nodes.
pub(crate) const XRAY_VERSION: &str = "1.8.24";

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the panel of this version has these four states and no other"
)]
pub enum FakeNodeStatus {
    /// The panel commands the node.
    Connected,
    /// The panel is about to try; the next request finds the outcome.
    Connecting,
    /// The last try failed.
    Error,
    /// An admin disabled the node.
    Disabled,
}

impl FakeNodeStatus {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "connected" => Some(Self::Connected),
            "connecting" => Some(Self::Connecting),
            "error" => Some(Self::Error),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// A node of the fake panel, looked at and edited through its fields.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::NewNode;
/// use marzban_api::testing::FakeNodeStatus;
///
/// let node = client.nodes().create(&NewNode::new("de-1", "192.0.2.7")).await?;
/// panel.update_node(u64::try_from(node.id)?, |node| node.status = FakeNodeStatus::Error);
/// assert_eq!(client.nodes().get(node.id).await?.status.as_str(), "error");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FakeNode {
    /// The number that the panel gave it.
    pub id: u64,
    /// The name, which no other node has.
    pub name: String,
    /// The host name or IP address.
    pub address: String,
    /// The port that the panel commands the node on.
    pub port: i64,
    /// The port of the node's Xray API.
    pub api_port: i64,
    /// What a byte through this node counts.
    pub usage_coefficient: f64,
    /// The state.
    pub status: FakeNodeStatus,
    /// Why the last try failed.
    pub message: Option<String>,
    /// Whether the next try succeeds; nodes that came over the API cannot be reached.
    pub is_reachable: bool,
    /// The bytes sent by users through this node.
    pub uplink: i64,
    /// The bytes received by users through this node.
    pub downlink: i64,
}

impl FakeNode {
    /// Ends a try to connect, which the panel makes in the background after its answer.
    pub(crate) fn settle(&mut self) {
        if self.status != FakeNodeStatus::Connecting {
            return;
        }
        (self.status, self.message) = if self.is_reachable {
            (FakeNodeStatus::Connected, None)
        } else {
            let message = "[Errno 111] Connection refused".to_owned();
            (FakeNodeStatus::Error, Some(message))
        };
    }
}
