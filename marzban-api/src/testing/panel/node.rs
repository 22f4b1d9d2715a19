//! The routes of nodes, of which the fake has the records but no machine behind them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::testing::api::fields::Fields;
use crate::testing::api::response::Answer;
use crate::testing::panel::host::Host;
use crate::testing::panel::state::World;

/// The state of a node.
///
/// See [`FakeNode`] for an example.
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
    /// An admin switched the node off.
    Disabled,
}

impl FakeNodeStatus {
    fn parse(name: &str) -> Option<Self> {
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

/// The nine keys of a node.
#[derive(Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    address: &'a str,
    port: i64,
    api_port: i64,
    usage_coefficient: f64,
    id: u64,
    xray_version: Option<&'static str>,
    status: FakeNodeStatus,
    message: Option<&'a str>,
}

impl FakeNode {
    const fn json(&self) -> NodeJson<'_> {
        NodeJson {
            name: self.name.as_str(),
            address: self.address.as_str(),
            port: self.port,
            api_port: self.api_port,
            usage_coefficient: self.usage_coefficient,
            id: self.id,
            xray_version: match self.status {
                FakeNodeStatus::Connected => Some(XRAY_VERSION),
                _ => None,
            },
            status: self.status,
            message: match &self.message {
                Some(message) => Some(message.as_str()),
                None => None,
            },
        }
    }

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

pub(crate) const XRAY_VERSION: &str = "1.8.24";

/// `GET /api/node/settings`.
pub(crate) fn settings() -> Answer {
    Answer::ok(&json!({
        "min_node_version": "v0.2.0",
        "certificate": "-----BEGIN CERTIFICATE-----\nRkFLRQ==\n-----END CERTIFICATE-----\n",
    }))
}

/// `GET /api/nodes`.
pub(crate) fn list(world: &World) -> Answer {
    let nodes: Vec<NodeJson<'_>> = world.nodes.values().map(FakeNode::json).collect();
    Answer::ok(&nodes)
}

/// `GET /api/node/{id}`.
pub(crate) fn show(world: &World, id: u64) -> Answer {
    world
        .nodes
        .get(&id)
        .map_or_else(Answer::no_such_node, |node| Answer::ok(&node.json()))
}

/// `POST /api/node`: the coefficient of the body is checked and then forgotten.
pub(crate) fn create(world: &mut World, json: Option<&Value>) -> Result<Answer, Answer> {
    let mut fields = Fields::of_body(json)?;
    let name = fields.required_text("name");
    let address = fields.required_text("address");
    let port = fields.integer("port").unwrap_or(62_050);
    let api_port = fields.integer("api_port").unwrap_or(62_051);
    let coefficient = fields.number("usage_coefficient");
    if coefficient.is_some_and(|coefficient| coefficient <= 0.0) {
        fields.problem("usage_coefficient", "Input should be greater than 0");
    }
    let is_host = fields.flag("add_as_new_host").unwrap_or(true);
    fields.not_null("port", "Input should be a valid integer");
    fields.not_null("api_port", "Input should be a valid integer");
    fields.not_null("usage_coefficient", "Input should be a valid number");
    fields.not_null("add_as_new_host", "Input should be a valid boolean");
    fields.finish(())?;
    if world.nodes.values().any(|node| node.name == name) {
        return Err(Answer::detail(409, &format!("Node \"{name}\" already exists")));
    }
    if is_host {
        let host = Host::of_node(&name, &address);
        world.hosts.add_everywhere(&world.core.inbounds, &host);
    }
    // SQLite gives out the highest number plus one, also after a deletion.
    let id = world.nodes.keys().next_back().map_or(1, |last| last + 1);
    let node = FakeNode {
        id,
        name,
        address,
        port,
        api_port,
        usage_coefficient: 1.0,
        status: FakeNodeStatus::Connecting,
        message: None,
        is_reachable: false,
        uplink: 0,
        downlink: 0,
    };
    let answer = Answer::ok(&node.json());
    world.nodes.insert(id, node);
    Ok(answer)
}

/// `PUT /api/node/{id}`: null is unchanged, and any edit but switching it off connects anew.
pub(crate) fn modify(world: &mut World, id: u64, json: Option<&Value>) -> Result<Answer, Answer> {
    let mut fields = Fields::of_body(json)?;
    let name = fields.text("name");
    let address = fields.text("address");
    let port = fields.integer("port");
    let api_port = fields.integer("api_port");
    let coefficient = fields.number("usage_coefficient");
    let status = fields.given("status").is_some().then(|| {
        let message = "Input should be 'connected', 'connecting', 'error' or 'disabled'";
        fields.choice("status", FakeNodeStatus::parse, message)
    });
    fields.finish(())?;
    let is_taken = |name: &String| {
        world
            .nodes
            .values()
            .any(|node| node.id != id && node.name == *name)
    };
    if name.as_ref().is_some_and(is_taken) {
        return Err(Answer::internal_error());
    }
    let node = world.nodes.get_mut(&id).ok_or_else(Answer::no_such_node)?;
    node.name = name.unwrap_or_else(|| node.name.clone());
    node.address = address.unwrap_or_else(|| node.address.clone());
    node.port = port.unwrap_or(node.port);
    node.api_port = api_port.unwrap_or(node.api_port);
    if status.flatten() == Some(FakeNodeStatus::Disabled) {
        node.status = FakeNodeStatus::Disabled;
        node.message = None;
    } else {
        node.status = FakeNodeStatus::Connecting;
    }
    node.usage_coefficient = coefficient
        .filter(|factor| *factor != 0.0)
        .unwrap_or(node.usage_coefficient);
    Ok(Answer::ok(&node.json()))
}

/// `POST /api/node/{id}/reconnect`.
pub(crate) fn reconnect(world: &mut World, id: u64) -> Answer {
    if let Some(node) = world.nodes.get_mut(&id) {
        node.status = FakeNodeStatus::Connecting;
    }
    Answer::ok(&json!({ "detail": "Reconnection task scheduled" }))
}

/// `DELETE /api/node/{id}`; the hosts that came with the node stay.
pub(crate) fn delete(world: &mut World, id: u64) -> Answer {
    world.nodes.remove(&id);
    Answer::ok(&json!({}))
}
