//! Users that a list lacked: each is asked for by itself before it counts as missing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{BATCH, GONE, Sync};
use crate::decide::reconcile::{Facet, UNCONFIRMED};
use crate::decide::safety::{Tally, Withheld};
use crate::jobs::ledger::Ledger;
use crate::jobs::session::{Interrupt, Session};
use crate::model::account::{AccountId, UserId};
use crate::model::observation::{Observation, Observed};
use crate::model::report::{Problem, ProblemReason};

/// How many absent users are still asked for, once the safety check will withhold what is found.
const MAX_CONFIRMATIONS: u32 = 100;

/// How many absent users the subscriptions job asks for only to report them.
const MAX_CONFIRMATIONS_TO_REPORT: u32 = 25;

/// Accounts of absent users that a run keeps in mind, to ask for them by themselves; the further ones are reported as
/// unconfirmed, stay as they are, and are left to the next run. To ask for so many takes a run's whole time as it is.
pub(super) const MAX_WAITING: usize = 10_000;

/// An account of a user one of whose accounts a list lacked.
pub(super) struct Waiting {
    id: AccountId,
    user_id: UserId,
    telegram_id: Option<i64>,
    name: String,
    /// Whether it is this account that the list lacked.
    is_absent: bool,
    /// Whether it would change a row that the user is missing.
    is_news: bool,
    /// Whether it has access, by its row.
    has_access: bool,
}

impl Waiting {
    pub(super) fn of(observed: &Observed, facet: Facet, now: DateTime<Utc>) -> Self {
        let Observed { account, observation } = observed;
        let is_news = match facet {
            Facet::UserStatus => account.is_active != Some(false),
            // An open subscription that is over ends once the user is known to be missing.
            Facet::Subscriptions => account
                .subscription
                .as_ref()
                .is_some_and(|subscription| subscription.status.is_open() && subscription.is_over(now)),
        };
        Self {
            id: account.id,
            user_id: account.user_id,
            telegram_id: account.telegram_id,
            name: account.name.clone(),
            is_absent: *observation == Observation::Absent,
            is_news,
            has_access: account.is_active == Some(true),
        }
    }

    fn note(&self, ledger: &mut Ledger<'_>, reason: ProblemReason, detail: Option<&str>) {
        let problem = Problem {
            telegram_id: self.telegram_id,
            name: self.name.clone(),
            reason,
            detail: detail.map(str::to_owned),
        };
        ledger.note_problem(self.id, problem);
    }
}

/// What has been asked, and how many were missing.
#[derive(Debug, Default)]
struct Confirmed {
    asked: u32,
    missing_with_access: u64,
}

/// The accounts of users that are to be decided on, now that the panel has been asked.
type Asked = BTreeMap<UserId, Vec<Waiting>>;

