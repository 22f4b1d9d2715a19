//! Notifications as the panel posts them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::config::set;
use super::render::{AdminJson, UserJson};
use super::state::Api;
use super::view::View;
use crate::testing::panel::notification::{Event, Notification};
use crate::testing::panel::user::FakeStatus;

/// The header of the secret.
pub(crate) const SECRET_HEADER: &str = "x-webhook-secret";

/// Writes a batch, which is a list.
pub(crate) fn batch(api: &Api, notifications: &[Notification]) -> Vec<u8> {
    let batch = notifications.iter().map(|notification| write(api, notification));
    Value::Array(batch.collect()).to_string().into_bytes()
}

fn write(api: &Api, notification: &Notification) -> Value {
    let mut json = json!({
        "action": action(notification.event),
        "username": notification.username,
        "enqueued_at": seconds(notification.enqueued_at),
        "send_at": seconds(notification.send_at),
        "tries": notification.tries,
    });
    if let Some(snapshot) = &notification.user {
        let view = View {
            now: snapshot.at,
            ..api.view(snapshot.seed)
        };
        let user = UserJson::new(&snapshot.user, snapshot.owner.as_ref(), view);
        set(&mut json, "user", json!(user));
    }
    let by = notification.by.as_ref().map(AdminJson::new);
    match notification.event {
        Event::Created
        | Event::Updated
        | Event::UsageReset
        | Event::SubscriptionRevoked
        | Event::Deleted
        | Event::Became(FakeStatus::Active) => set(&mut json, "by", json!(by)),
        Event::Became(FakeStatus::Disabled) => {
            set(&mut json, "by", json!(by));
            set(&mut json, "reason", Value::Null);
        }
        Event::Became(_) | Event::NextPlanApplied => {}
        Event::UsagePercent(percent) => set(&mut json, "used_percent", percent.into()),
        Event::DaysLeft(days) => set(&mut json, "days_left", days.into()),
    }
    json
}

const fn action(event: Event) -> &'static str {
    match event {
        Event::Created => "user_created",
        Event::Updated => "user_updated",
        Event::UsageReset => "data_usage_reset",
        Event::SubscriptionRevoked => "subscription_revoked",
        Event::Deleted => "user_deleted",
        // A hold is never reported.
        Event::Became(FakeStatus::Active | FakeStatus::OnHold) => "user_enabled",
        Event::Became(FakeStatus::Disabled) => "user_disabled",
        Event::Became(FakeStatus::Limited) => "user_limited",
        Event::Became(FakeStatus::Expired) => "user_expired",
        Event::NextPlanApplied => "data_reset_by_next",
        Event::UsagePercent(_) => "reached_usage_percent",
        Event::DaysLeft(_) => "reached_days_left",
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the panel sends a float of this precision too"
)]
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 / 1e6
}
