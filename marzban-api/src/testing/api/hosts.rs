//! The routes of hosts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::call::{ApiResult, Call};
use super::fields::{Fields, NOT_AN_OBJECT};
use super::response::Response;
use super::state::Api;
use crate::testing::panel::host::Host;

/// `GET /api/hosts`.
pub(crate) fn show(api: &mut Api, _: &Call<'_>) -> ApiResult {
    let inbounds = api.panel.inbounds.all();
    let hosts: BTreeMap<&str, &[Host]> = inbounds
        .map(|inbound| (inbound.tag.as_str(), api.panel.hosts.of(&inbound.tag)))
        .collect();
    Ok(Response::ok(&hosts))
}

/// `PUT /api/hosts`: replaces the hosts of the tags that the body names, and leaves the others.
pub(crate) fn replace(api: &mut Api, call: &Call<'_>) -> ApiResult {
    let given = read(call.json.as_ref())?;
    api.panel.hosts.replace(given, &api.panel.inbounds)?;
    show(api, call)
}

fn read(json: Option<&Value>) -> Result<BTreeMap<String, Vec<Host>>, Response> {
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
            read.push(read_host(&mut fields));
            all.absorb(fields);
        }
        hosts.insert(tag.clone(), read);
    }
    all.finish(hosts)
}

fn invalid(message: &str) -> Response {
    Response::invalid(&[("body".to_owned(), message.to_owned())])
}

fn read_host(fields: &mut Fields<'_>) -> Host {
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
    Host {
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
        ..Host::new(remark, address)
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
