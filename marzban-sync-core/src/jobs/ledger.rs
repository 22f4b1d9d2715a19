//! The writing half of a run: what was written, what could not be, and what the report will say of it.

use std::collections::BTreeSet;
use std::fmt::Display;

use chrono::{DateTime, Utc};

use super::Context;
use super::session::Interrupt;
use crate::account::{Account, AccountId};
use crate::error::{StoreError, StoreErrorKind, chain};
use crate::event::Event;
use crate::plan::{Change, Reason, Shown};
use crate::report::{MAX_PROBLEMS, Problem, ProblemReason, Run, Stopped};

/// So many refused statements without one success, and it is the database that fails.
const MAX_REFUSALS: u32 = 16;

/// Writes changes, and keeps the account of them.
pub(super) struct Ledger<'a> {
    pub(super) context: &'a Context,
    pub(super) run: Run,
    failed: BTreeSet<AccountId>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(context: &'a Context, started_at: DateTime<Utc>) -> Self {
        Self {
            context,
            run: Run::new(&context.panel_name, started_at, context.dry_run),
            failed: BTreeSet::new(),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
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
            let Context {
                store, panel_name, ..
            } = self.context;
            let apply = store.apply(panel_name, changes, self.now());
            match (step!(ledger.apply, apply).await, changes) {
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
            if self.run.problems.len() < MAX_PROBLEMS {
                self.run.problems.push(problem);
            } else {
                self.run.problems_left_out += 1;
            }
        }
    }

    /// The same for an account of which only the id is left.
    pub(super) fn note_unnamed_problem(&mut self, id: AccountId) {
        if self.failed.insert(id) {
            self.run.problems_left_out += 1;
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
