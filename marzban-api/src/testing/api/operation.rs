//! What the routes do: checks in the panel's order, then the operation itself.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::testing::api::auth;
use crate::testing::api::fields::{integer_of_text, syntax};
use crate::testing::api::render::AdminJson;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::api::router::{Route, UserDeed};
use crate::testing::api::subscription;
use crate::testing::panel::admins as admin;
use crate::testing::panel::expired;
use crate::testing::panel::host;
use crate::testing::panel::inbound::{Core, Inbound};
use crate::testing::panel::list;
use crate::testing::panel::node;
use crate::testing::panel::node::XRAY_VERSION;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::template;
use crate::testing::panel::usage;
use crate::testing::panel::user::{FakeProtocol, FakeStatus, FakeUser};
use crate::testing::panel::users as edit;
use crate::testing::wire::logs;

pub(crate) fn perform(world: &mut World, route: Route<'_>, call: &Call) -> Result<Answer, Answer> {
    match route {
        Route::Token => return Ok(auth::log_in(world, call)),
        Route::Logs(node) => return Ok(logs::admit(world, node, call)),
        Route::Home => return Ok(Answer::html(200, "Marzban")),
        Route::Subscription { token, rest } => return Ok(subscription::answer(world, token, rest, call)),
        _ => {}
    }
    let method = call.method.as_str();
    let json = if route.has_body(method) {
        syntax(call)?
    } else {
        None
    };
    let id = look_up(world, route)?;
    let by = auth::identify(world, call)?;
    if route.needs_sudo(method) && !by.is_sudo {
        return Err(Answer::forbidden());
    }
    let id = id.map_err(|(name, message)| Answer::invalid(&[(name.to_owned(), message.to_owned())]))?;
    let json = json.as_ref();
    match route {
        Route::Node(_) | Route::Reconnect(_) | Route::NewNode | Route::Nodes | Route::NodesUsage => {
            of_nodes(world, route, id, call, json)
        }
        Route::Templates | Route::Template(_) => of_templates(world, route, id, call, json),
        Route::User(name, deed) => of_user(world, &by, name, deed, call, json),
        _ => of_panel(world, route, &by, call, json),
    }
}

/// A number in the path, or which part of the path is none and why.
type Id = Result<u64, (&'static str, &'static str)>;

/// Finds what the path names, which on these routes nobody needs a token for.
fn look_up(world: &World, route: Route<'_>) -> Result<Id, Answer> {
    let parse = |name: &'static str, text: &str| -> Id {
        // A negative number is one, and names nothing.
        integer_of_text(text)
            .map(|id| u64::try_from(id).unwrap_or(0))
            .map_err(|message| (name, message))
    };
    match route {
        Route::Admin(name, _) if world.admin(name).is_none() => Err(Answer::no_such_admin()),
        Route::Node(text) | Route::Reconnect(text) => match parse("node_id", text) {
            Ok(id) if !world.nodes.contains_key(&id) => Err(Answer::no_such_node()),
            id => Ok(id),
        },
        Route::Template(text) => match parse("template_id", text) {
            Ok(id) if !world.templates.contains_key(&id) => Err(Answer::no_such_template()),
            id => Ok(id),
        },
        _ => Ok(Ok(0)),
    }
}

fn of_nodes(
    world: &mut World,
    route: Route<'_>,
    id: u64,
    call: &Call,
    json: Option<&Value>,
) -> Result<Answer, Answer> {
    match (route, call.method.as_str()) {
        (Route::NewNode, _) => node::create(world, json),
        (Route::Nodes, _) => Ok(node::list(world)),
        (Route::NodesUsage, _) => usage::of_nodes(world, call),
        (Route::Reconnect(_), _) => Ok(node::reconnect(world, id)),
        (_, "PUT") => node::modify(world, id, json),
        (_, "DELETE") => Ok(node::delete(world, id)),
        _ => Ok(node::show(world, id)),
    }
}

fn of_templates(
    world: &mut World,
    route: Route<'_>,
    id: u64,
    call: &Call,
    json: Option<&Value>,
) -> Result<Answer, Answer> {
    match (route, call.method.as_str()) {
        (Route::Templates, "POST") => template::create(world, json),
        (Route::Templates, _) => template::list(world, call),
        (_, "PUT") => template::modify(world, id, json),
        (_, "DELETE") => Ok(template::delete(world, id)),
        _ => Ok(template::show(world, id)),
    }
}

