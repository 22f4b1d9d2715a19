use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::admin::Admin;
use super::proxy::Proxies;
use super::{limit, null_as_default, time};
use crate::error::Error;

/// A user of the panel.
///
/// Only username, status and used traffic are always present; other fields depend on the panel's version. The API has
/// no user ids: a user that was deleted and created again with the same username differs by `created_at` only.
///
/// `Debug` omits what gives access: proxy settings, links and the subscription URL.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let alice = client.users().get("alice").await?;
/// let left = alice.data_limit.map(|limit| limit.saturating_sub(alice.used_traffic));
/// println!("{}: {left:?} bytes left, ends at {:?}", alice.username, alice.expire);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The username, in the panel's own case. Two usernames may differ in case only.
    pub username: String,
    /// The status at the panel's last review, every 10 s by default. It lags behind `expire`, by hours on a host
    /// whose time zone is not UTC.
    pub status: UserStatus,
    /// Bytes used since the last reset.
    pub used_traffic: u64,
    /// Bytes used in total, regardless of resets.
    #[serde(default)]
    pub lifetime_used_traffic: Option<u64>,
    /// When the access ends, in UTC; `None` if it does not. An on-hold user has none until it first connects.
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// The data limit, in bytes; `None` if there is none.
    #[serde(default, deserialize_with = "limit")]
    pub data_limit: Option<u64>,
    /// When `used_traffic` is reset.
    #[serde(default)]
    pub data_limit_reset_strategy: Option<ResetStrategy>,
    /// When the user was last connected, in UTC. It is as exact as the panel's accounting interval, 10 s by default.
    #[serde(default, deserialize_with = "time::instant")]
    pub online_at: Option<DateTime<Utc>>,
    /// When the user was created, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub created_at: Option<DateTime<Utc>>,
    /// When a client app last fetched the subscription, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub sub_updated_at: Option<DateTime<Utc>>,
    /// The user agent that last fetched the subscription.
    #[serde(default)]
    pub sub_last_user_agent: Option<String>,
    /// Seconds of access that start with the first connection of an on-hold user.
    #[serde(default)]
    pub on_hold_expire_duration: Option<i64>,
    /// When an on-hold user becomes active without a connection, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub on_hold_timeout: Option<DateTime<Utc>>,
    /// Days after the end of the access on which the panel deletes the user.
    #[serde(default)]
    pub auto_delete_in_days: Option<i64>,
    /// The plan that follows when data limit or time are used up.
    #[serde(default)]
    pub next_plan: Option<NextPlan>,
    /// The admins' note.
    #[serde(default)]
    pub note: Option<String>,
    /// The owner. `None` for users created by the env sudo admin and for users whose owner was deleted.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// The settings per protocol, including credentials: secrets.
    #[serde(default, deserialize_with = "null_as_default")]
    pub proxies: Proxies,
    /// The inbounds per protocol that the user may use.
    #[serde(default, deserialize_with = "null_as_default")]
    pub inbounds: BTreeMap<String, Vec<String>>,
    /// The inbounds per protocol that the user may not use.
    #[serde(default, deserialize_with = "null_as_default")]
    pub excluded_inbounds: BTreeMap<String, Vec<String>>,
    /// The proxy links: secrets. They are volatile: the panel randomizes parts of them on every read, so never
    /// compare them.
    #[serde(default, deserialize_with = "null_as_default")]
    pub links: Vec<String>,
    /// The subscription URL: a secret. It is volatile: its token differs from second to second, and earlier ones stay
    /// valid until the subscription is revoked. By default it lacks scheme and host:
    /// [`Client::subscription_link`](crate::Client::subscription_link) completes it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub subscription_url: String,
}

open_enum! {
    /// The status of a user.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::UserStatus;
    ///
    /// assert_eq!(UserStatus::from("on_hold"), UserStatus::OnHold);
    /// assert_eq!(UserStatus::from("frozen").as_str(), "frozen", "a word of another panel is kept");
    /// ```
    pub enum UserStatus {
        /// The user may connect.
        Active = "active",
        /// The user's time starts with its first connection.
        OnHold = "on_hold",
        /// An admin disabled the user.
        Disabled = "disabled",
        /// The data limit is reached. The panel does not review such a user again, so it stays limited after its
        /// expiry.
        Limited = "limited",
        /// The expiry has passed.
        Expired = "expired",
    }
}

open_enum! {
    /// When a user's used traffic is reset, counted from the last reset or the creation.
    ///
    /// # Examples
    ///
    /// ```
    /// use marzban_api::model::ResetStrategy;
    ///
    /// assert_eq!(ResetStrategy::Month.as_str(), "month");
    /// ```
    pub enum ResetStrategy {
        /// Never.
        NoReset = "no_reset",
        /// After a day.
        Day = "day",
        /// After 7 days.
        Week = "week",
        /// After 30 days.
        Month = "month",
        /// After 365 days.
        Year = "year",
    }
}

/// The plan that follows the current one.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// if let Some(plan) = client.users().get("alice").await?.next_plan {
///     println!("{:?} bytes until {:?}", plan.data_limit, plan.expire);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NextPlan {
    /// The data limit, in bytes; `None` if there is none.
    #[serde(default, deserialize_with = "limit")]
    pub data_limit: Option<u64>,
    /// When the plan expires, in UTC. The panel copies it as it is: it is an instant, not a duration.
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// The panel's setting of this name. Marzban 0.8 inverts it: it adds the remaining traffic if this is `false`.
    #[serde(default)]
    pub add_remaining_traffic: bool,
    /// Whether the plan starts when either the data limit or the time is used up, rather than both.
    #[serde(default = "yes")]
    pub fire_on_either: bool,
}

/// A user that the panel could not render or that could not be decoded.
///
/// It does not affect the other users of its page.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::resource::ListUsers;
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
///
/// for unreadable in client.users().list(&ListUsers::new()).await?.unreadable {
///     println!("{:?}: {}", unreadable.username, unreadable.error);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnreadableUser {
    /// The username, unless that too is unreadable or the panel could not render the user.
    pub username: Option<String>,
    /// What went wrong.
    pub error: Error,
}

/// The panel's own default.
fn yes() -> bool {
    true
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("username", &self.username)
            .field("status", &self.status)
            .field("used_traffic", &self.used_traffic)
            .field("lifetime_used_traffic", &self.lifetime_used_traffic)
            .field("expire", &self.expire)
            .field("data_limit", &self.data_limit)
            .field("data_limit_reset_strategy", &self.data_limit_reset_strategy)
            .field("online_at", &self.online_at)
            .field("created_at", &self.created_at)
            .field("sub_updated_at", &self.sub_updated_at)
            .field("on_hold_expire_duration", &self.on_hold_expire_duration)
            .field("on_hold_timeout", &self.on_hold_timeout)
            .field("auto_delete_in_days", &self.auto_delete_in_days)
            .field("next_plan", &self.next_plan)
            .field("note", &self.note)
            .field("admin", &self.admin)
            .field("proxies", &self.proxies)
            .field("inbounds", &self.inbounds)
            .finish_non_exhaustive()
    }
}
