use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::time;
use super::user::{User, UserStatus};

/// The fields of a [`User`](super::User) that show whether it has access and how it uses it.
///
/// The panel always sends whole users, most of whose bytes are links and settings. Decoding a summary skips these,
/// takes a fraction of the time and memory, and leaves no secret in memory.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// for (name, user) in client.users().get_many_summaries(&["alice", "bob"]).await?.found {
///     println!("{name}: {} until {:?}", user.status, user.expire);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserSummary {
    /// See [`User::username`](super::User::username).
    pub username: String,
    /// See [`User::status`](super::User::status).
    pub status: UserStatus,
    /// See [`User::used_traffic`](super::User::used_traffic).
    pub used_traffic: u64,
    /// See [`User::expire`](super::User::expire).
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// See [`User::online_at`](super::User::online_at).
    #[serde(default, deserialize_with = "time::instant")]
    pub online_at: Option<DateTime<Utc>>,
    /// See [`User::created_at`](super::User::created_at).
    #[serde(default, deserialize_with = "time::instant")]
    pub created_at: Option<DateTime<Utc>>,
}

impl From<&User> for UserSummary {
    fn from(user: &User) -> Self {
        Self {
            username: user.username.clone(),
            status: user.status.clone(),
            used_traffic: user.used_traffic,
            expire: user.expire,
            online_at: user.online_at,
            created_at: user.created_at,
        }
    }
}

impl From<User> for UserSummary {
    fn from(user: User) -> Self {
        Self::from(&user)
    }
}
