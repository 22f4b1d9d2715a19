//! The routes of nodes.

use serde_json::json;

use super::call::{ApiResult, Call};
use super::fields::Fields;
use super::render::NodeJson;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::input::NodeInput;
use crate::testing::panel::node::FakeNodeStatus;

/// `GET /api/node/settings`.
pub(crate) fn settings(_: &mut Api, _: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&json!({
        "min_node_version": "v0.2.0",
        "certificate": "-----BEGIN CERTIFICATE-----\nRkFLRQ==\n-----END CERTIFICATE-----\n",
    })))
}

/// `GET /api/nodes`.
pub(crate) fn list(api: &mut Api, _: &Call<'_>) -> ApiResult {
    let nodes: Vec<NodeJson<'_>> = api.panel.nodes.values().map(NodeJson::new).collect();
    Ok(Response::ok(&nodes))
}

/// `GET /api/node/{id}`.
pub(crate) fn show(api: &mut Api, call: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&NodeJson::new(api.panel.node(call.id)?)))
}

/// `POST /api/node`: the coefficient of the body is checked and then forgotten.
pub(crate) fn create(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let mut fields = Fields::of_body(call.json.as_ref())?;
    let input = NodeInput {
        name: Some(fields.required_text("name")),
        address: Some(fields.required_text("address")),
        port: fields.integer("port"),
        api_port: fields.integer("api_port"),
        usage_coefficient: fields.number("usage_coefficient"),
        status: None,
    };
    if input
        .usage_coefficient
        .is_some_and(|coefficient| coefficient <= 0.0)
    {
        fields.problem("usage_coefficient", "Input should be greater than 0");
    }
    let add_as_new_host = fields.flag("add_as_new_host").unwrap_or(true);
    fields.not_null("port", "Input should be a valid integer");
    fields.not_null("api_port", "Input should be a valid integer");
    fields.not_null("usage_coefficient", "Input should be a valid number");
    fields.not_null("add_as_new_host", "Input should be a valid boolean");
    let input = fields.finish(input)?;
    let id = api.panel.create_node(input, add_as_new_host)?;
    Ok(Response::ok(&NodeJson::new(api.panel.node(id)?)))
}

/// `PUT /api/node/{id}`: null is unchanged.
pub(crate) fn modify(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let mut fields = Fields::of_body(call.json.as_ref())?;
    let status = fields.given("status").and_then(|_| {
        let message = "Input should be 'connected', 'connecting', 'error' or 'disabled'";
        fields.choice("status", FakeNodeStatus::parse, message)
    });
    let input = NodeInput {
        name: fields.text("name"),
        address: fields.text("address"),
        port: fields.integer("port"),
        api_port: fields.integer("api_port"),
        usage_coefficient: fields.number("usage_coefficient"),
        status,
    };
    let input = fields.finish(input)?;
    api.panel.modify_node(call.id, input)?;
    show(api, call)
}

/// `POST /api/node/{id}/reconnect`.
pub(crate) fn reconnect(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.reconnect_node(call.id);
    Ok(Response::ok(&json!({ "detail": "Reconnection task scheduled" })))
}

/// `DELETE /api/node/{id}`; the hosts that came with the node stay.
pub(crate) fn delete(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.nodes.remove(&call.id);
    Ok(Response::ok(&json!({})))
}
