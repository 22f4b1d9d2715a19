//! Traffic by node and hour, and the routes that sum it up.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::testing::api::datetime::{Moment, Reader};
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::FakeUser;

/// Where traffic went: the panel's own core is `None`.
pub(crate) type NodeId = Option<u64>;

/// The bytes of a user by hour and node.
pub(crate) type Usage = BTreeMap<(DateTime<Utc>, NodeId), i64>;

/// The hour that traffic is booked under; the panel keeps nothing finer.
pub(crate) fn hour(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}

/// `start` and `end` of a query, by default the last 30 days.
fn range(world: &World, call: &Call) -> Result<(DateTime<Utc>, DateTime<Utc>), Answer> {
    let now = world.now();
    let given = |name: &'static str| call.query.last(name).filter(|text| !text.is_empty());
    let start = given("start").map_or(Ok(now - TimeDelta::days(30)), moment)?;
    let end = given("end").map_or(Ok(now), moment)?;
    // Without an end the panel does not compare.
    if given("end").is_some() && end < start {
        return Err(Answer::detail(400, "Start date must be before end date"));
    }
    Ok((start, end))
}

/// A time without an offset is the panel's own, and this panel's is UTC; a date is its midnight.
fn moment(text: &str) -> Result<DateTime<Utc>, Answer> {
    Moment::read(text, Reader::Plain)
        .map(|moment| moment.instant())
        .ok_or_else(|| Answer::detail(400, "Invalid date range or format"))
}

/// One entry for the panel itself and one for each node, with the bytes of these users.
fn sum<'a>(
    world: &World,
    users: impl Iterator<Item = &'a FakeUser>,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
) -> Vec<Value> {
    let mut bytes: BTreeMap<NodeId, i64> = world.nodes.keys().map(|id| (Some(*id), 0)).collect();
    bytes.insert(None, 0);
    for user in users {
        for ((hour, node), used) in &user.usage {
            if (start..=end).contains(hour)
                && let Some(sum) = bytes.get_mut(node)
            {
                *sum = sum.saturating_add(*used);
            }
        }
    }
    let name = |node: NodeId| {
        node.and_then(|id| world.nodes.get(&id))
            .map_or("Master", |node| &node.name)
    };
    bytes
        .into_iter()
        .map(|(node, bytes)| json!({ "node_id": node, "node_name": name(node), "used_traffic": bytes }))
        .collect()
}

/// `GET /api/user/{username}/usage`.
pub(crate) fn of_user(world: &World, username: &str, call: &Call) -> Result<Answer, Answer> {
    let range = range(world, call)?;
    let usages = sum(world, world.user(username).into_iter(), range);
    Ok(Answer::ok(&json!({ "username": username, "usages": usages })))
}

/// `GET /sub/{token}/usage`, which says the same.
pub(crate) fn of_subscription(world: &World, username: &str, call: &Call) -> Result<Answer, Answer> {
    of_user(world, username, call)
}

/// `GET /api/users/usage`: everybody's or the named admins' for a sudo admin, its own for another.
pub(crate) fn of_users(world: &World, admin: &FakeAdmin, call: &Call) -> Result<Answer, Answer> {
    let range = range(world, call)?;
    let owners: Vec<&str> = call.query.all("admin").collect();
    let is_counted = |user: &&FakeUser| {
        if admin.is_sudo {
            owners.is_empty() || user.owner.as_deref().is_some_and(|owner| owners.contains(&owner))
        } else {
            admin.may_manage(user)
        }
    };
    let usages = sum(world, world.users.values().filter(is_counted), range);
    Ok(Answer::ok(&json!({ "usages": usages })))
}

/// `GET /api/nodes/usage`.
pub(crate) fn of_nodes(world: &World, call: &Call) -> Result<Answer, Answer> {
    let (start, end) = range(world, call)?;
    let is_now = (start..=end).contains(&world.now());
    let shown = |bytes: i64| if is_now { bytes } else { 0 };
    let machine = &world.system;
    let mut usages = vec![json!({
        "node_id": null, "node_name": "Master",
        "uplink": shown(machine.incoming_bandwidth), "downlink": shown(machine.outgoing_bandwidth),
    })];
    usages.extend(world.nodes.values().map(|node| {
        json!({
            "node_id": node.id, "node_name": node.name,
            "uplink": shown(node.uplink), "downlink": shown(node.downlink),
        })
    }));
    Ok(Answer::ok(&json!({ "usages": usages })))
}