impl Sync {
    /// Asks for each absent user by itself, and decides by what is known then, also when that ends early.
    pub(super) async fn confirm(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let mut asked = Asked::new();
        // From here on it is this that minds the time for looking; what was asked is decided in the time after it.
        session.inquiry.is_looking = false;
        let result = self.ask_for_absent(session, &mut asked).await;
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if waiting.is_absent {
                self.give_up(&mut session.ledger, &waiting);
            } else {
                asked.entry(waiting.user_id).or_default().push(waiting);
            }
        }
        let mut rest: Vec<Vec<Waiting>> = asked.into_values().collect();
        while !rest.is_empty() {
            let start = rest.len().saturating_sub(BATCH);
            let ids: Vec<AccountId> = rest
                .iter()
                .skip(start)
                .flatten()
                .map(|waiting| waiting.id)
                .collect();
            // What takes something is looked at once more before it is written, so the answers count for the whole run.
            match self.look_again(session, &ids, TimeDelta::MAX).await {
                Ok(observed) => {
                    let observed_ids: BTreeSet<AccountId> =
                        observed.iter().map(|observed| observed.account.id).collect();
                    for waiting in rest.iter().skip(start).flatten() {
                        if !observed_ids.contains(&waiting.id) {
                            waiting.note(&mut session.ledger, ProblemReason::Conflict, Some(GONE));
                        }
                    }
                    self.settle(&mut session.ledger, &observed).await?;
                }
                Err(interrupt) => {
                    for waiting in rest.iter().flatten() {
                        waiting.note(&mut session.ledger, ProblemReason::Withheld, None);
                    }
                    return result.and(Err(interrupt));
                }
            }
            rest.truncate(start);
        }
        result
    }

    async fn ask_for_absent(
        &mut self,
        session: &mut Session<'_>,
        asked: &mut Asked,
    ) -> Result<(), Interrupt> {
        let mut count = Confirmed::default();
        let absent = |sync: &Self, news: bool| {
            let mut waiting = sync.waiting.values();
            waiting
                .find(|waiting| waiting.is_absent && waiting.is_news == news)
                .map(|waiting| waiting.id)
        };
        // Those whose rows would change first: the others are only reported.
        while let Some(id) = absent(self, true).or_else(|| absent(self, false)) {
            let Some(waiting) = self.waiting.get(&id) else {
                return Ok(());
            };
            if self.has_asked_enough(session, &count, waiting.is_news) {
                return Ok(());
            }
            let observation = session.inquiry.ask_for(&waiting.name).await?;
            let has_access = waiting.has_access;
            count.asked += 1;
            self.count(&observation, has_access, &mut count);
            if let Some(waiting) = self.waiting.remove(&id) {
                self.answers
                    .insert(waiting.name.clone(), (session.ledger.now(), observation));
                asked.entry(waiting.user_id).or_default().push(waiting);
            }
        }
        Ok(())
    }

    /// Asks until the time for looking is up, or so many are missing that the safety check withholds them anyway.
    fn has_asked_enough(&self, session: &Session<'_>, confirmed: &Confirmed, is_news: bool) -> bool {
        if session.inquiry.is_time_to_write() {
            return true;
        }
        let tally = Tally {
            absent_with_access: confirmed.missing_with_access,
            ..self.tally
        };
        let allow = session.context.answers.allow_mass_changes;
        match session.context.limits.check(&tally, allow) {
            Some(Withheld::NoUserReturned { .. }) => true,
            Some(Withheld::Absent { .. }) if confirmed.asked >= MAX_CONFIRMATIONS => true,
            _ => {
                self.facet == Facet::Subscriptions
                    && !is_news
                    && confirmed.asked >= MAX_CONFIRMATIONS_TO_REPORT
            }
        }
    }

    fn count(&mut self, observation: &Observation, has_access: bool, confirmed: &mut Confirmed) {
        match observation {
            Observation::Missing => {
                self.missing += 1;
                confirmed.missing_with_access += u64::from(has_access);
            }
            Observation::Found(_) => {
                self.tally.found += 1;
                self.tally.absent -= 1;
                self.tally.absent_with_access -= u64::from(has_access);
            }
            // Whatever it is, it is no absence.
            Observation::NotPermitted => {
                self.tally.absent_with_access -= u64::from(has_access);
            }
            Observation::Absent | Observation::Unreadable(_) | Observation::Unavailable(_) => {}
        }
    }

    /// What the panel returned for a user that was looked up individually; asked anew when that was longer ago than
    /// `believed`.
    pub(super) async fn answer(
        &mut self,
        session: &mut Session<'_>,
        name: &str,
        believed: TimeDelta,
    ) -> Result<Option<Observation>, Interrupt> {
        let Some((at, observation)) = self.answers.get(name) else {
            return Ok(None);
        };
        if session.ledger.now() - *at <= believed {
            return Ok(Some(observation.clone()));
        }
        let observation = session.inquiry.ask_for(name).await?;
        self.answers
            .insert(name.to_owned(), (session.ledger.now(), observation.clone()));
        Ok(Some(observation))
    }

    /// How many of these accounts would be news if their absence were confirmed; only the status job marks who is
    /// missing.
    pub(super) fn news_of_absence(&self, customer: &[Observed]) -> u64 {
        let is_news = |observed: &&Observed| {
            observed.observation == Observation::Absent && observed.account.is_active != Some(false)
        };
        match self.facet {
            Facet::UserStatus => customer.iter().filter(is_news).count() as u64,
            Facet::Subscriptions => 0,
        }
    }

    /// Reports an absent user that nobody asked for.
    fn give_up(&mut self, ledger: &mut Ledger<'_>, absent: &Waiting) {
        // Only the status job marks who is missing.
        self.unasked += u64::from(absent.is_news && self.facet == Facet::UserStatus);
        absent.note(ledger, ProblemReason::Missing, Some(UNCONFIRMED));
    }

    /// The same for all that wait, and reports their users' other accounts, for which nothing was decided.
    pub(super) fn give_up_on_waiting(&mut self, ledger: &mut Ledger<'_>) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            if waiting.is_absent {
                self.give_up(ledger, &waiting);
            } else {
                waiting.note(ledger, ProblemReason::Withheld, None);
            }
        }
    }
}
