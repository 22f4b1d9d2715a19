//! The public routes of a subscription: `/sub/{token}` and what is below it.

use matchit::Params;

use super::call::ApiResult;
use super::formats::Format;
use super::links::links;
use super::request::Request;
use super::response::Response;
use super::state::Api;
use super::usage as usage_routes;
use crate::testing::panel::Refusal;
use crate::testing::panel::user::FakeUser;

/// Finds the name of the user whose token the path holds.
fn subscriber(api: &Api, params: &Params<'_, '_>) -> Result<String, Response> {
    let user = api.subscriber(params.get("token").unwrap_or_default());
    user.map(|user| user.username.clone())
        .ok_or_else(|| Response::detail(404, "Not Found"))
}

/// `GET /sub/{token}`: a browser gets a page, an app its servers; only an app's visit is noted.
pub(crate) fn whole(api: &mut Api, request: &Request, params: &Params<'_, '_>) -> ApiResult {
    let username = subscriber(api, params)?;
    let is_browser = request
        .accept
        .as_deref()
        .is_some_and(|kinds| kinds.contains("text/html"));
    if is_browser {
        return page(api, &username);
    }
    let now = api.panel.now();
    let agent = request.user_agent.clone().unwrap_or_default();
    if let Some(user) = api.panel.user_mut(&username) {
        user.sub_updated_at = Some(now);
        user.sub_last_user_agent = Some(agent.clone());
    }
    formatted(api, &username, Format::of_app(&agent), request)
}

/// `GET /sub/{token}/{client_type}`.
pub(crate) fn for_client(api: &mut Api, request: &Request, params: &Params<'_, '_>) -> ApiResult {
    let username = subscriber(api, params)?;
    let format = Format::parse(params.get("client_type").unwrap_or_default()).ok_or_else(|| {
        let message = "String should match pattern 'sing-box|clash-meta|clash|outline|v2ray|v2ray-json'";
        Response::invalid(&[("client_type".to_owned(), message.to_owned())])
    })?;
    formatted(api, &username, format, request)
}

/// `GET /sub/{token}/usage`, the same as an admin sees.
pub(crate) fn usage(api: &mut Api, request: &Request, params: &Params<'_, '_>) -> ApiResult {
    let username = subscriber(api, params)?;
    usage_routes::show(api, &username, request)
}

/// `GET /sub/{token}/info`: what an admin sees, without what only an admin may see.
pub(crate) fn info(api: &mut Api, _: &Request, params: &Params<'_, '_>) -> ApiResult {
    let username = subscriber(api, params)?;
    let seed = api.panel.next_seed();
    let user = api.panel.shown_user(&username)?;
    let mut shown = serde_json::to_value(api.render(user, seed)).unwrap_or_default();
    if let Some(shown) = shown.as_object_mut() {
        for hidden in [
            "admin",
            "note",
            "inbounds",
            "excluded_inbounds",
            "auto_delete_in_days",
        ] {
            shown.remove(hidden);
        }
    }
    Ok(Response::ok(&shown))
}

fn page(api: &mut Api, username: &str) -> ApiResult {
    let seed = api.panel.next_seed();
    let user = api.panel.user(username).ok_or(Refusal::UserNotFound)?;
    let items = links(user, api.view(seed))
        .join("</code></li><li><code>")
        .replace('&', "&amp;");
    let page = format!(
        "<!DOCTYPE html>\n<html><head><title>{username}</title></head><body><h1>{username}</h1>\
         <p>{}</p><ul><li><code>{items}</code></li></ul></body></html>\n",
        user.status
    );
    Ok(Response::of_text("text/html; charset=utf-8", page))
}

fn formatted(api: &mut Api, username: &str, format: Format, request: &Request) -> ApiResult {
    let seed = api.panel.next_seed();
    let user = api.panel.shown_user(username)?;
    let response = format.write(user, api.view(seed));
    Ok(with_headers(response, user, request))
}

/// The headers by which an app shows what is left; 0 stands for unlimited.
fn with_headers(response: Response, user: &FakeUser, request: &Request) -> Response {
    let (total, expire) = (user.data_limit.unwrap_or(0), user.expire.unwrap_or(0));
    response
        .with_header(
            "content-disposition",
            format!("attachment; filename=\"{}\"", user.username),
        )
        .with_header("profile-web-page-url", request.url_of(&request.raw_path))
        .with_header("support-url", "https://t.me/")
        .with_header("profile-title", "base64:U3Vic2NyaXB0aW9u")
        .with_header("profile-update-interval", "12")
        .with_header(
            "subscription-userinfo",
            format!(
                "upload=0; download={}; total={total}; expire={expire}",
                user.used_traffic
            ),
        )
}
