//! `GET` and `PUT /api/hosts`: under which names and addresses the inbounds appear in the links.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::testing::api::fields::{Fields, NOT_AN_OBJECT};
use crate::testing::api::response::Answer;
use crate::testing::panel::inbound::Inbounds;
use crate::testing::panel::state::World;

/// The sixteen keys of a host.
#[derive(Clone, Debug, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    reason = "the panel chose the fields and their names"
)]
pub(crate) struct Host {
    pub(crate) remark: String,
    pub(crate) address: String,
    pub(crate) port: Option<i64>,
    pub(crate) sni: Option<String>,
    host: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) security: String,
    alpn: String,
    fingerprint: String,
    allowinsecure: Option<bool>,
    pub(crate) is_disabled: bool,
    mux_enable: bool,
    fragment_setting: Option<String>,
    noise_setting: Option<String>,
    random_user_agent: bool,
    use_sni_as_host: bool,
}

impl Host {
    pub(crate) fn new(remark: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            remark: remark.into(),
            address: address.into(),
            port: None,
            sni: None,
            host: None,
            path: None,
            security: "inbound_default".to_owned(),
            alpn: String::new(),
            fingerprint: String::new(),
            allowinsecure: None,
            is_disabled: false,
            mux_enable: false,
            fragment_setting: None,
            noise_setting: None,
            random_user_agent: false,
            use_sni_as_host: false,
        }
    }

    /// The host that a node asks for, named after it.
    pub(crate) fn of_node(name: &str, address: &str) -> Self {
        Self::new(
            format!("{name} ({{USERNAME}}) [{{PROTOCOL}} - {{TRANSPORT}}]"),
            address,
        )
    }

    fn read(fields: &mut Fields<'_>) -> Self {
        let remark = fields.required_text("remark");
        check_variables(fields, "remark", &remark);
        let address = fields.required_text("address");
        check_variables(fields, "address", &address);
        let mut chosen = |name: &str, words: &[&str], message: &str| {
            let parse = |word: &str| words.contains(&word).then(|| word.to_owned());
            fields.choice(name, parse, message).unwrap_or_default()
        };
        let security = chosen(
            "security",
            &SECURITIES,
            "Input should be 'inbound_default', 'none' or 'tls'",
        );
        let alpn = chosen(
            "alpn",
            &ALPNS,
            "Input should be '', 'h3', 'h2', 'http/1.1', 'h3,h2,http/1.1', 'h3,h2' or 'h2,http/1.1'",
        );
        let fingerprint = chosen(
            "fingerprint",
            &FINGERPRINTS,
            "Input should be '', 'chrome', 'firefox', 'safari', 'ios', 'android', 'edge', '360', 'qq', 'random' \
             or 'randomized'",
        );
        Self {
            port: fields.integer("port"),
            sni: fields.text("sni"),
            host: fields.text("host"),
            path: fields.text("path"),
            security: if security.is_empty() {
                "inbound_default".to_owned()
            } else {
                security
            },
            alpn,
            fingerprint,
            allowinsecure: fields.flag("allowinsecure"),
            is_disabled: fields.flag("is_disabled").unwrap_or_default(),
            mux_enable: fields.flag("mux_enable").unwrap_or_default(),
            fragment_setting: fields.text("fragment_setting").filter(|setting| {
                check_setting(fields, "fragment_setting", is_fragment(setting), FRAGMENT_MESSAGE)
            }),
            noise_setting: fields
                .text("noise_setting")
                .filter(|setting| check_setting(fields, "noise_setting", is_noise(setting), NOISE_MESSAGE)),
            random_user_agent: fields.flag("random_user_agent").unwrap_or_default(),
            use_sni_as_host: fields.flag("use_sni_as_host").unwrap_or_default(),
            ..Self::new(remark, address)
        }
    }
}

const SECURITIES: [&str; 3] = ["inbound_default", "none", "tls"];
const ALPNS: [&str; 7] = [
    "",
    "h3",
    "h2",
    "http/1.1",
    "h3,h2,http/1.1",
    "h3,h2",
    "h2,http/1.1",
];
const FINGERPRINTS: [&str; 11] = [
    "",
    "chrome",
    "firefox",
    "safari",
    "ios",
    "android",
    "edge",
    "360",
    "qq",
    "random",
    "randomized",
];
const FRAGMENT_MESSAGE: &str =
    "Value error, Fragment setting must be like this: length,interval,packet (10-100,100-200,tlshello).";
const NOISE_MESSAGE: &str =
    "Value error, Noise setting must be like this: packet,delay (rand:10-20,100-200).";

fn check_variables(fields: &mut Fields<'_>, name: &str, text: &str) {
    if !is_format(text) {
        fields.problem(name, "Value error, Invalid formatting variables");
    }
}

