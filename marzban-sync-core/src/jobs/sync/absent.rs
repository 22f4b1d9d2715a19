//! Users that a list lacked: each is asked for by itself before it counts as missing.

use std::collections::BTreeMap;

use super::Sync;
use crate::account::{AccountId, UserId};
use crate::jobs::ledger::Ledger;
use crate::jobs::session::{Interrupt, Session};
use crate::observation::Observation;
use crate::reconcile::{Facet, Observed, UNCONFIRMED};
use crate::report::{Problem, ProblemReason};
use crate::safety::Withheld;

/// How many absent users are still asked for, once the safety check will withhold what is found.
const MAX_CONFIRMATIONS: u32 = 100;

/// How many absent users the subscriptions job asks for.
const MAX_CONFIRMATIONS_TO_REPORT: u32 = 25;

/// Accounts of absent users that a run keeps in mind, to ask for them by themselves; the further ones are reported as
/// unconfirmed, stay as they are, and are left to the next run. To ask for so many takes a run's whole time as it is.
pub(super) const MAX_WAITING: usize = 10_000;

/// Accounts that are read at once, when they are looked at again.
const BATCH: usize = 1_000;

/// An account of a user one of whose accounts a list lacked.
pub(super) struct Waiting {
    id: AccountId,
    user_id: UserId,
    telegram_id: Option<i64>,
    name: String,
    /// Whether it is this account that the list lacked.
    is_absent: bool,
    /// Whether it would be news to the row that its user is missing.
    is_news: bool,
}

impl Waiting {
    pub(super) fn of(observed: &Observed) -> Self {
        let Observed { account, observation } = observed;
        Self {
            id: account.id,
            user_id: account.user_id,
            telegram_id: account.telegram_id,
            name: account.name.clone(),
            is_absent: *observation == Observation::Absent,
            is_news: account.is_active != Some(false),
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

/// The accounts of users that are to be decided on, now that the panel has been asked.
type Asked = BTreeMap<UserId, Vec<Waiting>>;

impl Sync {
    /// Asks for each absent user by itself, and decides by what is known then, also when that ends early.
    pub(super) async fn confirm(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let mut asked = Asked::new();
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
            match self.look_again(session, &ids).await {
                Ok(observed) => self.settle(&mut session.ledger, &observed).await?,
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
        let mut count = 0;
        loop {
            let next = self.waiting.values().find(|waiting| waiting.is_absent);
            let Some(waiting) = next.filter(|_| !self.has_asked_enough(session, count)) else {
                return Ok(());
            };
            let (id, is_news) = (waiting.id, waiting.is_news);
            let observation = session.inquiry.ask_for(&waiting.name).await?;
            count += 1;
            self.count(&observation, is_news);
            if let Some(waiting) = self.waiting.remove(&id) {
                self.answers.insert(waiting.name.clone(), observation);
                asked.entry(waiting.user_id).or_default().push(waiting);
            }
        }
    }

    /// Asks until so many are missing that the safety check withholds them anyway.
    fn has_asked_enough(&self, session: &Session<'_>, asked: u32) -> bool {
        match session.context.limits.check(&self.tally) {
            Some(Withheld::NoUserReturned { .. }) => true,
            Some(Withheld::MassChange { .. } | Withheld::DeletionBudget { .. })
                if asked >= MAX_CONFIRMATIONS =>
            {
                true
            }
            // The subscriptions job only reports who is missing, and asks for a few, so that it says it rightly.
            _ => self.facet == Facet::Subscriptions && asked >= MAX_CONFIRMATIONS_TO_REPORT,
        }
    }

    fn count(&mut self, observation: &Observation, is_news: bool) {
        match observation {
            Observation::Missing => {
                self.missing += 1;
                self.tally.missing += u64::from(is_news && self.facet == Facet::UserStatus);
            }
            Observation::Found(_) => self.tally.found += 1,
            Observation::Absent
            | Observation::NotPermitted
            | Observation::Unreadable(_)
            | Observation::Unavailable(_) => {}
        }
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

    /// Whether an absence, if it were confirmed, would be news to a row, or keeps another account from being decided on.
    pub(super) fn has_news_of_absence(&self) -> bool {
        let mut waiting = self.waiting.values();
        self.unasked > 0 || waiting.any(|waiting| !waiting.is_absent || waiting.is_news)
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
