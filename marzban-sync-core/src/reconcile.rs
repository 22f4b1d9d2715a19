//! What should become of an account, given what the panel returns: the decisions, and nothing else.
//!
//! Pure: no clock, no I/O, no randomness; the same inputs give the same decisions in any order of the customers.

use chrono::{DateTime, TimeDelta, Utc};

use crate::account::{Account, Subscription, SubscriptionId, SubscriptionStatus};
use crate::agreement::{Agreement, Replaced};
use crate::deletion::is_own_write;
use crate::merge::{Conflict, Doubt, Merged, Say, Sides, is_other_user, is_plausible, merge};
use crate::observation::{Observation, PanelStatus, PanelUser};
use crate::plan::{Change, EndDate, Reason, SubscriptionPatch, VpnConfigPatch};
use crate::policy::{Access, Answer, Answers, PanelBehind, Policy, Reactivate, Unlimited};
use crate::report::ProblemReason;

/// What a report says of a user that a list lacked, and that was not looked up individually.
pub(crate) const UNCONFIRMED: &str = "absent from the panel's answer, not confirmed";

/// For how long a row must not have been written to count as at rest.
const RESTS_FOR: TimeDelta = TimeDelta::days(7);

/// An account and what the panel returned for its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The account, as the database has it.
    pub account: Account,
    /// The outcome of looking its username up.
    pub observation: Observation,
}

/// The accounts of each customer, which stand together.
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
/// use marzban_sync_core::reconcile::{Facet, Observed, reconcile};
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
        policy,
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

/// What becomes of one account, in the making.
struct Draft<'a> {
    account: &'a Account,
    observation: &'a Observation,
    vpn_config: VpnConfigPatch,
    subscription: SubscriptionPatch,
    also_expired: Vec<Subscription>,
    reasons: Vec<Reason>,
    problem: Option<(ProblemReason, Option<String>)>,
    /// What is remembered whatever becomes of the subscription.
    seen: Agreement,
    /// What is remembered once the end has moved.
    merged: Option<Agreement>,
    #[expect(
        clippy::option_option,
        reason = "the outer one says whether it changes, the inner one to what"
    )]
    replaced: Option<Option<Replaced>>,
    is_cut: bool,
    is_first_sight: bool,
    first_difference: Option<TimeDelta>,
    push: Option<Push>,
    kept_for_another_panel: bool,
}

