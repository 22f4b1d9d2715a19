//! Which panel users may be deleted: pure, and asked twice, before and right before each deletion.

use chrono::{DateTime, TimeDelta, Utc};

use crate::decide::merge_ends::{is_other_user, is_plausible, is_same};
use crate::model::account::{Account, Subscription, SubscriptionStatus};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observation, Observed, PanelStatus, PanelUser};
use crate::model::report::{KeptBecause, ProblemReason};

/// For how long a second look counts.
const BELIEVED_FOR: TimeDelta = TimeDelta::minutes(1);

/// A `pending` subscription that nobody has touched for so long is an abandoned invoice.
const INVOICE_LIVES: TimeDelta = TimeDelta::days(30);

/// By how much a row's end may be later than the panel's and still be the same one.
const ROUNDING: TimeDelta = TimeDelta::hours(1);

/// How long after a write of its own the library still takes `updated_at` for it.
const OWN_WRITE: TimeDelta = TimeDelta::minutes(1);

/// How much earlier than that `updated_at` may be: a column of whole seconds rounds it down.
const OWN_WRITE_ROUNDED: TimeDelta = TimeDelta::seconds(1);

/// What is to be done about one account whose own subscription ended long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The panel user is to be deleted, once a second look agrees.
    Delete,
    /// The panel user is gone already; the row is to say so.
    AlreadyGone,
    /// It stays, for this reason.
    Keep(KeptBecause),
    /// It is not known what the panel has, so nothing is done.
    Problem(ProblemReason, Option<String>),
}

/// Whether a cleanup looks at an account: its own subscription ended before the cutoff.
#[must_use]
pub fn is_candidate(account: &Account, cutoff: DateTime<Utc>) -> bool {
    account
        .subscription
        .as_ref()
        .is_some_and(|subscription| subscription.ended_before(cutoff))
}

/// What of the bot's rows speaks against a deletion.
#[must_use]
pub fn kept_by_rows(account: &Account, cutoff: DateTime<Utc>, now: DateTime<Utc>) -> Option<KeptBecause> {
    let all = || {
        let sharers = account
            .sharers
            .iter()
            .flat_map(|sharer| sharer.subscriptions.iter());
        account.subscriptions().chain(sharers)
    };
    let is_abandoned = |subscription: &Subscription| {
        subscription.status == SubscriptionStatus::Pending
            && subscription
                .updated_at
                .is_some_and(|updated_at| updated_at <= now - INVOICE_LIVES)
    };
    if let Some(open) = all().find(|one| !one.ended_before(cutoff) && !is_abandoned(one)) {
        return Some(if open.status == SubscriptionStatus::Pending {
            KeptBecause::PendingInvoice
        } else {
            KeptBecause::OtherSubscription
        });
    }
    // Of a customer without any subscription it cannot be told that the promise is over.
    if account.subscriptions().next().is_none()
        || account
            .sharers
            .iter()
            .any(|sharer| sharer.subscriptions.is_empty())
    {
        return Some(KeptBecause::OtherSubscription);
    }
    if account
        .agreement
        .latest_end
        .is_some_and(|latest| latest >= cutoff)
    {
        return Some(KeptBecause::LaterEndSeen);
    }
    if account.elsewhere.is_active {
        return Some(KeptBecause::ActiveElsewhere);
    }
    let written = all().filter(|one| !is_abandoned(one)).map(|one| one.updated_at);
    let configs = account
        .sharers
        .iter()
        .map(|sharer| sharer.updated_at)
        .chain([account.updated_at])
        .filter(|updated_at| !updated_at.is_some_and(|at| is_own_write(account, at)));
    let is_quiet = written
        .chain(configs)
        .all(|updated_at| updated_at.is_none_or(|updated_at| updated_at < cutoff));
    let is_rested = account.agreement.over_since.is_some_and(|since| since <= cutoff);
    (!is_quiet && !is_rested).then_some(KeptBecause::NotRested)
}

/// Whether it was the library that wrote a row of the account at this moment.
pub(crate) fn is_own_write(account: &Account, updated_at: DateTime<Utc>) -> bool {
    account
        .agreement
        .own_write_at
        .is_some_and(|at| (-OWN_WRITE_ROUNDED..=OWN_WRITE).contains(&(updated_at - at)))
}

