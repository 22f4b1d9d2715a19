//! What a report says of an account whose two ends cannot be brought together.

use chrono::{DateTime, Utc};

use crate::decide::merge_ends::{Conflict, Doubt};
use crate::model::account::{Account, Subscription};
use crate::model::end_date::EndDate;
use crate::model::observation::PanelUser;
use crate::model::report::ProblemReason;

/// The problem that a conflict is, in words for an operator.
pub(super) fn problem_of(
    conflict: Conflict,
    subscription: &Subscription,
    user: &PanelUser,
    now: DateTime<Utc>,
) -> (ProblemReason, Option<String>) {
    let (row, panel) = (subscription.end(), EndDate::from(user.expire));
    let ends = format!("the bot has {row}, the panel {panel}");
    let (reason, detail) = match conflict {
        Conflict::PanelBehind => {
            let is_cut_off = subscription.is_promised(now) && !user.works(now);
            let access = if is_cut_off {
                "; the customer paid and has no access now"
            } else {
                ""
            };
            (
                ProblemReason::PanelBehind,
                format!("{ends}: extend the user in the panel{access}"),
            )
        }
        Conflict::PanelAhead if panel == EndDate::Never && row <= EndDate::At(now) => (
            ProblemReason::PanelAhead,
            format!("{ends}: the subscription is over, and the user still works"),
        ),
        Conflict::PanelAhead => (
            ProblemReason::PanelAhead,
            format!("{ends}: the end was moved earlier in the bot only"),
        ),
        Conflict::EndsDisagree(doubt) => {
            let why = match doubt {
                Doubt::RowIsLater => "nothing was agreed before, so the later end stands",
                Doubt::PanelWentBack => "the panel went back behind an extension, as after a restored backup",
                Doubt::GivenTwice => "the panel was extended twice for one payment",
                Doubt::Shared => "another account shares the subscription, so nothing is taken from it",
            };
            (ProblemReason::EndsDisagree, format!("{ends}: {why}"))
        }
        Conflict::ImplausibleEnd => (
            ProblemReason::ImplausibleEnd,
            format!("{ends}, which cannot be an end: correct it in the panel"),
        ),
        Conflict::OtherUser => (
            ProblemReason::OtherUser,
            format!("{ends}, but this user was created at another time: another user has the name now"),
        ),
        Conflict::Withheld => (
            ProblemReason::Withheld,
            format!("{ends}: an earlier run withheld this, and nobody has answered"),
        ),
    };
    (reason, Some(detail))
}

/// A subscription whose end is ahead is `expired`, and nothing reopens it.
pub(super) fn ended_early_detail(end: EndDate) -> String {
    format!(
        "the subscription is expired before its own end, {end}, and the user works: open it in the bot, or disable the \
         user"
    )
}

/// The policy does not reopen a subscription although its end is ahead.
pub(super) fn not_renewed_detail(end: EndDate) -> String {
    format!(
        "the subscription is expired, its end is {end}, and the user works: by your policy only the bot reopens it"
    )
}

/// How many other rows name the panel user, and whether it works although all of them are over.
pub(super) fn shared_detail(account: &Account, user: &PanelUser, now: DateTime<Utc>) -> String {
    let others = account.sharers.len();
    let is_over = |subscriptions: &mut dyn Iterator<Item = &Subscription>| {
        let mut subscriptions = subscriptions.peekable();
        subscriptions.peek().is_some() && subscriptions.all(|subscription| !subscription.is_promised(now))
    };
    let all_over = is_over(&mut account.subscriptions())
        && account
            .sharers
            .iter()
            .all(|sharer| is_over(&mut sharer.subscriptions.iter()));
    let works = if all_over && user.works(now) {
        "; it works, and every row that names it is over"
    } else {
        ""
    };
    format!("{others} accounts of other customers name this panel user too{works}")
}
