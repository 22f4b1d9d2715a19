//! The routes of user templates.

use serde_json::Value;

use super::call::{ApiResult, Call};
use super::fields::Fields;
use super::query::page;
use super::response::Response;
use super::state::Api;
use crate::testing::panel::input::{Tags, TemplateInput};
use crate::testing::panel::protocol::FakeProtocol;
use crate::testing::panel::template::Template;

fn read(json: Option<&Value>) -> Result<TemplateInput, Response> {
    let mut fields = Fields::of_body(json)?;
    let input = TemplateInput {
        name: fields.text("name"),
        data_limit: amount(&mut fields, "data_limit"),
        expire_duration: amount(&mut fields, "expire_duration"),
        username_prefix: affix(&mut fields, "username_prefix"),
        username_suffix: affix(&mut fields, "username_suffix"),
        inbounds: inbounds(&mut fields),
    };
    fields.finish(input)
}

fn amount(fields: &mut Fields<'_>, name: &str) -> Option<i64> {
    let amount = fields.integer(name);
    if amount.is_some_and(|amount| amount < 0) {
        fields.problem(name, "Input should be greater than or equal to 0");
    }
    amount
}

fn affix(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    let affix = fields.text(name)?;
    match affix.chars().count() {
        0 => fields.problem(name, "String should have at least 1 character"),
        1..=20 => return Some(affix),
        _ => fields.problem(name, "String should have at most 20 characters"),
    }
    None
}

fn inbounds(fields: &mut Fields<'_>) -> Tags {
    let object = match fields.object.get("inbounds") {
        None => return Tags::new(),
        Some(Value::Object(object)) => object,
        Some(_) => {
            fields.problem("inbounds", "Input should be a valid dictionary");
            return Tags::new();
        }
    };
    let mut wanted = Tags::new();
    for (name, tags) in object {
        let Some(protocol) = FakeProtocol::parse(name) else {
            fields.problem(
                "[key]",
                "Input should be 'vmess', 'vless', 'trojan' or 'shadowsocks'",
            );
            continue;
        };
        let Some(tags) = tags.as_array() else {
            fields.problem(name, "Input should be a valid list");
            continue;
        };
        let tags = tags.iter().filter_map(Value::as_str);
        wanted.insert(protocol, tags.map(str::to_owned).collect());
    }
    wanted
}

/// `GET /api/user_template`.
pub(crate) fn list(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let (offset, limit) = page(call.request)?;
    let templates = api.panel.templates.values().skip(offset).take(limit);
    Ok(Response::ok(&templates.collect::<Vec<&Template>>()))
}

/// `GET /api/user_template/{id}`.
pub(crate) fn show(api: &mut Api, call: &Call<'_>) -> ApiResult {
    Ok(Response::ok(api.panel.template(call.id)?))
}

/// `POST /api/user_template`.
pub(crate) fn create(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let id = api.panel.create_template(read(call.json.as_ref())?)?;
    Ok(Response::ok(api.panel.template(id)?))
}

/// `PUT /api/user_template/{id}`: null is unchanged.
pub(crate) fn modify(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.modify_template(call.id, read(call.json.as_ref())?)?;
    show(api, call)
}

/// `DELETE /api/user_template/{id}`, which answers null.
pub(crate) fn delete(api: &mut Api, call: &Call<'_>) -> ApiResult {
    api.panel.templates.remove(&call.id);
    Ok(Response::ok(&Value::Null))
}