impl<'a> Draft<'a> {
    fn of(observed: &'a Observed, rules: &Rules<'_>) -> Self {
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
            is_cut: false,
            is_first_sight: false,
            first_difference: None,
            push: None,
            kept_for_another_panel: false,
        };
        draft.mirror(rules);
        draft
    }

    fn subscription_id(&self) -> Option<SubscriptionId> {
        self.account
            .subscription
            .as_ref()
            .map(|subscription| subscription.id)
    }

    fn found(&self) -> Option<&'a PanelUser> {
        match self.observation {
            Observation::Found(user) => Some(user),
            _ => None,
        }
    }

    /// Whether rows of several customers name the panel user.
    fn is_shared_user(&self) -> bool {
        !self.account.sharers.is_empty()
    }

    /// Mirrors the facts, and remembers what was seen.
    fn mirror(&mut self, rules: &Rules<'_>) {
        match self.observation {
            Observation::Found(user) => {
                self.mirror_user(user, rules);
                self.remember(user, rules);
                if let PanelStatus::Unknown(status) = &user.status {
                    self.problem = Some((ProblemReason::UnknownStatus, Some(status.clone())));
                }
            }
            Observation::Missing => {
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
            Observation::Absent => {
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

    /// Remembers when the user was created and the latest end that either side had, of every user that is found.
    fn remember(&mut self, user: &PanelUser, rules: &Rules<'_>) {
        self.seen.is_missing = false;
        if user.status == PanelStatus::OnHold {
            self.seen = self.merge(user, rules).agreement;
        }
        if is_other_user(user, &self.seen) {
            return;
        }
        self.seen.created_at = self.seen.created_at.or(user.created_at);
        self.seen.latest_end = self.latest_end(user, self.seen.latest_end);
    }

    /// The latest finite end of this one, the panel's and those of the rows that name the user.
    fn latest_end(&self, user: &PanelUser, latest: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let panel_end = user
            .expire
            .filter(|_| is_plausible(user, self.last_connected_at()));
        let sharers = self.account.sharers.iter();
        let row_ends = self
            .account
            .subscription
            .iter()
            .chain(sharers.flat_map(|sharer| sharer.subscriptions.iter()))
            .filter_map(|subscription| subscription.end().as_column());
        latest.into_iter().chain(panel_end).chain(row_ends).max()
    }

    /// The last connection that the row has once the facts are mirrored, which comes first: the decision must not depend
    /// on whether an earlier run, or the other job, has written it already.
    fn last_connected_at(&self) -> Option<DateTime<Utc>> {
        self.vpn_config
            .last_connected_at
            .or(self.account.last_connected_at)
    }

    fn merge(&self, user: &PanelUser, rules: &Rules<'_>) -> Merged {
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

    fn note(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn into_decision(self, rules: &Rules<'_>) -> Option<Decision<'a>> {
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
            && account.is_promise_ahead(rules.now);
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
        Observation::Found(_) | Observation::Missing => true,
        Observation::Absent
        | Observation::NotPermitted
        | Observation::Unreadable(_)
        | Observation::Unavailable(_) => false,
    }
}

/// The positions of the accounts that share each subscription.
fn groups(drafts: &[Draft<'_>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(SubscriptionId, Vec<usize>)> = Vec::new();
    for (position, draft) in drafts.iter().enumerate() {
        let Some(id) = draft.subscription_id() else {
            continue;
        };
        match groups.iter_mut().find(|(of, _)| *of == id) {
            Some((_, members)) => members.push(position),
            None => groups.push((id, vec![position])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// The accounts of a customer that share one subscription, and decide about it together.
struct Group<'g, 'a, 'r> {
    drafts: &'g mut [Draft<'a>],
    members: Vec<usize>,
    rules: &'g Rules<'r>,
}

impl<'a> Group<'_, 'a, '_> {
    fn members(&self) -> impl Iterator<Item = &Draft<'a>> {
        self.members
            .iter()
            .filter_map(|position| self.drafts.get(*position))
    }

    fn settle(mut self) {
        let Some(subscription) = self
            .members()
            .find_map(|draft| draft.account.subscription.as_ref())
        else {
            return;
        };
        if !subscription.status.is_synced() {
            return;
        }
        let merged: Vec<Option<Merged>> = self
            .members()
            .map(|draft| draft.found().map(|user| draft.merge(user, self.rules)))
            .collect();
        let leader = self.leader(&merged);
        for (place, merged) in merged.into_iter().enumerate() {
            if let Some(merged) = merged {
                let leads = self.members.len() == 1 || leader == Some(place);
                self.take(place, merged, leads, subscription);
            }
        }
        let carrier = leader.unwrap_or_else(|| self.first());
        self.settle_status(carrier, subscription);
    }

    /// The place of the account with the lowest id, of those found if there are any.
    fn first(&self) -> usize {
        self.members()
            .enumerate()
            .min_by_key(|(_, draft)| (draft.found().is_none(), draft.account.id))
            .map_or(0, |(place, _)| place)
    }

    /// The place of the account with the latest end; neither an on-hold user, nor another one of the same name, nor one
    /// whose end says nothing leads.
    fn leader(&self, merged: &[Option<Merged>]) -> Option<usize> {
        let keeps_unlimited = self.rules.policy.unlimited == Unlimited::Keep;
        self.members()
            .zip(merged)
            .enumerate()
            .filter_map(|(place, (draft, merged))| {
                let (user, merged) = (draft.found()?, merged.as_ref()?);
                let end = EndDate::from(user.expire);
                let speaks = user.status != PanelStatus::OnHold
                    && !matches!(
                        merged.conflict,
                        Some(Conflict::OtherUser | Conflict::ImplausibleEnd)
                    )
                    && !(end == EndDate::Never && keeps_unlimited);
                speaks.then_some((end, std::cmp::Reverse(draft.account.id), place))
            })
            .max()
            .map(|(.., place)| place)
    }

    /// Whether other accounts share the subscription, in this panel or in another.
    fn is_shared(&self) -> bool {
        self.members.len() > 1 || self.members().any(|draft| draft.account.elsewhere.accounts > 0)
    }

    /// Whether the library wrote the row's end from another account.
    fn is_written_elsewhere(&self, place: usize, row: EndDate) -> bool {
        self.members().enumerate().any(|(other, draft)| {
            let agreement = &draft.account.agreement;
            let here = other != place && agreement.is_ours && agreement.end == Some(row);
            here || draft.account.elsewhere.written_ends.contains(&row)
        })
    }

    /// Takes over what became of the end of one account.
    fn take(&mut self, place: usize, mut merged: Merged, leads: bool, subscription: &Subscription) {
        let is_shared = self.is_shared();
        let is_written_elsewhere = self.is_written_elsewhere(place, subscription.end());
        let has_access_elsewhere = self.members().any(|draft| draft.account.elsewhere.is_active);
        let rules = self.rules;
        let Some(draft) = self
            .members
            .get(place)
            .and_then(|position| self.drafts.get_mut(*position))
        else {
            return;
        };
        let Some(user) = draft.found() else { return };
        let is_first_sight = draft.account.agreement.end.is_none() && !draft.account.agreement.on_hold;
        if draft.is_shared_user() {
            draft.problem = Some((
                ProblemReason::SharedUser,
                Some(shared_detail(draft, user, rules.now)),
            ));
        }
        if !leads {
            // It moves no end, and is only in step, or another user, or has no end or none that could be one.
            let speaks = merged.row.is_none()
                && match merged.conflict {
                    Some(Conflict::OtherUser | Conflict::ImplausibleEnd) => true,
                    Some(Conflict::PanelAhead) => user.expire.is_none(),
                    _ => merged.is_in_step,
                };
            if !speaks {
                return;
            }
        }
        if is_first_sight
            && let (EndDate::At(row), EndDate::At(panel)) = (subscription.end(), EndDate::from(user.expire))
            && matches!(
                (merged.row, merged.conflict),
                (Some((_, Reason::Extended)), _) | (_, Some(Conflict::EndsDisagree(Doubt::RowIsLater)))
            )
        {
            draft.first_difference = Some(row - panel);
        }
        if let Some((_, Reason::Shortened)) = merged.row {
            draft.is_cut = true;
            if is_shared {
                let mut agreement = draft.seen.clone();
                agreement.leave_open(subscription.end(), EndDate::from(user.expire), rules.now);
                merged.row = None;
                merged.conflict = Some(Conflict::EndsDisagree(Doubt::Shared));
                merged.agreement = agreement;
                merged.is_in_step = false;
            }
        }
        draft.is_cut |= merged.is_cut;
        if draft.is_shared_user() {
            let may_extend =
                subscription.status.is_open() && matches!(merged.row, Some((_, Reason::Extended)));
            if !may_extend {
                merged.row = None;
            }
            merged.agreement = merged.agreement.without_end();
        } else if let Some(conflict) = merged.conflict
            // The customer has access by another panel, whose end the row has.
            && !(has_access_elsewhere && matches!(conflict, Conflict::PanelBehind | Conflict::EndsDisagree(Doubt::RowIsLater)))
        {
            draft.problem = Some(problem_of(conflict, subscription, user, rules.now));
        }
        if let Some((end_date, reason)) = merged.row {
            draft.subscription.end_date = Some(end_date);
            draft.note(reason);
            draft.is_first_sight = is_first_sight && !reason.is_destructive();
        }
        if is_other_user(user, &draft.seen) && !is_other_user(user, &merged.agreement) {
            merged.agreement.latest_end = draft.latest_end(user, merged.agreement.latest_end);
        }
        if rules.answers.of(&draft.account.name) == Some(Answer::Panel)
            && merged.is_in_step
            && let EndDate::At(panel) = EndDate::from(user.expire)
        {
            merged.agreement.latest_end = Some(panel);
        }
        if merged.conflict == Some(Conflict::PanelBehind)
            && !draft.is_shared_user()
            && !is_written_elsewhere
            && subscription.status.is_open()
        {
            draft.push = push(&merged.agreement, subscription, user, rules);
        }
        draft.merged = Some(merged.agreement);
    }

    /// Decides about the status, once it is known what becomes of the end.
    fn settle_status(&mut self, carrier: usize, subscription: &Subscription) {
        let rules = self.rules;
        let before = subscription.end();
        let moved = self.members().find_map(|draft| draft.subscription.end_date);
        let end = moved.unwrap_or(before);
        let now = EndDate::At(rules.now);
        if subscription.status.is_open() {
            self.forget_replaced();
            let nobody_works = self.members().all(|draft| match draft.observation {
                Observation::Found(user) => {
                    !user.works(rules.now) && !matches!(user.status, PanelStatus::Unknown(_))
                }
                Observation::Missing => true,
                _ => false,
            });
            if end > now || !nobody_works {
                return;
            }
            let is_elsewhere = self.members().any(|draft| draft.account.elsewhere.is_active);
            let decided: Vec<SubscriptionId> =
                self.drafts.iter().filter_map(Draft::subscription_id).collect();
            let Some(draft) = self.member(carrier) else { return };
            if is_elsewhere {
                draft.kept_for_another_panel = true;
                return;
            }
            draft.subscription.status = Some(SubscriptionStatus::Expired);
            draft.also_expired = draft
                .account
                .other_subscriptions
                .iter()
                .filter(|other| other.status.is_open() && other.end() <= now)
                .filter(|other| !other.is_named && !decided.contains(&other.id))
                .cloned()
                .collect();
            draft.note(Reason::Expired);
            if !draft.is_shared_user() {
                draft.replaced = Some(Some(Replaced {
                    status: subscription.word.clone(),
                    end,
                }));
            }
            return;
        }
        self.settle_expired(carrier, subscription, end, moved.is_some());
    }

    /// Decides whether an `expired` subscription comes back.
    fn settle_expired(&mut self, carrier: usize, subscription: &Subscription, end: EndDate, moved: bool) {
        let rules = self.rules;
        let (before, now) = (subscription.end(), EndDate::At(rules.now));
        let replaced = self
            .members()
            .filter_map(|draft| Some((draft.account.id, draft.account.agreement.replaced.as_ref()?)))
            .filter(|(_, replaced)| replaced.end == before)
            .min_by_key(|(id, _)| *id)
            .map(|(_, replaced)| replaced.clone());
        if self.member(carrier).is_none_or(|draft| draft.is_shared_user()) {
            return;
        }
        let had_passed = moved && before <= now && end > now;
        if moved || replaced.is_none() {
            self.forget_replaced();
        }
        if !had_passed && replaced.is_none() {
            return;
        }
        // Any account of the subscription will do: the one that leads may be disabled.
        let works = self.members().any(|draft| {
            let agreement = draft.merged.as_ref().unwrap_or(&draft.account.agreement);
            draft
                .found()
                .is_some_and(|user| user.works(rules.now) && !is_other_user(user, agreement))
        });
        let Some(draft) = self.member(carrier) else { return };
        let status = replaced.map_or_else(
            || subscription.spell(&SubscriptionStatus::Active),
            |replaced| replaced.status,
        );
        if end > now && works && is_renewal(end, rules) {
            draft.subscription.status = Some(SubscriptionStatus::from(status.as_str()));
            draft.note(Reason::Reactivated);
            draft.replaced = Some(None);
        } else if moved {
            draft.replaced = Some(Some(Replaced { status, end }));
        }
    }

    /// The row is not as the library left it, so no status of the past comes back.
    fn forget_replaced(&mut self) {
        for position in &self.members {
            if let Some(draft) = self.drafts.get_mut(*position)
                && draft.account.agreement.replaced.is_some()
            {
                draft.replaced = Some(None);
            }
        }
    }

    fn member(&mut self, place: usize) -> Option<&mut Draft<'a>> {
        let position = *self.members.get(place)?;
        self.drafts.get_mut(position)
    }
}

/// Whether a subscription that runs until `end` may come back: it was renewed, and not given a grace period.
fn is_renewal(end: EndDate, rules: &Rules<'_>) -> bool {
    match (rules.policy.reactivate, end) {
        (Reactivate::AtLeast(length), EndDate::At(end)) => end - rules.now >= length,
        (Reactivate::AtLeast(_) | Reactivate::Always, _) => true,
        (Reactivate::Never, _) => false,
    }
}

/// The extension of a panel user that has been behind for long enough.
fn push(
    agreement: &Agreement,
    subscription: &Subscription,
    user: &PanelUser,
    rules: &Rules<'_>,
) -> Option<Push> {
    let can_be_extended = matches!(
        user.status,
        PanelStatus::Active | PanelStatus::Limited | PanelStatus::Expired
    );
    let open = agreement.open?;
    let (EndDate::At(to), EndDate::At(from)) = (subscription.end(), EndDate::from(user.expire)) else {
        return None;
    };
    let is_due = rules.policy.panel_behind == PanelBehind::Extend
        && can_be_extended
        && agreement.end == Some(EndDate::At(from))
        && rules.now - open.since >= rules.policy.extend_after;
    is_due.then_some(Push {
        from,
        to,
        created_at: user.created_at,
    })
}

fn problem_of(
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

fn shared_detail(draft: &Draft<'_>, user: &PanelUser, now: DateTime<Utc>) -> String {
    let others = draft.account.sharers.len();
    let is_over = |subscriptions: &mut dyn Iterator<Item = &Subscription>| {
        let mut subscriptions = subscriptions.peekable();
        subscriptions.peek().is_some() && subscriptions.all(|subscription| !subscription.is_promised(now))
    };
    let all_over = is_over(&mut draft.account.subscriptions())
        && draft
            .account
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
