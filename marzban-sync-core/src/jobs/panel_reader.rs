//! The asking half of a run: what the panel is asked, and when it counts as down.

use chrono::{DateTime, TimeDelta, Utc};

use super::Context;
use super::job_run::Interrupt;
use super::spellings::Spellings;
use crate::model::account::Account;
use crate::model::observation::{Observation, Observed};
use crate::model::outcome::Stopped;
use crate::model::report::Job;
use crate::port::error::{PanelError, PanelErrorKind, chain};
use crate::port::event::Event;
use crate::port::panel::MAX_NAMES;

/// So many questions in a row without an answer, and the panel counts as down.
const MAX_UNANSWERED: u32 = 3;

/// Asks the panel, one question at a time, while the other half of the run may be writing.
pub(super) struct PanelReader<'a> {
    context: &'a Context,
    job: Job,
    started_at: DateTime<Utc>,
    answered: bool,
    unanswered: u32,
    last_failure: Option<PanelError>,
    /// How far the panel's clock was ahead of the run's when it last answered, as far as it returns a date.
    clock_difference: Option<TimeDelta>,
    /// Whether the accounts are still being looked at; what is decided then has the last third of the time.
    pub(super) is_looking: bool,
    /// The names that differ only in case, once they matter.
    pub(super) spellings: Option<Spellings>,
}

/// A user that the panel confirmed to be missing before is not asked for one by one in every run, unless something would
/// be taken from its customer: it may have been made anew.
fn known(account: &Account, observation: Observation, now: DateTime<Utc>) -> Observation {
    let would_end = account
        .subscription
        .as_ref()
        .is_some_and(|subscription| subscription.status.is_open() && subscription.is_over(now));
    let is_known = account.agreement.is_missing && account.is_active != Some(true) && !would_end;
    match observation {
        Observation::NotListed if is_known => Observation::NotFound,
        observation => observation,
    }
}

impl<'a> PanelReader<'a> {
    pub(super) fn new(context: &'a Context, job: Job, started_at: DateTime<Utc>) -> Self {
        Self {
            context,
            job,
            started_at,
            answered: false,
            unanswered: 0,
            last_failure: None,
            clock_difference: None,
            is_looking: true,
            spellings: None,
        }
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }

    /// Ends the run if its time is up or its caller cancelled.
    pub(super) fn check(&self) -> Result<(), Interrupt> {
        let looked_enough = || (self.is_looking && self.is_time_to_write()).then_some(Stopped::Deadline);
        self.context
            .stop(self.started_at)
            .or_else(looked_enough)
            .map_or(Ok(()), |stopped: Stopped| Err(Interrupt::Stopped(stopped)))
    }

    /// Whether the part of the time is used up that looking at accounts may take.
    pub(super) fn is_time_to_write(&self) -> bool {
        self.context.is_time_to_write(self.started_at)
    }

    /// How far the panel's clock is ahead of the run's.
    pub(super) fn clock_difference(&self) -> Option<TimeDelta> {
        self.clock_difference
    }

    /// Waits for a question's answer, unless the run is cancelled meanwhile: the panel may have fallen silent, and a
    /// question may be dropped at any point.
    pub(super) async fn unless_cancelled<T>(
        &self,
        question: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        let cancellation = &self.context.options.cancellation;
        let answer = cancellation.run_until_cancelled(question).await;
        answer.ok_or(Interrupt::Stopped(Stopped::Cancelled))
    }

    /// Asks the panel for the users of these accounts, in requests of up to [`MAX_NAMES`].
    ///
    /// When it is interrupted, whole users at the end are missing from what is returned.
    pub(super) async fn observe(&mut self, accounts: Vec<Account>) -> (Vec<Observed>, Result<(), Interrupt>) {
        let context = self.context;
        self.ask_for_all(accounts, |asked| context.emit(Event::Observed(asked)))
            .await
    }

    /// The same for accounts that were asked for before, and are counted once.
    pub(super) async fn observe_again(&mut self, accounts: Vec<Account>) -> Result<Vec<Observed>, Interrupt> {
        let (observed, result) = self.ask_for_all(accounts, |_| ()).await;
        result.map(|()| observed)
    }

