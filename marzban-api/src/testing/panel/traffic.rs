//! Traffic by node and hour, and its sums.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::Serialize;

use super::admin::FakeAdmin;
use super::state::Panel;
use super::user::{FakeUser, NodeId};

/// A range of time, both ends included.
pub(crate) type Range = (DateTime<Utc>, DateTime<Utc>);

/// The traffic of some users through a node.
#[derive(Serialize)]
pub(crate) struct NodeUsage<'a> {
    node_id: NodeId,
    node_name: &'a str,
    used_traffic: i64,
}

/// All traffic of a node.
#[derive(Serialize)]
pub(crate) struct NodeTraffic<'a> {
    node_id: NodeId,
    node_name: &'a str,
    uplink: i64,
    downlink: i64,
}

const MASTER: &str = "Master";

impl Panel {
    /// Lets a user use traffic on the panel's own core, now; returns whether there is such a user.
    pub fn add_traffic(&mut self, username: &str, bytes: i64) -> bool {
        let now = self.now();
        let Some(user) = self.user_mut(username) else {
            return false;
        };
        user.used_traffic = user.used_traffic.saturating_add(bytes);
        user.online_at = Some(now);
        // The panel keeps nothing finer than an hour.
        let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
        let booked = user.usage.entry((hour, None)).or_default();
        *booked = booked.saturating_add(bytes);
        let owner = user.owner.clone();
        if let Some(owner) = owner.and_then(|owner| self.admin_mut(&owner)) {
            owner.users_usage = owner.users_usage.saturating_add(bytes);
        }
        self.system.outgoing_bandwidth = self.system.outgoing_bandwidth.saturating_add(bytes);
        true
    }

    /// Sums up the traffic of a user: one entry for the panel itself and one for each node.
    pub(crate) fn usage_of(&self, username: &str, range: Range) -> Vec<NodeUsage<'_>> {
        self.sum(self.user(username).into_iter(), range)
    }

    /// Sums up the traffic of the users of some owners, or of all; an admin that is not sudo sees its own users'.
    pub(crate) fn usage_of_all(&self, by: &FakeAdmin, owners: &[&str], range: Range) -> Vec<NodeUsage<'_>> {
        self.sum(self.users().filter(|user| by.counts(user, owners)), range)
    }

    fn sum<'a>(&self, users: impl Iterator<Item = &'a FakeUser>, (start, end): Range) -> Vec<NodeUsage<'_>> {
        let mut bytes: BTreeMap<NodeId, i64> = self.nodes.keys().map(|id| (Some(*id), 0)).collect();
        bytes.insert(None, 0);
        for ((hour, node), used) in users.flat_map(|user| &user.usage) {
            if (start..=end).contains(hour)
                && let Some(sum) = bytes.get_mut(node)
            {
                *sum = sum.saturating_add(*used);
            }
        }
        let name = |node: NodeId| {
            node.and_then(|id| self.nodes.get(&id))
                .map_or(MASTER, |node| &node.name)
        };
        let entries = bytes.into_iter().map(|(node, used_traffic)| NodeUsage {
            node_id: node,
            node_name: name(node),
            used_traffic,
        });
        entries.collect()
    }

    /// Lists the traffic of all nodes. It counts as used now, so a range that ended in the past has none.
    pub(crate) fn usage_of_nodes(&self, (start, end): Range) -> Vec<NodeTraffic<'_>> {
        let is_now = (start..=end).contains(&self.now());
        let shown = |bytes: i64| if is_now { bytes } else { 0 };
        let mut usages = vec![NodeTraffic {
            node_id: None,
            node_name: MASTER,
            uplink: shown(self.system.incoming_bandwidth),
            downlink: shown(self.system.outgoing_bandwidth),
        }];
        usages.extend(self.nodes.values().map(|node| NodeTraffic {
            node_id: Some(node.id),
            node_name: &node.name,
            uplink: shown(node.uplink),
            downlink: shown(node.downlink),
        }));
        usages
    }
}
