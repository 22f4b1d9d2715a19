//! Creating, editing, resetting and deleting one user, with the side effects that the panel has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::testing::api::response::Answer;
use crate::testing::api::user_body::{self, PlanBody, ProxiesBody, ProxyBody, Purpose, UserBody};
use crate::testing::panel::jobs::{apply_next_plan, reset_traffic};
use crate::testing::panel::notification as webhook;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::{FakeProtocol, FakeStatus, FakeUser, Proxy};

/// Shows a user, which fails for one that the panel cannot render, whatever was stored before.
pub(crate) fn show(world: &mut World, username: &str) -> Answer {
    let seed = world.next_seed();
    match world.user(username) {
        None => Answer::no_such_user(),
        Some(user) if user.is_presentable() => Answer::ok(&world.render(user, seed)),
        Some(_) => Answer::internal_error(),
    }
}

/// `POST /api/user`.
pub(crate) fn create(world: &mut World, admin: &FakeAdmin, json: Option<&Value>) -> Answer {
    let body = match user_body::read(json, Purpose::Create, &world.core.inbounds) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if let Err(refusal) = world.core.inbounds.check(body.proxies.protocols()) {
        return refusal;
    }
    let next_plan = match body.next_plan.map(|plan| (plan, plan.complete())) {
        None => None,
        Some((_, Some(plan))) => Some(plan),
        // The panel takes any failed constraint for a taken name, also that of a plan without a limit.
        Some((_, None)) => return Answer::detail(409, "User already exists"),
    };
    if world.user(&body.username).is_some() {
        return Answer::detail(409, "User already exists");
    }
    let proxies = world.new_proxies(body.proxies);
    let known = &world.core.inbounds;
    let excluded = proxies.keys().map(|protocol| {
        let wanted = body.inbounds.as_ref().map(|inbounds| inbounds.get(protocol));
        let excluded = match wanted {
            // Without the field the user gets no inbounds, with an empty one it gets all.
            None => known.all_but(*protocol, &BTreeSet::new()),
            Some(Some(wanted)) if !wanted.is_empty() => known.all_but(*protocol, wanted),
            Some(_) => BTreeSet::new(),
        };
        (*protocol, excluded)
    });
    let user = FakeUser {
        status: body.status.unwrap_or(FakeStatus::Active),
        expire: body.expire.filter(|expire| *expire != 0),
        data_limit: body.data_limit.filter(|limit| *limit != 0),
        data_limit_reset_strategy: body.strategy.unwrap_or_else(|| "no_reset".to_owned()),
        note: body.note,
        on_hold_expire_duration: body.on_hold_expire_duration,
        on_hold_timeout: body.on_hold_timeout,
        auto_delete_in_days: body.auto_delete_in_days,
        next_plan,
        // The environment's admin has no row that could own a user.
        owner: (!admin.is_from_environment).then(|| admin.username.clone()),
        excluded: excluded.collect(),
        proxies,
        wanted: Vec::new(),
        ..FakeUser::new(body.username.clone())
    };
    world.insert(user);
    webhook::notify_by(world, "user_created", &body.username, admin);
    show(world, &body.username)
}

