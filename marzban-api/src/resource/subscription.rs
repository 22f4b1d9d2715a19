//! What the holder of a subscription's token sees, without an administrator.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::client::{Answer, Client};
use crate::error::{Error, ErrorKind};
use crate::model::{ClientType, SubscriptionContent, SubscriptionInfo, UsageRange, User, UserUsage};
use crate::request::{Request, UnusableSegment};

/// The operations of a subscription; made by [`Client::subscription`].
///
/// They are public: nothing of the administrator is sent with them, neither token nor name.
/// A token that the panel does not know, also one that was revoked, is [`NotFound`](ErrorKind::NotFound), and so is
/// every token when [`subscription_path`](crate::ClientBuilder::subscription_path) is not that of the panel.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice").used_traffic(7));
/// let token = panel.subscription_token("alice");
/// assert_eq!(client.subscription(token).info().await?.used_traffic, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Subscription<'a> {
    client: &'a Client,
    token: SecretString,
}

impl Client {
    /// Returns the absolute address of a user's subscription, which is what a bot sends to its customer.
    ///
    /// By default a panel reports a relative [`subscription_url`](User::subscription_url), `/sub/` and a token. It is
    /// appended to this client's URL, path prefix included: the place where [`Client::subscription`] reads it. An
    /// address that the panel completes itself (its setting `XRAY_SUBSCRIPTION_URL_PREFIX`) is returned as it is.
    /// `None` means that the panel reported no address.
    ///
    /// The address is a secret: whoever has it can connect as the user.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let panel = marzban_api::testing::FakePanel::start().await;
    /// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
    /// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
    /// let alice = client.users().get("alice").await?;
    /// assert!(alice.subscription_url.starts_with("/sub/"));
    /// let link = client.subscription_link(&alice).ok_or("no subscription")?;
    /// assert_eq!(link, format!("{}{}", panel.url(), alice.subscription_url));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn subscription_link(&self, user: &User) -> Option<String> {
        let url = user.subscription_url.as_str();
        if url.is_empty() {
            return None;
        }
        let base = if url.starts_with('/') { self.base_url() } else { "" };
        Some(format!("{base}{url}"))
    }
}

impl<'a> Subscription<'a> {
    pub(crate) fn new(client: &'a Client, token: SecretString) -> Self {
        Self { client, token }
    }

    /// Fetches the subscription as the program of this `User-Agent` would: the panel chooses the format by it.
    ///
    /// The panel notes time and program in the user's `sub_updated_at` and `sub_last_user_agent`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let content = subscription.content("v2rayNG/1.8").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, [`Request`](ErrorKind::Request) for a token that no
    /// path and a `User-Agent` that no header can carry, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing that matters and may be dropped at any time.
    pub async fn content(&self, user_agent: &str) -> Result<SubscriptionContent, Error> {
        let request = self.request("subscription.content", "/{subscription_path}/{token}")?;
        let user_agent = HeaderValue::from_str(user_agent).map_err(|error| {
            Error::new(ErrorKind::Request)
                .at(&request)
                .because("the user agent cannot be part of a header")
                .caused_by(error)
        })?;
        self.fetch_content(request.header(USER_AGENT, user_agent)).await
    }

    /// Fetches the subscription in the format of a program.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::ClientType;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let content = subscription.as_client(&ClientType::ClashMeta).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, [`Invalid`](ErrorKind::Invalid) for a program that
    /// the panel does not know, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn as_client(&self, client_type: &ClientType) -> Result<SubscriptionContent, Error> {
        let template = "/{subscription_path}/{token}/{client_type}";
        let request = self.request("subscription.as_client", template)?;
        let refused = refusal(&request);
        let request = request.segment(client_type.as_str()).map_err(refused)?;
        self.fetch_content(request).await
    }

    /// Reads the user whose subscription it is, without owner, note and inbounds.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let user = subscription.info().await?;
    /// println!("{} bytes used", user.used_traffic);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn info(&self) -> Result<User, Error> {
        let request = self.request("subscription.info", "/{subscription_path}/{token}/info")?;
        self.client.execute_public(&request).await?.decode(&request)
    }

    /// Reads what the user used through each node in a time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::UsageRange;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let usage = subscription.usage(UsageRange::last_30_days()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn usage(&self, range: UsageRange) -> Result<Vec<UserUsage>, Error> {
        #[derive(Deserialize)]
        struct Usages {
            usages: Vec<UserUsage>,
        }
        let request = self.request("subscription.usage", "/{subscription_path}/{token}/usage")?;
        let request = range.query(request);
        let Usages { usages } = self.client.execute_public(&request).await?.decode(&request)?;
        Ok(usages)
    }

    fn request(&self, operation: &'static str, template: &'static str) -> Result<Request, Error> {
        let request = Request::get(operation, template);
        let refused = refusal(&request);
        request
            .segments(self.client.subscription_path())
            .and_then(|request| request.segment(self.token.expose_secret()))
            .map_err(refused)
    }

    async fn fetch_content(&self, request: Request) -> Result<SubscriptionContent, Error> {
        // Whoever accepts HTML is shown a page for people.
        let request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
        let answer = self.client.execute_public(&request).await?;
        let media_type = media_type(&answer);
        if media_type.as_deref() == Some("text/html") {
            return Err(answer.error(ErrorKind::NotPanel, &request));
        }
        Ok(SubscriptionContent {
            info: SubscriptionInfo::read(&answer.headers),
            media_type,
            body: answer.body,
        })
    }
}

fn refusal(request: &Request) -> impl FnOnce(UnusableSegment) -> Error + use<> {
    let refused = Error::new(ErrorKind::Request).at(request);
    |error| refused.caused_by(error)
}

fn media_type(answer: &Answer) -> Option<String> {
    let value = answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (essence, _) = value.split_once(';').unwrap_or((value, ""));
    Some(essence.trim().to_ascii_lowercase())
}

impl fmt::Debug for Subscription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