    async fn ask_for_all(
        &mut self,
        accounts: Vec<Account>,
        note: impl Fn(u64) + Send,
    ) -> (Vec<Observed>, Result<(), Interrupt>) {
        let mut observed: Vec<Observed> = Vec::with_capacity(accounts.len());
        let mut rest = accounts.into_iter().peekable();
        while rest.peek().is_some() {
            let asked: Vec<Account> = rest.by_ref().take(MAX_NAMES).collect();
            let result = match self.check() {
                Ok(()) => self.ask(&asked).await,
                Err(interrupt) => Err(interrupt),
            };
            match result {
                Ok(observations) => {
                    note(asked.len() as u64);
                    let now = self.context.clock.now();
                    observed.extend(asked.into_iter().zip(observations).map(|(account, observation)| {
                        Observed {
                            observation: known(&account, observation, now),
                            account,
                        }
                    }));
                }
                Err(interrupt) => {
                    // A user of whom only some accounts were seen must not be decided on.
                    let cut = asked.first().map(|account| account.user_id);
                    while observed
                        .last()
                        .is_some_and(|last| Some(last.account.user_id) == cut)
                    {
                        observed.pop();
                    }
                    let noted = self.note_other_spellings(&mut observed).await;
                    return (observed, noted.and(Err(interrupt)));
                }
            }
        }
        let noted = self.note_other_spellings(&mut observed).await;
        (observed, noted)
    }

    async fn ask(&mut self, accounts: &[Account]) -> Result<Vec<Observation>, Interrupt> {
        let names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        let question = step!(reader.list, self.context.panel.users(&names));
        match self.unless_cancelled(question).await? {
            Ok(mut observations) => {
                self.note_answer();
                observations.resize(
                    names.len(),
                    Observation::Unavailable("the answer is too short".to_owned()),
                );
                Ok(observations)
            }
            Err(error) => {
                let why = self.note_failure(error)?;
                Ok(vec![Observation::Unavailable(why); names.len()])
            }
        }
    }

    /// Asks the panel for one user, so that an absence can be believed.
    pub(super) async fn ask_for(&mut self, name: &str) -> Result<Observation, Interrupt> {
        self.check()?;
        let question = step!(reader.user, self.context.panel.user(name));
        match self.unless_cancelled(question).await? {
            Ok(observation) => {
                self.note_answer();
                Ok(observation)
            }
            Err(error) => Ok(Observation::Unavailable(self.note_failure(error)?)),
        }
    }

    pub(super) fn note_answer(&mut self) {
        self.answered = true;
        self.unanswered = 0;
        if let Some(date) = self.context.panel.last_date() {
            self.clock_difference = Some(date - self.context.clock.now());
        }
    }

    /// Notes an error of a change, and returns why the panel did not make it, and whether that is certain.
    ///
    /// It is certain when the panel refused this user alone; that is an answer, so the other users need not wait.
    pub(super) fn note_unchanged(&mut self, error: PanelError) -> Result<(bool, String), Interrupt> {
        if error.kind() == PanelErrorKind::Invalid {
            self.note_answer();
            return Ok((true, chain(&error)));
        }
        Ok((false, self.note_failure(error)?))
    }

    /// Counts a question without an answer; the panel is given up when it refuses, or after a few in a row.
    pub(super) fn note_failure(&mut self, error: PanelError) -> Result<String, Interrupt> {
        self.unanswered += 1;
        if error.kind() == PanelErrorKind::Refused || self.unanswered >= MAX_UNANSWERED {
            return Err(error.into());
        }
        let why = chain(&error);
        tracing::warn!(job = %self.job, panel.name = self.context.panel_name, error = why, "the panel did not answer");
        self.last_failure = Some(error);
        Ok(why)
    }

    /// An error when the panel was asked and never answered; its cause is why it did not the last time.
    pub(super) fn require_an_answer(&mut self) -> Result<(), Interrupt> {
        match self.last_failure.take() {
            Some(failure) if !self.answered => Err(PanelError::new(
                PanelErrorKind::Unavailable,
                "the panel answered none of the questions",
            )
            .with_source(failure)
            .into()),
            _ => Ok(()),
        }
    }
}
