//! What should become of an account, given what the panel says: the decisions, and nothing else.
//!
//! Pure: no clock, no I/O, no randomness; the same inputs give the same decisions in any order of the users.

use chrono::{DateTime, Utc};

use crate::account::{Account, Subscription, SubscriptionStatus};
use crate::observation::{Observation, PanelStatus, PanelUser};
use crate::plan::{Change, EndDate, Reason, SubscriptionPatch, VpnConfigPatch};
use crate::policy::{Policy, Unlimited};
use crate::report::ProblemReason;

/// What a report says of a user that a list lacked, and that nobody asked for by itself.
pub(crate) const UNCONFIRMED: &str = "absent from the panel's answer, not confirmed";

/// An account and what the panel says about its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The account, as the database has it.
    pub account: Account,
    /// The panel's word.
    pub observation: Observation,
}

/// The accounts of each user, which stand together.
pub fn customers(observed: &[Observed]) -> impl Iterator<Item = &[Observed]> {
    observed.chunk_by(|one, next| one.account.user_id == next.account.user_id)
}

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
pub struct Decision<'a> {
    /// The account.
    pub account: &'a Account,
    /// What to write, if anything.
    pub change: Option<Change>,
    /// Why the account cannot be brought in line wholly, if so.
    pub problem: Option<(ProblemReason, Option<String>)>,
    /// Whether the change takes access away although the subscription's own end is still ahead.
    pub expired_early: bool,
    /// Whether something would have been taken from the subscription, if the user were not active in another panel.
    pub kept_for_another_panel: bool,
}

/// Decides for the accounts of one user (`customer`), which share one governing subscription; an account that is in
/// line has no decision.
///
/// The subscription follows the account that gives the customer most: one that works before one whose status is not
/// known to this version, before one that does not work; then the latest `expire` (none is latest), then the lowest
/// id. While any of the accounts is not known, or the user is active in another panel, nothing is taken from the
/// subscription.
#[must_use]
pub fn reconcile(
    customer: &[Observed],
    facet: Facet,
    policy: Policy,
    now: DateTime<Utc>,
) -> Vec<Decision<'_>> {
    let leader = leader(customer, now);
    let all_known = customer.iter().all(|observed| observed.observation.is_known());
    let is_elsewhere = customer.iter().any(|observed| observed.account.active_elsewhere);
    let mut decisions = Vec::new();
    for (position, Observed { account, observation }) in customer.iter().enumerate() {
        let mut draft = Draft::default();
        let mut problem = None;
        let mut kept = false;
        match observation {
            Observation::Found(user) => {
                if facet == Facet::Subscriptions
                    && leader == Some(position)
                    && let Some(subscription) = &account.subscription
                    && subscription.status.is_synced()
                {
                    draft.mirror_subscription(subscription, user, policy, now);
                    if !all_known || is_elsewhere {
                        kept = draft.keep_subscription() && is_elsewhere;
                    }
                }
                draft.mirror_vpn_config(account, user, now);
                if let PanelStatus::Unknown(status) = &user.status {
                    problem = Some((ProblemReason::UnknownStatus, Some(status.clone())));
                }
            }
            Observation::Missing if facet == Facet::UserStatus => draft.mark_missing(account),
            Observation::Missing => problem = Some((ProblemReason::Missing, None)),
            Observation::Absent => {
                problem = Some((ProblemReason::Missing, Some(UNCONFIRMED.to_owned())));
            }
            Observation::NotPermitted => problem = Some((ProblemReason::NotPermitted, None)),
            Observation::Unreadable(why) => problem = Some((ProblemReason::Unreadable, Some(why.clone()))),
            Observation::Unavailable(why) => problem = Some((ProblemReason::Unavailable, Some(why.clone()))),
        }
        let change = draft.into_change(account);
        if change.is_some() || problem.is_some() || kept {
            let expired_early = change.as_ref().is_some_and(|change| is_early(change, now));
            decisions.push(Decision {
                account,
                change,
                problem,
                expired_early,
                kept_for_another_panel: kept,
            });
        }
    }
    decisions
}

/// The position of the account whose panel user decides about the subscription.
fn leader(customer: &[Observed], now: DateTime<Utc>) -> Option<usize> {
    if let [
        Observed {
            observation: Observation::Found(_),
            ..
        },
    ] = customer
    {
        return Some(0);
    }
    customer
        .iter()
        .enumerate()
        .filter_map(|(position, observed)| match &observed.observation {
            Observation::Found(user) => Some((position, observed.account.id, user)),
            _ => None,
        })
        .max_by_key(|(_, id, user)| {
            let may_work = matches!(user.status, PanelStatus::Unknown(_));
            let unlimited = user.expire.is_none();
            (
                user.works(now),
                may_work,
                unlimited,
                user.expire,
                std::cmp::Reverse(*id),
            )
        })
        .map(|(position, ..)| position)
}

/// Whether access is taken away although the subscription is open and its own end has not come.
fn is_early(change: &Change, now: DateTime<Utc>) -> bool {
    let ends = change.reasons.contains(&Reason::Expired)
        || change.subscription.status == Some(SubscriptionStatus::Expired);
    ends && change.account.subscription.as_ref().is_some_and(|subscription| {
        subscription.status.is_open() && subscription.end_date.is_none_or(|end_date| end_date > now)
    })
}

