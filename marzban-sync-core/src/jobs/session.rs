//! One run of one job: its lock, its row of history, its end.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::Context;
use crate::account::{Account, AccountId};
use crate::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind, SyncError, SyncErrorKind, chain};
use crate::event::Event;
use crate::observation::Observation;
use crate::panel::MAX_NAMES;
use crate::plan::{Change, Reason, Shown};
use crate::reconcile::Observed;
use crate::report::{Job, Problem, ProblemReason, Report, Run, Stopped};
use crate::store::{Outcome, RunId, RunLock};

/// So many questions in a row without an answer, and the panel counts as down.
const MAX_UNANSWERED: u32 = 3;

/// So many refused statements without one success, and it is the database that fails.
const MAX_REFUSALS: u32 = 16;

/// How many problems a row of history keeps; the report that is returned has them all.
const MAX_RECORDED_PROBLEMS: usize = 100;

pub(super) struct Session<'a> {
    pub(super) context: &'a Context,
    pub(super) run: Run,
    pub(super) job: Job,
    lock: Option<Box<dyn RunLock>>,
    id: Option<RunId>,
    failed: BTreeSet<AccountId>,
    answered: bool,
    unanswered: u32,
    last_failure: Option<PanelError>,
}

/// Why a run does not go on.
#[derive(Debug)]
pub(super) enum Interrupt {
    Stopped(Stopped),
    Failed(Failure),
}

/// What failed under a run.
#[derive(Debug)]
pub(super) enum Failure {
    Panel(PanelError),
    Store(StoreError),
}

impl Failure {
    fn into_parts(self) -> (SyncErrorKind, Box<dyn StdError + Send + Sync>) {
        match self {
            Self::Panel(error) => (SyncErrorKind::Panel, error.into()),
            Self::Store(error) if error.kind() == StoreErrorKind::AlreadyRunning => {
                (SyncErrorKind::AlreadyRunning, error.into())
            }
            Self::Store(error) => (SyncErrorKind::Store, error.into()),
        }
    }

    fn chain(&self) -> String {
        match self {
            Self::Panel(error) => chain(error),
            Self::Store(error) => chain(error),
        }
    }
}

impl From<StoreError> for Interrupt {
    fn from(error: StoreError) -> Self {
        Self::Failed(Failure::Store(error))
    }
}

impl From<PanelError> for Interrupt {
    fn from(error: PanelError) -> Self {
        Self::Failed(Failure::Panel(error))
    }
}

