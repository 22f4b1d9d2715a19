//! The table of routes.

use matchit::Params;

use super::call::{ApiResult, Call};
use super::request::Request;
use super::response::Response;
use super::state::Api;
use super::{admins, auth, core, hosts, logs, nodes, subscription, templates, usage, users};

/// The operation of a route: for anyone, or for an admin who was recognised by a token.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    Public(fn(&mut Api, &Request, &Params<'_, '_>) -> ApiResult),
    Admin(fn(&mut Api, &Call<'_>) -> ApiResult),
}

/// A route: `{admin}`, `{user}`, `{node_id}` and `{template_id}` name what must be there before its operation runs.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) handler: Handler,
    /// Whether the panel reads a JSON body, and hence refuses a malformed one before anything else.
    pub(crate) has_body: bool,
    pub(crate) needs_sudo: bool,
}

impl Route {
    const fn sudo(self) -> Self {
        Self {
            needs_sudo: true,
            ..self
        }
    }

    const fn body(self) -> Self {
        Self {
            has_body: true,
            ..self
        }
    }
}

const fn public(
    method: &'static str,
    path: &'static str,
    operation: fn(&mut Api, &Request, &Params<'_, '_>) -> ApiResult,
) -> Route {
    Route {
        method,
        path,
        handler: Handler::Public(operation),
        has_body: false,
        needs_sudo: false,
    }
}

const fn route(
    method: &'static str,
    path: &'static str,
    operation: fn(&mut Api, &Call<'_>) -> ApiResult,
) -> Route {
    Route {
        method,
        path,
        handler: Handler::Admin(operation),
        has_body: false,
        needs_sudo: false,
    }
}

/// All routes of the panel. Where a path has several methods, a refusal names the first of them.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Route] = &[
    public("GET", "/", home),
    public("GET", "/{subscription_path}/{token}", subscription::whole),
    public("GET", "/{subscription_path}/{token}/", subscription::whole),
    public("GET", "/{subscription_path}/{token}/info", subscription::info),
    public("GET", "/{subscription_path}/{token}/usage", subscription::usage),
    public("GET", "/{subscription_path}/{token}/{client_type}", subscription::for_client),

    public("POST", "/api/admin/token", auth::log_in),
    route("POST", "/api/admin", admins::create).body().sudo(),
    route("GET", "/api/admin", admins::current),
    route("GET", "/api/admins", admins::list).sudo(),
    route("PUT", "/api/admin/{admin}", admins::modify).body().sudo(),
    route("DELETE", "/api/admin/{admin}", admins::delete).sudo(),
    route("POST", "/api/admin/{admin}/users/disable", admins::disable_users).sudo(),
    route("POST", "/api/admin/{admin}/users/activate", admins::activate_users).sudo(),
    route("GET", "/api/admin/usage/{admin}", admins::show_usage).sudo(),
    route("POST", "/api/admin/usage/reset/{admin}", admins::reset_usage).sudo(),

    public("GET", "/api/core/logs", logs::admit),
    route("GET", "/api/core", core::stats),
    route("POST", "/api/core/restart", core::restart).sudo(),
    route("GET", "/api/core/config", core::config).sudo(),
    route("PUT", "/api/core/config", core::replace_config).body().sudo(),
    route("GET", "/api/system", core::system),
    route("GET", "/api/inbounds", core::inbounds),
    route("GET", "/api/hosts", hosts::show).sudo(),
    route("PUT", "/api/hosts", hosts::replace).body().sudo(),

    route("GET", "/api/node/settings", nodes::settings).sudo(),
    public("GET", "/api/node/{node_id}/logs", logs::admit),
    route("POST", "/api/node", nodes::create).body().sudo(),
    route("GET", "/api/node/{node_id}", nodes::show).sudo(),
    route("PUT", "/api/node/{node_id}", nodes::modify).body().sudo(),
    route("DELETE", "/api/node/{node_id}", nodes::delete).sudo(),
    route("POST", "/api/node/{node_id}/reconnect", nodes::reconnect).sudo(),
    route("GET", "/api/nodes", nodes::list).sudo(),
    route("GET", "/api/nodes/usage", usage::of_nodes).sudo(),

    route("POST", "/api/user_template", templates::create).body().sudo(),
    route("GET", "/api/user_template", templates::list),
    route("GET", "/api/user_template/{template_id}", templates::show),
    route("PUT", "/api/user_template/{template_id}", templates::modify).body().sudo(),
    route("DELETE", "/api/user_template/{template_id}", templates::delete).sudo(),

    route("POST", "/api/user", users::create).body(),
    route("GET", "/api/user/{user}", users::get),
    route("PUT", "/api/user/{user}", users::modify).body(),
    route("DELETE", "/api/user/{user}", users::delete),
    route("POST", "/api/user/{user}/reset", users::reset_usage),
    route("POST", "/api/user/{user}/revoke_sub", users::revoke_subscription),
    route("POST", "/api/user/{user}/active-next", users::activate_next_plan),
    route("PUT", "/api/user/{user}/set-owner", users::set_owner),
    route("GET", "/api/user/{user}/usage", usage::of_user),
    route("GET", "/api/users", users::list),
    route("POST", "/api/users/reset", users::reset_usage_of_all).sudo(),
    route("GET", "/api/users/usage", usage::of_users),
    route("GET", "/api/users/expired", users::list_expired),
    route("DELETE", "/api/users/expired", users::delete_expired),
];

fn home(_: &mut Api, _: &Request, _: &Params<'_, '_>) -> ApiResult {
    Ok(Response::html(200, "Marzban"))
}
