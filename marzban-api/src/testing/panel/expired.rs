//! `GET` and `DELETE /api/users/expired`.

use chrono::{DateTime, TimeDelta, Utc};

use crate::testing::api::datetime::{Moment, Reader};
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::state::{FakeAdmin, World};
use crate::testing::panel::user::FakeStatus;

/// Lists the names of expired and of limited users whose expiry lies in the range.
pub(crate) fn list(world: &World, admin: &FakeAdmin, call: &Call) -> Answer {
    match names(world, admin, call) {
        Ok(names) => Answer::ok(&names),
        Err(refusal) => refusal,
    }
}

/// Deletes the same users as [`list`] shows and answers their names.
pub(crate) fn delete(world: &mut World, admin: &FakeAdmin, call: &Call) -> Answer {
    match names(world, admin, call) {
        Err(refusal) => refusal,
        Ok(names) if names.is_empty() => {
            Answer::detail(404, "No expired users found in the specified date range")
        }
        Ok(names) => {
            for name in &names {
                world.remove(name);
            }
            Answer::ok(&names)
        }
    }
}

fn names(world: &World, admin: &FakeAdmin, call: &Call) -> Result<Vec<String>, Answer> {
    let (after, before) = range(world.now(), call)?;
    let is_due = |expire: i64| (after.timestamp()..=before.timestamp()).contains(&expire);
    let candidates = world.users.values().filter(|user| {
        matches!(user.status, FakeStatus::Expired | FakeStatus::Limited)
            && user.expire.is_some_and(is_due)
            && admin.may_manage(user)
    });
    Ok(candidates.map(|user| user.username.clone()).collect())
}

/// The panel cannot compare a time with an offset to one without.
///
/// The range defaults to the last 30 days, and not to all time as the panel's documentation says.
fn range(now: DateTime<Utc>, call: &Call) -> Result<(DateTime<Utc>, DateTime<Utc>), Answer> {
    let after = bound(call, "expired_after")?;
    let before = bound(call, "expired_before")?;
    let is_comparable = match (after, before) {
        (Some(after), Some(before)) => after.is_aware() == before.is_aware(),
        (None, Some(before)) => before.is_aware(),
        (_, None) => true,
    };
    if !is_comparable {
        return Err(Answer::internal_error());
    }
    let after = after.map_or(now - TimeDelta::days(30), |bound| bound.instant());
    let before = before.map_or(now, |bound| bound.instant());
    if after > before {
        return Err(Answer::detail(400, "Start date must be before end date"));
    }
    Ok((after, before))
}

fn bound(call: &Call, name: &str) -> Result<Option<Moment>, Answer> {
    let Some(text) = call.query.last(name) else {
        return Ok(None);
    };
    // A `+` of an offset that was not percent-encoded arrives as a space.
    Moment::read(text, Reader::Model).map(Some).ok_or_else(|| {
        let message = "Input should be a valid datetime or date, input is too short";
        Answer::invalid(&[(name.to_owned(), message.to_owned())])
    })
}
