use std::fmt;

use serde::Deserialize;

/// An administrator of the panel.
///
/// `Debug` leaves the Discord webhook out: whoever knows it can post there.
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
    /// The name, in the panel's own upper and lower case.
    pub username: String,
    /// Whether the administrator may see and do everything. Others see only their own users.
    #[serde(default)]
    pub is_sudo: bool,
    /// The Telegram id that the panel reports to.
    #[serde(default)]
    pub telegram_id: Option<i64>,
    /// The Discord webhook that the panel reports to: a secret.
    #[serde(default)]
    pub discord_webhook: Option<String>,
    /// Bytes used by all users of the administrator. Absent before 0.8, and for the administrator of the panel's
    /// own environment.
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
