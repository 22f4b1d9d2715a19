use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// A user's settings per protocol.
///
/// All settings are kept as the panel sent them, including those of unknown protocols, so that nothing is lost when
/// they are sent back. `Debug` shows the protocols only, because the settings are the credentials that give access.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Flow, Proxies, Proxy, Trojan, Vless};
///
/// let vless = Vless { id: None, flow: Some(Flow::Vision) };
/// let proxies = Proxies::new(vless.clone()).with(Trojan::default());
/// assert_eq!(proxies.protocols().collect::<Vec<_>>(), ["trojan", "vless"]);
/// assert_eq!(proxies.get("vless"), Some(Proxy::Vless(vless)));
/// assert!(proxies.without("trojan").without("vless").is_empty());
/// ```
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Proxies(BTreeMap<String, Value>);

/// The settings of one protocol.
///
/// The panel generates the credentials that a new user's settings omit.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Proxy, Trojan, Vless};
///
/// let proxies = [Proxy::Vless(Vless::default()), Proxy::Trojan(Trojan::default())];
/// assert_eq!(proxies.each_ref().map(Proxy::protocol), ["vless", "trojan"]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Proxy {
    /// `vmess`.
    Vmess(Vmess),
    /// `vless`.
    Vless(Vless),
    /// `trojan`.
    Trojan(Trojan),
    /// `shadowsocks`.
    Shadowsocks(Shadowsocks),
    /// A protocol that this version does not know, or settings in an unknown form.
    Unknown(UnknownProxy),
}

/// The settings of `vmess`.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Proxy, Vmess};
///
/// // The panel makes up an id.
/// assert_eq!(Proxy::from(Vmess::default()).protocol(), "vmess");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Vmess {
    /// The user's UUID: a secret.
    pub id: Option<String>,
}

/// The settings of `vless`.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Flow, Proxy, Vless};
///
/// let vless = Vless { id: None, flow: Some(Flow::Vision) };
/// assert_eq!(Proxy::from(vless).protocol(), "vless");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Vless {
    /// The user's UUID: a secret.
    pub id: Option<String>,
    /// The flow control.
    pub flow: Option<Flow>,
}

/// The settings of `trojan`.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Proxy, Trojan};
///
/// let trojan = Trojan { password: Some("a long password".to_owned()), flow: None };
/// assert_eq!(format!("{trojan:?}"), "Trojan { flow: None, .. }", "the password is not shown");
/// assert_eq!(Proxy::from(trojan).protocol(), "trojan");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Trojan {
    /// The user's password: a secret.
    pub password: Option<String>,
    /// The flow control.
    pub flow: Option<Flow>,
}

/// The settings of `shadowsocks`.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Proxy, Shadowsocks, ShadowsocksMethod};
///
/// let settings = Shadowsocks { password: None, method: Some(ShadowsocksMethod::Aes256Gcm) };
/// assert_eq!(Proxy::from(settings).protocol(), "shadowsocks");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Shadowsocks {
    /// The user's password: a secret.
    pub password: Option<String>,
    /// The cipher.
    pub method: Option<ShadowsocksMethod>,
}

/// The settings of a protocol that this version does not know.
///
/// # Examples
///
/// ```
/// use marzban_api::model::{Proxies, UnknownProxy};
///
/// let hysteria = UnknownProxy { protocol: "hysteria".to_owned(), settings: serde_json::json!({"up": 10}) };
/// assert_eq!(Proxies::new(hysteria.clone()).get("hysteria"), Some(hysteria.into()));
/// ```
#[derive(Clone, PartialEq)]
pub struct UnknownProxy {
    /// The panel's word for the protocol.
    pub protocol: String,
    /// The settings as the panel sent them: a secret.
    pub settings: Value,
}

open_enum! {
    /// The flow control of a protocol.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::Flow;
    ///
    /// assert_eq!(Flow::from("xtls-rprx-vision"), Flow::Vision);
    /// assert_eq!(Flow::Vision.as_str(), "xtls-rprx-vision");
    /// ```
    pub enum Flow {
        /// No flow control.
        Plain = "",
        /// XTLS Vision.
        Vision = "xtls-rprx-vision",
    }
}

open_enum! {
    /// The cipher of `shadowsocks`.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::ShadowsocksMethod;
    ///
    /// assert_eq!(ShadowsocksMethod::from("aes-256-gcm"), ShadowsocksMethod::Aes256Gcm);
    /// assert_eq!(ShadowsocksMethod::Aes256Gcm.as_str(), "aes-256-gcm");
    /// ```
    pub enum ShadowsocksMethod {
        /// AES-128-GCM. Not recommended for new users.
        Aes128Gcm = "aes-128-gcm",
        /// AES-256-GCM.
        Aes256Gcm = "aes-256-gcm",
        /// ChaCha20-Poly1305, the panel's default.
        Chacha20IetfPoly1305 = "chacha20-ietf-poly1305",
    }
}

