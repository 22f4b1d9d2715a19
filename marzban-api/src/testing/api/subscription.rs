//! The public routes of a subscription: `/sub/{token}` and what is below it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::testing::api::links::{PUBLIC_KEY, Share, links, shares};
use crate::testing::api::render::View;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::api::subscription_token as token;
use crate::testing::panel::state::World;
use crate::testing::panel::usage;
use crate::testing::panel::user::{FakeUser, Proxy};

/// The forms in which an app takes its servers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    SingBox,
    ClashMeta,
    Clash,
    Outline,
    V2ray,
    V2rayJson,
}

impl Format {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "sing-box" => Some(Self::SingBox),
            "clash-meta" => Some(Self::ClashMeta),
            "clash" => Some(Self::Clash),
            "outline" => Some(Self::Outline),
            "v2ray" => Some(Self::V2ray),
            "v2ray-json" => Some(Self::V2rayJson),
            _ => None,
        }
    }

    /// The form for an app; one that the panel does not know gets links.
    fn of_app(agent: &str) -> Self {
        let name = agent.to_ascii_lowercase();
        let is_one_of = |apps: &[&str]| apps.iter().any(|app| name.starts_with(app));
        if is_one_of(&[
            "clash-verge",
            "clash-meta",
            "clash.meta",
            "clashmeta",
            "flclash",
            "mihomo",
        ]) {
            Self::ClashMeta
        } else if is_one_of(&["clash", "stash"]) {
            Self::Clash
        } else if is_one_of(&["sfa", "sfi", "sfm", "sft", "karing", "hiddifynext"]) {
            Self::SingBox
        } else if is_one_of(&["outline", "shadowsocks", "ssconf"])
            || ["SS", "SSR", "SSD", "SSS"]
                .iter()
                .any(|app| agent.starts_with(app))
        {
            Self::Outline
        } else {
            Self::V2ray
        }
    }
}

/// Answers everything below `/sub/`; `rest` is what follows the token.
pub(crate) fn answer(world: &mut World, token: &str, rest: Option<&str>, call: &Call) -> Answer {
    let Some(user) = token::holder(world, token) else {
        return Answer::detail(404, "Not Found");
    };
    let username = user.username.clone();
    match rest {
        None | Some("") => whole(world, &username, call),
        Some("info") => info(world, &username),
        Some("usage") => usage::of_subscription(world, &username, call).unwrap_or_else(|refusal| refusal),
        Some(name) => {
            let Some(format) = Format::parse(name) else {
                let message =
                    "String should match pattern 'sing-box|clash-meta|clash|outline|v2ray|v2ray-json'";
                return Answer::invalid(&[("client_type".to_owned(), message.to_owned())]);
            };
            formatted(world, &username, format, call)
        }
    }
}

/// A browser gets a page, an app its servers; only an app's visit is noted.
fn whole(world: &mut World, username: &str, call: &Call) -> Answer {
    if call
        .accept
        .as_deref()
        .is_some_and(|kinds| kinds.contains("text/html"))
    {
        return page(world, username);
    }
    let now = world.now();
    let agent = call.user_agent.clone().unwrap_or_default();
    if let Some(user) = world.user_mut(username) {
        user.sub_updated_at = Some(now);
        user.sub_last_user_agent = Some(agent.clone());
    }
    formatted(world, username, Format::of_app(&agent), call)
}

fn page(world: &mut World, username: &str) -> Answer {
    let seed = world.next_seed();
    let Some(user) = world.user(username) else {
        return Answer::detail(404, "Not Found");
    };
    let items = links(user, world.view(seed))
        .join("</code></li><li><code>")
        .replace('&', "&amp;");
    let page = format!(
        "<!DOCTYPE html>\n<html><head><title>{username}</title></head><body><h1>{username}</h1>\
         <p>{}</p><ul><li><code>{items}</code></li></ul></body></html>\n",
        user.status
    );
    Answer::of_text("text/html; charset=utf-8", page)
}

/// `info` shows what the panel shows of a user, without what only an admin may see.
fn info(world: &mut World, username: &str) -> Answer {
    let seed = world.next_seed();
    let Some(user) = world.user(username) else {
        return Answer::detail(404, "Not Found");
    };
    if !user.is_presentable() {
        return Answer::internal_error();
    }
    let mut shown = serde_json::to_value(world.render(user, seed)).unwrap_or_default();
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
    Answer::ok(&shown)
}

