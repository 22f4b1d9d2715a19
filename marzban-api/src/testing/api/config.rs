//! The configuration of the core: Xray's JSON, and the inbounds that follow from it.

use serde_json::{Value, json};

use crate::testing::panel::inbound::{Inbound, Inbounds, Port};
use crate::testing::panel::protocol::FakeProtocol;

/// Reads the inbounds of a configuration, or returns why the panel refuses it.
pub(crate) fn inbounds(config: &Value) -> Result<Inbounds, &'static str> {
    let list = |name: &str| {
        let list = config.get(name).and_then(Value::as_array);
        list.filter(|list| !list.is_empty())
    };
    let tag = |entry: &Value| text(entry, "/tag", "");
    let inbounds = list("inbounds").ok_or("config doesn't have inbounds")?;
    let outbounds = list("outbounds").ok_or("config doesn't have outbounds")?;
    if inbounds.iter().any(|inbound| tag(inbound).is_empty()) {
        return Err("all inbounds must have a unique tag");
    }
    if inbounds.iter().any(|inbound| tag(inbound).contains(',')) {
        return Err("character «,» is not allowed in inbound tag");
    }
    if outbounds.iter().any(|outbound| tag(outbound).is_empty()) {
        return Err("all outbounds must have a unique tag");
    }
    Ok(Inbounds::new(inbounds.iter().filter_map(read).collect()))
}

fn text(config: &Value, pointer: &str, default: &str) -> String {
    let found = config.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or(default).to_owned()
}

/// Reads an inbound; one of a protocol that the panel does not serve is left out.
fn read(config: &Value) -> Option<Inbound> {
    let protocol = FakeProtocol::parse(config.get("protocol")?.as_str()?)?;
    let texts = |pointer: &str| -> Vec<String> {
        let list = config.pointer(pointer).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let network = text(config, "/streamSettings/network", "tcp");
    let path = match network.as_str() {
        "grpc" => text(config, "/streamSettings/grpcSettings/serviceName", ""),
        network => text(config, &format!("/streamSettings/{network}Settings/path"), ""),
    };
    Some(Inbound {
        tag: text(config, "/tag", ""),
        protocol,
        network,
        tls: text(config, "/streamSettings/security", "none"),
        port: match config.get("port") {
            Some(Value::String(range)) => Port::Range(range.clone()),
            port => port.and_then(Value::as_i64).map_or(Port::Missing, Port::Number),
        },
        path,
        server_names: texts("/streamSettings/realitySettings/serverNames"),
        short_ids: texts("/streamSettings/realitySettings/shortIds"),
    })
}

/// Writes the configuration that has these inbounds.
pub(crate) fn default_config(inbounds: &Inbounds) -> Value {
    json!({
        "log": { "loglevel": "warning" },
        "routing": { "rules": [{ "ip": ["geoip:private"], "outboundTag": "BLOCK", "type": "field" }] },
        "inbounds": inbounds.all().map(write).collect::<Vec<Value>>(),
        "outbounds": [
            { "protocol": "freedom", "tag": "DIRECT" },
            { "protocol": "blackhole", "tag": "BLOCK" },
        ],
    })
}

fn write(inbound: &Inbound) -> Value {
    let settings = match inbound.protocol {
        FakeProtocol::Vless => json!({ "clients": [], "decryption": "none" }),
        FakeProtocol::Shadowsocks => json!({ "clients": [], "network": "tcp,udp" }),
        FakeProtocol::Vmess | FakeProtocol::Trojan => json!({ "clients": [] }),
    };
    let mut config = json!({
        "tag": inbound.tag, "listen": "0.0.0.0", "port": inbound.port,
        "protocol": inbound.protocol, "settings": settings,
    });
    if inbound.protocol != FakeProtocol::Shadowsocks {
        set(&mut config, "streamSettings", stream_settings(inbound));
    }
    config
}

fn stream_settings(inbound: &Inbound) -> Value {
    let mut stream = json!({ "network": inbound.network, "security": inbound.tls });
    let transport = match (inbound.network.as_str(), inbound.protocol) {
        ("grpc", _) => json!({ "serviceName": inbound.path }),
        ("tcp", FakeProtocol::Vmess) => json!({ "header": {
            "type": "http",
            "request": { "method": "GET", "path": ["/"], "headers": { "Host": ["example.com"] } },
        } }),
        ("tcp", _) => json!({}),
        _ => json!({ "path": inbound.path }),
    };
    set(&mut stream, &format!("{}Settings", inbound.network), transport);
    match inbound.tls.as_str() {
        "reality" => {
            let reality = json!({
                "show": false, "dest": "example.com:443", "xver": 0, "privateKey": "",
                "serverNames": inbound.server_names, "shortIds": inbound.short_ids,
            });
            set(&mut stream, "realitySettings", reality);
        }
        "tls" => {
            let certificate = json!({ "certificateFile": "/fake/cert.pem", "keyFile": "/fake/key.pem" });
            let tls = json!({ "serverName": "example.com", "certificates": [certificate] });
            set(&mut stream, "tlsSettings", tls);
        }
        _ => {}
    }
    stream
}

/// Sets an entry of an object.
pub(crate) fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}
