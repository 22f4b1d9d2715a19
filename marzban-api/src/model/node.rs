use std::fmt;

use serde::{Deserialize, Serialize};

/// A node: another host whose core the panel controls.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// for node in client.nodes().list().await? {
///     println!("{} at {}: {:?}", node.name, node.address, node.status);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// The id, assigned by the panel.
    pub id: i64,
    /// The name. Two names may differ in case only.
    pub name: String,
    /// The host name or IP address at which the panel reaches the node.
    pub address: String,
    /// The port of the node's service.
    #[serde(default)]
    pub port: Option<u16>,
    /// The port of the node's Xray API.
    #[serde(default)]
    pub api_port: Option<u16>,
    /// The factor by which the node's traffic counts towards its users' limits. `None` before 0.4.
    #[serde(default)]
    pub usage_coefficient: Option<f64>,
    /// The version of the node's core, once it has connected.
    #[serde(default)]
    pub xray_version: Option<String>,
    /// Whether the panel is connected to it.
    pub status: NodeStatus,
    /// The last error. It may be outdated while the node is connecting.
    #[serde(default)]
    pub message: Option<String>,
}

open_enum! {
    /// The status of a node.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::NodeStatus;
    ///
    /// assert_eq!(NodeStatus::from("connected"), NodeStatus::Connected);
    /// assert_eq!(NodeStatus::Connected.as_str(), "connected");
    /// ```
    pub enum NodeStatus {
        /// The panel is connected to it.
        Connected = "connected",
        /// The panel is trying to connect.
        Connecting = "connecting",
        /// The panel could not connect; see the node's message.
        Error = "error",
        /// An admin disabled the node.
        Disabled = "disabled",
    }
}

/// What a host needs to become a node of the panel.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// let settings = client.nodes().settings().await?;
/// assert!(settings.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NodeSettings {
    /// The certificate, in PEM, by which nodes recognize the panel.
    pub certificate: String,
    /// The oldest version of a node's service that this panel works with.
    #[serde(default)]
    pub min_node_version: Option<String>,
}

impl fmt::Debug for NodeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeSettings")
            .field("min_node_version", &self.min_node_version)
            .finish_non_exhaustive()
    }
}

/// The settings of a new node.
///
/// # Examples
///
/// ```
/// use marzban_api::model::NewNode;
///
/// let node = NewNode::new("de-1", "192.0.2.7").port(62_050).api_port(62_051).add_as_new_host();
/// let json = serde_json::to_value(&node).expect("JSON");
/// assert_eq!((&json["port"], &json["add_as_new_host"]), (&62_050.into(), &true.into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct NewNode {
    name: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_port: Option<u16>,
    add_as_new_host: bool,
}

impl NewNode {
    /// Creates a node with this name at this host name or IP address, with the panel's default ports 62050 and 62051.
    ///
    /// Its traffic counts once, regardless of what is sent; use [`NodeUpdate`] for another factor.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            port: None,
            api_port: None,
            add_as_new_host: false,
        }
    }

    /// Sets the port of the node's service.
    pub fn port(self, port: u16) -> Self {
        Self {
            port: Some(port),
            ..self
        }
    }

    /// Sets the port of the node's Xray API.
    pub fn api_port(self, port: u16) -> Self {
        Self {
            api_port: Some(port),
            ..self
        }
    }

    /// Adds the node's address as a host to every inbound, so that it appears in all subscriptions.
    pub fn add_as_new_host(self) -> Self {
        Self {
            add_as_new_host: true,
            ..self
        }
    }
}

/// An update of a node. Fields that are not set keep their values.
///
/// # Examples
///
/// ```
/// use marzban_api::model::NodeUpdate;
///
/// let update = NodeUpdate::new()
///     .name("de-2")
///     .address("192.0.2.8")
///     .port(62_050)
///     .api_port(62_051)
///     .usage_coefficient(1.5)
///     .disable();
/// let json = serde_json::to_value(&update).expect("JSON");
/// assert_eq!((&json["status"], &json["usage_coefficient"]), (&"disabled".into(), &1.5.into()));
/// let json = serde_json::to_value(NodeUpdate::new().enable()).expect("JSON");
/// assert_eq!(json, serde_json::json!({"status": "connecting"}));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[must_use]
pub struct NodeUpdate {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_coefficient: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<NodeStatus>,
}

impl NodeUpdate {
    /// Starts an update that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a new name.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// Sets a new host name or IP address.
    pub fn address(self, address: impl Into<String>) -> Self {
        Self {
            address: Some(address.into()),
            ..self
        }
    }

    /// Sets a new port of the node's service.
    pub fn port(self, port: u16) -> Self {
        Self {
            port: Some(port),
            ..self
        }
    }

    /// Sets a new port of the node's Xray API.
    pub fn api_port(self, port: u16) -> Self {
        Self {
            api_port: Some(port),
            ..self
        }
    }

    /// Sets a new factor by which the node's traffic counts; more than 0.
    pub fn usage_coefficient(self, factor: f64) -> Self {
        Self {
            usage_coefficient: Some(factor),
            ..self
        }
    }

    /// Disables the node.
    pub fn disable(self) -> Self {
        Self {
            status: Some(NodeStatus::Disabled),
            ..self
        }
    }

    /// Enables the node: the panel connects to it.
    pub fn enable(self) -> Self {
        Self {
            status: Some(NodeStatus::Connecting),
            ..self
        }
    }
}
