//! The links of a user: one for each of its inbounds under each host of that inbound.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::view::View;
use crate::testing::panel::host::Host;
use crate::testing::panel::inbound::{Inbound, Port};
use crate::testing::panel::protocol::Proxy;
use crate::testing::panel::random::splitmix64;
use crate::testing::panel::user::{FakeStatus, FakeUser};

const DAY: i64 = 86_400;

/// The public key of all inbounds that need one; no client ever connects to them.
pub(crate) const PUBLIC_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One way to connect, which each format of a subscription renders in its own way.
pub(crate) struct ProxyLink<'a> {
    pub(crate) remark: String,
    pub(crate) address: &'a str,
    pub(crate) port: Port,
    pub(crate) server_name: &'a str,
    pub(crate) short_id: &'a str,
    pub(crate) path: &'a str,
    pub(crate) security: &'a str,
    pub(crate) inbound: &'a Inbound,
    pub(crate) proxy: &'a Proxy,
}

/// Lists the ways to connect; the panel draws server name and short id anew each time a user is read.
pub(crate) fn proxy_links<'a>(user: &'a FakeUser, view: View<'a>) -> impl Iterator<Item = ProxyLink<'a>> {
    let seed = splitmix64(view.seed);
    let inbounds = user.proxies.iter().flat_map(move |(protocol, proxy)| {
        let wanted = view.inbounds.of(*protocol);
        wanted
            .filter(|inbound| !user.excludes(inbound))
            .map(move |inbound| (inbound, proxy))
    });
    inbounds.flat_map(move |(inbound, proxy)| {
        let hosts = view.hosts.of(&inbound.tag).iter();
        hosts
            .filter(|host| !host.is_disabled)
            .map(move |host| proxy_link(user, view, seed, inbound, proxy, host))
    })
}

fn proxy_link<'a>(
    user: &FakeUser,
    view: View<'_>,
    seed: u64,
    inbound: &'a Inbound,
    proxy: &'a Proxy,
    host: &'a Host,
) -> ProxyLink<'a> {
    let names = inbound.server_names.iter().map(String::as_str);
    let server_name = match host.sni.as_deref().filter(|sni| !sni.is_empty()) {
        Some(sni) => pick(sni.split(',').collect(), seed),
        None => pick(names.collect(), seed),
    };
    ProxyLink {
        remark: fill(&host.remark, user, view, inbound),
        address: match pick(host.address.split(',').collect(), seed) {
            "{SERVER_IP}" => "127.0.0.1",
            address => address,
        },
        port: host.port.map_or_else(|| inbound.port.clone(), Port::Number),
        server_name,
        short_id: pick(inbound.short_ids.iter().map(String::as_str).collect(), seed >> 32),
        path: host.path.as_deref().unwrap_or(&inbound.path),
        security: match host.security.as_str() {
            "inbound_default" => &inbound.tls,
            security => security,
        },
        inbound,
        proxy,
    }
}

fn pick(choices: Vec<&str>, seed: u64) -> &str {
    let count = u64::try_from(choices.len()).unwrap_or(1).max(1);
    let index = usize::try_from(seed % count).unwrap_or(0);
    choices.into_iter().nth(index).unwrap_or_default().trim()
}

/// Fills in the variables of a remark; one that the panel does not know stays as it is.
fn fill(remark: &str, user: &FakeUser, view: View<'_>, inbound: &Inbound) -> String {
    if !remark.contains('{') {
        return remark.to_owned();
    }
    let left = user
        .data_limit
        .map(|limit| limit.saturating_sub(user.used_traffic).max(0));
    let or_endless = |bytes: Option<i64>| bytes.map_or_else(|| "∞".to_owned(), gigabytes);
    let days = user
        .expire
        .map(|expire| expire.saturating_sub(view.now.timestamp()).max(0) / DAY);
    let mut text = remark
        .replace("{USERNAME}", &user.username)
        .replace("{PROTOCOL}", inbound.protocol.label())
        .replace("{TRANSPORT}", &inbound.network)
        .replace("{SERVER_IP}", "127.0.0.1");
    // Most remarks have no more than these, and a list of users fills in thousands.
    if text.contains('{') {
        text = text
            .replace(
                "{DAYS_LEFT}",
                &days.map_or_else(|| "∞".to_owned(), |days| days.to_string()),
            )
            .replace("{DATA_USAGE}", &gigabytes(user.used_traffic))
            .replace("{DATA_LIMIT}", &or_endless(user.data_limit))
            .replace("{DATA_LEFT}", &or_endless(left))
            .replace("{STATUS_EMOJI}", emoji(user.status));
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a figure of two digits for people")]
fn gigabytes(bytes: i64) -> String {
    format!("{:.2} GB", bytes as f64 / 1_073_741_824.0)
}

const fn emoji(status: FakeStatus) -> &'static str {
    match status {
        FakeStatus::Active => "✅",
        FakeStatus::Expired => "⌛️",
        FakeStatus::Limited => "🪫",
        FakeStatus::Disabled => "❌",
        FakeStatus::OnHold => "🔌",
    }
}

/// The links as apps take them.
pub(crate) fn links(user: &FakeUser, view: View<'_>) -> Vec<String> {
    proxy_links(user, view).map(|link| link.text()).collect()
}

impl ProxyLink<'_> {
    /// The port as text, also where it is a range.
    fn port_text(&self) -> String {
        match &self.port {
            Port::Number(port) => port.to_string(),
            Port::Range(range) => range.clone(),
            Port::Missing => "null".to_owned(),
        }
    }

    fn text(&self) -> String {
        let Inbound { network, .. } = self.inbound;
        let place = format!("{}:{}", self.address, self.port_text());
        let remark = utf8_percent_encode(&self.remark, NON_ALPHANUMERIC);
        let query = || {
            let path = if network == "grpc" { "serviceName" } else { "path" };
            format!(
                "security={}&type={network}&headerType=&{path}={}&host=&sni={}&fp=chrome\
                 &pbk={PUBLIC_KEY}&sid={}",
                self.security,
                utf8_percent_encode(self.path, NON_ALPHANUMERIC),
                self.server_name,
                self.short_id
            )
        };
        match self.proxy {
            Proxy::Vless { id, .. } => format!("vless://{id}@{place}?{}#{remark}", query()),
            Proxy::Trojan { password, .. } => format!("trojan://{password}@{place}?{}#{remark}", query()),
            Proxy::Shadowsocks { password, method } => {
                let login = BASE64_STANDARD.encode(format!("{method}:{password}"));
                format!("ss://{login}@{place}#{remark}")
            }
            Proxy::Vmess { id } => {
                let config = json!({
                    "add": self.address, "aid": "0", "host": self.server_name, "id": id, "net": network,
                    "path": self.path, "port": self.port, "ps": self.remark, "scy": "auto",
                    "tls": self.security, "type": "http", "v": "2",
                });
                format!("vmess://{}", BASE64_STANDARD.encode(config.to_string()))
            }
        }
    }
}
