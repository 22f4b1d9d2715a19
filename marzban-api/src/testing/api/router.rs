//! From a request to its route, and what the route asks for before its operation runs.

use matchit::{Params, Router as Paths};
use serde_json::Value;

use super::auth;
use super::body::read_json;
use super::call::{ApiResult, Call};
use super::query::integer_of_text;
use super::request::Request;
use super::response::Response;
use super::routes::{Handler, ROUTES, Route};
use super::state::Api;
use crate::testing::panel::Refusal;

/// A route with its place in the table.
type Entry = (usize, Route);

/// The routes by method and path.
pub(crate) struct Router(Vec<(&'static str, Paths<Entry>)>);

impl Router {
    /// Builds the router of a panel that serves subscriptions below this path.
    #[expect(
        clippy::panic,
        reason = "two routes of one path are a mistake in the table or in a test's path"
    )]
    pub(crate) fn new(subscription_path: &str) -> Self {
        let subscription_path = subscription_path.replace('{', "{{").replace('}', "}}");
        let mut by_method: Vec<(&str, Paths<Entry>)> = Vec::new();
        for (place, route) in ROUTES.iter().enumerate() {
            let path = route.path.replace("{subscription_path}", &subscription_path);
            if !by_method.iter().any(|(method, _)| *method == route.method) {
                by_method.push((route.method, Paths::new()));
            }
            for (_, paths) in by_method.iter_mut().filter(|(method, _)| *method == route.method) {
                if let Err(error) = paths.insert(path.as_str(), (place, *route)) {
                    panic!("the route {path} is in the way of another: {error}");
                }
            }
        }
        Self(by_method)
    }

    fn find<'a>(&'a self, method: &str, path: &'a str) -> Option<(Route, Params<'a, 'a>)> {
        let (_, paths) = self.0.iter().find(|(known, _)| *known == method)?;
        let ((_, route), params) = look_up_path(paths, path)?;
        Some((route, params))
    }

    /// The method of the first route in the table that has this path.
    fn method_of(&self, path: &str) -> Option<&'static str> {
        let found = self.0.iter().filter_map(|(_, paths)| look_up_path(paths, path));
        found
            .min_by_key(|((place, _), _)| *place)
            .map(|((_, route), _)| route.method)
    }

    /// Answers a request, as far as the panel itself is concerned.
    pub(crate) fn answer(&self, api: &mut Api, request: &Request) -> Response {
        api.panel.settle_nodes();
        if request.is_preflight {
            return preflight();
        }
        match self.find(&request.method, &request.path) {
            Some((route, params)) => run(route, &params, api, request).unwrap_or_else(|refusal| refusal),
            None => self.refuse(request),
        }
    }

    fn refuse(&self, request: &Request) -> Response {
        if let Some(method) = self.method_of(&request.path) {
            return Response::detail(405, "Method Not Allowed").with_header("allow", method);
        }
        // Slashes too many are answered by a redirect to an absolute URL, always of plain HTTP.
        let shorter = request.path.trim_end_matches('/');
        if shorter == request.path || self.method_of(shorter).is_none() {
            return Response::detail(404, "Not Found");
        }
        let path = request.raw_path.trim_end_matches('/');
        Response::redirect(request.url_of(path))
    }
}

/// Finds a path. Unlike matchit, the panel takes no empty part for a parameter.
fn look_up_path<'a>(paths: &'a Paths<Entry>, path: &'a str) -> Option<(Entry, Params<'a, 'a>)> {
    let found = paths.at(path).ok()?;
    let is_whole = found.params.iter().all(|(_, part)| !part.is_empty());
    is_whole.then_some((*found.value, found.params))
}

/// A browser asks whether it may ask, before any route is looked for.
fn preflight() -> Response {
    Response::text(200, "OK")
        .with_header("access-control-allow-origin", "*")
        .with_header(
            "access-control-allow-methods",
            "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        )
        .with_header("access-control-max-age", "600")
}

/// Checks in FastAPI's order: the syntax of the body, what the path names, the token, the admin's rights, a number
/// in the path, and whose the user is. Then the operation runs.
fn run(route: Route, params: &Params<'_, '_>, api: &mut Api, request: &Request) -> ApiResult {
    let operation = match route.handler {
        Handler::Public(operation) => return operation(api, request, params),
        Handler::Admin(operation) => operation,
    };
    let json: Option<Value> = if route.has_body { read_json(request)? } else { None };
    let id = look_up(api, params)?;
    let by = auth::identify(api, request)?;
    if route.needs_sudo && !by.is_sudo {
        return Err(Refusal::Forbidden.into());
    }
    let id = id.map_err(|(name, message)| Response::invalid(&[(name.to_owned(), message.to_owned())]))?;
    if let Some(user) = params.get("user") {
        api.panel.visible_user(&by, user)?;
    }
    let call = Call {
        request,
        params,
        by,
        json,
        id,
    };
    operation(api, &call)
}

/// Finds what the path names, which the panel does before it looks at the token.
///
/// The inner failure, of a number in the path that is none, counts only after the token.
fn look_up(
    api: &Api,
    params: &Params<'_, '_>,
) -> Result<Result<u64, (&'static str, &'static str)>, Response> {
    if params
        .get("admin")
        .is_some_and(|name| api.panel.admin(name).is_none())
    {
        return Err(Refusal::AdminNotFound.into());
    }
    for name in ["node_id", "template_id"] {
        let Some(text) = params.get(name) else {
            continue;
        };
        // A negative number is one, and names nothing.
        let id = match integer_of_text(text) {
            Ok(id) => u64::try_from(id).unwrap_or(0),
            Err(message) => return Ok(Err((name, message))),
        };
        if name == "node_id" {
            api.panel.node(id)?;
        } else {
            api.panel.template(id)?;
        }
        return Ok(Ok(id));
    }
    Ok(Ok(0))
}
