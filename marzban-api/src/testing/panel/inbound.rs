//! The inbounds that users can have.

use std::collections::BTreeSet;

use serde::Serialize;

use super::protocol::FakeProtocol;
use super::refusal::Refusal;

/// The port of an inbound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Port {
    Number(i64),
    /// Several ports, such as `2000-3000`.
    Range(String),
    Missing,
}

/// An inbound as `GET /api/inbounds` shows it, with what its links need besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Inbound {
    pub(crate) tag: String,
    pub(crate) protocol: FakeProtocol,
    pub(crate) network: String,
    pub(crate) tls: String,
    pub(crate) port: Port,
    #[serde(skip)]
    pub(crate) path: String,
    #[serde(skip)]
    pub(crate) server_names: Vec<String>,
    #[serde(skip)]
    pub(crate) short_ids: Vec<String>,
}

/// The inbounds in the order of the core's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Inbounds(Vec<Inbound>);

impl Inbounds {
    pub(crate) const fn new(inbounds: Vec<Inbound>) -> Self {
        Self(inbounds)
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

    /// The tags that are not wanted. The panel stores these, so that inbounds added later reach every user.
    pub(crate) fn all_but(&self, protocol: FakeProtocol, wanted: &BTreeSet<String>) -> BTreeSet<String> {
        self.of(protocol)
            .map(|inbound| inbound.tag.clone())
            .filter(|tag| !wanted.contains(tag))
            .collect()
    }

    /// Refuses protocols that no inbound serves.
    pub(crate) fn check(&self, mut protocols: impl Iterator<Item = FakeProtocol>) -> Result<(), Refusal> {
        match protocols.find(|protocol| self.of(*protocol).next().is_none()) {
            None => Ok(()),
            Some(protocol) => Err(Refusal::ProtocolDisabled(protocol)),
        }
    }
}

impl Default for Inbounds {
    /// At least one inbound for each protocol, under the tags of the panel's own example.
    fn default() -> Self {
        use FakeProtocol::{Shadowsocks, Trojan, Vless, Vmess};
        let inbound = |tag: &str, protocol, network: &str, tls: &str, port, path: &str| Inbound {
            tag: tag.to_owned(),
            protocol,
            network: network.to_owned(),
            tls: tls.to_owned(),
            port: Port::Number(port),
            path: path.to_owned(),
            server_names: Vec::new(),
            short_ids: Vec::new(),
        };
        let reality = |inbound, names: &[&str], short_ids: &[&str]| Inbound {
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
            short_ids: short_ids.iter().map(|id| (*id).to_owned()).collect(),
            ..inbound
        };
        Self(vec![
            inbound("VMess TCP", Vmess, "tcp", "none", 8081, ""),
            inbound("VMess Websocket", Vmess, "ws", "none", 8080, "/vmess"),
            reality(
                inbound("VLESS TCP REALITY", Vless, "tcp", "reality", 8443, ""),
                &["one.example.com", "two.example.com"],
                &["", "00000000000000a1"],
            ),
            reality(
                inbound("VLESS GRPC REALITY", Vless, "grpc", "reality", 2053, "fake"),
                &["three.example.com"],
                &["00000000000000b2"],
            ),
            inbound("Trojan Websocket TLS", Trojan, "ws", "tls", 2083, "/trojan"),
            inbound("Shadowsocks TCP", Shadowsocks, "tcp", "none", 1080, ""),
        ])
    }
}
