//! Users that a list lacked: each is asked for by itself before it counts as missing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{BATCH, GONE, SyncRun};
use crate::decide::limits::{LimitExceeded, Tally};
use crate::decide::reconcile::{Facet, UNCONFIRMED};
use crate::jobs::change_writer::ChangeWriter;
use crate::jobs::job_run::{Interrupt, JobRun};
use crate::model::account::{AccountId, UserId};
use crate::model::observation::{Observation, Observed};
use crate::model::report::{Problem, ProblemReason};

/// How many absent users are still asked for, once the safety check will withhold what is found.
const MAX_CONFIRMATIONS: u32 = 100;

/// How many absent users the subscriptions job asks for only to report them.
const MAX_CONFIRMATIONS_TO_REPORT: u32 = 25;

/// Accounts of absent users that a run keeps in mind, to ask for them by themselves; the further ones are reported as
/// unconfirmed, stay as they are, and are left to the next run. To ask for so many takes a run's whole time as it is.
pub(super) const MAX_UNCONFIRMED: usize = 10_000;

/// An account of a user one of whose accounts a list lacked.
pub(super) struct Unconfirmed {
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

impl Unconfirmed {
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
            is_absent: *observation == Observation::NotListed,
            is_news,
            has_access: account.is_active == Some(true),
        }
    }

    fn note(&self, writer: &mut ChangeWriter<'_>, reason: ProblemReason, detail: Option<&str>) {
        let problem = Problem {
            telegram_id: self.telegram_id,
            name: self.name.clone(),
            reason,
            detail: detail.map(str::to_owned),
        };
        writer.note_problem(self.id, problem);
    }
}

/// What has been asked, and how many were missing.
#[derive(Debug, Default)]
struct Confirmed {
    asked: u32,
    missing_with_access: u64,
}

/// The accounts of users that are to be decided on, now that the panel has been asked.
type Asked = BTreeMap<UserId, Vec<Unconfirmed>>;

impl SyncRun {
    /// Asks for each absent user by itself, and decides by what is known then, also when that ends early.
    pub(super) async fn confirm(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let mut asked = Asked::new();
        // From here on it is this that minds the time for looking; what was asked is decided in the time after it.
        job_run.reader.is_looking = false;
        let result = self.ask_for_absent(job_run, &mut asked).await;
        for (_, unconfirmed) in std::mem::take(&mut self.unconfirmed) {
            if unconfirmed.is_absent {
                self.give_up(&mut job_run.writer, &unconfirmed);
            } else {
                asked.entry(unconfirmed.user_id).or_default().push(unconfirmed);
            }
        }
        let mut rest: Vec<Vec<Unconfirmed>> = asked.into_values().collect();
        while !rest.is_empty() {
            let start = rest.len().saturating_sub(BATCH);
            let ids: Vec<AccountId> = rest
                .iter()
                .skip(start)
                .flatten()
                .map(|unconfirmed| unconfirmed.id)
                .collect();
            // What takes something is looked at once more before it is written, so the answers count for the whole run.
            match self.look_again(job_run, &ids, TimeDelta::MAX).await {
                Ok(observed) => {
                    let observed_ids: BTreeSet<AccountId> =
                        observed.iter().map(|observed| observed.account.id).collect();
                    for unconfirmed in rest.iter().skip(start).flatten() {
                        if !observed_ids.contains(&unconfirmed.id) {
                            unconfirmed.note(&mut job_run.writer, ProblemReason::Conflict, Some(GONE));
                        }
                    }
                    self.settle(&mut job_run.writer, &observed).await?;
                }
                Err(interrupt) => {
                    for unconfirmed in rest.iter().flatten() {
                        unconfirmed.note(&mut job_run.writer, ProblemReason::Withheld, None);
                    }
                    return result.and(Err(interrupt));
                }
            }
            rest.truncate(start);
        }
        result
    }

