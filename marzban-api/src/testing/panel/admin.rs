//! One admin of the fake panel.

use std::fmt;

use chrono::{DateTime, Utc};

use super::user::FakeUser;

/// An admin of the fake panel.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::FakeAdmin;
///
/// let admin = FakeAdmin::new("root2", "pass-w0rd").sudo();
/// assert!(admin.is_sudo);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeAdmin {
    /// The name, which is case-sensitive.
    pub username: String,
    /// Whether the admin sees all users; otherwise only its own.
    pub is_sudo: bool,
    /// The id that the panel reports to on Telegram.
    pub telegram_id: Option<i64>,
    /// The webhook that the panel reports to on Discord.
    pub discord_webhook: Option<String>,
    /// The bytes that the admin's users used, which the panel counts on its own.
    pub users_usage: i64,
    pub(crate) is_from_environment: bool,
    /// `None` for an admin that cannot log in.
    pub(crate) password: Option<String>,
    /// Tokens issued before this are dead.
    pub(crate) password_reset_at: Option<DateTime<Utc>>,
}

impl FakeAdmin {
    /// Describes an admin that is not sudo: it sees and changes its own users only.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            is_sudo: false,
            telegram_id: None,
            discord_webhook: None,
            users_usage: 0,
            is_from_environment: false,
            password: Some(password.into()),
            password_reset_at: None,
        }
    }

    /// Makes the admin sudo: it sees and changes all users.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.is_sudo = true;
        self
    }

    /// The sudo admin that the panel takes from its environment: it has no row and owns no user.
    pub(crate) fn from_environment(username: &str, password: &str) -> Self {
        Self {
            is_from_environment: true,
            ..Self::new(username, password).sudo()
        }
    }

    /// An admin that is known by name only, because a user names it as its owner.
    pub(crate) fn without_password(username: &str) -> Self {
        Self {
            password: None,
            ..Self::new(username, "")
        }
    }

    /// Sets another password, which kills the tokens issued so far.
    pub(crate) fn set_password(&mut self, password: &str, now: DateTime<Utc>) {
        self.password = Some(password.to_owned());
        self.password_reset_at = Some(now);
    }

    /// Whether this admin may read and change a user.
    pub(crate) fn may_manage(&self, user: &FakeUser) -> bool {
        self.is_sudo || user.is_owned_by(&self.username)
    }

    /// Whether a user is part of what this admin asks for by owners: without owners all are, and an admin that is
    /// not sudo sees its own users whatever it asks for.
    pub(crate) fn counts(&self, user: &FakeUser, owners: &[&str]) -> bool {
        if !self.is_sudo {
            return self.may_manage(user);
        }
        owners.is_empty() || user.owner.as_deref().is_some_and(|owner| owners.contains(&owner))
    }
}

// The password and the webhook, whose URL is a secret too, are not shown.
impl fmt::Debug for FakeAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAdmin")
            .field("username", &self.username)
            .field("is_sudo", &self.is_sudo)
            .finish_non_exhaustive()
    }
}
