//! The routes of user templates.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::testing::api::fields::Fields;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::admins::page;
use crate::testing::panel::state::World;
use crate::testing::panel::user::FakeProtocol;

/// A template, with the seven keys that the panel shows of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Template {
    name: String,
    data_limit: i64,
    expire_duration: i64,
    username_prefix: Option<String>,
    username_suffix: Option<String>,
    inbounds: BTreeMap<FakeProtocol, BTreeSet<String>>,
    id: u64,
}

struct TemplateBody {
    name: Option<String>,
    data_limit: Option<i64>,
    expire_duration: Option<i64>,
    username_prefix: Option<String>,
    username_suffix: Option<String>,
    inbounds: BTreeMap<FakeProtocol, BTreeSet<String>>,
}

impl TemplateBody {
    fn read(json: Option<&Value>) -> Result<Self, Answer> {
        let mut fields = Fields::of_body(json)?;
        let body = Self {
            name: fields.text("name"),
            data_limit: amount(&mut fields, "data_limit"),
            expire_duration: amount(&mut fields, "expire_duration"),
            username_prefix: affix(&mut fields, "username_prefix"),
            username_suffix: affix(&mut fields, "username_suffix"),
            inbounds: inbounds(&mut fields),
        };
        fields.finish(body)
    }
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

fn inbounds(fields: &mut Fields<'_>) -> BTreeMap<FakeProtocol, BTreeSet<String>> {
    let object = match fields.object.get("inbounds") {
        None => return BTreeMap::new(),
        Some(Value::Object(object)) => object,
        Some(_) => {
            fields.problem("inbounds", "Input should be a valid dictionary");
            return BTreeMap::new();
        }
    };
    let mut wanted = BTreeMap::new();
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

/// Tags that no inbound has are dropped without a word.
fn known(
    world: &World,
    wanted: BTreeMap<FakeProtocol, BTreeSet<String>>,
) -> BTreeMap<FakeProtocol, BTreeSet<String>> {
    let of = |(protocol, tags): (FakeProtocol, BTreeSet<String>)| {
        let tags = tags
            .into_iter()
            .filter(|tag| world.core.inbounds.has(protocol, tag));
        (protocol, tags.collect::<BTreeSet<String>>())
    };
    wanted
        .into_iter()
        .map(of)
        .filter(|(_, tags)| !tags.is_empty())
        .collect()
}

fn taken() -> Answer {
    Answer::detail(409, "Template by this name already exists")
}

/// `GET /api/user_template`.
pub(crate) fn list(world: &World, call: &Call) -> Result<Answer, Answer> {
    let (offset, limit) = page(call)?;
    let templates: Vec<&Template> = world.templates.values().skip(offset).take(limit).collect();
    Ok(Answer::ok(&templates))
}

/// `GET /api/user_template/{id}`.
pub(crate) fn show(world: &World, id: u64) -> Answer {
    world
        .templates
        .get(&id)
        .map_or_else(Answer::no_such_template, Answer::ok)
}

/// `POST /api/user_template`: a name is optional to the panel's model, but not to its database.
pub(crate) fn create(world: &mut World, json: Option<&Value>) -> Result<Answer, Answer> {
    let body = TemplateBody::read(json)?;
    let is_taken = |name: &String| world.templates.values().any(|template| template.name == *name);
    let name = body.name.filter(|name| !is_taken(name)).ok_or_else(taken)?;
    let id = world.templates.keys().next_back().map_or(1, |last| last + 1);
    let template = Template {
        name,
        data_limit: body.data_limit.unwrap_or_default(),
        expire_duration: body.expire_duration.unwrap_or_default(),
        username_prefix: body.username_prefix,
        username_suffix: body.username_suffix,
        inbounds: known(world, body.inbounds),
        id,
    };
    world.templates.insert(id, template);
    Ok(show(world, id))
}

/// `PUT /api/user_template/{id}`: null is unchanged, and so are inbounds of which there are none.
pub(crate) fn modify(world: &mut World, id: u64, json: Option<&Value>) -> Result<Answer, Answer> {
    let body = TemplateBody::read(json)?;
    let is_taken = |name: &String| {
        let mut others = world.templates.values().filter(|template| template.id != id);
        others.any(|template| template.name == *name)
    };
    if body.name.as_ref().is_some_and(is_taken) {
        return Err(taken());
    }
    let inbounds = known(world, body.inbounds);
    let template = world
        .templates
        .get_mut(&id)
        .ok_or_else(Answer::no_such_template)?;
    template.name = body.name.unwrap_or_else(|| template.name.clone());
    template.data_limit = body.data_limit.unwrap_or(template.data_limit);
    template.expire_duration = body.expire_duration.unwrap_or(template.expire_duration);
    template.username_prefix = body.username_prefix.or_else(|| template.username_prefix.take());
    template.username_suffix = body.username_suffix.or_else(|| template.username_suffix.take());
    if !inbounds.is_empty() {
        template.inbounds = inbounds;
    }
    Ok(Answer::ok(template))
}

/// `DELETE /api/user_template/{id}`, which answers null.
pub(crate) fn delete(world: &mut World, id: u64) -> Answer {
    world.templates.remove(&id);
    Answer::ok(&Value::Null)
}
