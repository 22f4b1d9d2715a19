//! The inbounds of the fake panel's core: fixed, and at least one for each protocol.

use serde::Serialize;

use super::user::FakeProtocol;

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Inbound {
    pub(super) tag: &'static str,
    pub(super) protocol: FakeProtocol,
    pub(super) network: &'static str,
    pub(super) tls: &'static str,
    pub(super) port: u16,
}

const fn inbound(
    protocol: FakeProtocol,
    tag: &'static str,
    network: &'static str,
    tls: &'static str,
    port: u16,
) -> Inbound {
    Inbound {
        tag,
        protocol,
        network,
        tls,
        port,
    }
}

const INBOUNDS: [Inbound; 6] = [
    inbound(FakeProtocol::Vmess, "VMess TCP", "tcp", "none", 8081),
    inbound(FakeProtocol::Vmess, "VMess Websocket", "ws", "none", 8080),
    inbound(FakeProtocol::Vless, "VLESS TCP REALITY", "tcp", "reality", 8443),
    inbound(FakeProtocol::Vless, "VLESS GRPC REALITY", "grpc", "reality", 2053),
    inbound(FakeProtocol::Trojan, "Trojan Websocket TLS", "ws", "tls", 2083),
    inbound(FakeProtocol::Shadowsocks, "Shadowsocks TCP", "tcp", "none", 1080),
];

pub(super) fn of(protocol: FakeProtocol) -> impl Iterator<Item = &'static Inbound> {
    INBOUNDS
        .iter()
        .filter(move |inbound| inbound.protocol == protocol)
}

pub(super) fn exists(protocol: FakeProtocol, tag: &str) -> bool {
    of(protocol).any(|inbound| inbound.tag == tag)
}
