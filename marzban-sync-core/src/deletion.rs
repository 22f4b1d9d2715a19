//! Which panel users may be deleted: pure, and asked twice, before and right before each deletion.

use chrono::{DateTime, TimeDelta, Utc};

use crate::observation::{Observation, PanelUser};
use crate::reconcile::Observed;
use crate::report::ProblemReason;

/// For how long a second look is believed.
const BELIEVED_FOR: TimeDelta = TimeDelta::minutes(1);

/// What is to be done about one account whose subscriptions all ended long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The panel user is to be deleted, once a second look agrees.
    Delete,
    /// The panel user is gone already; the row is to say so.
    AlreadyGone,
    /// The panel user works, or ended only lately, or never: it stays.
    Keep,
    /// It is not known what the panel has, so nothing is done.
    Problem(ProblemReason, Option<String>),
}

/// Judges one account of a user (`customer`, all accounts of that user) by the first look at the panel.
///
/// An account is kept while any account of the same user works or ended only lately, in this panel, or is active, by its
/// row, in another: that customer is not gone.
#[must_use]
pub fn judge(
    observed: &Observed,
    customer: &[Observed],
    cutoff: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Verdict {
    let is_not_gone = customer.iter().any(|other| {
        let is_late =
            |user: &PanelUser| user.works(now) || user.expire.is_some_and(|expire| expire >= cutoff);
        let is_late_here = matches!(&other.observation, Observation::Found(user) if is_late(user));
        is_late_here || other.account.active_elsewhere
    });
    match &observed.observation {
        Observation::Found(_) | Observation::Absent if is_not_gone => Verdict::Keep,
        Observation::Found(user) if is_long_over(user, cutoff, now) => Verdict::Delete,
        Observation::Found(_) => Verdict::Keep,
        // Whether an absent user is gone is for the second look to say, which asks for it by itself.
        Observation::Absent => Verdict::Delete,
        Observation::Missing => Verdict::AlreadyGone,
        Observation::NotPermitted => Verdict::Problem(ProblemReason::NotPermitted, None),
        Observation::Unreadable(why) => Verdict::Problem(ProblemReason::Unreadable, Some(why.clone())),
        Observation::Unavailable(why) => Verdict::Problem(ProblemReason::Unavailable, Some(why.clone())),
    }
}

/// Judges the same account by the second look, right before the deletion.
///
/// A user that was made anew under the same name since the first look is somebody else's, and is kept.
#[must_use]
pub fn judge_again(
    first: &Observation,
    second: &Observation,
    cutoff: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Verdict {
    match (first, second) {
        (Observation::Found(before), Observation::Found(user)) if before.created_at != user.created_at => {
            Verdict::Keep
        }
        (_, Observation::Found(user)) if is_long_over(user, cutoff, now) => Verdict::Delete,
        (_, Observation::Found(_)) => Verdict::Keep,
        (_, Observation::Missing) => Verdict::AlreadyGone,
        (_, Observation::Absent) => Verdict::Problem(ProblemReason::Missing, None),
        (_, Observation::NotPermitted) => Verdict::Problem(ProblemReason::NotPermitted, None),
        (_, Observation::Unreadable(why)) => Verdict::Problem(ProblemReason::Unreadable, Some(why.clone())),
        (_, Observation::Unavailable(why)) => Verdict::Problem(ProblemReason::Unavailable, Some(why.clone())),
    }
}

/// Whether a second look that began at one moment is believed at another, when the deletion is due: between the two the
/// database was asked, and while that takes long somebody may pay.
#[must_use]
pub fn is_believed(looked_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - looked_at <= BELIEVED_FOR
}

/// Whether the panel agrees that the user's time was over before the cutoff; one that is held, has no `expire`, or a
/// status that this version does not know, never is.
fn is_long_over(user: &PanelUser, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    user.has_expired(now) && user.expire.is_some_and(|expire| expire < cutoff)
}
