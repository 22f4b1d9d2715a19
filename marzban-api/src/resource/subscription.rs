//! What the holder of a subscription's token sees, without an administrator.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::client::{Client, Response};
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
    /// let content = subscription.fetch_as_user_agent("v2rayNG/1.8").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, [`InvalidInput`](ErrorKind::InvalidInput) for a token that no
    /// path and a `User-Agent` that no header can carry, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing that matters and may be dropped at any time.
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

    /// Fetches the subscription in the format of a program.
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
    /// [`NotFound`](ErrorKind::NotFound) for an unknown token, [`Rejected`](ErrorKind::Rejected) for a program that
    /// the panel does not know, and the failures of every operation.
    ///
    /// # Cancel safety
    ///
    /// It changes nothing and may be dropped at any time.
    pub async fn fetch(&self, client_type: &ClientType) -> Result<SubscriptionContent, Error> {
        let template = "/{subscription_path}/{token}/{client_type}";
        let request = self.request("subscription.fetch", template)?;
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
            return Err(answer.error(ErrorKind::UnexpectedResponse, &request));
        }
        Ok(SubscriptionContent {
            info: SubscriptionInfo::read(&answer.headers),
            media_type,
            body: answer.body,
        })
    }
}

fn refusal(request: &Request) -> impl FnOnce(UnusableSegment) -> Error + use<> {
    let refused = Error::new(ErrorKind::InvalidInput).with_operation(request);
    |error| refused.with_source(error)
}

fn media_type(answer: &Response) -> Option<String> {
    let value = answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (essence, _) = value.split_once(';').unwrap_or((value, ""));
    Some(essence.trim().to_ascii_lowercase())
}

impl fmt::Debug for Subscription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
