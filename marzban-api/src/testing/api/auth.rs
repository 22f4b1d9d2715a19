//! Logging in, and whose token a request carries.

use matchit::Params;
use serde_json::json;

use super::call::ApiResult;
use super::request::Request;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::admin::FakeAdmin;

/// `POST /api/admin/token`.
pub(crate) fn log_in(api: &mut Api, request: &Request, _: &Params<'_, '_>) -> ApiResult {
    let form = request.form();
    let mut problems = Vec::new();
    if form
        .last("grant_type")
        .is_some_and(|kind| !kind.is_empty() && !kind.contains("password"))
    {
        problems.push((
            "grant_type".to_owned(),
            "String should match pattern 'password'".to_owned(),
        ));
    }
    for field in ["username", "password"] {
        if form.last(field).is_none_or(str::is_empty) {
            problems.push((field.to_owned(), "Field required".to_owned()));
        }
    }
    let (Some(username), Some(password), []) =
        (form.last("username"), form.last("password"), problems.as_slice())
    else {
        return Err(Response::invalid(&problems));
    };
    let grant = api
        .panel
        .log_in(username, password, api.token_lifetime)
        .ok_or_else(|| Response::unauthorized("Incorrect username or password"))?;
    let access = if grant.is_sudo { "sudo" } else { "admin" };
    let mut claims = json!({ "sub": grant.admin, "access": access, "iat": grant.issued_at });
    if let (Some(expires_at), Some(claims)) = (grant.expires_at, claims.as_object_mut()) {
        claims.insert("exp".to_owned(), expires_at.into());
    }
    let token = api.remember(grant, &claims);
    Ok(Response::ok(
        &json!({ "access_token": token, "token_type": "bearer" }),
    ))
}

/// Finds the admin of a request.
pub(crate) fn identify(api: &Api, request: &Request) -> Result<FakeAdmin, Response> {
    let bearer = request
        .bearer()
        .ok_or_else(|| Response::unauthorized("Not authenticated"))?;
    holder(api, bearer)
        .cloned()
        .ok_or_else(|| Response::unauthorized("Could not validate credentials"))
}

/// Finds the admin whose token this is.
pub(crate) fn holder<'a>(api: &'a Api, token: &str) -> Option<&'a FakeAdmin> {
    api.panel.admin_of(api.tokens.get(token)?)
}
