//! The routes of admins: the list, the accounts, their users and their usage.

use serde_json::json;

use super::call::{ApiResult, Call};
use super::fields::Fields;
use super::query::page;
use super::render::AdminJson;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::Refusal;
use crate::testing::panel::admin::FakeAdmin;
use crate::testing::panel::input::AdminInput;
use crate::testing::panel::list::like;

/// `GET /api/admins`: all admins but the environment's.
pub(crate) fn list(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let (offset, limit) = page(call.request)?;
    let pattern = call
        .request
        .query
        .last("username")
        .filter(|name| !name.is_empty())
        .map(|name| format!("%{name}%"));
    let rows = api.panel.admins().iter().filter(|admin| {
        !admin.is_from_environment
            && pattern
                .as_deref()
                .is_none_or(|pattern| like(pattern, &admin.username))
    });
    let rows: Vec<AdminJson<'_>> = rows.skip(offset).take(limit).map(AdminJson::new).collect();
    Ok(Response::ok(&rows))
}

/// `GET /api/admin`.
pub(crate) fn current(_: &mut Api, call: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&AdminJson::new(&call.by)))
}

/// `POST /api/admin`.
pub(crate) fn create(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let mut fields = Fields::of_body(call.json.as_ref())?;
    let username = fields.required_text("username");
    // It is optional in an edit, for which the fields below are read too.
    fields.required_text("password");
    let input = read(&mut fields);
    let input = fields.finish(input)?;
    let admin = api.panel.create_admin(&username, input)?;
    Ok(Response::ok(&AdminJson::new(admin)))
}

/// Reads the fields of an admin; `password` is optional only for an admin that exists.
fn read(fields: &mut Fields<'_>) -> AdminInput {
    let webhook = fields.text("discord_webhook");
    if webhook
        .as_deref()
        .is_some_and(|url| !url.is_empty() && !url.starts_with("https://discord.com"))
    {
        let message = "Value error, Discord webhook must start with 'https://discord.com'";
        fields.problem("discord_webhook", message);
    }
    AdminInput {
        password: fields.text("password"),
        is_sudo: fields.required_flag("is_sudo"),
        telegram_id: fields.integer("telegram_id"),
        discord_webhook: webhook,
    }
}

/// `PUT /api/admin/{username}`.
pub(crate) fn modify(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let mut fields = Fields::of_body(call.json.as_ref())?;
    let input = read(&mut fields);
    let input = fields.finish(input)?;
    api.panel.modify_admin(&call.by, call.param("admin"), input)?;
    Ok(Response::ok(&AdminJson::new(named(api, call)?)))
}

/// `DELETE /api/admin/{username}`.
pub(crate) fn delete(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.delete_admin(call.param("admin"))?;
    Ok(Response::ok(&json!({ "detail": "Admin removed successfully" })))
}

/// `POST /api/admin/{username}/users/disable`.
pub(crate) fn disable_users(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.disable_users(call.param("admin"));
    Ok(Response::ok(&json!({ "detail": "Users successfully disabled" })))
}

/// `POST /api/admin/{username}/users/activate`.
pub(crate) fn activate_users(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.activate_users(call.param("admin"));
    Ok(Response::ok(&json!({ "detail": "Users successfully activated" })))
}

/// `GET /api/admin/usage/{username}`.
pub(crate) fn show_usage(api: &mut Api, call: &Call<'_>) -> ApiResult {
    Ok(Response::ok(&named(api, call)?.users_usage))
}

/// `POST /api/admin/usage/reset/{username}`.
pub(crate) fn reset_usage(api: &mut Api, call: &Call<'_>) -> ApiResult {
    if let Some(admin) = api.panel.admin_mut(call.param("admin")) {
        admin.users_usage = 0;
    }
    Ok(Response::ok(&AdminJson::new(named(api, call)?)))
}

fn named<'a>(api: &'a Api, call: &Call<'_>) -> Result<&'a FakeAdmin, Response> {
    let admin = api.panel.admin(call.param("admin"));
    admin.ok_or_else(|| Refusal::AdminNotFound.into())
}
