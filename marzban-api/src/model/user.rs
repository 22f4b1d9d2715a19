use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::admin::Admin;
use super::proxy::Proxies;
use super::{limit, null_as_default, time};
use crate::error::Error;

/// A user of the panel as a read shows it.
///
/// Only name, status and used traffic are sure to be there; the rest differs between versions of the panel.
/// The panel shows no id: a user who was deleted and made again under the same name differs by `created_at` only.
///
/// `Debug` leaves out what gives access: proxy settings, links and the subscription's address.
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
    /// The name, in the panel's own upper and lower case. Two names may differ in that alone.
    pub username: String,
    /// The status when the panel last reviewed it, every 10 s by default. It lags behind `expire`, and by hours on
    /// a host whose time zone is not UTC.
    pub status: UserStatus,
    /// Bytes used since the last reset.
    pub used_traffic: u64,
    /// Bytes used ever, resets notwithstanding.
    #[serde(default)]
    pub lifetime_used_traffic: Option<u64>,
    /// When the access ends, in UTC; `None` if it does not. A user on hold has none until it first connects.
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// Bytes that may be used; `None` if there is no limit.
    #[serde(default, deserialize_with = "limit")]
    pub data_limit: Option<u64>,
    /// When `used_traffic` begins anew.
    #[serde(default)]
    pub data_limit_reset_strategy: Option<ResetStrategy>,
    /// When the user was last connected, in UTC, as exact as the panel's accounting interval (10 s by default).
    #[serde(default, deserialize_with = "time::instant")]
    pub online_at: Option<DateTime<Utc>>,
    /// When the user was made, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub created_at: Option<DateTime<Utc>>,
    /// When a program last fetched the subscription, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub sub_updated_at: Option<DateTime<Utc>>,
    /// The program that last fetched the subscription.
    #[serde(default)]
    pub sub_last_user_agent: Option<String>,
    /// Seconds of access that begin with the first connection of a user on hold.
    #[serde(default)]
    pub on_hold_expire_duration: Option<i64>,
    /// When a user on hold becomes active without a connection, in UTC.
    #[serde(default, deserialize_with = "time::instant")]
    pub on_hold_timeout: Option<DateTime<Utc>>,
    /// Days after the end of the access on which the panel deletes the user.
    #[serde(default)]
    pub auto_delete_in_days: Option<i64>,
    /// What follows when limit or time are used up.
    #[serde(default)]
    pub next_plan: Option<NextPlan>,
    /// Free text of the administrators.
    #[serde(default)]
    pub note: Option<String>,
    /// The owner; `None` for users without one: those made by the administrator of the panel's environment, and those
    /// whose owner was deleted.
    #[serde(default)]
    pub admin: Option<Admin>,
    /// The settings of each protocol, with its passwords and ids: secrets.
    #[serde(default, deserialize_with = "null_as_default")]
    pub proxies: Proxies,
    /// The inbounds of each protocol that the user may use.
    #[serde(default, deserialize_with = "null_as_default")]
    pub inbounds: BTreeMap<String, Vec<String>>,
    /// The inbounds of each protocol that the user may not use.
    #[serde(default, deserialize_with = "null_as_default")]
    pub excluded_inbounds: BTreeMap<String, Vec<String>>,
    /// The addresses of the proxies: secrets. Volatile: the panel draws parts of them anew on every read, so they are
    /// never to be compared.
    #[serde(default, deserialize_with = "null_as_default")]
    pub links: Vec<String>,
    /// The address of the subscription: a secret. Volatile: its token is another one every second, and earlier ones
    /// stay valid until the subscription is revoked. By default it lacks scheme and host:
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
        /// The user's time begins with its first connection.
        OnHold = "on_hold",
        /// An administrator switched the user off.
        Disabled = "disabled",
        /// The traffic is used up. The panel never reviews such a user again, so it stays limited when its time ends.
        Limited = "limited",
        /// The time is over.
        Expired = "expired",
    }
}

open_enum! {
    /// When the used traffic of a user begins anew, counted from the last reset or the creation.
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

/// The plan that follows the present one.
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
    /// Bytes that may be used; `None` if there is no limit.
    #[serde(default, deserialize_with = "limit")]
    pub data_limit: Option<u64>,
    /// When the plan ends, in UTC. The panel takes it over as it is: it is an instant and not a duration.
    #[serde(default, deserialize_with = "time::expire")]
    pub expire: Option<DateTime<Utc>>,
    /// The panel's setting of that name; its 0.8 does the opposite and adds the rest when this is false.
    #[serde(default)]
    pub add_remaining_traffic: bool,
    /// Whether the plan begins when either limit or time is used up, instead of both.
    #[serde(default = "yes")]
    pub fire_on_either: bool,
}

/// A user that the panel could not show or that this crate could not read.
///
/// It stands for itself: the other users of its page are there.
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
    /// The name, unless that too is unreadable or the panel could not show the user.
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
