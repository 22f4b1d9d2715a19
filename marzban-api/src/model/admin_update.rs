use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::admin::Admin;

/// The settings of a new admin.
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

/// An update of an admin, based on the admin as it was read.
///
/// Fields that are not set keep their values. The panel cannot remove anything: neither sudo rights nor the addresses
/// of reports.
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
/// let update = AdminUpdate::for_admin(&seller)
///     .promote()
///     .password("another password")
///     .telegram_id(42)
///     .discord_webhook("https://discord.com/api/webhooks/1/token");
/// assert_eq!(update.username(), "seller");
/// let seller = client.admins().update(&update).await?;
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
    /// Creates an admin without sudo rights. Any username is accepted; it is case-sensitive.
    pub fn new(username: impl Into<String>, password: impl Into<SecretString>) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            is_sudo: false,
            telegram_id: None,
            discord_webhook: None,
        }
    }

    /// Grants sudo. The API can neither revoke sudo nor let another admin update or delete a sudo admin; use
    /// `marzban-cli`.
    pub fn sudo(self) -> Self {
        Self {
            is_sudo: true,
            ..self
        }
    }

    /// Sets the Telegram id that the panel reports to.
    pub fn telegram_id(self, id: i64) -> Self {
        Self {
            telegram_id: Some(id),
            ..self
        }
    }

    /// Sets the Discord webhook that the panel reports to: a secret.
    pub fn discord_webhook(self, url: impl Into<SecretString>) -> Self {
        Self {
            discord_webhook: Some(url.into()),
            ..self
        }
    }

    /// The body of the request.
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
    /// Starts an update that changes nothing yet.
    pub fn for_admin(admin: &Admin) -> Self {
        Self {
            username: admin.username.clone(),
            is_sudo: admin.is_sudo,
            password: None,
            telegram_id: None,
            discord_webhook: None,
        }
    }

    /// Returns the admin's username, which cannot be changed.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Grants sudo, which the API cannot revoke.
    pub fn promote(self) -> Self {
        Self {
            is_sudo: true,
            ..self
        }
    }

    /// Sets a new password. All tokens of the admin become invalid, including those issued in this second.
    pub fn password(self, password: impl Into<SecretString>) -> Self {
        Self {
            password: Some(password.into()),
            ..self
        }
    }

    /// Sets a new Telegram id; 0 changes nothing.
    pub fn telegram_id(self, id: i64) -> Self {
        Self {
            telegram_id: Some(id),
            ..self
        }
    }

    /// Sets a new Discord webhook: a secret.
    pub fn discord_webhook(self, url: impl Into<SecretString>) -> Self {
        Self {
            discord_webhook: Some(url.into()),
            ..self
        }
    }

    /// The body of the request.
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
    /// Always present: the panel requires it even though an update cannot revoke it.
    is_sudo: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    telegram_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discord_webhook: Option<&'a str>,
}
