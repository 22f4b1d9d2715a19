//! The writing half of a run: what was written, what could not be, and what the report will say of it.

use std::collections::BTreeSet;
use std::fmt::Display;

use chrono::{DateTime, Utc};

use super::Context;
use super::job_run::Interrupt;
use crate::decide::limits::LimitExceeded;
use crate::model::account::{Account, AccountId};
use crate::model::outcome::Stopped;
use crate::model::plan::{Change, Reason, Shown};
use crate::model::report::{Changed, MAX_PROBLEMS, Problem, ProblemReason, Run};
use crate::model::run::RunId;
use crate::model::trail::{self, Entry};
use crate::port::error::{StoreError, StoreErrorKind, chain};
use crate::port::event::Event;

/// So many refused statements without one success, and it is the database that fails.
const MAX_REFUSALS: u32 = 16;

/// What became of changes that were to be written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The accounts that were written, or in a dry run would be.
    pub(super) applied: BTreeSet<AccountId>,
    /// Those that were not, because their rows have changed; they may be decided again.
    pub(super) conflicts: BTreeSet<AccountId>,
    /// Those whose change the database refused.
    rejected: BTreeSet<AccountId>,
}

/// Writes changes, and keeps the account of them.
pub(super) struct ChangeWriter<'a> {
    pub(super) context: &'a Context,
    pub(super) run: Run,
    pub(super) run_id: Option<RunId>,
    failed: BTreeSet<AccountId>,
}

impl<'a> ChangeWriter<'a> {
    pub(super) fn new(context: &'a Context, run_id: Option<RunId>, started_at: DateTime<Utc>) -> Self {
        Self {
            context,
            run_id,
            run: Run::new(&context.panel_name, started_at, context.options.dry_run),
            failed: BTreeSet::new(),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.context.clock.now()
    }

    /// Applies changes, and returns which accounts were written and which may be decided again; a dry run notes the
    /// changes in the plan. A change that the database refuses is a problem of its account, and of no other.
    pub(super) async fn apply(&mut self, changes: Vec<Change>) -> Result<Written, Interrupt> {
        let mut written = match self.write(&changes).await {
            Ok(written) => written,
            Err(error) => {
                for Change { account, .. } in &changes {
                    self.note_problem(account.id, Problem::of(account, ProblemReason::Withheld, None));
                }
                return Err(error.into());
            }
        };
        for change in changes {
            let id = change.account.id;
            if written.applied.contains(&id) {
                self.note_applied(change);
            } else if !written.rejected.contains(&id) {
                written.conflicts.insert(id);
            }
        }
        Ok(written)
    }

    /// Writes changes; where the database refuses some, they are halved until those are alone.
    async fn write(&mut self, changes: &[Change]) -> Result<Written, StoreError> {
        let mut written = Written::default();
        let mut refusals = 0;
        let mut pending = vec![changes];
        while let Some(changes) = pending.pop() {
            if changes.is_empty() {
                continue;
            }
            if self.context.options.dry_run {
                written
                    .applied
                    .extend(changes.iter().map(|change| change.account.id));
                continue;
            }
            let Context {
                accounts, panel_name, ..
            } = self.context;
            let apply = accounts.apply(panel_name, self.run_id, changes, self.now());
            match (step!(writer.apply, apply).await, changes) {
                (Ok(ids), _) => written.applied.extend(ids),
                // Another transaction holds the row: the change is a conflict, as if the row had been written.
                (Err(error), [_]) if error.kind() == StoreErrorKind::Contended => {}
                (Err(error), _)
                    if !matches!(error.kind(), StoreErrorKind::Invalid | StoreErrorKind::Contended) =>
                {
                    return Err(error);
                }
                (Err(error), [Change { account, .. }]) => {
                    let why = Some(chain(&error));
                    self.note_problem(account.id, Problem::of(account, ProblemReason::Rejected, why));
                    written.rejected.insert(account.id);
                }
                // So many refusals and no success are no matter of single rows.
                (Err(error), _) if refusals >= MAX_REFUSALS && written.applied.is_empty() => {
                    return Err(error);
                }
                (Err(_), _) => {
                    refusals += 1;
                    let (first, second) = changes.split_at(changes.len() / 2);
                    pending.extend([second, first]);
                }
            }
        }
        Ok(written)
    }

    fn note_applied(&mut self, change: Change) {
        if change.touches_no_row() {
            return;
        }
        for reason in &change.reasons {
            *self.run.changes.entry(*reason).or_default() += 1;
        }
        for entry in trail::entries(&change) {
            self.note_changed(entry);
        }
        if self.context.options.dry_run {
            self.run.plan.push(change);
            return;
        }
        log(&change);
        self.context.emit(Event::Applied(&change));
    }

    /// Notes a value that was changed, or would be.
    pub(super) fn note_changed(&mut self, entry: Entry) {
        if self.run.changed.len() < MAX_PROBLEMS {
            self.run.changed.push(Changed::from(entry));
        } else {
            self.run.changed_left_out += 1;
        }
    }

    /// Notes that an account could not be brought in line; its first problem counts.
    pub(super) fn note_problem(&mut self, id: AccountId, problem: Problem) {
        if self.failed.insert(id) {
            self.context.emit(Event::Failed(&problem));
            *self.run.reasons.entry(problem.reason).or_default() += 1;
            if self.run.problems.len() < MAX_PROBLEMS {
                self.run.problems.push(problem);
            } else {
                self.run.problems_left_out += 1;
            }
        }
    }

    /// The same for an account of which only the id is left.
    pub(super) fn note_unnamed_problem(&mut self, id: AccountId, reason: ProblemReason) {
        if self.failed.insert(id) {
            *self.run.reasons.entry(reason).or_default() += 1;
            self.run.problems_left_out += 1;
        }
    }

    /// Ends the run by a safety limit; the first one names the reason.
    pub(super) fn stop_for_safety(&mut self, because: &LimitExceeded) {
        self.run.stopped = Some(Stopped::Safety);
        self.run
            .withheld_because
            .get_or_insert_with(|| because.to_string());
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
            // A brake that was tripped is what the next runs must know of, however this one ended.
            Err(Interrupt::Stopped(stopped)) => {
                self.run.stopped.get_or_insert(*stopped);
            }
            Err(Interrupt::Failed(_)) => {
                self.run.stopped.get_or_insert(Stopped::Failed);
            }
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
