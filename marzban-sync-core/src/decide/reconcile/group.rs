//! The accounts that share one subscription, and decide about its end and its status together.

use chrono::TimeDelta;

use super::details::{ended_early_detail, not_renewed_detail, problem_of, shared_detail};
use super::draft::Draft;
use super::{Push, Rules};
use crate::decide::merge_ends::{Conflict, Doubt, Merged, is_other_user, is_same};
use crate::model::account::{Subscription, SubscriptionId, SubscriptionStatus};
use crate::model::agreement::{Agreement, Replaced};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observation, PanelStatus, PanelUser};
use crate::model::plan::Reason;
use crate::model::policy::{Answer, PanelBehind, Reactivate, Unlimited};
use crate::model::report::ProblemReason;

/// The positions of the accounts that share each subscription.
pub(super) fn groups(drafts: &[Draft<'_>]) -> Vec<Vec<usize>> {
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
pub(super) struct Group<'g, 'a, 'r> {
    pub(super) drafts: &'g mut [Draft<'a>],
    pub(super) members: Vec<usize>,
    pub(super) rules: &'g Rules<'r>,
}

impl<'a> Group<'_, 'a, '_> {
    fn members(&self) -> impl Iterator<Item = &Draft<'a>> {
        self.members
            .iter()
            .filter_map(|position| self.drafts.get(*position))
    }

    pub(super) fn settle(mut self) {
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

    /// Whether the library wrote the row's end from another account; a bot may have rounded it since.
    fn is_written_elsewhere(&self, place: usize, row: EndDate) -> bool {
        let tolerance = self.rules.policy.tolerance;
        self.members().enumerate().any(|(other, draft)| {
            let here = draft.account.agreement.written_end.filter(|_| other != place);
            let mut written = here.iter().chain(&draft.account.elsewhere.written_ends);
            written.any(|end| is_same(row, *end, tolerance) || is_same(*end, row, tolerance))
        })
    }

    /// Whether the customer has access by another panel whose end the row has.
    fn has_access_elsewhere(&self, row: EndDate) -> bool {
        let tolerance = self.rules.policy.tolerance;
        self.members()
            .flat_map(|draft| &draft.account.elsewhere.agreed_ends)
            .any(|(end, has_access)| *has_access && is_same(row, *end, tolerance))
    }

    /// Whether an account would take something from a subscription that it shares: its end moves earlier, and no operator
    /// says so of the account with the latest end; or its time begins although another account has no end.
    fn is_protected(&self, place: usize, leads: bool, merged: &Merged) -> bool {
        match merged.row {
            Some((_, Reason::Shortened)) => {
                let name = self.members().nth(place).map(|draft| &draft.account.name);
                let is_answered = name.is_some_and(|name| self.rules.answers.of(name) == Some(Answer::Panel));
                let is_known = |draft: &Draft<'_>| {
                    matches!(draft.observation, Observation::Found(_) | Observation::NotFound)
                        && !draft.account.elsewhere.is_active
                };
                !(is_answered && leads && self.members().all(is_known))
            }
            Some((_, Reason::Begun)) => self.members().enumerate().any(|(other, draft)| {
                let has_no_end =
                    |user: &PanelUser| user.expire.is_none() && user.status != PanelStatus::OnHold;
                let is_agreed = draft.account.agreement.settled_end() == Some(EndDate::Never);
                // No end is remembered of a user that several customers name: it may have none.
                let has_none = is_agreed || draft.is_shared_user() || draft.found().is_some_and(has_no_end);
                let here = other != place && has_none;
                let mut elsewhere = draft.account.elsewhere.agreed_ends.iter();
                here || elsewhere.any(|(end, _)| *end == EndDate::Never)
            }),
            _ => false,
        }
    }

    /// Takes over what became of the end of one account.
    fn take(&mut self, place: usize, mut merged: Merged, leads: bool, subscription: &Subscription) {
        let is_shared = self.is_shared();
        let is_written_elsewhere = self.is_written_elsewhere(place, subscription.end());
        let has_access_elsewhere = self.has_access_elsewhere(subscription.end());
        let is_protected = is_shared && self.is_protected(place, leads, &merged);
        let rules = self.rules;
        let Some(draft) = self.member(place) else { return };
        let Some(user) = draft.found() else { return };
        let is_first_sight = draft.account.agreement.end.is_none() && !draft.account.agreement.on_hold;
        if !draft.account.sharers.is_empty() {
            let mut detail = shared_detail(draft.account, user, rules.now);
            if let Some(doubt @ (Conflict::OtherUser | Conflict::ImplausibleEnd)) = merged.conflict
                && let (_, Some(doubt)) = problem_of(doubt, subscription, user, rules.now)
            {
                detail = format!("{detail}; {doubt}");
            }
            draft.problem = Some((ProblemReason::SharedUser, Some(detail)));
        }
        if !leads && !speaks_beside_a_leader(&merged, user) {
            return;
        }
        if is_first_sight {
            draft.first_difference = first_difference(&merged, subscription.end(), user);
        }
        if is_protected {
            // Another account shares the subscription, so nothing is taken from it.
            merged = Merged {
                row: None,
                conflict: Some(Conflict::EndsDisagree(Doubt::Shared)),
                agreement: draft.seen.clone(),
                is_cut: true,
                is_in_step: false,
            };
            merged
                .agreement
                .leave_open(subscription.end(), EndDate::from(user.expire), rules.now);
        }
        draft.is_cut = merged.is_cut;
        if draft.is_shared_user() {
            let may_extend =
                subscription.status.is_open() && matches!(merged.row, Some((_, Reason::Extended)));
            if merged.row.is_some() && !may_extend {
                (merged.row, merged.is_in_step) = (None, false);
                merged.agreement = draft.seen.clone();
            }
            merged.agreement = merged.agreement.without_end();
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
        if let Some(conflict) = merged.conflict
            && !draft.is_shared_user()
            // The customer has access by another panel, whose end the row has.
            && !(has_access_elsewhere
                && draft.push.is_none()
                && matches!(conflict, Conflict::PanelBehind | Conflict::EndsDisagree(Doubt::RowIsLater)))
        {
            draft.problem = Some(problem_of(conflict, subscription, user, rules.now));
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
            self.forget_replaced_unless(|_| false);
            let nobody_works = self.members().all(|draft| match draft.observation {
                Observation::Found(user) => {
                    !user.works(rules.now) && !matches!(user.status, PanelStatus::Unknown(_))
                }
                Observation::NotFound => true,
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
                draft.reopened_end = Some(None);
            }
            return;
        }
        self.settle_expired(carrier, subscription, end, moved.is_some());
    }

    /// Decides whether an `expired` subscription comes back.
    fn settle_expired(&mut self, carrier: usize, subscription: &Subscription, end: EndDate, moved: bool) {
        let rules = self.rules;
        let (before, now) = (subscription.end(), EndDate::At(rules.now));
        // What fits the end that this run brings counts as well: the next run would reopen it by that. What it was
        // reopened by before does not: somebody else has closed it since.
        let reopened: Vec<EndDate> = self
            .members()
            .filter_map(|draft| draft.account.agreement.reopened_end)
            .collect();
        let fits =
            |replaced: &Replaced| [before, end].contains(&replaced.end) && !reopened.contains(&replaced.end);
        let here = self
            .members()
            .filter_map(|draft| Some((draft.account.id, draft.account.agreement.replaced.as_ref()?)))
            .filter(|(_, replaced)| fits(replaced))
            .min_by_key(|(id, replaced)| (replaced.end != before, *id))
            .map(|(_, replaced)| replaced);
        let elsewhere = self
            .members()
            .flat_map(|draft| &draft.account.elsewhere.replaced)
            .find(|replaced| fits(replaced));
        let replaced = here.or(elsewhere).cloned();
        if self.member(carrier).is_none_or(|draft| draft.is_shared_user()) {
            return;
        }
        let had_passed = moved && before <= now && end > now;
        self.forget_replaced_unless(fits);
        // Any account of the subscription will do: the one that leads may be disabled.
        let works = |draft: &Draft<'_>| {
            let agreement = draft.merged.as_ref().unwrap_or(&draft.seen);
            draft.found().is_some_and(|user| {
                // The next run accepts another user of the name whose end the row gets now.
                let is_accepted = || moved && is_same(end, user.expire.into(), rules.policy.tolerance);
                user.works(rules.now) && (!is_other_user(user, agreement) || is_accepted())
            })
        };
        let works = self.members().any(works);
        if !had_passed && replaced.is_none() {
            if end > now {
                self.note_beside_expired(ended_early_detail(end));
            }
            return;
        }
        let Some(draft) = self.member(carrier) else { return };
        let reopened_end = replaced.as_ref().map(|replaced| replaced.end);
        let status = replaced.map_or_else(
            || subscription.spell(&SubscriptionStatus::Active),
            |replaced| replaced.status,
        );
        if end > now && works && is_renewal(end, rules) {
            draft.reopened_end = reopened_end.map(Some);
            draft.subscription.status = Some(SubscriptionStatus::from(status.as_str()));
            draft.note(Reason::Reactivated);
            // The others still remember it: should this change fail, they bring it back in the next run, and if it is
            // written, what it was reopened by keeps them from doing so again.
            if draft.account.agreement.replaced.is_some() {
                draft.replaced = Some(None);
            }
            return;
        }
        if moved {
            draft.replaced = Some(Some(Replaced { status, end }));
            draft.reopened_end = Some(None);
        }
        if end > now {
            // Another user of the name works as well, but reopens nothing.
            self.note_beside_expired(if works {
                not_renewed_detail(end)
            } else {
                ended_early_detail(end)
            });
        }
    }

    /// The subscription stays `expired` before its end: a user that works all the same is a problem, unless it has another
    /// one.
    fn note_beside_expired(&mut self, detail: String) {
        let now = self.rules.now;
        let working = self
            .members()
            .enumerate()
            .filter(|(_, draft)| draft.found().is_some_and(|user| user.works(now)))
            .min_by_key(|(_, draft)| draft.account.id)
            .map(|(place, _)| place);
        if let Some(draft) = working.and_then(|place| self.member(place))
            && draft.problem.is_none()
        {
            draft.problem = Some((ProblemReason::PanelAhead, Some(detail)));
        }
    }

    /// Where the row is not as the library left it, no status of the past comes back.
    fn forget_replaced_unless(&mut self, fits: impl Fn(&Replaced) -> bool) {
        for position in &self.members {
            if let Some(draft) = self.drafts.get_mut(*position)
                && let Some(replaced) = &draft.account.agreement.replaced
                && !fits(replaced)
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

/// Whether an account that does not lead has anything to say: it moves no end, and is in step, or another user, or has
/// no end or none that could be one.
fn speaks_beside_a_leader(merged: &Merged, user: &PanelUser) -> bool {
    merged.row.is_none()
        && match merged.conflict {
            Some(Conflict::OtherUser | Conflict::ImplausibleEnd) => true,
            Some(Conflict::PanelAhead) => user.expire.is_none(),
            _ => merged.is_in_step,
        }
}

/// How much later the row's end is than the panel's, where the panel's is later or nothing says which is right.
fn first_difference(merged: &Merged, row: EndDate, user: &PanelUser) -> Option<TimeDelta> {
    let differs = matches!(
        (merged.row, merged.conflict),
        (Some((_, Reason::Extended)), _) | (_, Some(Conflict::EndsDisagree(Doubt::RowIsLater)))
    );
    match (row, EndDate::from(user.expire)) {
        (EndDate::At(row), EndDate::At(panel)) if differs => Some(row - panel),
        _ => None,
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
        && subscription.has_begun(rules.now)
        && can_be_extended
        && user.spelling.is_none()
        && agreement.end == Some(EndDate::At(from))
        && rules.now - open.since >= rules.policy.extend_after;
    is_due.then_some(Push {
        from,
        to,
        created_at: user.created_at,
    })
}