    async fn ask_for_absent(&mut self, job_run: &mut JobRun<'_>, asked: &mut Asked) -> Result<(), Interrupt> {
        let mut count = Confirmed::default();
        let absent = |sync: &Self, news: bool| {
            let mut unconfirmed = sync.unconfirmed.values();
            unconfirmed
                .find(|unconfirmed| unconfirmed.is_absent && unconfirmed.is_news == news)
                .map(|unconfirmed| unconfirmed.id)
        };
        // Those whose rows would change first: the others are only reported.
        while let Some(id) = absent(self, true).or_else(|| absent(self, false)) {
            let Some(unconfirmed) = self.unconfirmed.get(&id) else {
                return Ok(());
            };
            if self.has_asked_enough(job_run, &count, unconfirmed.is_news) {
                return Ok(());
            }
            let observation = job_run.reader.ask_for(&unconfirmed.name).await?;
            let has_access = unconfirmed.has_access;
            count.asked += 1;
            self.count(&observation, has_access, &mut count);
            if let Some(unconfirmed) = self.unconfirmed.remove(&id) {
                self.answers
                    .insert(unconfirmed.name.clone(), (job_run.writer.now(), observation));
                asked.entry(unconfirmed.user_id).or_default().push(unconfirmed);
            }
        }
        Ok(())
    }

    /// Asks until the time for looking is up, or so many are missing that the safety check withholds them anyway.
    fn has_asked_enough(&self, job_run: &JobRun<'_>, confirmed: &Confirmed, is_news: bool) -> bool {
        if job_run.reader.is_time_to_write() {
            return true;
        }
        let tally = Tally {
            absent_with_access: confirmed.missing_with_access,
            ..self.tally
        };
        let allow = job_run.context.options.answers.allow_mass_changes;
        match job_run.context.limits.check(&tally, allow) {
            Some(LimitExceeded::NoUserReturned { .. }) => true,
            Some(LimitExceeded::Absent { .. }) if confirmed.asked >= MAX_CONFIRMATIONS => true,
            _ => {
                self.facet == Facet::Subscriptions
                    && !is_news
                    && confirmed.asked >= MAX_CONFIRMATIONS_TO_REPORT
            }
        }
    }

    fn count(&mut self, observation: &Observation, has_access: bool, confirmed: &mut Confirmed) {
        match observation {
            Observation::NotFound => {
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
            Observation::NotListed | Observation::Unreadable(_) | Observation::Unavailable(_) => {}
        }
    }

    /// What the panel returned for a user that was looked up individually; asked anew when that was longer ago than
    /// `believed`.
    pub(super) async fn answer(
        &mut self,
        job_run: &mut JobRun<'_>,
        name: &str,
        believed: TimeDelta,
    ) -> Result<Option<Observation>, Interrupt> {
        let Some((at, observation)) = self.answers.get(name) else {
            return Ok(None);
        };
        if job_run.writer.now() - *at <= believed {
            return Ok(Some(observation.clone()));
        }
        let observation = job_run.reader.ask_for(name).await?;
        self.answers
            .insert(name.to_owned(), (job_run.writer.now(), observation.clone()));
        Ok(Some(observation))
    }

    /// How many of these accounts would be news if their absence were confirmed; only the status job marks who is
    /// missing.
    pub(super) fn news_of_absence(&self, customer: &[Observed]) -> u64 {
        let is_news = |observed: &&Observed| {
            observed.observation == Observation::NotListed && observed.account.is_active != Some(false)
        };
        match self.facet {
            Facet::UserStatus => customer.iter().filter(is_news).count() as u64,
            Facet::Subscriptions => 0,
        }
    }

    /// Reports an absent user that nobody asked for.
    fn give_up(&mut self, writer: &mut ChangeWriter<'_>, absent: &Unconfirmed) {
        // Only the status job marks who is missing.
        self.unasked += u64::from(absent.is_news && self.facet == Facet::UserStatus);
        absent.note(writer, ProblemReason::Missing, Some(UNCONFIRMED));
    }

    /// The same for all that wait, and reports their users' other accounts, for which nothing was decided.
    pub(super) fn give_up_on_unconfirmed(&mut self, writer: &mut ChangeWriter<'_>) {
        for (_, unconfirmed) in std::mem::take(&mut self.unconfirmed) {
            if unconfirmed.is_absent {
                self.give_up(writer, &unconfirmed);
            } else {
                unconfirmed.note(writer, ProblemReason::Withheld, None);
            }
        }
    }
}
