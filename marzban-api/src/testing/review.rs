//! The job that moves users between states, which the panel runs every ten seconds and the fake on demand.

use chrono::{DateTime, Utc};

use super::user::{FakeStatus, FakeUser};

/// Reviews one user at a time of the panel's clock.
///
/// Only active and held users are looked at: a limited user whose time runs out stays limited.
pub(super) fn review(user: &mut FakeUser, now: DateTime<Utc>) {
    match user.status {
        FakeStatus::Active => review_active(user, now.timestamp()),
        FakeStatus::OnHold => review_held(user, now),
        FakeStatus::Disabled | FakeStatus::Limited | FakeStatus::Expired => {}
    }
}

fn review_active(user: &mut FakeUser, now: i64) {
    let limited = user
        .data_limit
        .is_some_and(|limit| limit != 0 && user.used_traffic >= limit);
    let expired = user.expire.is_some_and(|expire| expire != 0 && expire <= now);
    let fires = user
        .next_plan
        .filter(|plan| (limited || expired) && (plan.fire_on_either || limited && expired));
    if let Some(plan) = fires {
        // Named the wrong way round: the remainder, which may be negative, is added when the flag is off.
        let remainder = user.data_limit.unwrap_or(0).saturating_sub(user.used_traffic);
        let added = if plan.add_remaining_traffic { 0 } else { remainder };
        user.data_limit = Some(plan.data_limit.saturating_add(added));
        user.expire = plan.expire;
        user.earlier_traffic = user.earlier_traffic.saturating_add(user.used_traffic);
        user.used_traffic = 0;
        user.next_plan = None;
    } else if limited {
        user.status = FakeStatus::Limited;
    } else if expired {
        user.status = FakeStatus::Expired;
    }
}

/// A held user starts with its first connection after the last edit, or when its time-out comes.
fn review_held(user: &mut FakeUser, now: DateTime<Utc>) {
    let since = user.edit_at.or(user.created_at);
    let connected = user
        .online_at
        .is_some_and(|online| since.is_none_or(|since| online >= since));
    let timed_out = user.on_hold_timeout.is_some_and(|timeout| timeout <= now);
    if connected || timed_out {
        user.status = FakeStatus::Active;
        user.expire = user
            .on_hold_expire_duration
            .map(|seconds| now.timestamp().saturating_add(seconds));
        user.on_hold_expire_duration = None;
        user.on_hold_timeout = None;
    }
}