/// What of the panel's user speaks against a deletion.
fn kept_by_panel(account: &Account, user: &PanelUser, cutoff: DateTime<Utc>) -> Option<KeptBecause> {
    if is_other_user(user, &account.agreement) {
        return Some(KeptBecause::OtherUser);
    }
    if user.spelling.is_some() {
        return Some(KeptBecause::OtherSpelling);
    }
    match user.status {
        PanelStatus::Active | PanelStatus::OnHold | PanelStatus::Unknown(_) => {
            return Some(KeptBecause::InUse);
        }
        PanelStatus::Disabled | PanelStatus::Limited | PanelStatus::Expired => {}
    }
    let row = account.subscription.as_ref().map(Subscription::end);
    let is_long_over = user.expire.is_some_and(|expire| expire < cutoff);
    // A panel that was rebuilt from the bot's rows has users that are younger than their ends.
    let can_be_an_end = is_plausible(user, account.last_connected_at)
        || row.is_some_and(|row| is_same(row, EndDate::from(user.expire), ROUNDING));
    (!is_long_over || !can_be_an_end).then_some(KeptBecause::PanelEnd)
}

/// Judges one account of a customer (`customer`: all accounts of it) by the first look at the panel.
#[must_use]
pub fn judge(
    observed: &Observed,
    customer: &[Observed],
    cutoff: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Verdict {
    if let Some(because) = kept_by_rows(&observed.account, cutoff, now) {
        return Verdict::Keep(because);
    }
    let is_late = |other: &Observed| match &other.observation {
        Observation::Found(user) => user.works(now) || user.expire.is_some_and(|expire| expire >= cutoff),
        _ => false,
    };
    match &observed.observation {
        Observation::Found(user) => match kept_by_panel(&observed.account, user, cutoff) {
            Some(because) => Verdict::Keep(because),
            None if customer.iter().any(is_late) => Verdict::Keep(KeptBecause::OtherAccount),
            None => Verdict::Delete,
        },
        Observation::NotListed | Observation::NotFound if customer.iter().any(is_late) => {
            Verdict::Keep(KeptBecause::OtherAccount)
        }
        // Whether an absent user is gone is for the second look to say, which looks it up individually.
        Observation::NotListed => Verdict::Delete,
        Observation::NotFound => Verdict::AlreadyGone,
        Observation::NotPermitted => Verdict::Problem(ProblemReason::NotPermitted, None),
        Observation::Unreadable(why) => Verdict::Problem(ProblemReason::Unreadable, Some(why.clone())),
        Observation::Unavailable(why) => Verdict::Problem(ProblemReason::Unavailable, Some(why.clone())),
    }
}

/// Judges the same account by the second look, right before the deletion.
///
/// A user that was created anew under the same name since the first look is another one, and is kept.
#[must_use]
pub fn judge_again(
    account: &Account,
    first: &Observation,
    second: &Observation,
    cutoff: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Verdict {
    if let Some(because) = kept_by_rows(account, cutoff, now) {
        return Verdict::Keep(because);
    }
    match (first, second) {
        (Observation::Found(before), Observation::Found(user)) if before.created_at != user.created_at => {
            Verdict::Keep(KeptBecause::OtherUser)
        }
        (_, Observation::Found(user)) => {
            kept_by_panel(account, user, cutoff).map_or(Verdict::Delete, Verdict::Keep)
        }
        (_, Observation::NotFound) => Verdict::AlreadyGone,
        (_, Observation::NotListed) => Verdict::Problem(ProblemReason::Missing, None),
        (_, Observation::NotPermitted) => Verdict::Problem(ProblemReason::NotPermitted, None),
        (_, Observation::Unreadable(why)) => Verdict::Problem(ProblemReason::Unreadable, Some(why.clone())),
        (_, Observation::Unavailable(why)) => Verdict::Problem(ProblemReason::Unavailable, Some(why.clone())),
    }
}

/// Whether a second look that began at one moment still counts at another, when the deletion is due: between the two the
/// database was asked, and while that takes long the customer may pay.
#[must_use]
pub fn is_recent_enough(looked_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - looked_at <= BELIEVED_FOR
}
