//! Decides, from a user that was read again, how an ambiguous change ended. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{NewUser, User};

/// How much older than the request a user may seem: some databases drop fractions of a second, and so does the `Date`
/// header.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Which call created the user that exists now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CreatedBy {
    /// This call.
    ThisCall,
    /// An earlier call, of this client or of someone else.
    EarlierCall,
    /// Cannot be decided.
    Unknown,
}

/// Decides which call created `user`, by its fields and its age. `now` is the panel's time at which it was read;
/// `elapsed` is how long ago the call in question started.
pub(super) fn created_by(wanted: &NewUser, user: &User, now: DateTime<Utc>, elapsed: Duration) -> CreatedBy {
    let age = user.created_at.map(|created_at| now - created_at - TOLERANCE);
    match age.map(|age| age.to_std().unwrap_or_default()) {
        Some(age) if age > elapsed => CreatedBy::EarlierCall,
        Some(_) if wanted.agrees_with(user) => CreatedBy::ThisCall,
        _ => CreatedBy::Unknown,
    }
}

/// Returns whether the next plan of `before` has become the current one of `after`, and both are the same user.
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
            // The panel's clock is ahead.
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
