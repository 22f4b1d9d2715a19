//! What a look at a user says about a change that ended unclearly. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{NewUser, User};

/// By how much a user may seem older than the request that made it: some databases cut off the fraction of a second,
/// and so does the date of an answer.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Who made the user that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CreatedBy {
    /// This call.
    ThisCall,
    /// Somebody before this call.
    EarlierCall,
    /// It cannot be told.
    Unknown,
}

/// Decides who made `user`, by its data and by its age. It was read at `now`, by the panel's clock, and the call that
/// may have made it began this long before.
pub(super) fn created_by(wanted: &NewUser, user: &User, now: DateTime<Utc>, elapsed: Duration) -> CreatedBy {
    let age = user.created_at.map(|created_at| now - created_at - TOLERANCE);
    match age.map(|age| age.to_std().unwrap_or_default()) {
        Some(age) if age > elapsed => CreatedBy::EarlierCall,
        Some(_) if wanted.agrees_with(user) => CreatedBy::ThisCall,
        _ => CreatedBy::Unknown,
    }
}

/// Whether the next plan of `before` is the present one of `after`, who is the same user.
pub(super) fn next_plan_applied(before: &User, after: &User) -> bool {
    let planned = before.next_plan.as_ref();
    after.created_at == before.created_at
        && after.next_plan.is_none()
        && planned.is_some_and(|plan| after.expire == plan.expire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Proxies, Username, Vless};

    fn noon_and(milliseconds: i64) -> DateTime<Utc> {
        let noon = DateTime::from_timestamp(1_757_937_600, 0).unwrap();
        noon + TimeDelta::milliseconds(milliseconds)
    }

    #[test]
    fn a_user_is_this_calls_own_only_as_long_as_the_call_has_lasted() {
        let wanted = NewUser::new(Username::new("alice").unwrap(), Proxies::new(Vless::default()));
        let elapsed = Duration::from_secs(30);
        for (made, expected) in [
            (-32_001, CreatedBy::EarlierCall),
            (-32_000, CreatedBy::ThisCall),
            (0, CreatedBy::ThisCall),
            // A clock behind another one.
            (60_000, CreatedBy::ThisCall),
        ] {
            let user = format!(
                r#"{{"username":"alice","status":"active","used_traffic":0,"proxies":{{"vless":{{}}}},
                    "created_at":"{}"}}"#,
                noon_and(made).naive_utc().format("%Y-%m-%dT%H:%M:%S%.f")
            );
            let user = serde_json::from_str(&user).unwrap();
            assert_eq!(
                created_by(&wanted, &user, noon_and(0), elapsed),
                expected,
                "{made} ms"
            );
        }
    }
}
