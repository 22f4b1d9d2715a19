//! The notifications that the panel posts to the addresses of its configuration.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::testing::api::render::AdminJson;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::{FakeStatus, FakeUser};

pub(crate) const SECRET_HEADER: &str = "x-webhook-secret";

/// After a failure the panel waits this long, and gives up after this many tries more.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(180);
const RETRIES: u32 = 3;

const REMIND_AT_PERCENT: f64 = 80.0;
const REMIND_AT_DAYS: i64 = 3;

/// Where notifications go, and those that are still to be sent: in memory only, as in the panel.
#[derive(Clone, Default)]
pub(crate) struct Webhooks {
    pub(crate) addresses: Vec<String>,
    pub(crate) secret: Option<String>,
    queue: Vec<Notification>,
}

// Addresses and secret give access to the receiver.
impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("addresses", &self.addresses.len())
            .field("queue", &self.queue.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(crate) struct Notification {
    fields: Map<String, Value>,
    enqueued_at: DateTime<Utc>,
    send_at: DateTime<Utc>,
    tries: u32,
}

impl Notification {
    fn json(&self) -> Value {
        let mut fields = self.fields.clone();
        fields.insert("enqueued_at".to_owned(), seconds(self.enqueued_at));
        fields.insert("send_at".to_owned(), seconds(self.send_at));
        fields.insert("tries".to_owned(), self.tries.into());
        Value::Object(fields)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the panel sends a float of this precision too"
)]
fn seconds(time: DateTime<Utc>) -> Value {
    json!(time.timestamp_micros() as f64 / 1e6)
}

/// What is posted to every address, in one go.
pub(crate) struct Batch {
    pub(crate) addresses: Vec<String>,
    pub(crate) secret: Option<String>,
    pub(crate) body: Vec<u8>,
    notifications: Vec<Notification>,
}

impl Webhooks {
    /// Takes what is due out of the queue; nothing due is no batch.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> Option<Batch> {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|notification| notification.send_at <= now);
        self.queue = later;
        if due.is_empty() {
            return None;
        }
        let body: Vec<Value> = due.iter().map(Notification::json).collect();
        Some(Batch {
            addresses: self.addresses.clone(),
            secret: self.secret.clone(),
            body: Value::Array(body).to_string().into_bytes(),
            notifications: due,
        })
    }

    /// Puts a batch that nobody accepted back, behind what came meanwhile; the last try drops it.
    pub(crate) fn put_back(&mut self, batch: Batch, now: DateTime<Utc>) {
        let again = batch
            .notifications
            .into_iter()
            .filter(|notification| notification.tries < RETRIES);
        self.queue.extend(again.map(|notification| Notification {
            tries: notification.tries + 1,
            send_at: now + RETRY_AFTER,
            ..notification
        }));
    }
}

/// Enqueues a notification, if anybody is to be notified.
///
/// Its times are those of the panel's start: the panel evaluates a default once, and only a retry sets another.
pub(crate) fn notify(
    world: &mut World,
    action: &str,
    username: &str,
    details: impl FnOnce(&mut World) -> Value,
) {
    if world.webhooks.addresses.is_empty() {
        return;
    }
    let Value::Object(mut fields) = details(world) else {
        return;
    };
    fields.insert("action".to_owned(), action.into());
    fields.insert("username".to_owned(), username.into());
    let started_at = world.started_at;
    world.webhooks.queue.push(Notification {
        fields,
        enqueued_at: started_at,
        send_at: started_at,
        tries: 0,
    });
}

/// What happened to a user, and who did it.
pub(crate) fn notify_by(world: &mut World, action: &str, username: &str, by: &FakeAdmin) {
    notify(
        world,
        action,
        username,
        |world| json!({ "by": AdminJson::new(by), "user": user_json(world, username) }),
    );
}

/// A deletion, after which there is no user to show.
pub(crate) fn notify_deleted(world: &mut World, username: &str, by: &FakeAdmin) {
    notify(
        world,
        "user_deleted",
        username,
        |_| json!({ "by": AdminJson::new(by) }),
    );
}

/// A new status, by an admin or (`None`) by the job; a hold is not reported.
pub(crate) fn notify_status(world: &mut World, username: &str, status: FakeStatus, by: Option<&FakeAdmin>) {
    let action = match status {
        FakeStatus::Active => "user_enabled",
        FakeStatus::Disabled => "user_disabled",
        FakeStatus::Limited => "user_limited",
        FakeStatus::Expired => "user_expired",
        FakeStatus::OnHold => return,
    };
    notify(world, action, username, |world| {
        let user = user_json(world, username);
        let by = by.map(AdminJson::new);
        match status {
            FakeStatus::Active => json!({ "by": by, "user": user }),
            FakeStatus::Disabled => json!({ "by": by, "user": user, "reason": null }),
            _ => json!({ "user": user }),
        }
    });
}

/// The job's own replacement of a plan.
pub(crate) fn notify_next_plan(world: &mut World, username: &str) {
    notify(
        world,
        "data_reset_by_next",
        username,
        |world| json!({ "user": user_json(world, username) }),
    );
}

fn user_json(world: &mut World, username: &str) -> Value {
    let seed = world.next_seed();
    let shown = world
        .user(username)
        .and_then(|user| serde_json::to_value(world.render(user, seed)).ok());
    shown.unwrap_or_default()
}

/// What a user was reminded of already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reminded {
    usage: bool,
    days: bool,
}

/// Reminds of a user whose data or time is nearly used up, once for each.
pub(crate) fn remind(world: &mut World, username: &str) {
    let now = world.now().timestamp();
    let Some(user) = world.user_mut(username) else {
        return;
    };
    let percent = used_percent(user).filter(|percent| *percent >= REMIND_AT_PERCENT);
    let days = user.expire.map(|expire| (expire - now) / 86_400);
    let days = days.filter(|days| *days <= REMIND_AT_DAYS);
    let before = user.reminded;
    user.reminded = Reminded {
        usage: percent.is_some(),
        days: days.is_some(),
    };
    if let (Some(percent), false) = (percent, before.usage) {
        notify(
            world,
            "reached_usage_percent",
            username,
            |world| json!({ "user": user_json(world, username), "used_percent": percent }),
        );
    }
    if let (Some(days), false) = (days, before.days) {
        notify(
            world,
            "reached_days_left",
            username,
            |world| json!({ "user": user_json(world, username), "days_left": days }),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn used_percent(user: &FakeUser) -> Option<f64> {
    let limit = user.data_limit.filter(|limit| *limit > 0)?;
    Some(user.used_traffic as f64 / limit as f64 * 100.0)
}
