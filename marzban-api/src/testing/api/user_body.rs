//! The JSON bodies that create and edit users, checked with the panel's own messages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, NOT_AN_OBJECT};
use super::response::Response;
use crate::testing::panel::inbound::Inbounds;
use crate::testing::panel::input::Tags;
use crate::testing::panel::protocol::FakeProtocol;
use crate::testing::panel::user::FakeStatus;
use crate::testing::panel::{NextPlanInput, ProxiesInput, ProxyInput, UserInput};

const FLOW_MESSAGE: &str = "Input should be '' or 'xtls-rprx-vision'";
const METHOD_MESSAGE: &str = "Input should be 'aes-128-gcm', 'aes-256-gcm' or 'chacha20-ietf-poly1305'";
const STRATEGIES: [&str; 5] = ["no_reset", "day", "week", "month", "year"];

/// What a body is for: `POST /api/user` or `PUT /api/user/{name}`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Create,
    Edit,
}

/// Checks a body field by field and reports all problems at once, as the panel does.
///
/// The name is empty in an edit.
pub(crate) fn read(
    json: Option<&Value>,
    purpose: Purpose,
    known: &Inbounds,
) -> Result<(String, UserInput), Response> {
    let mut fields = Fields::of_body(json)?;
    let username = match purpose {
        Purpose::Create => fields.username(),
        Purpose::Edit => String::new(),
    };
    let input = UserInput {
        status: fields.status(purpose),
        expire: fields.integer("expire"),
        data_limit: fields.data_limit(),
        data_limit_reset_strategy: fields.strategy(),
        note: fields.note(),
        on_hold_expire_duration: fields.integer("on_hold_expire_duration"),
        on_hold_timeout: fields.datetime("on_hold_timeout"),
        auto_delete_in_days: fields.integer("auto_delete_in_days"),
        next_plan: fields.next_plan(),
        proxies: fields.proxies(purpose),
        inbounds: fields.inbounds(purpose, known),
    };
    fields.check_hold(&input);
    fields.finish((username, input))
}

