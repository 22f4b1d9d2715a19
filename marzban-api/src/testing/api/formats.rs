//! The forms in which apps take their servers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::config::set;
use super::links::{PUBLIC_KEY, ProxyLink, links, proxy_links};
use super::response::Response;
use super::view::View;
use crate::testing::panel::protocol::Proxy;
use crate::testing::panel::user::FakeUser;

/// A form in which an app takes its servers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    SingBox,
    ClashMeta,
    Clash,
    Outline,
    V2ray,
    V2rayJson,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Option<Self> {
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
    pub(crate) fn of_app(agent: &str) -> Self {
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

    /// Writes the servers of a user.
    pub(crate) fn write(self, user: &FakeUser, view: View<'_>) -> Response {
        match self {
            Self::V2ray => {
                let text = BASE64_STANDARD.encode(links(user, view).join("\n"));
                Response::of_text("text/plain; charset=utf-8", text)
            }
            Self::Clash | Self::ClashMeta => Response::of_text(
                "text/yaml; charset=utf-8",
                clash(user, view, self == Self::ClashMeta),
            ),
            Self::SingBox => Response::ok(&sing_box(user, view)),
            Self::V2rayJson => Response::ok(
                &proxy_links(user, view)
                    .map(|link| v2ray(&link))
                    .collect::<Vec<Value>>(),
            ),
            Self::Outline => Response::ok(&outline(user, view)),
        }
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
    let known = |link: &ProxyLink<'_>| is_meta || !matches!(link.proxy, Proxy::Vless { .. });
    let entry = |link: &ProxyLink<'_>| {
        let kind = match link.proxy {
            Proxy::Shadowsocks { .. } => "ss",
            _ => link.inbound.protocol.as_str(),
        };
        format!(
            "- name: {}\n  type: {kind}\n  server: {}\n  port: {}\n  {}: {}\n  network: {}\n  udp: true\n",
            Value::from(link.remark.as_str()),
            link.address,
            json!(link.port),
            credential(link.proxy),
            Value::from(link.proxy.secret()),
            link.inbound.network,
        )
    };
    let (proxies, names): (Vec<String>, Vec<String>) = proxy_links(user, view)
        .filter(known)
        .map(|link| (entry(&link), format!("  - {}\n", Value::from(link.remark))))
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
    let all: Vec<ProxyLink<'_>> = proxy_links(user, view).collect();
    let names: Vec<&str> = all.iter().map(|link| link.remark.as_str()).collect();
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

fn sing_box_outbound(link: &ProxyLink<'_>) -> Value {
    let mut outbound = json!({
        "type": link.inbound.protocol.as_str(), "tag": link.remark,
        "server": link.address, "server_port": link.port,
        "multiplex": { "enabled": false, "protocol": "h2mux", "max_streams": 8 },
    });
    set(&mut outbound, credential(link.proxy), link.proxy.secret().into());
    if let Proxy::Shadowsocks { method, .. } = link.proxy {
        set(&mut outbound, "method", method.as_str().into());
    }
    if link.security != "none" {
        let mut tls = json!({ "enabled": true, "server_name": link.server_name });
        if link.security == "reality" {
            let mut reality = json!({ "enabled": true, "public_key": PUBLIC_KEY });
            if !link.short_id.is_empty() {
                set(&mut reality, "short_id", link.short_id.into());
            }
            set(&mut tls, "reality", reality);
            set(
                &mut tls,
                "utls",
                json!({ "enabled": true, "fingerprint": "chrome" }),
            );
        }
        set(&mut outbound, "tls", tls);
    }
    match link.inbound.network.as_str() {
        "grpc" => set(
            &mut outbound,
            "transport",
            json!({
                "type": "grpc", "service_name": link.path,
                "idle_timeout": "15s", "ping_timeout": "15s", "permit_without_stream": false,
            }),
        ),
        "ws" => set(
            &mut outbound,
            "transport",
            json!({ "type": "ws", "path": link.path }),
        ),
        _ => {}
    }
    outbound
}

fn v2ray(link: &ProxyLink<'_>) -> Value {
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
            "tag": "proxy", "protocol": link.inbound.protocol.as_str(),
            "settings": v2ray_server(link), "streamSettings": v2ray_stream(link),
        }],
        "dns": { "servers": ["1.1.1.1"] },
        "routing": { "domainStrategy": "AsIs", "rules": [] },
        "remarks": link.remark,
    })
}

fn v2ray_server(link: &ProxyLink<'_>) -> Value {
    let secret = link.proxy.secret();
    let with_users =
        |user: Value| json!({ "vnext": [{ "address": link.address, "port": link.port, "users": [user] }] });
    match link.proxy {
        Proxy::Vmess { .. } => {
            with_users(json!({ "id": secret, "alterId": 0, "security": "auto", "email": "fake@example.com" }))
        }
        Proxy::Vless { flow, .. } => with_users(json!({
            "id": secret, "alterId": 0, "security": "auto", "email": "fake@example.com",
            "encryption": "none", "flow": flow,
        })),
        Proxy::Trojan { .. } => json!({
            "servers": [{ "address": link.address, "port": link.port, "password": secret }],
        }),
        Proxy::Shadowsocks { method, .. } => json!({
            "servers": [{
                "address": link.address, "port": link.port, "password": secret, "method": method,
            }],
        }),
    }
}

fn v2ray_stream(link: &ProxyLink<'_>) -> Value {
    let mut stream = json!({ "network": link.inbound.network, "security": link.security });
    match link.security {
        "reality" => {
            set(
                &mut stream,
                "realitySettings",
                json!({
                    "serverName": link.server_name, "fingerprint": "chrome", "show": false,
                    "publicKey": PUBLIC_KEY, "shortId": link.short_id,
                }),
            );
        }
        "tls" => {
            set(
                &mut stream,
                "tlsSettings",
                json!({ "serverName": link.server_name, "show": false }),
            );
        }
        _ => {}
    }
    match link.inbound.network.as_str() {
        "grpc" => {
            set(
                &mut stream,
                "grpcSettings",
                json!({
                    "serviceName": link.path, "multiMode": false, "idle_timeout": 60,
                    "health_check_timeout": 20, "permit_without_stream": false, "initial_windows_size": 0,
                }),
            );
        }
        "ws" => set(&mut stream, "wsSettings", json!({ "path": link.path })),
        _ => {}
    }
    stream
}

/// Outline takes one Shadowsocks server and nothing else.
fn outline(user: &FakeUser, view: View<'_>) -> Value {
    let found = proxy_links(user, view).find_map(|link| match link.proxy {
        Proxy::Shadowsocks { password, method } => Some(json!({
            "method": method, "password": password, "server": link.address, "server_port": link.port,
            "tag": link.remark,
        })),
        _ => None,
    });
    found.unwrap_or_else(|| json!({}))
}