impl<'a> Session<'a> {
    /// Checks the schema, takes the lock and notes the beginning; a dry run only checks the schema.
    pub(super) async fn begin(context: &'a Context, job: Job) -> Result<Self, SyncError> {
        let begun = async {
            context.store.verify_schema().await?;
            if context.dry_run {
                return Ok((None, None));
            }
            let lock = context.store.lock(job, &context.panel_name).await?;
            let id = context
                .store
                .begin_run(job, &context.panel_name, context.clock.now())
                .await?;
            Ok((Some(lock), Some(id)))
        };
        let (lock, id) = begun.await.map_err(|error: StoreError| {
            let (kind, source) = Failure::Store(error).into_parts();
            SyncError::new(job, kind, source, None)
        })?;
        let run = Run::new(&context.panel_name, context.clock.now(), context.dry_run);
        Ok(Self {
            context,
            run,
            job,
            lock,
            id,
            failed: BTreeSet::new(),
            answered: false,
            unanswered: 0,
            last_failure: None,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }

    /// Ends the run if its time is up or its caller cancelled.
    pub(super) fn check(&self) -> Result<(), Interrupt> {
        self.context
            .stop(self.run.started_at)
            .map_or(Ok(()), |stopped| Err(Interrupt::Stopped(stopped)))
    }

    /// Makes sure that no other run has begun, before something that takes away.
    pub(super) async fn verify_lock(&mut self) -> Result<(), Interrupt> {
        match &mut self.lock {
            Some(lock) => Ok(lock.verify().await?),
            None => Ok(()),
        }
    }

    /// Asks the panel for the users of these accounts, in requests of up to [`MAX_NAMES`].
    ///
    /// When it is interrupted, whole users at the end are missing from what is returned.
    pub(super) async fn observe(&mut self, accounts: Vec<Account>) -> (Vec<Observed>, Result<(), Interrupt>) {
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
                    self.context.emit(Event::Observed(asked.len() as u64));
                    observed.extend(
                        asked
                            .into_iter()
                            .zip(observations)
                            .map(|(account, observation)| Observed { account, observation }),
                    );
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
                    return (observed, Err(interrupt));
                }
            }
        }
        (observed, Ok(()))
    }

    async fn ask(&mut self, accounts: &[Account]) -> Result<Vec<Observation>, Interrupt> {
        let names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        match self.context.panel.users(&names).await {
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
        match self.context.panel.user(name).await {
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
    }

    /// Counts a question without an answer; the panel is given up when it refuses, or after a few in a row.
    pub(super) fn note_failure(&mut self, error: PanelError) -> Result<String, Interrupt> {
        self.unanswered += 1;
        if error.kind() == PanelErrorKind::Refused || self.unanswered >= MAX_UNANSWERED {
            return Err(error.into());
        }
        let why = chain(&error);
        tracing::warn!(job = %self.job, panel.name = self.run.panel, error = why, "the panel did not answer");
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

    /// Applies changes, and returns the accounts that were not written and may be decided again; a dry run notes the
    /// changes in the plan. A change that the database refuses is a problem of its account, and of no other.
    pub(super) async fn apply(&mut self, changes: Vec<Change>) -> Result<BTreeSet<AccountId>, Interrupt> {
        let applied = match self.write(&changes).await {
            Ok(applied) => applied,
            Err(error) => {
                for Change { account, .. } in &changes {
                    self.note_problem(account.id, Problem::of(account, ProblemReason::Withheld, None));
                }
                return Err(error.into());
            }
        };
        let mut conflicts = BTreeSet::new();
        for change in changes {
            let id = change.account.id;
            if applied.contains(&id) {
                self.note_applied(change);
            } else if !self.failed.contains(&id) {
                conflicts.insert(id);
            }
        }
        Ok(conflicts)
    }

    /// Writes changes; where the database refuses some, they are halved until those are alone.
    async fn write(&mut self, changes: &[Change]) -> Result<BTreeSet<AccountId>, StoreError> {
        let mut applied = BTreeSet::new();
        let mut refusals = 0;
        let mut pending = vec![changes];
        while let Some(changes) = pending.pop() {
            if changes.is_empty() {
                continue;
            }
            if self.context.dry_run {
                applied.extend(changes.iter().map(|change| change.account.id));
                continue;
            }
            match (self.context.store.apply(changes, self.now()).await, changes) {
                (Ok(ids), _) => applied.extend(ids),
                (Err(error), _) if error.kind() != StoreErrorKind::Invalid => return Err(error),
                (Err(error), [Change { account, .. }]) => {
                    let why = Some(chain(&error));
                    self.note_problem(account.id, Problem::of(account, ProblemReason::Rejected, why));
                }
                // So many refusals and no success are no matter of single rows.
                (Err(error), _) if refusals >= MAX_REFUSALS && applied.is_empty() => return Err(error),
                (Err(_), _) => {
                    refusals += 1;
                    let (first, second) = changes.split_at(changes.len() / 2);
                    pending.extend([second, first]);
                }
            }
        }
        Ok(applied)
    }

    fn note_applied(&mut self, change: Change) {
        for reason in &change.reasons {
            *self.run.changes.entry(*reason).or_default() += 1;
        }
        if self.context.dry_run {
            self.run.plan.push(change);
            return;
        }
        log(&change);
        self.context.emit(Event::Applied(&change));
    }

    /// Notes that an account could not be brought in line; its first problem counts.
    pub(super) fn note_problem(&mut self, id: AccountId, problem: Problem) {
        if self.failed.insert(id) {
            self.context.emit(Event::Failed(&problem));
            self.run.problems.push(problem);
        }
    }

    /// How many accounts could not be brought in line, those that were never asked for included.
    pub(super) fn errors(&self) -> u64 {
        self.failed.len() as u64 + self.run.unreached
    }

    /// Notes what interrupted the run in its report.
    pub(super) fn note_end(&mut self, result: &Result<(), Interrupt>) {
        self.run.finished_at = self.now();
        self.run
            .problems
            .sort_by(|one, other| (one.telegram_id, &one.name).cmp(&(other.telegram_id, &other.name)));
        match result {
            Ok(()) => {}
            Err(Interrupt::Stopped(stopped)) => self.run.stopped = Some(*stopped),
            Err(Interrupt::Failed(_)) => self.run.stopped = Some(Stopped::Failed),
        }
    }

    /// Writes the end of the run into the history, and frees the lock.
    pub(super) async fn end(self, result: Result<(), Interrupt>, report: Report) -> Result<(), SyncError> {
        let outcome = match (result, self.run.stopped) {
            (Err(Interrupt::Failed(failure)), _) => return Err(self.fail(failure, Some(report)).await),
            (Err(Interrupt::Stopped(_)), _) | (Ok(()), Some(_)) => Outcome::Stopped,
            (Ok(()), None) => Outcome::Completed,
        };
        let job = self.job;
        let recorded = self.close(outcome, for_history(Some(&report), None)).await;
        recorded.map_err(|error| SyncError::new(job, SyncErrorKind::Store, error.into(), Some(report)))
    }

    /// The same for a run that failed; the failure counts, whatever becomes of the history.
    pub(super) async fn fail(self, failure: Failure, report: Option<Report>) -> SyncError {
        let job = self.job;
        let history = for_history(report.as_ref(), Some(failure.chain()));
        if let Err(error) = self.close(Outcome::Failed, history).await {
            tracing::warn!(%job, error = chain(&error), "the end of the run was not recorded");
        }
        let (kind, source) = failure.into_parts();
        SyncError::new(job, kind, source, report)
    }

    async fn close(self, outcome: Outcome, report: Value) -> Result<(), StoreError> {
        let mut recorded = Ok(());
        if let Some(id) = self.id {
            recorded = self
                .context
                .store
                .finish_run(id, outcome, &report, self.now())
                .await;
        }
        if let Some(lock) = self.lock
            && let Err(error) = lock.release().await
        {
            // The lock is free all the same: its connection is closed.
            tracing::warn!(job = %self.job, error = chain(&error), "the lock was not released in order");
        }
        recorded
    }
}

fn log(change: &Change) {
    let Account {
        telegram_id,
        name,
        subscription,
        ..
    } = &change.account;
    let user = Shown(*telegram_id);
    if let Some(end_date) = change.subscription.end_date {
        let old = subscription
            .as_ref()
            .and_then(|subscription| subscription.end_date);
        tracing::info!(
            user.name = name,
            "Updating subscription end_date for user {user}: {} -> {}",
            date(old),
            date(end_date.as_column())
        );
    }
    if change.reasons.contains(&Reason::Missing) {
        tracing::info!(
            user.name = name,
            "Marked VPN config inactive for missing user {user}"
        );
    }
    tracing::debug!(%change, "applied");
}

fn date(time: Option<DateTime<Utc>>) -> impl Display {
    Shown(time.map(|time| time.format("%Y-%m-%d")))
}

/// The report as a row of history keeps it: with the error, and without what could be endless.
fn for_history(report: Option<&Report>, error: Option<String>) -> Value {
    let mut object = match serde_json::to_value(report) {
        Ok(Value::Object(object)) => object,
        Ok(_) | Err(_) => Map::new(),
    };
    object.remove("plan");
    if let Some(problems) = object.get_mut("problems").and_then(Value::as_array_mut) {
        problems.truncate(MAX_RECORDED_PROBLEMS);
    }
    if let Some(error) = error {
        object.insert("error".to_owned(), Value::String(error));
    }
    Value::Object(object)
}
