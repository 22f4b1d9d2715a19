use std::fmt;

use serde::{Deserialize, Serialize};

use super::null_as_default;

/// An inbound of the panel's core, which users can be given.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// for inbound in client.system().inbounds().await?.values().flatten() {
///     println!("{} ({}, {})", inbound.tag, inbound.protocol, inbound.network);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Inbound {
    /// The name by which users and hosts refer to it.
    pub tag: String,
    /// The protocol, such as `vless`.
    pub protocol: String,
    /// The transport, such as `tcp`, `ws` or `grpc`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub network: String,
    /// The encryption: `none`, `tls` or `reality`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tls: String,
    /// Where it listens.
    pub port: InboundPort,
}

/// Where an inbound listens.
///
/// # Examples
///
/// ```
/// use marzban_api::model::InboundPort;
///
/// let port: InboundPort = serde_json::from_str("443").expect("a port");
/// assert_eq!((port.to_string().as_str(), port), ("443", InboundPort::Number(443)));
/// let ports: InboundPort = serde_json::from_str("\"1000-2000\"").expect("ports");
/// assert_eq!(ports, InboundPort::Text("1000-2000".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(untagged)]
pub enum InboundPort {
    /// One port.
    Number(u16),
    /// Any other value of the core's configuration, such as `1000-2000` or `env:PORT`.
    Text(String),
}

impl fmt::Display for InboundPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A host: an address under which an inbound appears in subscriptions.
///
/// It can be read, modified and written back without losing any field that this version knows.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let mut hosts = client.system().hosts().await?;
/// for host in hosts.values_mut().flatten() {
///     host.is_disabled = host.address == "old.example.com";
/// }
/// client.system().replace_hosts(&hosts).await?;
/// # Ok(())
/// # }
/// ```
#[expect(
    clippy::struct_excessive_bools,
    reason = "the panel's own switches, which do not depend on each other"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// The name shown to users, with variables such as `{USERNAME}`.
    pub remark: String,
    /// Host names or IP addresses, separated by commas. The panel picks one at random per subscription.
    pub address: String,
    /// The port; `None` for the inbound's own.
    #[serde(default)]
    pub port: Option<u16>,
    /// The server names for TLS, separated by commas; `None` for the inbound's own.
    #[serde(default)]
    pub sni: Option<String>,
    /// The values of the `Host` header, separated by commas; `None` for the inbound's own.
    #[serde(default)]
    pub host: Option<String>,
    /// The path; `None` for the inbound's own.
    #[serde(default)]
    pub path: Option<String>,
    /// The encryption.
    #[serde(default)]
    pub security: HostSecurity,
    /// The protocols that TLS offers.
    #[serde(default)]
    pub alpn: HostAlpn,
    /// The program whose TLS fingerprint is imitated.
    #[serde(default)]
    pub fingerprint: HostFingerprint,
    /// Whether clients accept any certificate; `None` for the inbound's own setting.
    #[serde(default)]
    pub allowinsecure: Option<bool>,
    /// Whether the host is omitted from subscriptions.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_disabled: bool,
    /// Whether connections are multiplexed.
    #[serde(default, deserialize_with = "null_as_default")]
    pub mux_enable: bool,
    /// How packets are fragmented, as `length,interval,packet`: `10-100,100-200,tlshello`.
    #[serde(default)]
    pub fragment_setting: Option<String>,
    /// The noise that is sent first, as `type:packet,delay`: `rand:10-20,100-200`. `None` before 0.7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_setting: Option<String>,
    /// Whether HTTP transports send a random browser's `User-Agent`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub random_user_agent: bool,
    /// Whether the server name is also sent as the `Host` header. `false` before 0.8.
    #[serde(default, deserialize_with = "null_as_default")]
    pub use_sni_as_host: bool,
}

impl Host {
    /// Creates a host with this remark and address that takes all other settings from its inbound.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::{Host, HostSecurity};
    ///
    /// let host = Host::new("Finland", "fi.example.com");
    /// assert_eq!((host.port, host.security), (None, HostSecurity::InboundDefault));
    /// ```
    #[must_use]
    pub fn new(remark: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            remark: remark.into(),
            address: address.into(),
            port: None,
            sni: None,
            host: None,
            path: None,
            security: HostSecurity::default(),
            alpn: HostAlpn::default(),
            fingerprint: HostFingerprint::default(),
            allowinsecure: None,
            is_disabled: false,
            mux_enable: false,
            fragment_setting: None,
            noise_setting: None,
            random_user_agent: false,
            use_sni_as_host: false,
        }
    }
}

open_enum! {
    /// The encryption of a host.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::HostSecurity;
    ///
    /// assert_eq!(HostSecurity::from("tls"), HostSecurity::Tls);
    /// assert_eq!(HostSecurity::Tls.as_str(), "tls");
    /// ```
    #[derive(Default)]
    pub enum HostSecurity {
        /// The inbound's own.
        #[default]
        InboundDefault = "inbound_default",
        /// None.
        None = "none",
        /// TLS.
        Tls = "tls",
    }
}

open_enum! {
    /// The protocols that a host offers in TLS.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::HostAlpn;
    ///
    /// assert_eq!(HostAlpn::from("h3,h2"), HostAlpn::H3H2);
    /// assert_eq!(HostAlpn::H3H2.as_str(), "h3,h2");
    /// ```
    #[derive(Default)]
    pub enum HostAlpn {
        /// No ALPN, which the panel writes as an empty word.
        #[default]
        None = "",
        /// HTTP/3.
        H3 = "h3",
        /// HTTP/2.
        H2 = "h2",
        /// HTTP/1.1.
        Http11 = "http/1.1",
        /// All three.
        H3H2Http11 = "h3,h2,http/1.1",
        /// HTTP/3 and HTTP/2.
        H3H2 = "h3,h2",
        /// HTTP/2 and HTTP/1.1.
        H2Http11 = "h2,http/1.1",
    }
}

open_enum! {
    /// The program whose TLS fingerprint a host's clients imitate.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::HostFingerprint;
    ///
    /// assert_eq!(HostFingerprint::from("chrome"), HostFingerprint::Chrome);
    /// assert_eq!(HostFingerprint::Chrome.as_str(), "chrome");
    /// ```
    #[derive(Default)]
    pub enum HostFingerprint {
        /// No imitation, which the panel writes as an empty word.
        #[default]
        None = "",
        /// Chrome.
        Chrome = "chrome",
        /// Firefox.
        Firefox = "firefox",
        /// Safari.
        Safari = "safari",
        /// iOS.
        Ios = "ios",
        /// Android.
        Android = "android",
        /// Edge.
        Edge = "edge",
        /// 360.
        Browser360 = "360",
        /// QQ.
        Qq = "qq",
        /// The fingerprint of one of these programs, chosen at random.
        Random = "random",
        /// A randomly generated fingerprint.
        Randomized = "randomized",
    }
}