impl Proxies {
    /// Creates the settings of one protocol; add others by [`with`](Self::with).
    #[must_use]
    pub fn new(proxy: impl Into<Proxy>) -> Self {
        Self::default().with(proxy)
    }

    /// Sets the fields of `proxy`. Fields that it omits keep their values: changing the flow keeps the id.
    #[must_use]
    pub fn with(mut self, proxy: impl Into<Proxy>) -> Self {
        let (protocol, settings) = proxy.into().into_parts();
        match (self.0.get_mut(&protocol), settings) {
            (Some(Value::Object(present)), Value::Object(settings)) => present.extend(settings),
            (_, settings) => drop(self.0.insert(protocol, settings)),
        }
        self
    }

    /// Removes the settings of this protocol.
    #[must_use]
    pub fn without(mut self, protocol: &str) -> Self {
        self.0.remove(protocol);
        self
    }

    /// Returns the settings of this protocol.
    #[must_use]
    pub fn get(&self, protocol: &str) -> Option<Proxy> {
        self.0
            .get(protocol)
            .map(|settings| Proxy::from_parts(protocol, settings))
    }

    /// Iterates over the panel's words for the protocols.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns whether there is no protocol at all. A user needs at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The settings as they are sent to the panel.
    pub(super) fn settings(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// Returns whether `actual` has these protocols and no others, with all settings given here.
    pub(super) fn agree_with(&self, actual: &Self) -> bool {
        self.protocols().eq(actual.protocols())
            && self.0.iter().all(|(protocol, wanted)| {
                let present = actual.0.get(protocol);
                match wanted {
                    Value::Object(wanted) => wanted
                        .iter()
                        .all(|(key, value)| present.and_then(|present| present.get(key)) == Some(value)),
                    other => present == Some(other),
                }
            })
    }
}

impl Proxy {
    /// Returns the panel's word for the protocol.
    #[must_use]
    pub fn protocol(&self) -> &str {
        match self {
            Self::Vmess(_) => "vmess",
            Self::Vless(_) => "vless",
            Self::Trojan(_) => "trojan",
            Self::Shadowsocks(_) => "shadowsocks",
            Self::Unknown(unknown) => &unknown.protocol,
        }
    }

    fn from_parts(protocol: &str, settings: &Value) -> Self {
        let known = match protocol {
            "vmess" => Vmess::deserialize(settings).map(Self::Vmess),
            "vless" => Vless::deserialize(settings).map(Self::Vless),
            "trojan" => Trojan::deserialize(settings).map(Self::Trojan),
            "shadowsocks" => Shadowsocks::deserialize(settings).map(Self::Shadowsocks),
            _ => return Self::unknown(protocol, settings),
        };
        known.unwrap_or_else(|_| Self::unknown(protocol, settings))
    }

    fn unknown(protocol: &str, settings: &Value) -> Self {
        Self::Unknown(UnknownProxy {
            protocol: protocol.to_owned(),
            settings: settings.clone(),
        })
    }

    fn into_parts(self) -> (String, Value) {
        let protocol = self.protocol().to_owned();
        let settings = match self {
            Self::Vmess(Vmess { id }) => object([("id", id)]),
            Self::Vless(Vless { id, flow }) => object([("id", id), ("flow", flow.map(String::from))]),
            Self::Trojan(Trojan { password, flow }) => {
                object([("password", password), ("flow", flow.map(String::from))])
            }
            Self::Shadowsocks(Shadowsocks { password, method }) => {
                object([("password", password), ("method", method.map(String::from))])
            }
            Self::Unknown(unknown) => unknown.settings,
        };
        (protocol, settings)
    }
}

/// Collects the settings that are present.
fn object<const N: usize>(settings: [(&str, Option<String>); N]) -> Value {
    settings
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), Value::String(value?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

macro_rules! into_proxy {
    ($($settings:ident => $variant:ident),+ $(,)?) => {$(
        impl From<$settings> for Proxy {
            fn from(settings: $settings) -> Self {
                Self::$variant(settings)
            }
        }
    )+};
}

into_proxy!(
    Vmess => Vmess,
    Vless => Vless,
    Trojan => Trojan,
    Shadowsocks => Shadowsocks,
    UnknownProxy => Unknown,
);

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.protocols()).finish()
    }
}

impl fmt::Debug for Vmess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vmess").finish_non_exhaustive()
    }
}

impl fmt::Debug for Vless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vless")
            .field("flow", &self.flow)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Trojan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trojan")
            .field("flow", &self.flow)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shadowsocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadowsocks")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnknownProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownProxy")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