/// A missing user is 404 to everybody; only then does it matter whose it is.
fn of_user(
    world: &mut World,
    by: &FakeAdmin,
    name: &str,
    deed: UserDeed,
    call: &Call,
    json: Option<&Value>,
) -> Result<Answer, Answer> {
    let user = world.user(name).ok_or_else(Answer::no_such_user)?;
    if !by.may_manage(user) || (deed == UserDeed::SetOwner && !by.is_sudo) {
        return Err(Answer::forbidden());
    }
    Ok(match (deed, call.method.as_str()) {
        (UserDeed::Reset, _) => edit::reset(world, by, name),
        (UserDeed::Revoke, _) => edit::revoke(world, by, name),
        (UserDeed::ActivateNext, _) => edit::activate_next(world, name),
        (UserDeed::SetOwner, _) => match call.query.last("admin_username") {
            Some(owner) => edit::set_owner(world, name, owner),
            None => Answer::invalid(&[("admin_username".to_owned(), "Field required".to_owned())]),
        },
        (UserDeed::Usage, _) => usage::of_user(world, name, call)?,
        (UserDeed::Itself, "PUT") => edit::edit(world, by, name, json),
        (UserDeed::Itself, "DELETE") => edit::delete(world, by, name),
        (UserDeed::Itself, _) => edit::show(world, name),
    })
}

fn of_panel(
    world: &mut World,
    route: Route<'_>,
    by: &FakeAdmin,
    call: &Call,
    json: Option<&Value>,
) -> Result<Answer, Answer> {
    match (route, call.method.as_str()) {
        (Route::CurrentAdmin, "POST") => admin::create(world, json),
        (Route::CurrentAdmin, _) => Ok(Answer::ok(&AdminJson::new(by))),
        (Route::Admins, _) => admin::list(world, call),
        (Route::Admin(name, deed), _) => admin::act(world, by, name, deed, json),
        (Route::Core, _) => Ok(core_stats()),
        (Route::CoreRestart, _) => Ok(Answer::ok(&json!({}))),
        (Route::CoreConfig, "PUT") => replace_config(world, json),
        (Route::CoreConfig, _) => Ok(Answer::ok(&world.core.config)),
        (Route::NodeSettings, _) => Ok(node::settings()),
        (Route::System, _) => Ok(system(world, by)),
        (Route::Inbounds, _) => Ok(inbounds(world)),
        (Route::Hosts, "PUT") => host::replace(world, json),
        (Route::Hosts, _) => Ok(host::show(world)),
        (Route::Users, _) => Ok(list::users(world, by, call)),
        (Route::UsersReset, _) => Ok(edit::reset_all(world, by)),
        (Route::UsersUsage, _) => usage::of_users(world, by, call),
        (Route::Expired, "DELETE") => Ok(expired::delete(world, by, call)),
        (Route::Expired, _) => Ok(expired::list(world, by, call)),
        (Route::NewUser, _) => Ok(edit::create(world, by, json)),
        _ => Err(Answer::detail(404, "Not Found")),
    }
}

fn core_stats() -> Answer {
    Answer::ok(&json!({
        "version": XRAY_VERSION, "started": true, "logs_websocket": "/api/core/logs",
    }))
}

/// `PUT /api/core/config`: the inbounds follow at once, and new ones get a host.
fn replace_config(world: &mut World, json: Option<&Value>) -> Result<Answer, Answer> {
    let refuse = |message: &str| Answer::invalid(&[("body".to_owned(), message.to_owned())]);
    let config = json.ok_or_else(|| refuse("Field required"))?;
    if !config.is_object() {
        return Err(refuse("Input should be a valid dictionary"));
    }
    world.core = Core::read(config.clone())?;
    world.hosts.meet(&world.core.inbounds);
    Ok(Answer::ok(config))
}

/// Counts the users that the admin may see, but everybody's connections and traffic.
fn system(world: &World, admin: &FakeAdmin) -> Answer {
    let since = world.now() - TimeDelta::days(1);
    let online = world
        .users
        .values()
        .filter(|user| user.online_at.is_some_and(|online| online >= since));
    let own: Vec<&FakeUser> = world
        .users
        .values()
        .filter(|user| admin.may_manage(user))
        .collect();
    let of = |status: FakeStatus| own.iter().filter(|user| user.status == status).count();
    let machine = &world.system;
    Answer::ok(&json!({
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
    }))
}

/// A protocol without inbounds does not appear.
fn inbounds(world: &World) -> Answer {
    let all: BTreeMap<FakeProtocol, Vec<&Inbound>> = FakeProtocol::ALL
        .into_iter()
        .map(|protocol| (protocol, world.core.inbounds.of(protocol).collect::<Vec<_>>()))
        .filter(|(_, inbounds)| !inbounds.is_empty())
        .collect();
    Answer::ok(&all)
}
