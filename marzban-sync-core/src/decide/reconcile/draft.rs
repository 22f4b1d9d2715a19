//! What becomes of one account, until its subscription is decided.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, Facet, Push, Rules, UNCONFIRMED};
use crate::decide::deletion::is_own_write;
use crate::decide::merge_ends::{Merged, Say, Sides, is_other_user, is_plausible, merge};
use crate::model::account::{Account, Subscription, SubscriptionId, SubscriptionStatus};
use crate::model::agreement::{Agreement, Replaced};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observation, Observed, PanelStatus, PanelUser};
use crate::model::plan::{Change, Reason, SubscriptionPatch, VpnConfigPatch};
use crate::model::policy::Access;
use crate::model::report::ProblemReason;

/// For how long a row must not have been written to count as at rest.
const RESTS_FOR: TimeDelta = TimeDelta::days(7);

/// What becomes of one account, in the making.
pub(super) struct Draft<'a> {
    pub(super) account: &'a Account,
    pub(super) observation: &'a Observation,
    pub(super) vpn_config: VpnConfigPatch,
    pub(super) subscription: SubscriptionPatch,
    pub(super) also_expired: Vec<Subscription>,
    pub(super) reasons: Vec<Reason>,
    pub(super) problem: Option<(ProblemReason, Option<String>)>,
    /// What is remembered whatever becomes of the subscription.
    pub(super) seen: Agreement,
    /// What is remembered once the end has moved.
    pub(super) merged: Option<Agreement>,
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether it changes, the inner one to what"
    )]
    pub(super) replaced: Option<Option<Replaced>>,
    /// The end whose replaced status reopens the subscription.
    #[expect(
        clippy::option_option,
        reason = "nothing new, or a new value, which may be none"
    )]
    pub(super) reopened_end: Option<Option<EndDate>>,
    pub(super) is_cut: bool,
    pub(super) is_first_sight: bool,
    pub(super) first_difference: Option<TimeDelta>,
    pub(super) push: Option<Push>,
    pub(super) kept_for_another_panel: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn of(observed: &'a Observed, rules: &Rules<'_>) -> Self {
        let Observed { account, observation } = observed;
        let mut draft = Self {
            account,
            observation,
            vpn_config: VpnConfigPatch::default(),
            subscription: SubscriptionPatch::default(),
            also_expired: Vec::new(),
            reasons: Vec::new(),
            problem: None,
            seen: account.agreement.clone(),
            merged: None,
            replaced: None,
            reopened_end: None,
            is_cut: false,
            is_first_sight: false,
            first_difference: None,
            push: None,
            kept_for_another_panel: false,
        };
        draft.mirror(rules);
        draft
    }

    pub(super) fn subscription_id(&self) -> Option<SubscriptionId> {
        self.account
            .subscription
            .as_ref()
            .map(|subscription| subscription.id)
    }

    pub(super) fn found(&self) -> Option<&'a PanelUser> {
        match self.observation {
            Observation::Found(user) => Some(user),
            _ => None,
        }
    }

    /// Whether rows of several customers name the panel user.
    pub(super) fn is_shared_user(&self) -> bool {
        !self.account.sharers.is_empty()
    }

    /// Mirrors the facts, and remembers what was seen.
    fn mirror(&mut self, rules: &Rules<'_>) {
        match self.observation {
            Observation::Found(user) => {
                self.mirror_user(user, rules);
                self.remember(user, rules);
                if let Some(spelling) = &user.spelling {
                    let detail = format!("the panel spells it {spelling:?}: write it so in the bot's row");
                    self.problem = Some((ProblemReason::OtherSpelling, Some(detail)));
                }
                if let PanelStatus::Unknown(status) = &user.status {
                    self.problem = Some((ProblemReason::UnknownStatus, Some(status.clone())));
                }
            }
            Observation::NotFound => {
                self.seen.is_missing = true;
                if rules.facet == Facet::UserStatus {
                    if self.account.is_active != Some(false) {
                        self.vpn_config.is_active = Some(false);
                        self.reasons.push(Reason::Missing);
                    }
                } else {
                    self.problem = Some((ProblemReason::Missing, None));
                }
            }
            Observation::NotListed => {
                self.problem = Some((ProblemReason::Missing, Some(UNCONFIRMED.to_owned())));
            }
            Observation::NotPermitted => self.problem = Some((ProblemReason::NotPermitted, None)),
            Observation::Unreadable(why) => {
                self.problem = Some((ProblemReason::Unreadable, Some(why.clone())));
            }
            Observation::Unavailable(why) => {
                self.problem = Some((ProblemReason::Unavailable, Some(why.clone())));
            }
        }
    }

    fn mirror_user(&mut self, user: &PanelUser, rules: &Rules<'_>) {
        let account = self.account;
        if let Some((is_active, reason)) = access(user, rules.now)
            && account.is_active != Some(is_active)
            && !(is_active && rules.policy.access == Access::OnlyOff)
        {
            self.vpn_config.is_active = Some(is_active);
            self.reasons.push(reason);
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
        let last_connection = user.last_connection(rules.now);
        if last_connection > account.last_connected_at {
            self.vpn_config.last_connected_at = last_connection;
            self.reasons.push(Reason::Connected);
        }
    }

    /// Remembers when the user was created and the latest end that either side had, of every user that is found; of another
    /// user of the name the rows' ends alone.
    fn remember(&mut self, user: &PanelUser, rules: &Rules<'_>) {
        self.seen.is_missing = false;
        if user.status == PanelStatus::OnHold {
            self.seen = self.merge(user, rules).agreement;
        }
        if is_other_user(user, &self.seen) {
            self.seen.latest_end = self.row_ends().chain(self.seen.latest_end).max();
            return;
        }
        self.seen.created_at = self.seen.created_at.or(user.created_at);
        self.seen.latest_end = self.latest_end(user, self.seen.latest_end);
    }

    /// The latest finite end of this one, the panel's and those of the rows that name the user.
    pub(super) fn latest_end(
        &self,
        user: &PanelUser,
        latest: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let panel_end = user
            .expire
            .filter(|_| is_plausible(user, self.last_connected_at()));
        latest.into_iter().chain(panel_end).chain(self.row_ends()).max()
    }

    /// The finite ends of the rows that name the user.
    fn row_ends(&self) -> impl Iterator<Item = DateTime<Utc>> {
        let sharers = self.account.sharers.iter();
        self.account
            .subscription
            .iter()
            .chain(sharers.flat_map(|sharer| sharer.subscriptions.iter()))
            .filter_map(|subscription| subscription.end().as_column())
    }

    /// The last connection that the row has once the facts are mirrored, which comes first: the decision must not depend
    /// on whether an earlier run, or the other job, has written it already.
    fn last_connected_at(&self) -> Option<DateTime<Utc>> {
        self.vpn_config
            .last_connected_at
            .or(self.account.last_connected_at)
    }

    pub(super) fn merge(&self, user: &PanelUser, rules: &Rules<'_>) -> Merged {
        let account = self.account;
        let row = account
            .subscription
            .as_ref()
            .map_or(EndDate::Never, Subscription::end);
        let mut agreement = self.seen.clone();
        if self.is_shared_user() {
            agreement = agreement.without_end();
        }
        let sides = Sides {
            row,
            user,
            last_connected_at: self.last_connected_at(),
            agreement: &agreement,
        };
        let say = Say {
            answer: rules.answers.of(&account.name),
            allow: rules.answers.allow_mass_changes,
        };
        merge(sides, rules.policy, say, rules.now)
    }

    pub(super) fn note(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    pub(super) fn into_decision(self, rules: &Rules<'_>) -> Option<Decision<'a>> {
        let Self {
            account,
            observation,
            vpn_config,
            subscription,
            also_expired,
            reasons,
            problem,
            seen,
            merged,
            replaced,
            reopened_end,
            is_cut,
            is_first_sight,
            first_difference,
            push,
            kept_for_another_panel,
        } = self;
        let mut change = Change {
            vpn_config,
            subscription,
            also_expired,
            reasons,
            ..Change::of(account)
        };
        let is_shortened = change.is_shortened();
        let mut interim = seen.clone();
        let mut agreement = merged.unwrap_or(seen);
        if !is_shortened {
            interim.clone_from(&agreement);
        }
        if let Some(replaced) = replaced {
            agreement.replaced = replaced;
        }
        agreement.reopened_end = reopened_end.unwrap_or(agreement.reopened_end);
        interim.reopened_end = agreement.reopened_end;
        // What is remembered of a status goes with the half that changes the status, or that moves the end.
        let is_ended = change.subscription.status == Some(SubscriptionStatus::Expired);
        if change.reasons.contains(&Reason::Reactivated) || !(is_ended || is_shortened) {
            interim.replaced.clone_from(&agreement.replaced);
        }
        if is_known(observation) {
            rest(
                &mut interim,
                &change.part(|reason| !reason.is_destructive()),
                observation,
                rules.now,
            );
            rest(&mut agreement, &change, observation, rules.now);
        }
        if account.agreement != agreement {
            change.agreement = Some(agreement);
        }
        if account.agreement != interim {
            change.interim = Some(interim);
        }
        let is_off_early = change.vpn_config.is_active == Some(false)
            && account.is_active == Some(true)
            && (change.reasons.contains(&Reason::Expired) || change.reasons.contains(&Reason::Missing))
            // As the row is, or as it becomes: the harmless half comes first, and a second look finds that.
            && (account.is_promise_ahead(rules.now) || change.applied().is_promise_ahead(rules.now));
        let change = (!change.is_empty()).then_some(change);
        if change.is_none() && problem.is_none() && !kept_for_another_panel && !is_cut && push.is_none() {
            return None;
        }
        Some(Decision {
            account,
            change,
            problem,
            is_off_early,
            is_cut,
            is_first_sight,
            first_difference,
            push,
            kept_for_another_panel,
        })
    }
}

/// Remembers since when an account is over, as its rows will be once the change is written, and that a write to such a
/// row is the library's own.
fn rest(agreement: &mut Agreement, change: &Change, observation: &Observation, now: DateTime<Utc>) {
    let works = matches!(observation, Observation::Found(user) if user.works(now));
    let is_over = if change.subscription.is_empty() && change.also_expired.is_empty() {
        change.account.is_over(now)
    } else {
        change.applied().is_over(now)
    };
    if !is_over || works {
        agreement.over_since = None;
        agreement.own_write_at = None;
        return;
    }
    // An account that was open until now has not been over since the last time that it was.
    let was_over = change.account.is_over(now);
    agreement.over_since = agreement
        .over_since
        .filter(|since| was_over && *since <= now)
        .or(Some(now));
    if !change.vpn_config.is_empty() && is_at_rest(&change.account, now) {
        agreement.own_write_at = Some(now);
    }
}

/// Whether nobody but the library has written the rows of the account lately: a write of its own must not hide one of
/// the bot's.
fn is_at_rest(account: &Account, now: DateTime<Utc>) -> bool {
    let sharers = account.sharers.iter().map(|sharer| sharer.updated_at);
    sharers
        .chain([account.updated_at])
        .flatten()
        .all(|updated_at| updated_at < now - RESTS_FOR || is_own_write(account, updated_at))
}

/// Whether this is knowledge about the user, and not the lack of an answer.
fn is_known(observation: &Observation) -> bool {
    match observation {
        Observation::Found(_) | Observation::NotFound => true,
        Observation::NotListed
        | Observation::NotPermitted
        | Observation::Unreadable(_)
        | Observation::Unavailable(_) => false,
    }
}

/// Whether the panel user has access, and why; none when that cannot be told.
fn access(user: &PanelUser, now: DateTime<Utc>) -> Option<(bool, Reason)> {
    if user.works(now) {
        return Some((true, Reason::Works));
    }
    match user.status {
        PanelStatus::Active | PanelStatus::Expired => Some((false, Reason::Expired)),
        PanelStatus::Limited => Some((false, Reason::Limited)),
        PanelStatus::Disabled => Some((false, Reason::Disabled)),
        PanelStatus::OnHold | PanelStatus::Unknown(_) => None,
    }
}
