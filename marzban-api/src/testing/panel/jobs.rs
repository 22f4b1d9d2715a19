//! The jobs that change users without anybody's request, which the fake runs on demand.

use chrono::{DateTime, TimeDelta, Utc};

use crate::testing::panel::notification as webhook;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::{FakeStatus, FakeUser};

/// What a review did to a user.
enum Outcome {
    Unchanged,
    Became(FakeStatus),
    NextPlan,
}

/// Reviews all users at a time of the panel's clock; the panel does so every ten seconds.
pub(crate) fn review(world: &mut World) {
    let now = world.now();
    // Nobody is reminded of anything where nobody is notified.
    let is_notifying = !world.webhooks.addresses.is_empty();
    let outcomes: Vec<(String, Outcome)> = world
        .users
        .values_mut()
        .map(|user| (review_one(user, now), user))
        .filter(|(outcome, user)| {
            !matches!(outcome, Outcome::Unchanged) || is_notifying && user.status == FakeStatus::Active
        })
        .map(|(outcome, user)| (user.username.clone(), outcome))
        .collect();
    for (username, outcome) in outcomes {
        match outcome {
            Outcome::Unchanged => webhook::remind(world, &username),
            Outcome::Became(status) => webhook::notify_status(world, &username, status, None),
            Outcome::NextPlan => webhook::notify_next_plan(world, &username),
        }
    }
}

/// Only active and held users are looked at: a limited user whose time runs out stays limited.
fn review_one(user: &mut FakeUser, now: DateTime<Utc>) -> Outcome {
    match user.status {
        FakeStatus::Active => review_active(user, now),
        FakeStatus::OnHold => review_held(user, now),
        FakeStatus::Disabled | FakeStatus::Limited | FakeStatus::Expired => Outcome::Unchanged,
    }
}

fn review_active(user: &mut FakeUser, now: DateTime<Utc>) -> Outcome {
    let limited = user
        .data_limit
        .is_some_and(|limit| limit != 0 && user.used_traffic >= limit);
    let expired = user
        .expire
        .is_some_and(|expire| expire != 0 && expire <= now.timestamp());
    let fires = user
        .next_plan
        .is_some_and(|plan| (limited || expired) && (plan.fire_on_either || limited && expired));
    if fires {
        apply_next_plan(user);
        return Outcome::NextPlan;
    }
    let status = match (limited, expired) {
        (true, _) => FakeStatus::Limited,
        (false, true) => FakeStatus::Expired,
        (false, false) => return Outcome::Unchanged,
    };
    user.switch(status, now);
    Outcome::Became(status)
}

/// Replaces the limits by those of the plan, which is then gone.
pub(crate) fn apply_next_plan(user: &mut FakeUser) {
    let Some(plan) = user.next_plan.take() else {
        return;
    };
    // Named the wrong way round: the remainder, which may be negative, is added when the flag is off.
    let remainder = user.data_limit.unwrap_or(0).saturating_sub(user.used_traffic);
    let added = if plan.add_remaining_traffic { 0 } else { remainder };
    user.data_limit = Some(plan.data_limit.saturating_add(added));
    user.expire = plan.expire;
    forget_traffic(user);
}

/// A held user starts with its first connection after the last edit, or when its time-out comes.
fn review_held(user: &mut FakeUser, now: DateTime<Utc>) -> Outcome {
    let since = user.edit_at.or(user.created_at);
    let connected = user
        .online_at
        .is_some_and(|online| since.is_none_or(|since| online >= since));
    let timed_out = user.on_hold_timeout.is_some_and(|timeout| timeout <= now);
    if !connected && !timed_out {
        return Outcome::Unchanged;
    }
    user.switch(FakeStatus::Active, now);
    user.expire = user
        .on_hold_expire_duration
        .map(|seconds| now.timestamp().saturating_add(seconds));
    user.on_hold_expire_duration = None;
    user.on_hold_timeout = None;
    Outcome::Became(FakeStatus::Active)
}

/// Starts the traffic of users anew whose strategy says so; the panel does so every hour, and reports nothing.
pub(crate) fn reset_by_strategy(world: &mut World) {
    let now = world.now();
    for user in world.users.values_mut() {
        let days = match user.data_limit_reset_strategy.as_str() {
            "day" => 1,
            "week" => 7,
            "month" => 30,
            "year" => 365,
            _ => continue,
        };
        let since = user.last_reset_at.or(user.created_at);
        let is_due = since.is_some_and(|since| now - since >= TimeDelta::days(days));
        if is_due && matches!(user.status, FakeStatus::Active | FakeStatus::Limited) {
            reset_traffic(user, now);
            user.switch(FakeStatus::Active, now);
        }
    }
}

/// The lifetime's sum remembers the traffic, but no longer when and where it went.
fn forget_traffic(user: &mut FakeUser) {
    user.earlier_traffic = user.earlier_traffic.saturating_add(user.used_traffic);
    user.used_traffic = 0;
    user.usage.clear();
}

/// Moves the traffic into the lifetime's; the plan that follows is lost.
pub(crate) fn reset_traffic(user: &mut FakeUser, now: DateTime<Utc>) {
    forget_traffic(user);
    user.next_plan = None;
    user.last_reset_at = Some(now);
}

/// Deletes users that expired long enough ago; the panel does so every six hours.
pub(crate) fn auto_delete(world: &mut World) {
    let now = world.now();
    let is_due = |user: &&FakeUser| {
        let since = user.last_status_change.or(user.created_at);
        user.status == FakeStatus::Expired
            && user
                .auto_delete_in_days
                .filter(|days| *days >= 0)
                .and_then(TimeDelta::try_days)
                .is_some_and(|days| since.is_some_and(|since| now - since >= days))
    };
    let due: Vec<String> = world
        .users
        .values()
        .filter(is_due)
        .map(|user| user.username.clone())
        .collect();
    let system = FakeAdmin::new("system", "");
    for username in due {
        world.remove(&username);
        webhook::notify_deleted(world, &username, &system);
    }
}
