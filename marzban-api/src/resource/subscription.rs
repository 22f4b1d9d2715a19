//! Operations for the holder of a subscription token, without an admin.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::client::{Client, Response};
use crate::error::{Error, ErrorKind};
use crate::model::{ClientType, SubscriptionContent, SubscriptionInfo, UsageRange, User, UserUsage};
use crate::request::{Request, UnusableSegment};

/// Operations on a subscription; see [`Client::subscription`].
///
/// They are public: neither the admin's token nor its username is sent. A token that is unknown or revoked gives
/// [`NotFound`](ErrorKind::NotFound), and so does any token if
/// [`subscription_path`](crate::ClientBuilder::subscription_path) is not the panel's.
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
    /// The address is a secret: it lets its holder connect as the user.
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

    /// Fetches the subscription with this `User-Agent`, by which the panel chooses the format.
    ///
    /// The panel stores the time and the user agent in the user's `sub_updated_at` and `sub_last_user_agent`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let content = subscription.fetch_as_user_agent("v2rayNG/1.8").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): the token is unknown.
    /// - [`InvalidInput`](ErrorKind::InvalidInput): the token cannot be part of a path, or the user agent not of a
    ///   header.
    pub async fn fetch_as_user_agent(&self, user_agent: &str) -> Result<SubscriptionContent, Error> {
        let request = self.request("subscription.fetch_as_user_agent", "/{subscription_path}/{token}")?;
        let user_agent = HeaderValue::from_str(user_agent).map_err(|error| {
            Error::new(ErrorKind::InvalidInput)
                .with_operation(&request)
                .with_message("the user agent cannot be part of a header")
                .with_source(error)
        })?;
        self.fetch_content(request.header(USER_AGENT, user_agent)).await
    }

    /// Fetches the subscription in the format of a client app.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use marzban_api::model::ClientType;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let subscription = client.subscription("token");
    /// let content = subscription.fetch(&ClientType::ClashMeta).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Besides the [errors of every operation](crate::resource#errors):
    /// - [`NotFound`](ErrorKind::NotFound): the token is unknown.
    /// - [`Rejected`](ErrorKind::Rejected): the panel does not support the client type.
    pub async fn fetch(&self, client_type: &ClientType) -> Result<SubscriptionContent, Error> {
        let template = "/{subscription_path}/{token}/{client_type}";
        let request = self.request("subscription.fetch", template)?;
        let refused = refusal(&request);
        let request = request.segment(client_type.as_str()).map_err(refused)?;
        self.fetch_content(request).await
    }

    /// Fetches the subscription's user, without owner, note and inbounds.
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
    /// Besides the [errors of every operation](crate::resource#errors), [`NotFound`](ErrorKind::NotFound) for an
    /// unknown token.
    pub async fn info(&self) -> Result<User, Error> {
        let request = self.request("subscription.info", "/{subscription_path}/{token}/info")?;
        self.client.execute_public(&request).await?.decode(&request)
    }

    /// Fetches how much traffic the user used within a range, per node.
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
    /// Besides the [errors of every operation](crate::resource#errors), [`NotFound`](ErrorKind::NotFound) for an
    /// unknown token.
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
        // The panel sends a web page to clients that accept HTML.
        let request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
        let response = self.client.execute_public(&request).await?;
        let media_type = media_type(&response);
        if media_type.as_deref() == Some("text/html") {
            return Err(response.error(ErrorKind::UnexpectedResponse, &request));
        }
        Ok(SubscriptionContent {
            info: SubscriptionInfo::read(&response.headers),
            media_type,
            body: response.body,
        })
    }
}

fn refusal(request: &Request) -> impl FnOnce(UnusableSegment) -> Error + use<> {
    let refused = Error::new(ErrorKind::InvalidInput).with_operation(request);
    |error| refused.with_source(error)
}

fn media_type(response: &Response) -> Option<String> {
    let value = response.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (essence, _) = value.split_once(';').unwrap_or((value, ""));
    Some(essence.trim().to_ascii_lowercase())
}

impl fmt::Debug for Subscription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