impl Fields<'_> {
    fn username(&mut self) -> String {
        match self.object.get("username") {
            None => self.problem("username", "Field required"),
            Some(Value::String(name)) if is_valid_username(name) => return name.clone(),
            Some(Value::String(_)) => self.problem(
                "username",
                "Value error, Username only can be 3 to 32 characters and contain a-z, 0-9, and \
                 underscores in between.",
            ),
            Some(_) => self.problem("username", "Input should be a valid string"),
        }
        String::new()
    }

    fn status(&mut self, purpose: Purpose) -> Option<FakeStatus> {
        use FakeStatus::{Active, Disabled, OnHold};
        let value = self.object.get("status")?;
        let status = value.as_str().and_then(FakeStatus::parse);
        let (allowed, message): (&[FakeStatus], _) = match purpose {
            Purpose::Create => (&[Active, OnHold], "Input should be 'active' or 'on_hold'"),
            Purpose::Edit => (
                &[Active, Disabled, OnHold],
                "Input should be 'active', 'disabled' or 'on_hold'",
            ),
        };
        let status = status.filter(|status| allowed.contains(status));
        if status.is_none() {
            self.problem("status", message);
        }
        status
    }

    /// An on-hold user needs a duration in the same body and must not have an expiry there.
    fn check_hold(&mut self, input: &UserInput) {
        if input.status != Some(FakeStatus::OnHold) {
            return;
        }
        if input.on_hold_expire_duration.is_none_or(|seconds| seconds <= 0) {
            let message = "Value error, User cannot be on hold without a valid on_hold_expire_duration.";
            self.problem("status", message);
        } else if input.expire.is_some_and(|expire| expire != 0) {
            self.problem(
                "status",
                "Value error, User cannot be on hold with specified expire.",
            );
        }
    }

    /// The traffic limit is truncated where other integers must be whole, and may not be text.
    fn data_limit(&mut self) -> Option<i64> {
        let given = self.given("data_limit")?;
        if given.is_boolean() {
            return self.integer_of("data_limit", given);
        }
        let Value::Number(number) = given else {
            let message = "Value error, data_limit must be an integer or a float, not a string";
            self.problem("data_limit", message);
            return None;
        };
        let limit = number.as_i64().or_else(|| self.whole(number.as_f64()));
        if limit.is_some_and(|limit| limit < 0) {
            self.problem("data_limit", "Input should be greater than or equal to 0");
        }
        limit
    }

    fn strategy(&mut self) -> Option<String> {
        let value = self.object.get("data_limit_reset_strategy")?;
        let name = value.as_str().filter(|name| STRATEGIES.contains(name));
        if name.is_none() {
            let message = "Input should be 'no_reset', 'day', 'week', 'month' or 'year'";
            self.problem("data_limit_reset_strategy", message);
        }
        name.map(str::to_owned)
    }

    fn note(&mut self) -> Option<String> {
        match self.given("note")? {
            Value::String(note) if note.chars().count() <= 500 => return Some(note.clone()),
            Value::String(_) => {
                self.problem(
                    "note",
                    "Value error, User's note can be a maximum of 500 character",
                );
            }
            _ => self.problem("note", "Input should be a valid string"),
        }
        None
    }

    fn next_plan(&mut self) -> Option<NextPlanInput> {
        let Value::Object(plan) = self.given("next_plan")? else {
            self.problem("next_plan", NOT_AN_OBJECT);
            return None;
        };
        let mut fields = Fields::new(plan);
        let data_limit = fields.integer("data_limit");
        let expire = fields.integer("expire");
        let mut flag = |name: &str, default| {
            fields.not_null(name, "Input should be a valid boolean");
            fields.flag(name).unwrap_or(default)
        };
        let plan = NextPlanInput {
            data_limit,
            expire,
            add_remaining_traffic: flag("add_remaining_traffic", false),
            fire_on_either: flag("fire_on_either", true),
        };
        self.absorb(fields);
        Some(plan)
    }

    fn proxies(&mut self, purpose: Purpose) -> ProxiesInput {
        let needed = "Value error, Each user needs at least one proxy";
        match (self.object.get("proxies"), purpose) {
            (None, _) => ProxiesInput::Omitted,
            (Some(Value::Null), Purpose::Edit) => ProxiesInput::Null,
            (Some(Value::Null), Purpose::Create) => {
                self.problem("proxies", needed);
                ProxiesInput::Null
            }
            (Some(Value::Object(proxies)), _) => {
                if proxies.is_empty() && purpose == Purpose::Create {
                    self.problem("proxies", needed);
                }
                let known = proxies
                    .iter()
                    .filter_map(|(name, settings)| self.proxy(name, settings));
                ProxiesInput::Given(known.collect())
            }
            (Some(_), _) => {
                self.problem("proxies", "Input should be a valid dictionary");
                ProxiesInput::Null
            }
        }
    }

    fn proxy(&mut self, name: &str, settings: &Value) -> Option<(FakeProtocol, ProxyInput)> {
        let Some(protocol) = FakeProtocol::parse(name) else {
            self.problem(
                "proxies",
                format!("Value error, '{name}' is not a valid ProxyTypes"),
            );
            return None;
        };
        let Value::Object(settings) = settings else {
            self.problem("proxies", "Input should be a valid dictionary");
            return None;
        };
        let mut text = |name: &str, message: &str| {
            let value = settings.get(name).filter(|_| protocol.has_setting(name))?;
            if !value.is_string() {
                self.problem(name, message);
            }
            value.as_str().map(str::to_owned)
        };
        let body = ProxyInput {
            id: text("id", "UUID input should be a string, bytes or UUID object"),
            password: text("password", "Input should be a valid string"),
            flow: text("flow", FLOW_MESSAGE),
            method: text("method", METHOD_MESSAGE),
        };
        if let Some(message) = body.id.as_deref().and_then(uuid_problem) {
            self.problem("id", message);
        }
        if body
            .flow
            .as_deref()
            .is_some_and(|flow| !["", "xtls-rprx-vision"].contains(&flow))
        {
            self.problem("flow", FLOW_MESSAGE);
        }
        let methods = ["aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"];
        if body
            .method
            .as_deref()
            .is_some_and(|method| !methods.contains(&method))
        {
            self.problem("method", METHOD_MESSAGE);
        }
        Some((protocol, body))
    }

    /// Accepts tags of any protocol, and ignores the inbounds of protocols that a new user lacks.
    fn inbounds(&mut self, purpose: Purpose, known: &Inbounds) -> Option<Tags> {
        let Value::Object(inbounds) = self.object.get("inbounds")? else {
            self.problem("inbounds", "Input should be a valid dictionary");
            return None;
        };
        let proxies = self.object.get("proxies").and_then(Value::as_object);
        let is_wanted = |name: &str| {
            purpose == Purpose::Edit || proxies.is_some_and(|proxies| proxies.contains_key(name))
        };
        let mut wanted = BTreeMap::new();
        for (name, tags) in inbounds.iter().filter(|(name, _)| is_wanted(name)) {
            let Some(tags) = tags.as_array() else {
                self.problem(name, "Input should be a valid list");
                continue;
            };
            let unknown = tags
                .iter()
                .find(|tag| !tag.as_str().is_some_and(|tag| known.has_tag(tag)));
            if let Some(unknown) = unknown {
                let tag = unknown
                    .as_str()
                    .map_or_else(|| unknown.to_string(), str::to_owned);
                self.problem("inbounds", format!("Value error, Inbound {tag} doesn't exist"));
            }
            let Some(protocol) = FakeProtocol::parse(name) else {
                let message = "Input should be 'vmess', 'vless', 'trojan' or 'shadowsocks'";
                self.problem("[key]", message);
                continue;
            };
            let tags = tags.iter().filter_map(Value::as_str).map(str::to_owned);
            wanted.insert(protocol, tags.collect());
        }
        Some(wanted)
    }
}

/// The rule of the panel's regular expression, which is not quite the one of its message: only the leading
/// run of letters, digits and underscores is measured, and Python's `$` lets a final line feed pass.
fn is_valid_username(name: &str) -> bool {
    let name = name.strip_suffix('\n').unwrap_or(name);
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let run = name.chars().take_while(|character| is_word(*character)).count();
    (3..=32).contains(&run)
        && name
            .chars()
            .all(|character| is_word(character) || "@.-".contains(character))
}

fn uuid_problem(id: &str) -> Option<String> {
    let id = id.strip_prefix("urn:uuid:").unwrap_or(id);
    let prefix = "Input should be a valid UUID, invalid";
    if let Some((at, found)) = id
        .chars()
        .enumerate()
        .find(|(_, character)| !character.is_ascii_hexdigit() && *character != '-')
    {
        let expected = "expected an optional prefix of `urn:uuid:` followed by [0-9a-fA-F-]";
        return Some(format!(
            "{prefix} character: {expected}, found `{found}` at {}",
            at + 1
        ));
    }
    let digits = id.chars().filter(char::is_ascii_hexdigit).count();
    (digits != 32).then(|| format!("{prefix} length: expected 32 hexadecimal digits, found {digits}"))
}
