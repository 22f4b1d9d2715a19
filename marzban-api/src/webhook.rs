//! Webhooks: notifications that the panel sends to the addresses in its setting `WEBHOOK_ADDRESS`.
//!
//! Every 30 s by default, a POST carries a JSON array of [`Notification`]s and the header `x-webhook-secret` with the
//! setting `WEBHOOK_SECRET` as it is. There is no signature. A receiver needs [`WebhookSecret::check`] and [`parse`];
//! with the feature `axum`, the extractor `Webhook` does both.
//!
//! # What a notification is worth
//!
//! A notification is a hint to read the user, not a fact to store:
//!
//! - **It may be repeated.** If every address answers with 400 or more, the panel sends the whole batch again after 3
//!   minutes, up to three times, including what was understood the first time. A success from any address counts for
//!   all.
//! - **It may be late.** A repeated notification arrives after newer ones. Read the user before acting on the
//!   snapshot in it.
//! - **It may be lost.** The queue is in the panel's memory, and a batch is dropped after four attempts. Nothing is
//!   sent for changes of the owner, for `users/reset`, when an admin's users are disabled or activated, for periodic
//!   resets, for traffic, and when a user without an owner is deleted. So poll the panel as well.
//! - **It has no time of the event.** `enqueued_at` and `send_at` are the time at which the *panel* started, until a
//!   repetition sets `send_at`.
//!
//! So answer every batch with the right secret quickly and with success, whatever it contains, and recognize
//! duplicates by what you have already done.
//!
//! ```
//! use marzban_api::webhook::{self, Event};
//!
//! let body = br#"[{"action":"user_deleted","username":"alice","tries":0,"by":null}, {"action":7}]"#;
//! let [deleted, broken] = &webhook::parse(body)?[..] else { unreachable!() };
//! assert!(matches!(deleted, Ok(note) if note.username == "alice" && matches!(note.event, Event::UserDeleted { .. })));
//! assert!(broken.is_err());
//! # Ok::<_, webhook::WebhookError>(())
//! ```

#[cfg(feature = "axum")]
mod extract;
mod secret;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[cfg(feature = "axum")]
pub use self::extract::{MAX_BODY_BYTES, Webhook};
pub use self::secret::WebhookSecret;
use crate::client::{DecodeError, decode};
use crate::model::{Admin, User};

/// How many items of a batch may be unreadable, so that a batch of zeros does not fill the memory.
const MOST_UNREADABLE: u32 = 10_000;

/// An event that the panel reports.
///
/// # Examples
///
/// ```
/// use marzban_api::webhook;
///
/// let body = br#"[{"action":"user_deleted","username":"alice","tries":1,"by":null}]"#;
/// let batch = webhook::parse(body)?;
/// let note = batch[0].as_ref().expect("a notification");
/// assert_eq!((note.username.as_str(), note.tries), ("alice", 1));
/// # Ok::<(), marzban_api::webhook::WebhookError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Notification {
    /// The user that it is about.
    pub username: String,
    /// What happened.
    pub event: Event,
    /// How often the panel has sent it before.
    pub tries: u32,
    /// When the panel started, in UTC; not when the event happened.
    pub enqueued_at: Option<DateTime<Utc>>,
    /// When the panel started, or when a repetition was due, in UTC.
    pub send_at: Option<DateTime<Utc>>,
}

/// What happened, with the user as it was then.
///
/// `by` is the admin who did it, or `None` if the panel did it on its own.
///
/// # Examples
///
/// ```
/// use marzban_api::webhook::{self, Event};
///
/// let body = br#"[{"action":"user_limited","username":"alice",
///     "user":{"username":"alice","status":"limited","used_traffic":9}}]"#;
/// let event = webhook::parse(body)?.remove(0).expect("a notification").event;
/// assert!(matches!(event, Event::UserLimited { .. }));
/// assert_eq!(event.action(), "user_limited");
/// assert_eq!(event.user().map(|user| user.used_traffic), Some(9));
/// # Ok::<(), marzban_api::webhook::WebhookError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum Event {
    /// A user was created.
    UserCreated {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
    },
    /// A user was updated.
    UserUpdated {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
    },
    /// A user was deleted.
    UserDeleted {
        /// The admin who did it, named `system` for the panel itself.
        by: Option<Admin>,
    },
    /// A user reached its data limit.
    UserLimited {
        /// The user.
        user: Box<User>,
    },
    /// A user expired.
    UserExpired {
        /// The user.
        user: Box<User>,
    },
    /// A user got access, for the first time or again.
    UserEnabled {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
    },
    /// A user was disabled.
    UserDisabled {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
        /// The reason. Marzban 0.8 never sends one.
        reason: Option<String>,
    },
    /// A user's used traffic was reset to zero.
    DataUsageReset {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
    },
    /// A user's next plan started.
    DataResetByNext {
        /// The user.
        user: Box<User>,
    },
    /// A user's subscription was revoked: earlier subscription URLs and credentials no longer work.
    SubscriptionRevoked {
        /// The user.
        user: Box<User>,
        /// The admin who did it.
        by: Option<Admin>,
    },
    /// A user has used more of its data limit than one of the panel's thresholds.
    ReachedUsagePercent {
        /// The user.
        user: Box<User>,
        /// The used share of the data limit, in percent.
        used_percent: f64,
    },
    /// A user's expiry is closer than one of the panel's thresholds.
    ReachedDaysLeft {
        /// The user.
        user: Box<User>,
        /// The number of whole days left.
        days_left: i64,
    },
    /// An event that this version does not know.
    Unknown {
        /// The panel's word for it.
        action: String,
        /// The whole notification, which may contain secrets.
        payload: Map<String, Value>,
    },
}