impl Observation {
    /// Whether this is knowledge about the user, and not the lack of an answer.
    fn is_known(&self) -> bool {
        match self {
            Self::Found(_) | Self::Missing => true,
            Self::Absent | Self::NotPermitted | Self::Unreadable(_) | Self::Unavailable(_) => false,
        }
    }
}

/// A change in the making; nothing is allocated while nothing changes.
#[derive(Default)]
struct Draft {
    vpn_config: VpnConfigPatch,
    subscription: SubscriptionPatch,
    reasons: Vec<Reason>,
}

impl Draft {
    fn mirror_subscription(
        &mut self,
        subscription: &Subscription,
        user: &PanelUser,
        policy: Policy,
        now: DateTime<Utc>,
    ) {
        // A held user's time has not begun: its expire, if any, is of an earlier period.
        if user.status == PanelStatus::OnHold {
            return;
        }
        if let Some((end_date, reason)) = new_end_date(subscription.end_date, user.expire, policy) {
            self.subscription.end_date = Some(end_date);
            self.reasons.push(reason);
        }
        if let Some((status, reason)) = new_status(&subscription.status, user, policy, now) {
            self.subscription.status = Some(status);
            self.reasons.push(reason);
        }
    }

    /// Leaves out what would be taken from the subscription; returns whether there was any.
    fn keep_subscription(&mut self) -> bool {
        let before = self.reasons.len();
        self.reasons.retain(|reason| match reason {
            Reason::Shortened => {
                self.subscription.end_date = None;
                false
            }
            Reason::Expired | Reason::Disabled => {
                self.subscription.status = None;
                false
            }
            _ => true,
        });
        self.reasons.len() < before
    }

    fn mirror_vpn_config(&mut self, account: &Account, user: &PanelUser, now: DateTime<Utc>) {
        if let Some((is_active, reason)) = access(user, now)
            && account.is_active != Some(is_active)
        {
            self.vpn_config.is_active = Some(is_active);
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
        if account.traffic_used != Some(user.used_traffic) {
            self.vpn_config.traffic_used = Some(user.used_traffic);
            let fell = account
                .traffic_used
                .is_some_and(|before| before > user.used_traffic);
            self.reasons.push(if fell {
                Reason::TrafficReset
            } else {
                Reason::TrafficUsed
            });
        }
        if user.online_at > account.last_connected_at {
            self.vpn_config.last_connected_at = user.online_at;
            self.reasons.push(Reason::Connected);
        }
    }

    fn mark_missing(&mut self, account: &Account) {
        if account.is_active != Some(false) {
            self.vpn_config.is_active = Some(false);
            self.reasons.push(Reason::Missing);
        }
    }

    fn into_change(self, account: &Account) -> Option<Change> {
        let Self {
            vpn_config,
            subscription,
            reasons,
        } = self;
        (!reasons.is_empty()).then(|| Change {
            account: account.clone(),
            vpn_config,
            subscription,
            reasons,
        })
    }
}

/// The panel's end, where it differs from the bot's by a second or more.
fn new_end_date(
    end_date: Option<DateTime<Utc>>,
    expire: Option<DateTime<Utc>>,
    policy: Policy,
) -> Option<(EndDate, Reason)> {
    match (end_date, expire) {
        (None, Some(expire)) => Some((EndDate::At(expire), Reason::Shortened)),
        (Some(end_date), Some(expire)) if end_date.timestamp() != expire.timestamp() => {
            let reason = if expire > end_date {
                Reason::Extended
            } else {
                Reason::Shortened
            };
            Some((EndDate::At(expire), reason))
        }
        (Some(_), None) if policy.unlimited == Unlimited::Clear => Some((EndDate::Never, Reason::Unlimited)),
        (Some(_), Some(_) | None) | (None, None) => None,
    }
}

fn new_status(
    status: &SubscriptionStatus,
    user: &PanelUser,
    policy: Policy,
    now: DateTime<Utc>,
) -> Option<(SubscriptionStatus, Reason)> {
    if status.is_open() {
        if user.has_expired(now) {
            return Some((SubscriptionStatus::Expired, Reason::Expired));
        }
        if user.status == PanelStatus::Disabled && policy.disabled_ends_subscription {
            return Some((SubscriptionStatus::Expired, Reason::Disabled));
        }
        return None;
    }
    let renewed = user.works(now) && user.expire.is_some_and(|expire| expire > now);
    (renewed && policy.reactivate).then_some((SubscriptionStatus::Active, Reason::Reactivated))
}

/// Whether the panel user has access, and why; none when that cannot be told.
fn access(user: &PanelUser, now: DateTime<Utc>) -> Option<(bool, Reason)> {
    if user.works(now) {
        return Some((true, Reason::Works));
    }
    if user.has_expired(now) {
        return Some((false, Reason::Expired));
    }
    match user.status {
        PanelStatus::Limited => Some((false, Reason::Limited)),
        PanelStatus::Disabled => Some((false, Reason::Disabled)),
        PanelStatus::Active | PanelStatus::OnHold | PanelStatus::Expired | PanelStatus::Unknown(_) => None,
    }
}
