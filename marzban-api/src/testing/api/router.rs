//! From a path to the route that serves it, and what the route asks for before it does.

use crate::testing::api::operation;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::admins as admin;
use crate::testing::panel::state::World;

/// What is asked of one user, who was found before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UserDeed {
    /// To show, to edit or to delete it.
    Itself,
    Reset,
    Revoke,
    ActivateNext,
    SetOwner,
    Usage,
}

/// A route that the panel has; every other path answers 404.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Home,
    Subscription {
        token: &'a str,
        rest: Option<&'a str>,
    },
    Token,
    CurrentAdmin,
    Admins,
    Admin(&'a str, admin::Deed),
    Core,
    /// The log of the core or of a node, which is a websocket.
    Logs(Option<&'a str>),
    CoreConfig,
    CoreRestart,
    NodeSettings,
    NewNode,
    Nodes,
    NodesUsage,
    Node(&'a str),
    Reconnect(&'a str),
    System,
    Inbounds,
    Hosts,
    Templates,
    Template(&'a str),
    Users,
    UsersReset,
    UsersUsage,
    Expired,
    NewUser,
    User(&'a str, UserDeed),
}

impl<'a> Route<'a> {
    fn find(method: &str, path: &'a str) -> Option<Self> {
        if path == "/" {
            return Some(Self::Home);
        }
        if let Some(below) = path.strip_prefix("/sub/") {
            return Self::subscription(below);
        }
        let parts: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(match parts.as_slice() {
            ["admin", "token"] => Self::Token,
            ["admin", "usage", name] => Self::Admin(name, admin::Deed::ShowUsage),
            ["admin", "usage", "reset", name] => Self::Admin(name, admin::Deed::ResetUsage),
            ["admin", name, "users", "disable"] => Self::Admin(name, admin::Deed::DisableUsers),
            ["admin", name, "users", "activate"] => Self::Admin(name, admin::Deed::ActivateUsers),
            ["admin", name] if method == "DELETE" => Self::Admin(name, admin::Deed::Delete),
            ["admin", name] => Self::Admin(name, admin::Deed::Modify),
            ["node", "settings"] if !matches!(method, "PUT" | "DELETE") => Self::NodeSettings,
            ["node", id] => Self::Node(id),
            ["node", id, "reconnect"] => Self::Reconnect(id),
            ["nodes", "usage"] => Self::NodesUsage,
            ["core", "logs"] => Self::Logs(None),
            ["node", id, "logs"] => Self::Logs(Some(id)),
            ["core", "restart"] => Self::CoreRestart,
            ["core", "config"] => Self::CoreConfig,
            ["user_template", id] => Self::Template(id),
            ["users", "reset"] => Self::UsersReset,
            ["users", "usage"] => Self::UsersUsage,
            ["users", "expired"] => Self::Expired,
            ["user", name] => Self::User(name, UserDeed::Itself),
            ["user", name, "reset"] => Self::User(name, UserDeed::Reset),
            ["user", name, "revoke_sub"] => Self::User(name, UserDeed::Revoke),
            ["user", name, "active-next"] => Self::User(name, UserDeed::ActivateNext),
            ["user", name, "set-owner"] => Self::User(name, UserDeed::SetOwner),
            ["user", name, "usage"] => Self::User(name, UserDeed::Usage),
            [single] => return Self::single(single),
            _ => return None,
        })
    }

    fn single(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::CurrentAdmin,
            "admins" => Self::Admins,
            "core" => Self::Core,
            "node" => Self::NewNode,
            "nodes" => Self::Nodes,
            "system" => Self::System,
            "inbounds" => Self::Inbounds,
            "hosts" => Self::Hosts,
            "user_template" => Self::Templates,
            "users" => Self::Users,
            "user" => Self::NewUser,
            _ => return None,
        })
    }

    /// The token, and at most one part behind it; a slash at the end is a route of its own.
    fn subscription(below: &'a str) -> Option<Self> {
        let (token, rest) = match below.split_once('/') {
            None => (below, None),
            Some((token, rest)) => (token, Some(rest)),
        };
        let is_known = !token.is_empty() && !rest.is_some_and(|rest| rest.contains('/'));
        is_known.then_some(Self::Subscription { token, rest })
    }

    /// The methods, the first of which is the one that a refusal names.
    const fn methods(self) -> &'static [&'static str] {
        use admin::Deed;
        match self {
            Self::Token
            | Self::NewNode
            | Self::NewUser
            | Self::CoreRestart
            | Self::UsersReset
            | Self::Reconnect(_)
            | Self::Admin(_, Deed::DisableUsers | Deed::ActivateUsers | Deed::ResetUsage)
            | Self::User(_, UserDeed::Reset | UserDeed::Revoke | UserDeed::ActivateNext) => &["POST"],
            Self::Home
            | Self::Subscription { .. }
            | Self::Admins
            | Self::Core
            | Self::Logs(_)
            | Self::NodeSettings
            | Self::Nodes
            | Self::NodesUsage
            | Self::System
            | Self::Inbounds
            | Self::Users
            | Self::UsersUsage
            | Self::Admin(_, Deed::ShowUsage)
            | Self::User(_, UserDeed::Usage) => &["GET"],
            Self::Admin(_, Deed::Modify | Deed::Delete) => &["PUT", "DELETE"],
            Self::CoreConfig | Self::Hosts => &["GET", "PUT"],
            Self::CurrentAdmin | Self::Templates => &["POST", "GET"],
            Self::Expired => &["GET", "DELETE"],
            Self::Node(_) | Self::Template(_) | Self::User(_, UserDeed::Itself) => &["GET", "PUT", "DELETE"],
            Self::User(_, UserDeed::SetOwner) => &["PUT"],
        }
    }

    /// Whether the panel reads a JSON body, and hence refuses a malformed one before anything else.
    pub(crate) fn has_body(self, method: &str) -> bool {
        match self {
            Self::NewNode | Self::NewUser => true,
            Self::CurrentAdmin | Self::Templates => method == "POST",
            Self::Admin(_, admin::Deed::Modify)
            | Self::CoreConfig
            | Self::Hosts
            | Self::Node(_)
            | Self::Template(_)
            | Self::User(_, UserDeed::Itself) => method == "PUT",
            _ => false,
        }
    }

    /// Whether only a sudo admin is served; the owner of a user is set by one too, but checked after the user.
    pub(crate) fn needs_sudo(self, method: &str) -> bool {
        match self {
            Self::Admins
            | Self::Admin(..)
            | Self::CoreConfig
            | Self::CoreRestart
            | Self::NodeSettings
            | Self::NewNode
            | Self::Nodes
            | Self::NodesUsage
            | Self::Node(_)
            | Self::Reconnect(_)
            | Self::Hosts
            | Self::UsersReset => true,
            Self::CurrentAdmin | Self::Templates => method == "POST",
            Self::Template(_) => method != "GET",
            _ => false,
        }
    }
}

/// Answers a request, as far as the panel itself is concerned.
pub(crate) fn answer(world: &mut World, call: &Call) -> Answer {
    world.settle_nodes();
    if call.is_preflight() {
        return preflight();
    }
    let Some(route) = Route::find(&call.method, &call.path) else {
        return unknown(call);
    };
    // An admin may be named like a route of the admins, as long as that route has another method.
    let route = match route {
        Route::Token if call.method == "PUT" => Route::Admin("token", admin::Deed::Modify),
        Route::Token if call.method == "DELETE" => Route::Admin("token", admin::Deed::Delete),
        route => route,
    };
    let allowed = route.methods();
    if !allowed.contains(&call.method.as_str()) {
        let first = allowed.first().copied().unwrap_or_default();
        return Answer::detail(405, "Method Not Allowed").with_header("allow", first);
    }
    operation::perform(world, route, call).unwrap_or_else(|refusal| refusal)
}

/// A browser asks whether it may ask, before any route is looked for.
fn preflight() -> Answer {
    Answer::text(200, "OK")
        .with_header("access-control-allow-origin", "*")
        .with_header(
            "access-control-allow-methods",
            "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        )
        .with_header("access-control-max-age", "600")
}

/// The slash too many is answered by a redirect to an absolute URL, always of plain HTTP.
fn unknown(call: &Call) -> Answer {
    let shorter = call
        .path
        .strip_suffix('/')
        .and_then(|path| Route::find(&call.method, path.trim_end_matches('/')));
    let path = call.raw_path.trim_end_matches('/');
    match shorter {
        Some(_) => {
            let query = if call.raw_query.is_empty() { "" } else { "?" };
            Answer::redirect(format!("http://{}{path}{query}{}", call.host, call.raw_query))
        }
        None => Answer::detail(404, "Not Found"),
    }
}
