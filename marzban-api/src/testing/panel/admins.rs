//! The routes of admins: the list, the accounts, their users and their usage.

use serde_json::{Value, json};

use crate::testing::api::fields::{Fields, integer_of_query};
use crate::testing::api::render::AdminJson;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::list::like;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::FakeStatus;

/// What is asked of one admin, who was found before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Modify,
    Delete,
    DisableUsers,
    ActivateUsers,
    ShowUsage,
    ResetUsage,
}

/// `GET /api/admins`: all admins but the environment's.
pub(crate) fn list(world: &World, call: &Call) -> Result<Answer, Answer> {
    let (offset, limit) = page(call)?;
    let pattern = call
        .query
        .last("username")
        .filter(|name| !name.is_empty())
        .map(|name| format!("%{name}%"));
    let rows = world.admins.iter().filter(|admin| {
        !admin.is_from_environment
            && pattern
                .as_deref()
                .is_none_or(|pattern| like(pattern, &admin.username))
    });
    let rows: Vec<AdminJson<'_>> = rows.skip(offset).take(limit).map(AdminJson::new).collect();
    Ok(Answer::ok(&rows))
}

/// Reads `offset` and `limit`; nothing, zero and less mean no bound.
pub(crate) fn page(call: &Call) -> Result<(usize, usize), Answer> {
    let mut problems = Vec::new();
    let mut read = |name: &str| integer_of_query(&call.query, name, &mut problems).unwrap_or_default();
    let (offset, limit) = (read("offset"), read("limit"));
    if !problems.is_empty() {
        return Err(Answer::invalid(&problems));
    }
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    Ok((usize::try_from(offset).unwrap_or(0), limit.unwrap_or(usize::MAX)))
}

/// What a body says of an admin; `password` is only optional for an admin that exists.
struct AdminBody {
    password: Option<String>,
    is_sudo: bool,
    telegram_id: Option<i64>,
    discord_webhook: Option<String>,
}

impl AdminBody {
    fn read(fields: &mut Fields<'_>) -> Self {
        let webhook = fields.text("discord_webhook");
        if webhook
            .as_deref()
            .is_some_and(|url| !url.is_empty() && !url.starts_with("https://discord.com"))
        {
            let message = "Value error, Discord webhook must start with 'https://discord.com'";
            fields.problem("discord_webhook", message);
        }
        Self {
            password: fields.text("password"),
            is_sudo: fields.required_flag("is_sudo"),
            telegram_id: fields.integer("telegram_id"),
            discord_webhook: webhook,
        }
    }
}

/// `POST /api/admin`.
pub(crate) fn create(world: &mut World, json: Option<&Value>) -> Result<Answer, Answer> {
    let mut fields = Fields::of_body(json)?;
    let username = fields.required_text("username");
    let password = if fields.object.get("password").is_some_and(Value::is_string) {
        String::new()
    } else {
        fields.required_text("password")
    };
    let body = AdminBody::read(&mut fields);
    let body = fields.finish(body)?;
    if world.admin(&username).is_some() {
        return Err(Answer::detail(409, "Admin already exists"));
    }
    let mut admin = FakeAdmin::new(username, body.password.unwrap_or(password));
    admin.is_sudo = body.is_sudo;
    admin.telegram_id = body.telegram_id;
    admin.discord_webhook = body.discord_webhook;
    let answer = Answer::ok(&AdminJson::new(&admin));
    world.admins.push(admin);
    Ok(answer)
}

/// Does what is asked of an admin that exists, for one that is sudo.
pub(crate) fn act(
    world: &mut World,
    by: &FakeAdmin,
    username: &str,
    deed: Deed,
    json: Option<&Value>,
) -> Result<Answer, Answer> {
    match deed {
        Deed::Modify => return modify(world, by, username, json),
        Deed::Delete => {
            if world.admin(username).is_some_and(|admin| admin.is_sudo) {
                let detail = "You're not allowed to delete sudoer accounts. Use marzban-cli instead.";
                return Err(Answer::detail(403, detail));
            }
            world.remove_admin(username);
            return Ok(Answer::ok(&json!({ "detail": "Admin removed successfully" })));
        }
        Deed::DisableUsers => {
            switch_users(world, username, |user_is| match user_is {
                FakeStatus::Active | FakeStatus::OnHold => Some(FakeStatus::Disabled),
                _ => None,
            });
            return Ok(Answer::ok(&json!({ "detail": "Users successfully disabled" })));
        }
        Deed::ActivateUsers => {
            activate_users(world, username);
            return Ok(Answer::ok(&json!({ "detail": "Users successfully activated" })));
        }
        Deed::ShowUsage => {}
        Deed::ResetUsage => {
            if let Some(admin) = world.admin_mut(username) {
                admin.users_usage = 0;
            }
        }
    }
    let admin = world.admin(username).ok_or_else(Answer::no_such_admin)?;
    Ok(match deed {
        Deed::ShowUsage => Answer::ok(&admin.users_usage),
        _ => Answer::ok(&AdminJson::new(admin)),
    })
}

/// `PUT /api/admin/{username}`: nothing that is empty or null changes anything, and nobody is demoted.
fn modify(world: &mut World, by: &FakeAdmin, username: &str, json: Option<&Value>) -> Result<Answer, Answer> {
    let mut fields = Fields::of_body(json)?;
    let body = AdminBody::read(&mut fields);
    let body = fields.finish(body)?;
    let now = world.now();
    let admin = world.admin_mut(username).ok_or_else(Answer::no_such_admin)?;
    if admin.is_sudo && admin.username != by.username {
        let detail = "You're not allowed to edit another sudoer's account. Use marzban-cli instead.";
        return Err(Answer::detail(403, detail));
    }
    admin.is_sudo |= body.is_sudo;
    if let Some(password) = body.password.filter(|password| !password.is_empty()) {
        admin.password = Some(password);
        admin.password_reset_at = Some(now);
    }
    admin.telegram_id = body.telegram_id.filter(|id| *id != 0).or(admin.telegram_id);
    let webhook = body.discord_webhook.filter(|url| !url.is_empty());
    admin.discord_webhook = webhook.or_else(|| admin.discord_webhook.take());
    Ok(Answer::ok(&AdminJson::new(admin)))
}

fn switch_users(world: &mut World, owner: &str, become_of: impl Fn(FakeStatus) -> Option<FakeStatus>) {
    let now = world.now();
    let own = world
        .users
        .values_mut()
        .filter(|user| user.owner.as_deref() == Some(owner));
    for user in own {
        if let Some(status) = become_of(user.status) {
            user.switch(status, now);
        }
    }
}

/// A disabled user that never started its time is held again, every other one is active.
fn activate_users(world: &mut World, owner: &str) {
    let now = world.now();
    let disabled = world
        .users
        .values_mut()
        .filter(|user| user.owner.as_deref() == Some(owner) && user.status == FakeStatus::Disabled);
    for user in disabled {
        let never_started =
            user.expire.is_none() && user.on_hold_expire_duration.is_some() && user.online_at.is_none();
        let status = if never_started {
            FakeStatus::OnHold
        } else {
            FakeStatus::Active
        };
        user.switch(status, now);
    }
}
