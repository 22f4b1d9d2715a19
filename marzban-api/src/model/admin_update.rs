use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::admin::Admin;

/// An administrator that is to be made.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::NewAdmin;
///
/// let seller = NewAdmin::new("seller", "a long password")
///     .sudo()
///     .telegram_id(12_345)
///     .discord_webhook("https://discord.com/api/webhooks/1/token");
/// let made = client.admins().create(&seller).await?;
/// assert_eq!((made.is_sudo, made.telegram_id), (true, Some(12_345)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NewAdmin {
    username: String,
    password: SecretString,
    is_sudo: bool,
    telegram_id: Option<i64>,
    discord_webhook: Option<SecretString>,
}

/// A change of an administrator, made from the administrator as it was read.
///
/// What is not set stays as it is. The panel takes nothing away: neither sudo rights nor the addresses of reports.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::model::{AdminUpdate, NewAdmin};
///
/// let seller = client.admins().create(&NewAdmin::new("seller", "a long password")).await?;
/// let change = AdminUpdate::for_admin(&seller)
///     .promote()
///     .password("another password")
///     .telegram_id(42)
///     .discord_webhook("https://discord.com/api/webhooks/1/token");
/// assert_eq!(change.username(), "seller");
/// let seller = client.admins().update(&change).await?;
/// assert_eq!((seller.is_sudo, seller.telegram_id), (true, Some(42)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct AdminUpdate {
    username: String,
    is_sudo: bool,
    password: Option<SecretString>,
    telegram_id: Option<i64>,
    discord_webhook: Option<SecretString>,
}

impl NewAdmin {
    /// An administrator without sudo rights. Any name will do; upper and lower case count.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            is_sudo: false,
            telegram_id: None,
            discord_webhook: None,
        }
    }

    /// With sudo rights, which cannot be taken away by this interface, nor can such an administrator be changed or
    /// deleted by another one.
    pub fn sudo(self) -> Self {
        Self {
            is_sudo: true,
            ..self
        }
    }

    /// The Telegram id that the panel reports to.
    pub fn telegram_id(self, id: i64) -> Self {
        Self {
            telegram_id: Some(id),
            ..self
        }
    }

    /// The Discord webhook that the panel reports to: a secret.
    pub fn discord_webhook(self, url: impl Into<SecretString>) -> Self {
        Self {
            discord_webhook: Some(url.into()),
            ..self
        }
    }

    /// What is written to the panel.
    pub(crate) fn body(&self) -> impl Serialize {
        Body {
            username: Some(&self.username),
            password: Some(self.password.expose_secret()),
            is_sudo: self.is_sudo,
            telegram_id: self.telegram_id,
            discord_webhook: self.discord_webhook.as_ref().map(ExposeSecret::expose_secret),
        }
    }
}

impl AdminUpdate {
    /// No change of this administrator.
    pub fn for_admin(admin: &Admin) -> Self {
        Self {
            username: admin.username.clone(),
            is_sudo: admin.is_sudo,
            password: None,
            telegram_id: None,
            discord_webhook: None,
        }
    }

    /// The name of the administrator, which cannot be changed.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Gives sudo rights.
    pub fn promote(self) -> Self {
        Self {
            is_sudo: true,
            ..self
        }
    }

    /// Another password. All tokens of the administrator end, those of this second included.
    pub fn password(self, password: impl Into<SecretString>) -> Self {
        Self {
            password: Some(password.into()),
            ..self
        }
    }

    /// Another Telegram id; 0 changes nothing.
    pub fn telegram_id(self, id: i64) -> Self {
        Self {
            telegram_id: Some(id),
            ..self
        }
    }

    /// Another Discord webhook: a secret.
    pub fn discord_webhook(self, url: impl Into<SecretString>) -> Self {
        Self {
            discord_webhook: Some(url.into()),
            ..self
        }
    }

    /// What is written to the panel.
    pub(crate) fn body(&self) -> impl Serialize {
        Body {
            username: None,
            password: self.password.as_ref().map(ExposeSecret::expose_secret),
            is_sudo: self.is_sudo,
            telegram_id: self.telegram_id,
            discord_webhook: self.discord_webhook.as_ref().map(ExposeSecret::expose_secret),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// Always there: the panel requires it even of a change that cannot take it away.
    is_sudo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    telegram_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discord_webhook: Option<&'a str>,
}
