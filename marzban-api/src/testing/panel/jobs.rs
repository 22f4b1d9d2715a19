//! The jobs that change users without a request, which the fake runs on demand.

use chrono::{DateTime, TimeDelta, Utc};

use super::admin::FakeAdmin;
use super::notification::Event;
use super::state::Panel;
use super::user::{FakeStatus, FakeUser};

/// What a review did to a user.
enum Outcome {
    Unchanged,
    Became(FakeStatus),
    NextPlan,
}

impl Panel {
    /// Moves users between states; a real panel does so every ten seconds.
    pub fn review(&mut self) {
        let now = self.now();
        // Without an address there is no reminder either.
        let is_notifying = !self.outbox.addresses.is_empty();
        let outcomes: Vec<(String, Outcome)> = self
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
                Outcome::Unchanged => self.remind(&username),
                Outcome::Became(status) => self.notify_status(&username, status, None),
                Outcome::NextPlan => self.notify(Event::NextPlanApplied, &username, None),
            }
        }
    }

    /// Resets the traffic of users whose strategy is due, without a notification; a real panel does so every hour.
    pub fn reset_by_strategy(&mut self) {
        let now = self.now();
        for user in self.users.values_mut() {
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
                user.reset_traffic(now);
                user.switch(FakeStatus::Active, now);
            }
        }
    }

    /// Deletes users that expired long enough ago; a real panel does so every six hours.
    pub fn auto_delete(&mut self) {
        let now = self.now();
        let due = self.users.values().filter(|user| is_to_be_deleted(user, now));
        let due: Vec<String> = due.map(|user| user.username.clone()).collect();
        let system = FakeAdmin::new("system", "");
        for username in due {
            self.remove_user(&username);
            self.notify_by(Event::Deleted, &username, &system);
        }
    }
}

/// Only active and on-hold users are looked at: a limited user whose time runs out stays limited.
fn review_one(user: &mut FakeUser, now: DateTime<Utc>) -> Outcome {
    match user.status {
        FakeStatus::Active => review_active(user, now),
        FakeStatus::OnHold => review_on_hold(user, now),
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
        user.apply_next_plan();
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

/// An on-hold user starts with its first connection after the last edit, or at its time-out.
fn review_on_hold(user: &mut FakeUser, now: DateTime<Utc>) -> Outcome {
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

fn is_to_be_deleted(user: &FakeUser, now: DateTime<Utc>) -> bool {
    let since = user.last_status_change.or(user.created_at);
    user.status == FakeStatus::Expired
        && user
            .auto_delete_in_days
            .filter(|days| *days >= 0)
            .and_then(TimeDelta::try_days)
            .is_some_and(|days| since.is_some_and(|since| now - since >= days))
}
