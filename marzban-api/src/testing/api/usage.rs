//! The routes that sum up traffic.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::call::{ApiResult, Call};
use super::datetime::{Dialect, PyDateTime};
use super::request::Request;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::Refusal;
use crate::testing::panel::traffic::Range;

/// `start` and `end` of a query, by default the last 30 days.
fn range(api: &Api, request: &Request) -> Result<Range, Response> {
    let now = api.panel.now();
    let given = |name: &'static str| request.query.last(name).filter(|text| !text.is_empty());
    let start = given("start").map_or(Ok(now - TimeDelta::days(30)), read_time)?;
    let end = given("end").map_or(Ok(now), read_time)?;
    // Without an end the panel does not compare.
    if given("end").is_some() && end < start {
        return Err(Refusal::ReversedRange.into());
    }
    Ok((start, end))
}

/// A time without an offset is the panel's own, and this panel's is UTC; a date is its midnight.
fn read_time(text: &str) -> Result<DateTime<Utc>, Response> {
    let time = PyDateTime::read(text, Dialect::Plain);
    time.map(|time| time.instant())
        .ok_or_else(|| Response::detail(400, "Invalid date range or format"))
}

/// `GET /api/user/{username}/usage`.
pub(crate) fn of_user(api: &mut Api, call: &Call<'_>) -> ApiResult {
    show(api, call.param("user"), call.request)
}

/// Shows the usage of a user to an admin or to the holder of its subscription.
pub(crate) fn show(api: &Api, username: &str, request: &Request) -> ApiResult {
    let range = range(api, request)?;
    let usages = api.panel.usage_of(username, range);
    Ok(Response::ok(&json!({ "username": username, "usages": usages })))
}

/// `GET /api/users/usage`.
pub(crate) fn of_users(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let range = range(api, call.request)?;
    let owners: Vec<&str> = call.request.query.all("admin").collect();
    let usages = api.panel.usage_of_all(&call.by, &owners, range);
    Ok(Response::ok(&json!({ "usages": usages })))
}

/// `GET /api/nodes/usage`.
pub(crate) fn of_nodes(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let range = range(api, call.request)?;
    let usages = api.panel.usage_of_nodes(range);
    Ok(Response::ok(&json!({ "usages": usages })))
}
