//! The settings of a client, validated when it is built.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::auth::Auth;
use super::response::LastDate;
use super::retry::RetryPolicy;
use super::throttle::{Throttle, Throttler};
use super::transport::Transport;
use super::{Client, Inner};
use crate::error::Error;
use crate::paging::Batching;

/// Shorter than the 5 s after which the panel closes an idle connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

const MIB: usize = 1024 * 1024;

/// Time limits of the client.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let impatient = marzban_api::Timeouts { request: Duration::from_secs(10), ..Default::default() };
/// assert_eq!(impatient.connect, Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Time to connect, TLS included.
    pub connect: Duration,
    /// Time to wait for the next part of a response.
    pub read: Duration,
    /// Time for one attempt, from its start to the end of its response. Each retry has this long again.
    pub request: Duration,
}

impl Default for Timeouts {
    /// 5 s, 30 s and 60 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            request: Duration::from_mins(1),
        }
    }
}

/// The settings of a [`Client`]; see [`Client::builder`].
///
/// They are validated by [`build`](Self::build).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::{Client, ErrorKind, Throttle, RetryPolicy, SecretString, Timeouts};
///
/// let client = Client::builder("http://127.0.0.1:8000/prefix")
///     .credentials("admin", SecretString::from("secret"))
///     .timeouts(Timeouts { request: Duration::from_secs(20), ..Default::default() })
///     .retry(RetryPolicy::none())
///     .throttle(Throttle::none())
///     .subscription_path("/my-subscriptions/")
///     .danger_accept_invalid_certs(false)
///     .proxy("socks5://127.0.0.1:1080")
///     .user_agent("my-bot/1.0")
///     .max_body_bytes(8 << 20)
///     .panel_name("de-1")
///     .build()?;
/// assert_eq!(client.subscription_path(), "my-subscriptions");
///
/// let error = Client::builder("not a url").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// # Ok::<(), marzban_api::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    url: SecretString,
    credentials: Option<(String, SecretString)>,
    timeouts: Timeouts,
    retry: RetryPolicy,
    throttle: Throttle,
    subscription_path: String,
    root_certificates: Vec<Vec<u8>>,
    accept_invalid_certs: bool,
    proxy: Option<SecretString>,
    user_agent: String,
    max_body_bytes: usize,
    panel_name: String,
}

