//! Putting back what a run changed.

use serde::Serialize;

use super::Context;
use crate::model::report::Job;
use crate::model::run::RunId;
use crate::model::trail::{EntryQuery, EntryRecord, EntryState, UNDONE};
use crate::port::error::{StoreError, StoreErrorKind, chain};
use crate::port::journal::RunLock;

/// What undoing a run did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// The run.
    pub run: RunId,
    /// Whether nothing was written on purpose.
    pub dry_run: bool,
    /// How many values were put back, or in a dry run could be.
    pub undone: u64,
    /// How many were left, because the row has another value by now.
    pub kept: u64,
    /// The values that were put back, or in a dry run could be.
    pub plan: Vec<EntryRecord>,
    /// What is only shown: deletions, disablings and extensions of panel users, and links that are gone.
    pub not_undone: Vec<EntryRecord>,
}

/// Puts the old values back that a run changed in the bot's rows, where the row still has the new one; under the locks of
/// the panel's jobs. Running it again changes nothing. What was done to panel users is shown, and not undone.
///
/// A dry run takes no lock, and shows which values it would try to put back.
///
/// # Errors
/// `AlreadyRunning` while a job of the panel runs; `Invalid` for a run of another panel or without a trail; `Unavailable`
/// when the database cannot be asked.
///
/// # Cancel safety
/// Written whole or not at all.
pub async fn undo(context: &Context, run: RunId) -> Result<Undone, StoreError> {
    let Context {
        accounts, journal, ..
    } = context;
    step!(undo.verify_schema, accounts.verify_schema()).await?;
    let entries = step!(undo.read, journal.entries(&EntryQuery::Run(run))).await?;
    if entries.is_empty() {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!(
                "run {} has no trail: `explain` and the reports name the runs that changed something",
                run.0
            ),
        ));
    }
    if let Some(other) = entries.iter().find(|entry| entry.panel != context.panel_name) {
        return Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!(
                "run {} is of the panel {:?}: name it by --panel",
                run.0, other.panel
            ),
        ));
    }
    let was_done =
        |record: &EntryRecord| record.entry.state == EntryState::Done && record.entry.reason != UNDONE;
    let (mut plan, not_undone): (Vec<EntryRecord>, Vec<EntryRecord>) = entries
        .into_iter()
        .filter(was_done)
        .partition(|record| record.entry.target.can_be_undone());
    // The latest first, so that a value that changed twice goes back to what it was before the run.
    plan.reverse();
    if context.options.dry_run {
        return Ok(Undone {
            run,
            dry_run: true,
            undone: plan.len() as u64,
            kept: 0,
            plan,
            not_undone,
        });
    }
    let locks = lock_all(context).await?;
    let now = context.clock.now();
    let undone = step!(undo.write, accounts.undo(&context.panel_name, run, &plan, now)).await;
    for lock in locks {
        if let Err(error) = step!(undo.release, lock.release()).await {
            // The lock is free all the same: its connection is closed.
            tracing::warn!(error = chain(&error), "a lock was not released in order");
        }
    }
    let undone = undone?;
    let planned = plan.len() as u64;
    plan.retain(|record| undone.contains(&record.id));
    Ok(Undone {
        run,
        dry_run: false,
        undone: plan.len() as u64,
        kept: planned - plan.len() as u64,
        plan,
        not_undone,
    })
}

/// The locks of all jobs of the panel that write rows.
async fn lock_all(context: &Context) -> Result<Vec<Box<dyn RunLock>>, StoreError> {
    let mut locks = Vec::new();
    for job in [
        Job::SyncSubscriptionsFromMarzban,
        Job::SyncUserStatusFromMarzban,
        Job::CleanupExpiredMarzbanUsers,
    ] {
        locks.push(step!(undo.lock, context.journal.lock(job, &context.panel_name)).await?);
    }
    Ok(locks)
}
