use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::time;
use super::user::{User, UserStatus};

/// The part of a [`User`](super::User) that says whether its access works, and how it is used.
///
/// The panel cannot be asked for less than whole users, but most of their bytes are links and settings; reading a state
/// passes over them, so that it takes a fraction of the time and the memory, and holds no secret.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// for (name, state) in client.users().get_many_summaries(&["alice", "bob"]).await?.found {
///     println!("{name}: {} until {:?}", state.status, state.expire);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserSummary {
    /// As [`User::username`](super::User::username).
    pub username: String,
    /// As [`User::status`](super::User::status).
    pub status: UserStatus,
    /// As [`User::used_traffic`](super::User::used_traffic).
    pub used_traffic: u64,
    /// As [`User::expire`](super::User::expire).
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// As [`User::online_at`](super::User::online_at).
    #[serde(default, deserialize_with = "time::instant")]
    pub online_at: Option<DateTime<Utc>>,
    /// As [`User::created_at`](super::User::created_at).
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
