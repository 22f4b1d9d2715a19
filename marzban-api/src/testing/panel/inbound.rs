//! The core of the fake panel: its configuration, and the inbounds that follow from it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::testing::api::response::Answer;
use crate::testing::panel::user::FakeProtocol;

/// An inbound as `GET /api/inbounds` shows it, with what its links need besides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Inbound {
    pub(crate) tag: String,
    pub(crate) protocol: FakeProtocol,
    pub(crate) network: String,
    pub(crate) tls: String,
    /// A number or, for a range, text.
    pub(crate) port: Value,
    #[serde(skip)]
    pub(crate) path: String,
    #[serde(skip)]
    pub(crate) server_names: Vec<String>,
    #[serde(skip)]
    pub(crate) short_ids: Vec<String>,
}

impl Inbound {
    /// Reads an inbound of the configuration; one of another protocol is not the panel's affair.
    fn read(config: &Value) -> Option<Self> {
        let protocol = FakeProtocol::parse(config.get("protocol")?.as_str()?)?;
        let text = |pointer: &str, default: &str| {
            let found = config.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or(default).to_owned()
        };
        let texts = |pointer: &str| -> Vec<String> {
            let list = config.pointer(pointer).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let network = text("/streamSettings/network", "tcp");
        let path = match network.as_str() {
            "grpc" => text("/streamSettings/grpcSettings/serviceName", ""),
            network => text(&format!("/streamSettings/{network}Settings/path"), ""),
        };
        Some(Self {
            tag: text("/tag", ""),
            protocol,
            network,
            tls: text("/streamSettings/security", "none"),
            port: config.get("port").cloned().unwrap_or(Value::Null),
            path,
            server_names: texts("/streamSettings/realitySettings/serverNames"),
            short_ids: texts("/streamSettings/realitySettings/shortIds"),
        })
    }
}

/// The inbounds that users can have, in the order of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Inbounds(Vec<Inbound>);

impl Inbounds {
    fn read(config: &Value) -> Self {
        let list = config.get("inbounds").and_then(Value::as_array);
        Self(list.into_iter().flatten().filter_map(Inbound::read).collect())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Inbound> {
        self.0.iter()
    }

    pub(crate) fn of(&self, protocol: FakeProtocol) -> impl Iterator<Item = &Inbound> {
        self.0.iter().filter(move |inbound| inbound.protocol == protocol)
    }

    pub(crate) fn has(&self, protocol: FakeProtocol, tag: &str) -> bool {
        self.of(protocol).any(|inbound| inbound.tag == tag)
    }

    /// Whether any inbound has the tag, of whatever protocol.
    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.all().any(|inbound| inbound.tag == tag)
    }

    /// The panel stores what is not wanted, so that inbounds added later reach everybody.
    pub(crate) fn all_but(&self, protocol: FakeProtocol, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        self.of(protocol)
            .map(|inbound| inbound.tag.clone())
            .filter(|tag| !wanted.contains(tag))
            .collect()
    }

