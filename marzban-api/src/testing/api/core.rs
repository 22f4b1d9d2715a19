//! The routes of the core, of its inbounds and of the machine.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::call::{ApiResult, Call};
use super::config;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::inbound::Inbound;
use crate::testing::panel::node::XRAY_VERSION;
use crate::testing::panel::protocol::FakeProtocol;
use crate::testing::panel::user::{FakeStatus, FakeUser};

/// `GET /api/core`.
pub(crate) fn stats(_: &mut Api, _: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&json!({
        "version": XRAY_VERSION, "started": true, "logs_websocket": "/api/core/logs",
    })))
}

/// `POST /api/core/restart`.
pub(crate) fn restart(_: &mut Api, _: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&json!({})))
}

/// `GET /api/core/config`.
pub(crate) fn config(api: &mut Api, _: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&api.config))
}

/// `PUT /api/core/config`: the inbounds follow at once, and new ones get a host.
pub(crate) fn replace_config(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let refuse = |message: &str| Response::invalid(&[("body".to_owned(), message.to_owned())]);
    let config = call.json.as_ref().ok_or_else(|| refuse("Field required"))?;
    if !config.is_object() {
        return Err(refuse("Input should be a valid dictionary"));
    }
    api.panel.inbounds = config::inbounds(config).map_err(|detail| Response::detail(400, detail))?;
    api.panel.hosts.meet(&api.panel.inbounds);
    api.config = Value::clone(config);
    Ok(Response::ok(config))
}

/// `GET /api/system`: the users that the admin may see, but the connections and the traffic of all.
pub(crate) fn system(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let panel = &api.panel;
    let since = panel.now() - TimeDelta::days(1);
    let online = panel
        .users()
        .filter(|user| user.online_at.is_some_and(|online| online >= since));
    let own: Vec<&FakeUser> = panel.users().filter(|user| call.by.may_manage(user)).collect();
    let of = |status: FakeStatus| own.iter().filter(|user| user.status == status).count();
    let machine = &panel.system;
    Ok(Response::ok(&json!({
        "version": machine.version,
        "mem_total": machine.mem_total,
        "mem_used": machine.mem_used,
        "cpu_cores": machine.cpu_cores,
        "cpu_usage": machine.cpu_usage,
        "total_user": own.len(),
        "online_users": online.count(),
        "users_active": of(FakeStatus::Active),
        "users_on_hold": of(FakeStatus::OnHold),
        "users_disabled": of(FakeStatus::Disabled),
        "users_expired": of(FakeStatus::Expired),
        "users_limited": of(FakeStatus::Limited),
        "incoming_bandwidth": machine.incoming_bandwidth,
        "outgoing_bandwidth": machine.outgoing_bandwidth,
        "incoming_bandwidth_speed": machine.incoming_bandwidth_speed,
        "outgoing_bandwidth_speed": machine.outgoing_bandwidth_speed,
    })))
}

/// `GET /api/inbounds`; a protocol without inbounds does not appear.
pub(crate) fn inbounds(api: &mut Api, _: &Call<'_>) -> ApiResult {
    let all: BTreeMap<FakeProtocol, Vec<&Inbound>> = FakeProtocol::ALL
        .into_iter()
        .map(|protocol| (protocol, api.panel.inbounds.of(protocol).collect::<Vec<_>>()))
        .filter(|(_, inbounds)| !inbounds.is_empty())
        .collect();
    Ok(Response::ok(&all))
}