/// A notification that cannot be decoded. It does not affect the others of its batch.
///
/// # Examples
///
/// ```
/// use marzban_api::webhook;
///
/// let batch = webhook::parse(br#"[{"action":"user_created","username":"alice"}]"#)?;
/// let broken = batch[0].as_ref().expect_err("the user is missing");
/// assert_eq!(broken.username.as_deref(), Some("alice"));
/// assert_eq!(broken.to_string(), "a notification cannot be decoded");
/// # Ok::<(), marzban_api::webhook::WebhookError>(())
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("a notification cannot be decoded")]
#[non_exhaustive]
pub struct UnreadableNotification {
    /// The panel's word for the event, unless that too is unreadable.
    pub action: Option<String>,
    /// The user that it is about, unless that too is unreadable.
    pub username: Option<String>,
    source: DecodeError,
}

/// Why a POST is not a batch of notifications.
///
/// # Examples
///
/// ```
/// use marzban_api::webhook::{self, WebhookError};
///
/// assert!(matches!(webhook::parse(b"{}"), Err(WebhookError::NotABatch(_))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The secret is missing or wrong; answer with status 401.
    #[error("the webhook secret is missing or wrong")]
    WrongSecret,
    /// The body is not a JSON array; answer with status 400.
    #[error("the body is not a JSON array of notifications")]
    NotABatch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The body is larger than the receiver accepts; answer with status 413.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The maximum size, in bytes.
        limit: usize,
    },
    /// The body ended early; there is no one left to answer.
    #[error("the body ended early")]
    BrokeOff(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Decodes a batch of notifications, each by itself, in the order in which the panel sent them.
///
/// [`Notification`] has an example.
///
/// # Errors
///
/// [`WebhookError::NotABatch`] if the body is not a JSON array, or if more than 10,000 of its items cannot be
/// decoded.
pub fn parse(body: &[u8]) -> Result<Vec<Result<Notification, UnreadableNotification>>, WebhookError> {
    let Batch(items) = decode(body).map_err(|error| WebhookError::NotABatch(Box::new(error)))?;
    Ok(items)
}

/// The notifications of a batch, each decoded by itself.
struct Batch(Vec<Result<Notification, UnreadableNotification>>);

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadBatch)
    }
}

struct ReadBatch;

impl<'de> Visitor<'de> for ReadBatch {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of notifications")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Batch, A::Error> {
        let (mut items, mut broken) = (Vec::new(), 0);
        while let Some(raw) = list.next_element::<&RawValue>()? {
            let item = read(raw.get());
            broken += u32::from(item.is_err());
            if broken > MOST_UNREADABLE {
                return Err(A::Error::custom("too many items cannot be decoded"));
            }
            items.push(item);
        }
        Ok(Batch(items))
    }
}

fn read(item: &str) -> Result<Notification, UnreadableNotification> {
    #[derive(Deserialize)]
    struct Head {
        action: String,
        username: String,
        #[serde(default)]
        tries: Option<u32>,
        #[serde(default, deserialize_with = "instant")]
        enqueued_at: Option<DateTime<Utc>>,
        #[serde(default, deserialize_with = "instant")]
        send_at: Option<DateTime<Utc>>,
    }
    let head: Head = decode(item.as_bytes()).map_err(|error| unreadable(item, error))?;
    let event = Event::read(head.action, item).map_err(|error| unreadable(item, error))?;
    Ok(Notification {
        username: head.username,
        event,
        tries: head.tries.unwrap_or_default(),
        enqueued_at: head.enqueued_at,
        send_at: head.send_at,
    })
}

