//! What should become of an account, given what the panel returns: the decisions, and nothing else.
//!
//! Pure: no clock, no I/O, no randomness; the same inputs give the same decisions in any order of the customers.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::account::Account;
use crate::model::observation::Observed;
use crate::model::plan::Change;
use crate::model::policy::{Answers, Policy};
use crate::model::report::ProblemReason;

mod details;
mod draft;
mod group;

use draft::Draft;
use group::{Group, groups};

/// What a report says of a user that a list lacked, and that was not looked up individually.
pub(crate) const UNCONFIRMED: &str = "absent from the panel's answer, not confirmed";

/// How much of an account a job reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facet {
    /// The subscription and the VPN config; a missing user is a problem.
    Subscriptions,
    /// The VPN config alone; a confirmed missing user is marked inactive.
    UserStatus,
}

/// What should become of one account that is not in line, or cannot be brought there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Decision<'a> {
    /// The account.
    pub account: &'a Account,
    /// What to write, if anything.
    pub change: Option<Change>,
    /// Why the account cannot be brought in line wholly, if so.
    pub problem: Option<(ProblemReason, Option<String>)>,
    /// Whether access would go off although the row's own end is still ahead.
    pub is_off_early: bool,
    /// Whether the panel alone moved the end earlier, whether that is taken or not.
    pub is_cut: bool,
    /// Whether the change gives something, and nothing was agreed on before: it waits until all accounts are seen.
    pub is_first_sight: bool,
    /// How much later the row's end is than the panel's, where nothing was agreed and the two differ.
    pub first_difference: Option<TimeDelta>,
    /// How the panel user is to be extended to what was paid for.
    pub push: Option<Push>,
    /// Whether something would have been taken from the subscription, if the customer were not active in another panel.
    pub kept_for_another_panel: bool,
}

/// An extension of a panel user that is behind its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push {
    /// The end that the panel user has, and must still have.
    pub from: DateTime<Utc>,
    /// The row's end, which the panel user gets.
    pub to: DateTime<Utc>,
    /// When the panel user was created, which must still be so.
    pub created_at: Option<DateTime<Utc>>,
}

/// Decides for the accounts of one customer; an account that is in line has no decision.
///
/// Accounts that share a subscription decide about it together: the latest end of those found leads, an on-hold user
/// protects but never leads, and while any of them is not known, nothing is taken from the subscription.
///
/// # Examples
///
/// ```
/// use chrono::{TimeDelta, TimeZone, Utc};
/// use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
/// use marzban_sync_core::policy::{Answers, Policy};
/// use marzban_sync_core::reconcile::{Facet, reconcile};
/// use marzban_sync_core::observation::Observed;
/// # use marzban_sync_core::account::{Account, AccountId, Subscription, SubscriptionId, UserId};
/// # use marzban_sync_core::{account::Elsewhere, agreement::Agreement};
///
/// let now = Utc.with_ymd_and_hms(2025, 9, 15, 12, 0, 0).unwrap();
/// let (paid_until, renewed_until) = (now + TimeDelta::days(5), now + TimeDelta::days(35));
/// # let account = Account {
/// #     id: AccountId(1), user_id: UserId(1), telegram_id: Some(12345), name: "anna".to_owned(), is_active: Some(true),
/// #     traffic_used: Some(0), last_connected_at: None, updated_at: None,
/// #     subscription: Some(Subscription::new(SubscriptionId(1), "active", Some(paid_until))),
/// #     other_subscriptions: [].into(), elsewhere: Elsewhere::default(), sharers: [].into(),
/// #     agreement: Agreement::default(), revision: 0,
/// # };
/// let observation = Observation::Found(PanelUser {
///     status: PanelStatus::Active,
///     expire: Some(renewed_until),
///     used_traffic: 0,
///     online_at: None,
///     created_at: None,
///     spelling: None,
/// });
/// let observed = [Observed { account, observation }];
/// let decisions = reconcile(&observed, Facet::Subscriptions, Policy::default(), &Answers::default(), now);
/// let change = decisions[0].change.as_ref().unwrap();
/// assert_eq!(change.subscription.end_date.unwrap().as_column(), Some(renewed_until));
/// ```
#[must_use]
pub fn reconcile<'a>(
    customer: &'a [Observed],
    facet: Facet,
    policy: Policy,
    answers: &Answers,
    now: DateTime<Utc>,
) -> Vec<Decision<'a>> {
    let rules = Rules {
        facet,
        policy: policy.capped(),
        answers,
        now,
    };
    let mut drafts: Vec<Draft<'a>> = customer
        .iter()
        .map(|observed| Draft::of(observed, &rules))
        .collect();
    if facet == Facet::Subscriptions {
        for members in groups(&drafts) {
            Group {
                drafts: &mut drafts,
                members,
                rules: &rules,
            }
            .settle();
        }
    }
    drafts
        .into_iter()
        .filter_map(|draft| draft.into_decision(&rules))
        .collect()
}

struct Rules<'a> {
    facet: Facet,
    policy: Policy,
    answers: &'a Answers,
    now: DateTime<Utc>,
}