impl ClientBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            throttle: Throttle::default(),
            subscription_path: "sub".to_owned(),
            root_certificates: Vec::new(),
            accept_invalid_certs: false,
            proxy: None,
            user_agent: concat!("marzban-api/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_body_bytes: 64 * MIB,
            panel_name: "default".to_owned(),
        }
    }

    /// Sets the admin to log in as. Required.
    pub fn credentials(self, username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self {
            credentials: Some((username.into(), password.into())),
            ..self
        }
    }

    /// Sets the time limits; by default [`Timeouts::default`].
    pub fn timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Sets how failed requests are retried; by default [`RetryPolicy::default`].
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Sets the pause between requests; by default [`Throttle::default`].
    pub fn throttle(self, throttle: Throttle) -> Self {
        Self { throttle, ..self }
    }

    /// Sets the path under which the panel serves subscriptions (its setting `XRAY_SUBSCRIPTION_PATH`); by default
    /// `sub`.
    pub fn subscription_path(self, path: impl AsRef<str>) -> Self {
        Self {
            subscription_path: path.as_ref().trim_matches('/').to_owned(),
            ..self
        }
    }

    /// Trusts the certificates in this PEM text in addition to the system's. May be called several times.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::{Client, ErrorKind};
    ///
    /// let builder = Client::builder("https://127.0.0.1").credentials("admin", "secret");
    /// let error = builder.root_certificate_pem(b"no certificate").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Config);
    /// ```
    pub fn root_certificate_pem(mut self, pem: &[u8]) -> Self {
        self.root_certificates.push(pem.to_owned());
        self
    }

    /// Accepts any certificate, which lets anyone between client and panel read the password. For experiments only.
    pub fn danger_accept_invalid_certs(self, accept: bool) -> Self {
        Self {
            accept_invalid_certs: accept,
            ..self
        }
    }

    /// Sends all requests through this proxy: `http://`, `https://` or `socks5://`, with credentials if it needs
    /// them.
    ///
    /// Without it the system's proxy settings apply, except for a panel on a loopback address.
    pub fn proxy(self, url: impl Into<SecretString>) -> Self {
        Self {
            proxy: Some(url.into()),
            ..self
        }
    }

    /// Sets the `User-Agent` header; by default the name and version of this crate.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self {
            user_agent: user_agent.into(),
            ..self
        }
    }

    /// Sets the maximum size of a response in bytes, after decompression; by default 64 MiB.
    ///
    /// A user takes about 2 KiB in a list.
    pub fn max_body_bytes(self, bytes: usize) -> Self {
        Self {
            max_body_bytes: bytes,
            ..self
        }
    }

    /// Sets the panel's name in spans (`panel.name`) and metrics (label `panel`), to tell several panels apart; by
    /// default `default`.
    pub fn panel_name(self, name: impl Into<String>) -> Self {
        Self {
            panel_name: name.into(),
            ..self
        }
    }

    /// Builds the client. Nothing is sent, so a wrong password is only noticed by the first operation.
    ///
    /// # Errors
    ///
    /// [`Config`](crate::ErrorKind::Config) in any of these cases:
    /// - There are no credentials.
    /// - The URL cannot be parsed, is neither `http` nor `https`, has no host, or contains credentials, a query or a
    ///   fragment.
    /// - A certificate or the proxy is unusable.
    /// - The system has no root certificates, for `https`.
    pub fn build(self) -> Result<Client, Error> {
        if self
            .subscription_path
            .split('/')
            .any(|part| matches!(part, "." | ".."))
        {
            return Err(Error::build("the subscription path contains `.` or `..`"));
        }
        let url = panel_url(self.url.expose_secret())?;
        let Some((username, password)) = self.credentials.clone() else {
            return Err(Error::build("no credentials are set"));
        };
        let transport = Transport {
            base: url.as_str().trim_end_matches('/').to_owned(),
            prefix_len: url.path().trim_end_matches('/').len(),
            pooled: self.http(&url, usize::MAX)?,
            unpooled: self.http(&url, 0)?,
            throttler: Throttler::new(self.throttle),
            retry: self.retry,
            max_body: self.max_body_bytes,
            panel_name: self.panel_name.into(),
            last_date: LastDate::default(),
        };
        Ok(Client(Arc::new(Inner {
            transport,
            auth: Auth::new(username, password),
            batching: Batching::default(),
            subscription_path: self.subscription_path,
        })))
    }

    fn http(&self, url: &Url, kept_connections: usize) -> Result<reqwest::Client, Error> {
        let built = self.settings(url, kept_connections)?.build();
        let built = match built {
            // Plain HTTP also works on a host without root certificates; no certificate is trusted then.
            Err(_) if url.scheme() == "http" => {
                self.settings(url, kept_connections)?.tls_certs_only([]).build()
            }
            built => built,
        };
        built.map_err(|error| {
            Error::build("the HTTP client cannot be set up").with_source(error.without_url())
        })
    }

    fn settings(&self, url: &Url, kept_connections: usize) -> Result<reqwest::ClientBuilder, Error> {
        let mut http = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.timeouts.connect)
            .read_timeout(self.timeouts.read)
            .timeout(self.timeouts.request)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(kept_connections)
            // The panel redirects to absolute `http://` addresses, which would carry the token in clear text.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tls_danger_accept_invalid_certs(self.accept_invalid_certs);
        if !self.root_certificates.is_empty() {
            http = http.tls_certs_merge(certificates(&self.root_certificates)?);
        }
        if let Some(proxy) = &self.proxy {
            // The error is dropped because it may repeat the proxy's password.
            let proxy = reqwest::Proxy::all(proxy.expose_secret());
            http = http.proxy(proxy.map_err(|_| Error::build("the proxy's URL is not usable"))?);
        } else if is_loopback(url) {
            http = http.no_proxy();
            if url.scheme() == "http" {
                // TLS cannot be involved, so the system's certificates need not be read.
                http = http.tls_certs_only([]);
            }
        }
        Ok(http)
    }
}

/// Validates the panel's URL. The messages repeat no part of it.
fn panel_url(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text)
        .map_err(|error| Error::build("the panel's URL cannot be parsed").with_source(error))?;
    let refuse = |reason| Err(Error::build(reason));
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("the panel's URL is neither http nor https");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return refuse("the panel's URL has no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("the panel's URL contains credentials, which belong in `credentials`");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("the panel's URL has a query or a fragment");
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn certificates(bundles: &[Vec<u8>]) -> Result<Vec<reqwest::Certificate>, Error> {
    let mut certificates = Vec::new();
    for pem in bundles {
        let bundle = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| Error::build("a root certificate is not usable").with_source(error))?;
        if bundle.is_empty() {
            return Err(Error::build("a root certificate file contains no certificate"));
        }
        certificates.extend(bundle);
    }
    Ok(certificates)
}