fn unreadable(item: &str, source: DecodeError) -> UnreadableNotification {
    let object: Map<String, Value> = serde_json::from_str(item).unwrap_or_default();
    let text = |key| object.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    UnreadableNotification {
        action: text("action"),
        username: text("username"),
        source,
    }
}

/// Deserializes epoch seconds with a fraction. Nothing depends on them, so an invalid value is treated as absent.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    let seconds = value.as_ref().and_then(Value::as_f64);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it saturates, and what it saturates to is no date"
    )]
    Ok(seconds.and_then(|seconds| DateTime::from_timestamp_micros((seconds * 1e6) as i64)))
}

impl Event {
    fn read(action: String, item: &str) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct OfUser {
            user: Box<User>,
            #[serde(default)]
            by: Option<Admin>,
            #[serde(default)]
            reason: Option<String>,
        }
        #[derive(Deserialize)]
        struct Deleted {
            #[serde(default)]
            by: Option<Admin>,
        }
        #[derive(Deserialize)]
        struct Percent {
            user: Box<User>,
            used_percent: f64,
        }
        #[derive(Deserialize)]
        struct Days {
            user: Box<User>,
            days_left: i64,
        }
        let json = item.as_bytes();
        let of_user = || decode::<OfUser>(json);
        Ok(match action.as_str() {
            "user_created" => of_user().map(|OfUser { user, by, .. }| Self::UserCreated { user, by })?,
            "user_updated" => of_user().map(|OfUser { user, by, .. }| Self::UserUpdated { user, by })?,
            "user_deleted" => decode(json).map(|Deleted { by }| Self::UserDeleted { by })?,
            "user_limited" => of_user().map(|OfUser { user, .. }| Self::UserLimited { user })?,
            "user_expired" => of_user().map(|OfUser { user, .. }| Self::UserExpired { user })?,
            "user_enabled" => of_user().map(|OfUser { user, by, .. }| Self::UserEnabled { user, by })?,
            "user_disabled" => {
                of_user().map(|OfUser { user, by, reason }| Self::UserDisabled { user, by, reason })?
            }
            "data_usage_reset" => {
                of_user().map(|OfUser { user, by, .. }| Self::DataUsageReset { user, by })?
            }
            "data_reset_by_next" => of_user().map(|OfUser { user, .. }| Self::DataResetByNext { user })?,
            "subscription_revoked" => {
                of_user().map(|OfUser { user, by, .. }| Self::SubscriptionRevoked { user, by })?
            }
            "reached_usage_percent" => decode(json)
                .map(|Percent { user, used_percent }| Self::ReachedUsagePercent { user, used_percent })?,
            "reached_days_left" => {
                decode(json).map(|Days { user, days_left }| Self::ReachedDaysLeft { user, days_left })?
            }
            _ => Self::Unknown {
                action,
                payload: decode(json)?,
            },
        })
    }

    /// Returns the panel's word for the event, such as `user_expired`.
    #[must_use]
    pub fn action(&self) -> &str {
        match self {
            Self::UserCreated { .. } => "user_created",
            Self::UserUpdated { .. } => "user_updated",
            Self::UserDeleted { .. } => "user_deleted",
            Self::UserLimited { .. } => "user_limited",
            Self::UserExpired { .. } => "user_expired",
            Self::UserEnabled { .. } => "user_enabled",
            Self::UserDisabled { .. } => "user_disabled",
            Self::DataUsageReset { .. } => "data_usage_reset",
            Self::DataResetByNext { .. } => "data_reset_by_next",
            Self::SubscriptionRevoked { .. } => "subscription_revoked",
            Self::ReachedUsagePercent { .. } => "reached_usage_percent",
            Self::ReachedDaysLeft { .. } => "reached_days_left",
            Self::Unknown { action, .. } => action,
        }
    }

    /// Returns the user as it was then, if the panel sent it.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::UserCreated { user, .. }
            | Self::UserUpdated { user, .. }
            | Self::UserLimited { user }
            | Self::UserExpired { user }
            | Self::UserEnabled { user, .. }
            | Self::UserDisabled { user, .. }
            | Self::DataUsageReset { user, .. }
            | Self::DataResetByNext { user }
            | Self::SubscriptionRevoked { user, .. }
            | Self::ReachedUsagePercent { user, .. }
            | Self::ReachedDaysLeft { user, .. } => Some(user),
            Self::UserDeleted { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Debug for Event {
    /// Omits the payload of an unknown event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("action", &self.action())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}
