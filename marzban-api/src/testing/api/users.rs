//! The routes of users: the list, the accounts, and those that expired.

use serde::Serialize;
use serde_json::json;

use super::call::{ApiResult, Call};
use super::datetime::{Dialect, PyDateTime};
use super::query::integer_of_query;
use super::render::UserJson;
use super::request::{Query, Request};
use super::response::Response;
use super::state::Api;
use super::user_body::{self, Purpose};
use crate::testing::panel::list::{Bounds, Column, SortKey};
use crate::testing::panel::user::FakeStatus;
use crate::testing::panel::{Refusal, UserQuery};

#[derive(Serialize)]
struct PageJson<'a> {
    users: Vec<UserJson<'a>>,
    total: usize,
}

/// Shows a user, which fails for one that the panel cannot render, whatever was stored before.
fn show(api: &mut Api, username: &str) -> ApiResult {
    let seed = api.panel.next_seed();
    let user = api.panel.shown_user(username)?;
    Ok(Response::ok(&api.render(user, seed)))
}

/// `GET /api/users`: a single user on the page that cannot be shown breaks the whole of it.
pub(crate) fn list(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let query = read_query(&call.request.query)?;
    let seed = api.panel.next_seed();
    let page = api.panel.list_users(&call.by, &query)?;
    Ok(Response::ok(&PageJson {
        users: page
            .users
            .into_iter()
            .map(|user| api.render(user, seed))
            .collect(),
        total: page.total,
    }))
}

fn read_query(query: &Query) -> Result<UserQuery<'_>, Response> {
    let mut problems = Vec::new();
    let mut integer = |name: &str| integer_of_query(query, name, &mut problems);
    // SQLite takes a negative offset as none and a negative limit as no limit; the panel skips a zero.
    let offset: i64 = integer("offset").unwrap_or(0);
    let limit: i64 = integer("limit").unwrap_or(0);
    let status = query.last("status").map(FakeStatus::parse);
    if status == Some(None) {
        let message = "Input should be 'active', 'disabled', 'limited', 'expired' or 'on_hold'";
        problems.push(("status".to_owned(), message.to_owned()));
    }
    if !problems.is_empty() {
        return Err(Response::invalid(&problems));
    }
    Ok(UserQuery {
        offset: usize::try_from(offset).unwrap_or(0),
        limit: usize::try_from(limit).ok().filter(|limit| *limit > 0),
        usernames: query.all("username").collect(),
        search: query.last("search").filter(|text| !text.is_empty()),
        owners: query.all("admin").collect(),
        status: status.flatten(),
        sort: query.last("sort").map_or(Ok(Vec::new()), read_sort)?,
    })
}

fn read_sort(sort: &str) -> Result<Vec<SortKey>, Response> {
    let read = |option: &str| {
        let (name, is_descending) = option
            .strip_prefix('-')
            .map_or((option, false), |name| (name, true));
        let column = Column::parse(name).ok_or_else(|| {
            let detail = format!("\"{option}\" is not a valid sort option");
            Response::detail(400, &detail)
        })?;
        Ok(SortKey {
            column,
            is_descending,
        })
    };
    sort.split(',').map(read).collect()
}

/// `POST /api/user`.
pub(crate) fn create(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let (username, input) = user_body::read(call.json.as_ref(), Purpose::Create, &api.panel.inbounds)?;
    api.panel.create_user(&call.by, &username, input)?;
    show(api, &username)
}

/// `GET /api/user/{username}`.
pub(crate) fn get(api: &mut Api, call: &Call<'_>) -> ApiResult {
    show(api, call.param("user"))
}

/// `PUT /api/user/{username}`.
pub(crate) fn modify(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let (_, input) = user_body::read(call.json.as_ref(), Purpose::Edit, &api.panel.inbounds)?;
    let username = call.param("user");
    api.panel.modify_user(&call.by, username, input)?;
    show(api, username)
}

/// `DELETE /api/user/{username}`.
pub(crate) fn delete(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.delete_user(&call.by, call.param("user"))?;
    Ok(Response::ok(&json!({ "detail": "User successfully deleted" })))
}

/// `POST /api/user/{username}/reset`.
pub(crate) fn reset_usage(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let username = call.param("user");
    api.panel.reset_usage(&call.by, username)?;
    show(api, username)
}

/// `POST /api/users/reset`.
pub(crate) fn reset_usage_of_all(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.reset_usage_of_all(&call.by);
    Ok(Response::ok(&json!({ "detail": "Users successfully reset." })))
}

/// `POST /api/user/{username}/revoke_sub`.
pub(crate) fn revoke_subscription(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let username = call.param("user");
    api.panel.revoke_subscription(&call.by, username)?;
    show(api, username)
}

/// `POST /api/user/{username}/active-next`.
pub(crate) fn activate_next_plan(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let username = call.param("user");
    api.panel.activate_next_plan(username)?;
    show(api, username)
}

/// `PUT /api/user/{username}/set-owner`, for a sudo admin; but it is checked after the user.
pub(crate) fn set_owner(api: &mut Api, call: &Call<'_>) -> ApiResult {
    if !call.by.is_sudo {
        return Err(Refusal::Forbidden.into());
    }
    let owner = call.request.query.last("admin_username");
    let required = || Response::invalid(&[("admin_username".to_owned(), "Field required".to_owned())]);
    let owner = owner.ok_or_else(required)?;
    let username = call.param("user");
    api.panel.set_owner(username, owner)?;
    show(api, username)
}

/// `GET /api/users/expired`.
pub(crate) fn list_expired(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let range = expired_range(call.request)?;
    Ok(Response::ok(&api.panel.expired_users(&call.by, range)?))
}

/// `DELETE /api/users/expired`: the users that [`list_expired`] shows; the panel sends no notification.
pub(crate) fn delete_expired(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let range = expired_range(call.request)?;
    let names = api.panel.expired_users(&call.by, range)?;
    api.panel.delete_expired(&names)?;
    Ok(Response::ok(&names))
}

/// Reads the bounds of a range. The panel fails to compare a time with an offset to one without, and its own
/// default for the start has one.
fn expired_range(request: &Request) -> Result<Bounds, Response> {
    let bound = |name: &str| {
        let Some(text) = request.query.last(name) else {
            return Ok(None);
        };
        // A `+` of an offset that was not percent-encoded arrives as a space.
        PyDateTime::read(text, Dialect::Model).map(Some).ok_or_else(|| {
            let message = "Input should be a valid datetime or date, input is too short";
            Response::invalid(&[(name.to_owned(), message.to_owned())])
        })
    };
    let (after, before) = (bound("expired_after")?, bound("expired_before")?);
    let is_comparable = match (after, before) {
        (Some(after), Some(before)) => after.is_aware() == before.is_aware(),
        (None, Some(before)) => before.is_aware(),
        (_, None) => true,
    };
    if !is_comparable {
        return Err(Refusal::InternalError.into());
    }
    Ok((
        after.map(|after| after.instant()),
        before.map(|before| before.instant()),
    ))
}