fn formatted(world: &mut World, username: &str, format: Format, call: &Call) -> Answer {
    let seed = world.next_seed();
    let Some(user) = world.user(username) else {
        return Answer::detail(404, "Not Found");
    };
    if !user.is_presentable() {
        return Answer::internal_error();
    }
    let view = world.view(seed);
    let answer = match format {
        Format::V2ray => {
            let text = BASE64_STANDARD.encode(links(user, view).join("\n"));
            Answer::of_text("text/plain; charset=utf-8", text)
        }
        Format::Clash | Format::ClashMeta => Answer::of_text(
            "text/yaml; charset=utf-8",
            clash(user, view, format == Format::ClashMeta),
        ),
        Format::SingBox => Answer::ok(&sing_box(user, view)),
        Format::V2rayJson => Answer::ok(
            &shares(user, view)
                .map(|share| v2ray(&share))
                .collect::<Vec<Value>>(),
        ),
        Format::Outline => Answer::ok(&outline(user, view)),
    };
    with_headers(answer, user, call)
}

/// The headers by which an app shows what is left; 0 stands for unlimited.
fn with_headers(answer: Answer, user: &FakeUser, call: &Call) -> Answer {
    let (total, expire) = (user.data_limit.unwrap_or(0), user.expire.unwrap_or(0));
    let query = if call.raw_query.is_empty() { "" } else { "?" };
    let url = format!("http://{}{}{query}{}", call.host, call.raw_path, call.raw_query);
    answer
        .with_header(
            "content-disposition",
            format!("attachment; filename=\"{}\"", user.username),
        )
        .with_header("profile-web-page-url", url)
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

/// What identifies the user to a proxy, and is to be kept secret.
fn secret(proxy: &Proxy) -> &str {
    match proxy {
        Proxy::Vmess { id } | Proxy::Vless { id, .. } => id,
        Proxy::Trojan { password, .. } | Proxy::Shadowsocks { password, .. } => password,
    }
}

/// The name under which most formats hold the [`secret`].
const fn credential(proxy: &Proxy) -> &'static str {
    match proxy {
        Proxy::Vmess { .. } | Proxy::Vless { .. } => "uuid",
        Proxy::Trojan { .. } | Proxy::Shadowsocks { .. } => "password",
    }
}

/// YAML by hand: every text is quoted as JSON quotes it, which YAML reads. Plain Clash knows no VLESS.
fn clash(user: &FakeUser, view: View<'_>, is_meta: bool) -> String {
    let known = |share: &Share<'_>| is_meta || !matches!(share.proxy, Proxy::Vless { .. });
    let entry = |share: &Share<'_>| {
        let kind = match share.proxy {
            Proxy::Shadowsocks { .. } => "ss",
            _ => share.inbound.protocol.as_str(),
        };
        format!(
            "- name: {}\n  type: {kind}\n  server: {}\n  port: {}\n  {}: {}\n  network: {}\n  udp: true\n",
            Value::from(share.remark.as_str()),
            share.address,
            share.port,
            credential(share.proxy),
            Value::from(secret(share.proxy)),
            share.inbound.network,
        )
    };
    let (proxies, names): (Vec<String>, Vec<String>) = shares(user, view)
        .filter(known)
        .map(|share| (entry(&share), format!("  - {}\n", Value::from(share.remark))))
        .unzip();
    let (proxies, names) = if proxies.is_empty() {
        (" []\n".to_owned(), " null\n".to_owned())
    } else {
        (format!("\n{}", proxies.concat()), format!("\n{}", names.concat()))
    };
    format!(
        "mode: Global\nport: 7890\nproxies:{proxies}rules: []\nproxy-groups:\n- name: Automatic\n  type: url-test\n  \
         url: http://www.gstatic.com/generate_204\n  interval: 300\n  proxies:{names}"
    )
}

fn sing_box(user: &FakeUser, view: View<'_>) -> Value {
    let all: Vec<Share<'_>> = shares(user, view).collect();
    let names: Vec<&str> = all.iter().map(|share| share.remark.as_str()).collect();
    let mut outbounds = vec![
        json!({ "type": "selector", "tag": "proxy", "outbounds": names, "interrupt_exist_connections": true }),
        json!({ "type": "urltest", "tag": "Best Latency", "outbounds": names }),
        json!({ "type": "direct", "tag": "direct" }),
    ];
    outbounds.extend(all.iter().map(sing_box_outbound));
    json!({
        "log": { "level": "warn" },
        "dns": {
            "servers": [{ "tag": "dns-remote", "address": "1.1.1.1", "detour": "proxy" }],
            "rules": [{ "outbound": "any", "server": "dns-remote" }], "final": "dns-remote", "strategy": "prefer_ipv4",
        },
        "inbounds": [{
            "type": "tun", "tag": "tun-in", "interface_name": "sing-tun", "address": ["172.19.0.1/30"],
            "auto_route": true, "route_exclude_address": [], "sniff": true, "domain_strategy": "prefer_ipv4",
        }],
        "outbounds": outbounds,
        "route": {
            "rules": [
                { "protocol": "dns", "outbound": "direct" },
                { "ip_is_private": true, "outbound": "direct" },
            ],
            "final": "proxy", "auto_detect_interface": true, "override_android_vpn": true,
        },
        "experimental": { "cache_file": { "enabled": true, "store_rdrc": true } },
    })
}

