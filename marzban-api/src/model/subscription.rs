use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::CONTENT_DISPOSITION;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::time::from_seconds;

const SECONDS_AN_HOUR: u64 = 3600;

/// The information in the headers of a subscription.
///
/// Every field is optional. A header that cannot be parsed is treated as absent, because client apps only display
/// these values. `Debug` omits the URL of the web page, because it contains the token.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let content = client.subscription("token").fetch_as_user_agent("v2rayNG/1.8").await?;
/// println!("{:?} of {:?} bytes, until {:?}", content.info.download, content.info.total, content.info.expire);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SubscriptionInfo {
    /// Bytes sent by the user. The panel does not count the directions separately and reports 0.
    pub upload: Option<u64>,
    /// Bytes received by the user; all bytes used, for this panel.
    pub download: Option<u64>,
    /// The data limit, in bytes; `None` if there is none.
    pub total: Option<u64>,
    /// When the access ends, in UTC; `None` if it does not.
    pub expire: Option<DateTime<Utc>>,
    /// How often client apps should fetch the subscription.
    pub update_interval: Option<Duration>,
    /// The name of the subscription, decoded.
    pub title: Option<String>,
    /// The URL of the user's own page: a secret.
    pub web_page_url: Option<SecretString>,
    /// Where users find help.
    pub support_url: Option<String>,
    /// The suggested file name, which is the username.
    pub filename: Option<String>,
}

impl SubscriptionInfo {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut info = Self {
            update_interval: text("profile-update-interval")
                .and_then(|hours| hours.trim().parse::<u64>().ok())
                .and_then(|hours| hours.checked_mul(SECONDS_AN_HOUR))
                .map(Duration::from_secs),
            title: text("profile-title").and_then(title),
            web_page_url: text("profile-web-page-url").map(SecretString::from),
            support_url: text("support-url").map(ToOwned::to_owned),
            filename: text(CONTENT_DISPOSITION.as_str()).and_then(filename),
            ..Self::default()
        };
        for (key, value) in text("subscription-userinfo").into_iter().flat_map(pairs) {
            match key {
                "upload" => info.upload = value.parse().ok(),
                "download" => info.download = value.parse().ok(),
                "total" => info.total = value.parse().ok().filter(|total| *total != 0),
                "expire" => info.expire = value.parse().ok().filter(|end| *end != 0).and_then(from_seconds),
                _ => {}
            }
        }
        info
    }
}

/// A subscription: a list of links, or a configuration in the client app's own format.
///
/// `Debug` omits the content, because it gives access.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
/// let token = panel.subscription_token("alice");
/// let content = client.subscription(token).fetch_as_user_agent("v2rayNG/1.8").await?;
/// assert_eq!(content.media_type.as_deref(), Some("text/plain"));
/// assert!(content.links().is_some_and(|links| links.iter().any(|link| link.starts_with("vless://"))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SubscriptionContent {
    /// The information in the headers.
    pub info: SubscriptionInfo,
    /// The media type, such as `text/plain`, `text/yaml` or `application/json`, without its parameters.
    pub media_type: Option<String>,
    /// The content as received: a secret.
    pub body: Bytes,
}

impl SubscriptionContent {
    /// Returns the links if the content is a Base64 list of them, the format for `V2Ray`. Links are secrets.
    #[must_use]
    pub fn links(&self) -> Option<Vec<String>> {
        let list = STANDARD.decode(self.body.trim_ascii()).ok()?;
        let list = String::from_utf8(list).ok()?;
        Some(
            list.lines()
                .filter(|line| !line.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
        )
    }
}

open_enum! {
    /// A type of client app, for which the panel has a subscription format.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::ClientType;
    ///
    /// assert_eq!(ClientType::from("sing-box"), ClientType::SingBox);
    /// assert_eq!(ClientType::SingBox.as_str(), "sing-box");
    /// ```
    pub enum ClientType {
        /// sing-box and its relatives: JSON.
        SingBox = "sing-box",
        /// Clash Meta (Mihomo): YAML.
        ClashMeta = "clash-meta",
        /// Clash: YAML.
        Clash = "clash",
        /// Outline: JSON.
        Outline = "outline",
        /// `V2Ray`: a list of links in Base64.
        V2ray = "v2ray",
        /// `V2Ray`: JSON.
        V2rayJson = "v2ray-json",
    }
}

/// Parses `a=1; b=2`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

fn title(text: &str) -> Option<String> {
    match text.strip_prefix("base64:") {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

/// Parses the plain or the extended (RFC 5987) file name of a `Content-Disposition`.
fn filename(text: &str) -> Option<String> {
    pairs(text).find_map(|(key, value)| match key {
        "filename" => Some(value.trim_matches('"').to_owned()),
        "filename*" => {
            let (_, encoded) = value.split_once("''")?;
            percent_decode_str(encoded).decode_utf8().ok().map(Into::into)
        }
        _ => None,
    })
}

impl fmt::Debug for SubscriptionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionInfo")
            .field("upload", &self.upload)
            .field("download", &self.download)
            .field("total", &self.total)
            .field("expire", &self.expire)
            .field("update_interval", &self.update_interval)
            .field("title", &self.title)
            .field("support_url", &self.support_url)
            .field("filename", &self.filename)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubscriptionContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionContent")
            .field("info", &self.info)
            .field("media_type", &self.media_type)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
