//! The websockets of logs: who may listen.

use std::time::Duration;

use matchit::Params;

use super::auth;
use super::call::ApiResult;
use super::request::Request;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::node::FakeNodeStatus;

/// The longest interval that lines may be gathered for, in seconds.
const LONGEST_INTERVAL: f64 = 10.0;

/// `GET /api/core/logs` and `GET /api/node/{id}/logs`: upgrades for a sudo admin.
///
/// All others are refused before there is a websocket, hence without its codes.
pub(crate) fn admit(api: &mut Api, request: &Request, params: &Params<'_, '_>) -> ApiResult {
    if request.websocket_key.is_none() {
        return Err(Response::detail(404, "Not Found"));
    }
    let token = request.query.last("token").or_else(|| request.bearer());
    let is_sudo = token
        .and_then(|token| auth::holder(api, token))
        .is_some_and(|admin| admin.is_sudo);
    let is_connected = params.get("node_id").is_none_or(|id| {
        let node = id.parse().ok().and_then(|id| api.panel.node(id).ok());
        node.is_some_and(|node| node.status == FakeNodeStatus::Connected)
    });
    if !is_sudo || !is_connected || interval(request).is_err() {
        return Err(Response::text(403, "").with_header("connection", "close"));
    }
    Ok(Response::switch_protocols())
}

/// The interval of the query; too long or no number is refused.
pub(crate) fn interval(request: &Request) -> Result<Option<Duration>, ()> {
    let Some(text) = request.query.last("interval") else {
        return Ok(None);
    };
    let seconds: f64 = text.parse().map_err(drop)?;
    if seconds > LONGEST_INTERVAL {
        return Err(());
    }
    Duration::try_from_secs_f64(seconds).map(Some).map_err(drop)
}