/// Adds an entry to an object.
fn add(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn sing_box_outbound(share: &Share<'_>) -> Value {
    let mut outbound = json!({
        "type": share.inbound.protocol.as_str(), "tag": share.remark,
        "server": share.address, "server_port": share.port,
        "multiplex": { "enabled": false, "protocol": "h2mux", "max_streams": 8 },
    });
    add(&mut outbound, credential(share.proxy), secret(share.proxy).into());
    if let Proxy::Shadowsocks { method, .. } = share.proxy {
        add(&mut outbound, "method", method.as_str().into());
    }
    if share.security != "none" {
        let mut tls = json!({ "enabled": true, "server_name": share.server_name });
        if share.security == "reality" {
            let mut reality = json!({ "enabled": true, "public_key": PUBLIC_KEY });
            if !share.short_id.is_empty() {
                add(&mut reality, "short_id", share.short_id.into());
            }
            add(&mut tls, "reality", reality);
            add(
                &mut tls,
                "utls",
                json!({ "enabled": true, "fingerprint": "chrome" }),
            );
        }
        add(&mut outbound, "tls", tls);
    }
    match share.inbound.network.as_str() {
        "grpc" => add(
            &mut outbound,
            "transport",
            json!({
                "type": "grpc", "service_name": share.path,
                "idle_timeout": "15s", "ping_timeout": "15s", "permit_without_stream": false,
            }),
        ),
        "ws" => add(
            &mut outbound,
            "transport",
            json!({ "type": "ws", "path": share.path }),
        ),
        _ => {}
    }
    outbound
}

fn v2ray(share: &Share<'_>) -> Value {
    let inbound = |protocol: &str, port: u16| {
        json!({
            "tag": protocol, "port": port, "listen": "0.0.0.0", "protocol": protocol,
            "sniffing": { "enabled": true, "destOverride": ["http", "tls"], "routeOnly": false },
            "settings": { "auth": "noauth", "udp": true, "allowTransparent": false },
        })
    };
    json!({
        "log": { "access": "", "error": "", "loglevel": "warning" },
        "inbounds": [inbound("socks", 10_808), inbound("http", 10_809)],
        "outbounds": [{
            "tag": "proxy", "protocol": share.inbound.protocol.as_str(),
            "settings": v2ray_server(share), "streamSettings": v2ray_stream(share),
        }],
        "dns": { "servers": ["1.1.1.1"] },
        "routing": { "domainStrategy": "AsIs", "rules": [] },
        "remarks": share.remark,
    })
}

fn v2ray_server(share: &Share<'_>) -> Value {
    let secret = secret(share.proxy);
    let with_users =
        |user: Value| json!({ "vnext": [{ "address": share.address, "port": share.port, "users": [user] }] });
    match share.proxy {
        Proxy::Vmess { .. } => {
            with_users(json!({ "id": secret, "alterId": 0, "security": "auto", "email": "fake@example.com" }))
        }
        Proxy::Vless { flow, .. } => with_users(json!({
            "id": secret, "alterId": 0, "security": "auto", "email": "fake@example.com",
            "encryption": "none", "flow": flow,
        })),
        Proxy::Trojan { .. } => json!({
            "servers": [{ "address": share.address, "port": share.port, "password": secret }],
        }),
        Proxy::Shadowsocks { method, .. } => json!({
            "servers": [{
                "address": share.address, "port": share.port, "password": secret, "method": method,
            }],
        }),
    }
}

fn v2ray_stream(share: &Share<'_>) -> Value {
    let mut stream = json!({ "network": share.inbound.network, "security": share.security });
    match share.security {
        "reality" => {
            add(
                &mut stream,
                "realitySettings",
                json!({
                    "serverName": share.server_name, "fingerprint": "chrome", "show": false,
                    "publicKey": PUBLIC_KEY, "shortId": share.short_id,
                }),
            );
        }
        "tls" => {
            add(
                &mut stream,
                "tlsSettings",
                json!({ "serverName": share.server_name, "show": false }),
            );
        }
        _ => {}
    }
    match share.inbound.network.as_str() {
        "grpc" => {
            add(
                &mut stream,
                "grpcSettings",
                json!({
                    "serviceName": share.path, "multiMode": false, "idle_timeout": 60,
                    "health_check_timeout": 20, "permit_without_stream": false, "initial_windows_size": 0,
                }),
            );
        }
        "ws" => add(&mut stream, "wsSettings", json!({ "path": share.path })),
        _ => {}
    }
    stream
}

/// Outline takes one Shadowsocks server and nothing else.
fn outline(user: &FakeUser, view: View<'_>) -> Value {
    let found = shares(user, view).find_map(|share| match share.proxy {
        Proxy::Shadowsocks { password, method } => Some(json!({
            "method": method, "password": password, "server": share.address, "server_port": share.port,
            "tag": share.remark,
        })),
        _ => None,
    });
    found.unwrap_or_else(|| json!({}))
}