fn check_setting(fields: &mut Fields<'_>, name: &str, is_valid: bool, message: &str) -> bool {
    if !is_valid {
        fields.problem(name, message);
    }
    is_valid
}

/// Whether Python could format the text: braces enclose names, or are doubled.
fn is_format(text: &str) -> bool {
    let text = text.replace("{{", "").replace("}}", "");
    let mut is_inside = false;
    for character in text.chars() {
        match (character, is_inside) {
            ('{', false) => is_inside = true,
            ('}', true) => is_inside = false,
            ('{', true) | ('}', false) => return false,
            _ => {}
        }
    }
    !is_inside
}

/// `10-20` or `10`.
fn is_range(text: &str) -> bool {
    let is_number =
        |part: &str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-')
        .map_or_else(|| is_number(text), |(from, to)| is_number(from) && is_number(to))
}

fn is_fragment(setting: &str) -> bool {
    let parts: Vec<&str> = setting.split(',').collect();
    matches!(parts.as_slice(), [length, interval, packet]
        if is_range(length) && is_range(interval) && (*packet == "tlshello" || is_range(packet)))
}

/// Noises are separated by `&`; each is a packet, by its kind, and a delay.
fn is_noise(setting: &str) -> bool {
    setting.split('&').all(|noise| {
        let Some((packet, delay)) = noise.rsplit_once(',') else {
            return false;
        };
        is_range(delay)
            && match packet.split_once(':') {
                Some(("rand", length)) => is_range(length),
                Some(("str" | "base64" | "hex", content)) => !content.is_empty(),
                _ => false,
            }
    })
}

/// The hosts by the tag of their inbound; those of an inbound that is gone wait for its return.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(BTreeMap<String, Vec<Host>>);

impl Hosts {
    /// Gives every inbound that the panel has not met before the host of the panel itself.
    pub(crate) fn meet(&mut self, inbounds: &Inbounds) {
        for inbound in inbounds.all() {
            self.0.entry(inbound.tag.clone()).or_insert_with(|| {
                vec![Host::new(
                    "Fake ({USERNAME}) [{PROTOCOL} - {TRANSPORT}]",
                    "{SERVER_IP}",
                )]
            });
        }
    }

    /// Adds a host to every inbound of the configuration.
    pub(crate) fn add_everywhere(&mut self, inbounds: &Inbounds, host: &Host) {
        for inbound in inbounds.all() {
            self.0.entry(inbound.tag.clone()).or_default().push(host.clone());
        }
    }

    pub(crate) fn of(&self, tag: &str) -> &[Host] {
        self.0.get(tag).map_or(&[], Vec::as_slice)
    }
}

/// `GET /api/hosts`.
pub(crate) fn show(world: &World) -> Answer {
    let inbounds = world.core.inbounds.all();
    let hosts: BTreeMap<&str, &[Host]> = inbounds
        .map(|inbound| (inbound.tag.as_str(), world.hosts.of(&inbound.tag)))
        .collect();
    Answer::ok(&hosts)
}

/// `PUT /api/hosts`: replaces the hosts of the tags that the body names, and leaves the others.
pub(crate) fn replace(world: &mut World, json: Option<&Value>) -> Result<Answer, Answer> {
    let given = read(json)?;
    let is_known = |tag: &str| world.core.inbounds.all().any(|inbound| inbound.tag == tag);
    if let Some(tag) = given.keys().find(|tag| !is_known(tag)) {
        return Err(Answer::detail(400, &format!("Inbound {tag} doesn't exist")));
    }
    world.hosts.0.extend(given);
    Ok(show(world))
}

fn read(json: Option<&Value>) -> Result<BTreeMap<String, Vec<Host>>, Answer> {
    let object = match json {
        Some(Value::Object(object)) => object,
        None => return Err(invalid("Field required")),
        Some(_) => return Err(invalid("Input should be a valid dictionary")),
    };
    let mut all = Fields::new(object);
    let mut hosts = BTreeMap::new();
    for (tag, list) in object {
        let Value::Array(list) = list else {
            all.problem(tag, "Input should be a valid list");
            continue;
        };
        let mut read = Vec::new();
        for (index, host) in list.iter().enumerate() {
            let Value::Object(host) = host else {
                all.problem(&index.to_string(), NOT_AN_OBJECT);
                continue;
            };
            let mut fields = Fields::new(host);
            read.push(Host::read(&mut fields));
            all.absorb(fields);
        }
        hosts.insert(tag.clone(), read);
    }
    all.finish(hosts)
}

fn invalid(message: &str) -> Answer {
    Answer::invalid(&[("body".to_owned(), message.to_owned())])
}
