//! Creating, editing and connecting nodes.

use super::host::Host;
use super::input::NodeInput;
use super::node::{FakeNode, FakeNodeStatus};
use super::refusal::Refusal;
use super::state::Panel;

impl Panel {
    pub(crate) fn node(&self, id: u64) -> Result<&FakeNode, Refusal> {
        self.nodes.get(&id).ok_or(Refusal::NodeNotFound)
    }

    /// Creates a node and returns its number; the coefficient of the input is forgotten.
    pub(crate) fn create_node(&mut self, input: NodeInput, add_as_new_host: bool) -> Result<u64, Refusal> {
        let name = input.name.unwrap_or_default();
        let address = input.address.unwrap_or_default();
        if self.nodes.values().any(|node| node.name == name) {
            return Err(Refusal::NodeExists(name));
        }
        if add_as_new_host {
            let host = Host::of_node(&name, &address);
            self.hosts.add_everywhere(&self.inbounds, &host);
        }
        // SQLite gives out the highest number plus one, also after a deletion.
        let id = self.nodes.keys().next_back().map_or(1, |last| last + 1);
        let node = FakeNode {
            id,
            name,
            address,
            port: input.port.unwrap_or(62_050),
            api_port: input.api_port.unwrap_or(62_051),
            usage_coefficient: 1.0,
            status: FakeNodeStatus::Connecting,
            message: None,
            is_reachable: false,
            uplink: 0,
            downlink: 0,
        };
        self.nodes.insert(id, node);
        Ok(id)
    }

    /// Edits a node; any edit but disabling it connects it anew.
    pub(crate) fn modify_node(&mut self, id: u64, input: NodeInput) -> Result<(), Refusal> {
        let is_taken = |name: &String| {
            let mut others = self.nodes.values().filter(|node| node.id != id);
            others.any(|node| node.name == *name)
        };
        if input.name.as_ref().is_some_and(is_taken) {
            return Err(Refusal::InternalError);
        }
        let node = self.nodes.get_mut(&id).ok_or(Refusal::NodeNotFound)?;
        if let Some(name) = input.name {
            node.name = name;
        }
        if let Some(address) = input.address {
            node.address = address;
        }
        node.port = input.port.unwrap_or(node.port);
        node.api_port = input.api_port.unwrap_or(node.api_port);
        if input.status == Some(FakeNodeStatus::Disabled) {
            node.status = FakeNodeStatus::Disabled;
            node.message = None;
        } else {
            node.status = FakeNodeStatus::Connecting;
        }
        node.usage_coefficient = input
            .usage_coefficient
            .filter(|factor| *factor != 0.0)
            .unwrap_or(node.usage_coefficient);
        Ok(())
    }

    pub(crate) fn reconnect_node(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.status = FakeNodeStatus::Connecting;
        }
    }

    /// Ends the tries to reach nodes that the last request started.
    pub(crate) fn settle_nodes(&mut self) {
        self.nodes.values_mut().for_each(FakeNode::settle);
    }
}
