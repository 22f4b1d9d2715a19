//! The proxy protocols, and the settings of a user for each of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// A proxy protocol that the fake panel has inbounds for.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::{FakeProtocol, FakeUser};
///
/// let user = FakeUser::new("alice").protocols([FakeProtocol::Trojan, FakeProtocol::Vless]);
/// assert_ne!(user, FakeUser::new("alice"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the panel of this version has these four protocols and no other"
)]
pub enum FakeProtocol {
    /// `VMess`, identified by a UUID.
    Vmess,
    /// VLESS, identified by a UUID.
    Vless,
    /// Trojan, identified by a password.
    Trojan,
    /// Shadowsocks, identified by a password.
    Shadowsocks,
}

impl FakeProtocol {
    pub(crate) const ALL: [Self; 4] = [Self::Vmess, Self::Vless, Self::Trojan, Self::Shadowsocks];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Vmess => "vmess",
            Self::Vless => "vless",
            Self::Trojan => "trojan",
            Self::Shadowsocks => "shadowsocks",
        }
    }

    /// The name as links show it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Vmess => "VMess",
            Self::Vless => "VLESS",
            Self::Trojan => "Trojan",
            Self::Shadowsocks => "Shadowsocks",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }

    /// Whether a user of this protocol has a setting of this name; the panel ignores all others.
    pub(crate) fn has_setting(self, name: &str) -> bool {
        let settings: &[&str] = match self {
            Self::Vmess => &["id"],
            Self::Vless => &["id", "flow"],
            Self::Trojan => &["password", "flow"],
            Self::Shadowsocks => &["password", "method"],
        };
        settings.contains(&name)
    }
}

/// The settings of one protocol of a user, as they appear under `proxies`.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Proxy {
    Vmess { id: String },
    Vless { id: String, flow: String },
    Trojan { password: String, flow: String },
    Shadowsocks { password: String, method: String },
}

// An id or a password opens a connection, so none of them is shown.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxy(..)")
    }
}

impl Proxy {
    /// What identifies the user to a proxy, and is to be kept secret.
    pub(crate) fn secret(&self) -> &str {
        match self {
            Self::Vmess { id } | Self::Vless { id, .. } => id,
            Self::Trojan { password, .. } | Self::Shadowsocks { password, .. } => password,
        }
    }

    /// What a new proxy takes over when the credentials are replaced: flow and cipher.
    pub(crate) fn without_credentials(&self) -> ProxyInput {
        let (flow, method) = match self {
            Self::Vmess { .. } => (None, None),
            Self::Vless { flow, .. } | Self::Trojan { flow, .. } => (Some(flow.clone()), None),
            Self::Shadowsocks { method, .. } => (None, Some(method.clone())),
        };
        ProxyInput {
            flow,
            method,
            ..ProxyInput::default()
        }
    }
}

/// The settings of a protocol as an admin gives them; the panel makes what is `None`.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyInput {
    /// The UUID of `VMess` and VLESS.
    pub id: Option<String>,
    /// The password of Trojan and Shadowsocks.
    pub password: Option<String>,
    /// The flow of VLESS and Trojan.
    pub flow: Option<String>,
    /// The cipher of Shadowsocks.
    pub method: Option<String>,
}

impl fmt::Debug for ProxyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyInput(..)")
    }
}

/// The proxies as an admin gives them. Each of the three forms has its own consequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a field of JSON is absent, null or a value"
)]
pub enum ProxiesInput {
    /// The field is absent: an edit leaves the proxies as they are.
    #[default]
    Omitted,
    /// The field is null, at which an edit fails.
    Null,
    /// These protocols.
    Given(BTreeMap<FakeProtocol, ProxyInput>),
}

impl ProxiesInput {
    /// Asks for protocols with credentials that the panel makes.
    #[must_use]
    pub fn of(protocols: impl IntoIterator<Item = FakeProtocol>) -> Self {
        Self::Given(
            protocols
                .into_iter()
                .map(|protocol| (protocol, ProxyInput::default()))
                .collect(),
        )
    }

    pub(crate) fn given(&self) -> impl Iterator<Item = (FakeProtocol, &ProxyInput)> {
        let given = match self {
            Self::Omitted | Self::Null => None,
            Self::Given(given) => Some(given.iter().map(|(protocol, input)| (*protocol, input))),
        };
        given.into_iter().flatten()
    }
}