/// `PUT /api/user/{username}`, for a user that exists and is the admin's to change.
pub(crate) fn edit(world: &mut World, by: &FakeAdmin, username: &str, json: Option<&Value>) -> Answer {
    let body = match user_body::read(json, Purpose::Edit, &world.core.inbounds) {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if let Err(refusal) = world.core.inbounds.check(body.proxies.protocols()) {
        return refusal;
    }
    let is_refused_by_database = matches!(body.proxies, ProxiesBody::Null)
        || body.next_plan.is_some_and(|plan| plan.complete().is_none());
    if is_refused_by_database {
        return Answer::internal_error();
    }
    edit_proxies(world, username, &body);
    let now = world.now();
    let Some(user) = world.user_mut(username) else {
        return Answer::no_such_user();
    };
    let before = user.status;
    apply(user, body, now.timestamp());
    user.edit_at = Some(now);
    let after = user.status;
    let is_presentable = user.is_presentable();
    if before != after {
        user.last_status_change = Some(now);
    }
    // The panel renders the user before it reports.
    if is_presentable {
        webhook::notify_by(world, "user_updated", username, by);
        if before != after {
            webhook::notify_status(world, username, after, Some(by));
        }
    }
    show(world, username)
}

/// Replaces the protocols, and with them all credentials that the body does not repeat.
fn edit_proxies(world: &mut World, username: &str, body: &UserBody) {
    let given = match &body.proxies {
        ProxiesBody::Given(given) if !given.is_empty() => given.clone(),
        ProxiesBody::Given(_) | ProxiesBody::Omitted | ProxiesBody::Null => BTreeMap::new(),
    };
    let proxies = world.new_proxies(ProxiesBody::Given(given));
    let known = world.core.inbounds.clone();
    let Some(user) = world.user_mut(username) else {
        return;
    };
    if !proxies.is_empty() {
        user.proxies = proxies;
    }
    let wanted = body.inbounds.iter().flatten();
    let excluded: Vec<(FakeProtocol, _)> = wanted
        .filter(|(protocol, _)| user.proxies.contains_key(protocol))
        .map(|(protocol, wanted)| (*protocol, known.all_but(*protocol, wanted)))
        .collect();
    user.excluded.extend(excluded);
    user.excluded
        .retain(|protocol, _| user.proxies.contains_key(protocol));
}

/// Applies the plain fields in the panel's order, which decides what a status becomes.
fn apply(user: &mut FakeUser, body: UserBody, now: i64) {
    use FakeStatus::{Active, Disabled, Expired, Limited, OnHold};
    if let Some(status) = body.status {
        user.status = status;
    }
    if let Some(limit) = body.data_limit {
        user.data_limit = Some(limit).filter(|limit| *limit != 0);
        let is_used_up = user.data_limit.is_some_and(|limit| user.used_traffic >= limit);
        user.status = match (user.status, is_used_up) {
            (Expired | Disabled, _) | (OnHold, false) => user.status,
            (Active | Limited, false) => Active,
            (Active | Limited | OnHold, true) => Limited,
        };
    }
    if let Some(expire) = body.expire {
        user.expire = Some(expire).filter(|expire| *expire != 0);
        let is_over = user.expire.is_some_and(|expire| expire <= now);
        user.status = match user.status {
            Active | Expired => {
                if is_over {
                    Expired
                } else {
                    Active
                }
            }
            Disabled | Limited | OnHold => user.status,
        };
    }
    if let Some(note) = body.note {
        user.note = Some(note).filter(|note| !note.is_empty());
    }
    if let Some(strategy) = body.strategy {
        user.data_limit_reset_strategy = strategy;
    }
    user.on_hold_timeout = body.on_hold_timeout.or(user.on_hold_timeout);
    user.on_hold_expire_duration = body
        .on_hold_expire_duration
        .filter(|seconds| *seconds != 0)
        .or(user.on_hold_expire_duration);
    // The one field where omitted does not mean unchanged.
    user.next_plan = body.next_plan.and_then(PlanBody::complete);
}

/// `POST /api/user/{username}/reset`: the usage moves into the lifetime's, and all but the expired are active.
pub(crate) fn reset(world: &mut World, by: &FakeAdmin, username: &str) -> Answer {
    let now = world.now();
    if let Some(user) = world.user_mut(username) {
        reset_traffic(user, now);
        if user.status != FakeStatus::Expired {
            user.switch(FakeStatus::Active, now);
        }
    }
    webhook::notify_by(world, "data_usage_reset", username, by);
    show(world, username)
}

/// `POST /api/users/reset`: the lifetime's usage is lost too; a sudo admin of the database resets its own users.
pub(crate) fn reset_all(world: &mut World, by: &FakeAdmin) -> Answer {
    let now = world.now();
    let users = world.users.values_mut();
    for user in users.filter(|user| by.is_from_environment || user.owner.as_deref() == Some(&by.username)) {
        user.used_traffic = 0;
        user.earlier_traffic = 0;
        user.next_plan = None;
        user.usage.clear();
        if user.status == FakeStatus::Limited {
            user.switch(FakeStatus::Active, now);
        }
    }
    Answer::ok(&json!({ "detail": "Users successfully reset." }))
}

/// `POST /api/user/{username}/revoke_sub`: new credentials, and the subscription URLs issued so far die.
pub(crate) fn revoke(world: &mut World, by: &FakeAdmin, username: &str) -> Answer {
    let Some(user) = world.user(username) else {
        return Answer::no_such_user();
    };
    let kept = user.proxies.iter().map(|(protocol, proxy)| {
        let (flow, method) = match proxy {
            Proxy::Vmess { .. } => (None, None),
            Proxy::Vless { flow, .. } | Proxy::Trojan { flow, .. } => (Some(flow.clone()), None),
            Proxy::Shadowsocks { method, .. } => (None, Some(method.clone())),
        };
        let body = ProxyBody {
            flow,
            method,
            ..ProxyBody::default()
        };
        (*protocol, body)
    });
    let kept = kept.collect();
    let proxies = world.new_proxies(ProxiesBody::Given(kept));
    let now = world.now();
    if let Some(user) = world.user_mut(username) {
        user.proxies = proxies;
        user.sub_revoked_at = Some(now);
    }
    webhook::notify_by(world, "subscription_revoked", username, by);
    show(world, username)
}

/// `POST /api/user/{username}/active-next`: 404 without a plan, and 404 too when the plan was applied.
pub(crate) fn activate_next(world: &mut World, username: &str) -> Answer {
    let now = world.now();
    let lie = Answer::detail(404, "User doesn't have next plan");
    let Some((user, plan)) = world.user_mut(username).and_then(|user| {
        let plan = user.next_plan?;
        Some((user, plan))
    }) else {
        return lie;
    };
    if user.data_limit.is_none() && !plan.add_remaining_traffic {
        return Answer::internal_error();
    }
    apply_next_plan(user);
    user.switch(FakeStatus::Active, now);
    lie
}

/// `PUT /api/user/{username}/set-owner`, which the panel reports to nobody.
pub(crate) fn set_owner(world: &mut World, username: &str, owner: &str) -> Answer {
    if world.admin(owner).is_none() {
        return Answer::no_such_admin();
    }
    if let Some(user) = world.user_mut(username) {
        user.owner = Some(owner.to_owned());
    }
    show(world, username)
}

/// `DELETE /api/user/{username}`: of an ownerless user the panel reports a failure after the deed.
pub(crate) fn delete(world: &mut World, by: &FakeAdmin, username: &str) -> Answer {
    match world.remove(username) {
        None => Answer::no_such_user(),
        Some(user) if user.owner.is_none() => Answer::internal_error(),
        Some(_) => {
            webhook::notify_deleted(world, username, by);
            Answer::ok(&json!({ "detail": "User successfully deleted" }))
        }
    }
}
