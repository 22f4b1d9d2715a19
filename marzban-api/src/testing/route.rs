//! From a request to the operation that answers it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use super::inbound::{self, Inbound};
use super::render::AdminJson;
use super::state::{FakeAdmin, World};
use super::user::{FakeProtocol, FakeStatus, FakeUser};
use super::{auth, body, edit, expired, list};

/// A route that the fake panel has; every other one answers 404 as an unknown one does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Token,
    Admin,
    System,
    Inbounds,
    Users,
    Expired,
    NewUser,
    User(&'a str),
    Reset(&'a str),
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix("/api/")?.split('/').collect();
        match parts.as_slice() {
            ["admin", "token"] => Some(Self::Token),
            ["admin"] => Some(Self::Admin),
            ["system"] => Some(Self::System),
            ["inbounds"] => Some(Self::Inbounds),
            ["users"] => Some(Self::Users),
            ["users", "expired"] => Some(Self::Expired),
            ["user"] => Some(Self::NewUser),
            ["user", name] if !name.is_empty() => Some(Self::User(name)),
            ["user", name, "reset"] if !name.is_empty() => Some(Self::Reset(name)),
            _ => None,
        }
    }

    /// The methods, the first of which is the one that a refusal names.
    const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Token | Self::NewUser | Self::Reset(_) => &["POST"],
            Self::Admin | Self::System | Self::Inbounds | Self::Users => &["GET"],
            Self::Expired => &["GET", "DELETE"],
            Self::User(_) => &["GET", "PUT", "DELETE"],
        }
    }
}

/// Answers a request, as far as the panel itself is concerned.
pub(super) fn answer(world: &mut World, call: &Call) -> Answer {
    let Some(route) = Route::find(&call.path) else {
        return unknown(call);
    };
    let allowed = route.methods();
    if !allowed.contains(&call.method.as_str()) {
        let first = allowed.first().copied().unwrap_or_default();
        return Answer::detail(405, "Method Not Allowed").with_header("allow", first);
    }
    perform(world, route, call).unwrap_or_else(|refusal| refusal)
}

/// The slash too many is answered by a redirect to an absolute URL, always of plain HTTP.
fn unknown(call: &Call) -> Answer {
    let shorter = call.path.strip_suffix('/').and_then(Route::find);
    match (shorter, call.raw_path.strip_suffix('/')) {
        (Some(_), Some(path)) => {
            let query = if call.raw_query.is_empty() { "" } else { "?" };
            Answer::redirect(format!("http://{}{path}{query}{}", call.host, call.raw_query))
        }
        _ => Answer::detail(404, "Not Found"),
    }
}

fn perform(world: &mut World, route: Route<'_>, call: &Call) -> Result<Answer, Answer> {
    if route == Route::Token {
        return Ok(auth::log_in(world, call));
    }
    let json = if matches!(call.method.as_str(), "POST" | "PUT") {
        body::syntax(call)?
    } else {
        None
    };
    let admin = auth::identify(world, call)?;
    Ok(match (route, call.method.as_str()) {
        (Route::Admin | Route::Token, _) => Answer::ok(&AdminJson::new(&admin)),
        (Route::System, _) => system(world, &admin),
        (Route::Inbounds, _) => inbounds(),
        (Route::Users, _) => list::users(world, &admin, call),
        (Route::Expired, "DELETE") => expired::delete(world, &admin, call),
        (Route::Expired, _) => expired::list(world, &admin, call),
        (Route::NewUser, _) => edit::create(world, &admin, json.as_ref()),
        (Route::User(name) | Route::Reset(name), method) => {
            // A missing user is 404 to everybody; only then does it matter whose it is.
            let user = world.user(name).ok_or_else(Answer::no_such_user)?;
            if !admin.may_manage(user) {
                return Err(Answer::forbidden());
            }
            match method {
                "PUT" => edit::edit(world, name, json.as_ref()),
                "DELETE" => edit::delete(world, name),
                "POST" => edit::reset(world, name),
                _ => edit::show(world, name),
            }
        }
    })
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

fn inbounds() -> Answer {
    let all: BTreeMap<FakeProtocol, Vec<&Inbound>> = FakeProtocol::ALL
        .into_iter()
        .map(|protocol| (protocol, inbound::of(protocol).collect()))
        .collect();
    Answer::ok(&all)
}
