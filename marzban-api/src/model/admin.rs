use std::fmt;

use serde::Deserialize;

/// An admin of the panel.
///
/// `Debug` omits the Discord webhook, because anyone who has its URL can post there.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let admin = client.admins().current().await?;
/// println!("{} has sudo rights: {}", admin.username, admin.is_sudo);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Admin {
    /// The username, in the panel's own case. Two usernames may differ in case only.
    pub username: String,
    /// Whether the admin may see and do everything. Others see only their own users.
    #[serde(default)]
    pub is_sudo: bool,
    /// The Telegram id that the panel reports to.
    #[serde(default)]
    pub telegram_id: Option<i64>,
    /// The Discord webhook that the panel reports to: a secret.
    #[serde(default)]
    pub discord_webhook: Option<String>,
    /// Bytes used by all users of the admin. `None` before 0.8 and for the env sudo admin.
    #[serde(default)]
    pub users_usage: Option<u64>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("username", &self.username)
            .field("is_sudo", &self.is_sudo)
            .field("telegram_id", &self.telegram_id)
            .field("users_usage", &self.users_usage)
            .finish_non_exhaustive()
    }
}