    /// Refuses protocols that no inbound serves.
    pub(crate) fn check(&self, mut protocols: impl Iterator<Item = FakeProtocol>) -> Result<(), Answer> {
        match protocols.find(|protocol| self.of(*protocol).next().is_none()) {
            None => Ok(()),
            Some(protocol) => {
                let name = match protocol {
                    FakeProtocol::Vmess => "VMess",
                    FakeProtocol::Vless => "VLESS",
                    FakeProtocol::Trojan => "Trojan",
                    FakeProtocol::Shadowsocks => "Shadowsocks",
                };
                let detail = format!("Protocol ProxyTypes.{name} is disabled on your server");
                Err(Answer::detail(400, &detail))
            }
        }
    }
}

/// The configuration of Xray and what the panel reads from it.
pub(crate) struct Core {
    pub(crate) config: Value,
    pub(crate) inbounds: Inbounds,
}

impl Core {
    /// Takes a configuration over, unless the panel would refuse it.
    pub(crate) fn read(config: Value) -> Result<Self, Answer> {
        let refuse = |detail: &str| Err(Answer::detail(400, detail));
        let list = |name: &str| {
            config
                .get(name)
                .and_then(Value::as_array)
                .filter(|list| !list.is_empty())
        };
        let tag = |entry: &Value| {
            entry
                .get("tag")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let Some(inbounds) = list("inbounds") else {
            return refuse("config doesn't have inbounds");
        };
        let Some(outbounds) = list("outbounds") else {
            return refuse("config doesn't have outbounds");
        };
        if inbounds.iter().any(|inbound| tag(inbound).is_empty()) {
            return refuse("all inbounds must have a unique tag");
        }
        if inbounds.iter().any(|inbound| tag(inbound).contains(',')) {
            return refuse("character «,» is not allowed in inbound tag");
        }
        if outbounds.iter().any(|outbound| tag(outbound).is_empty()) {
            return refuse("all outbounds must have a unique tag");
        }
        Ok(Self {
            inbounds: Inbounds::read(&config),
            config,
        })
    }
}

impl Default for Core {
    /// At least one inbound for each protocol, under the tags of the panel's own example.
    fn default() -> Self {
        let config = default_config();
        Self {
            inbounds: Inbounds::read(&config),
            config,
        }
    }
}

fn default_config() -> Value {
    let reality = |names: &[&str], short_ids: &[&str]| {
        json!({
            "show": false, "dest": "example.com:443", "xver": 0, "privateKey": "",
            "serverNames": names, "shortIds": short_ids,
        })
    };
    let inbound = |protocol: &str, tag: &str, port: u16, stream: Value| {
        let settings = match protocol {
            "vless" => json!({ "clients": [], "decryption": "none" }),
            _ => json!({ "clients": [] }),
        };
        json!({
            "tag": tag, "listen": "0.0.0.0", "port": port, "protocol": protocol,
            "settings": settings, "streamSettings": stream,
        })
    };
    json!({
        "log": { "loglevel": "warning" },
        "routing": { "rules": [{ "ip": ["geoip:private"], "outboundTag": "BLOCK", "type": "field" }] },
        "inbounds": [
            inbound("vmess", "VMess TCP", 8081, json!({
                "network": "tcp", "security": "none",
                "tcpSettings": { "header": {
                    "type": "http",
                    "request": { "method": "GET", "path": ["/"], "headers": { "Host": ["example.com"] } },
                } },
            })),
            inbound("vmess", "VMess Websocket", 8080, json!({
                "network": "ws", "security": "none", "wsSettings": { "path": "/vmess" },
            })),
            inbound("vless", "VLESS TCP REALITY", 8443, json!({
                "network": "tcp", "security": "reality", "tcpSettings": {},
                "realitySettings": reality(&["one.example.com", "two.example.com"], &["", "00000000000000a1"]),
            })),
            inbound("vless", "VLESS GRPC REALITY", 2053, json!({
                "network": "grpc", "security": "reality", "grpcSettings": { "serviceName": "fake" },
                "realitySettings": reality(&["three.example.com"], &["00000000000000b2"]),
            })),
            inbound("trojan", "Trojan Websocket TLS", 2083, json!({
                "network": "ws", "security": "tls", "wsSettings": { "path": "/trojan" },
                "tlsSettings": {
                    "serverName": "example.com",
                    "certificates": [{ "certificateFile": "/fake/cert.pem", "keyFile": "/fake/key.pem" }],
                },
            })),
            json!({
                "tag": "Shadowsocks TCP", "listen": "0.0.0.0", "port": 1080, "protocol": "shadowsocks",
                "settings": { "clients": [], "network": "tcp,udp" },
            }),
        ],
        "outbounds": [
            { "protocol": "freedom", "tag": "DIRECT" },
            { "protocol": "blackhole", "tag": "BLOCK" },
        ],
    })
}
