//! Rows that changed under the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::look::is_in_scope;
use super::{GONE, SyncRun};
use crate::jobs::Context;
use crate::jobs::change_writer::ChangeWriter;
use crate::jobs::job_run::Interrupt;
use crate::model::account::{Account, AccountId};
use crate::model::observation::{Observation, Observed, customers};
use crate::model::plan::Reason;
use crate::model::report::{Problem, ProblemReason};

impl SyncRun {
    /// Rows that changed under the run are read and decided again, once, and only to the customer's good: the
    /// writer that changed them knew more than the panel did when it was asked. What would take away is reported as a conflict.
    pub(super) async fn decide_again(
        &mut self,
        writer: &mut ChangeWriter<'_>,
        conflicts: &BTreeSet<AccountId>,
        before: &[Observed],
    ) -> Result<(), Interrupt> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let now = writer.now();
        let ids: Vec<AccountId> = conflicts.iter().copied().collect();
        let Context {
            accounts, panel_name, ..
        } = writer.context;
        let read = accounts.reload_accounts(panel_name, &ids, now);
        let mut accounts = step!(sync.read_conflicts, read).await?;
        accounts.retain(|account| is_in_scope(self.facet, account));
        note_gone(writer, conflicts, &accounts, before);
        let fresh = with_observations(accounts, before);
        let is_blocked = self.blocks(writer.context).is_some();
        let mut harmless = Vec::new();
        for customer in customers(&fresh) {
            for decision in self.decide(writer, customer, now) {
                if !conflicts.contains(&decision.account.id) {
                    continue;
                }
                let is_doubtful = decision.problem.is_some();
                if is_doubtful {
                    // The panel was asked before the row changed, so the two ends are not to be compared.
                    note_conflict(writer, decision.account);
                }
                let is_first_sight = decision.is_first_sight;
                let Some(change) = decision.change else { continue };
                let (mut now_part, later) = change.split();
                // Nor is it to be remembered how they differ.
                now_part.agreement = now_part.agreement.filter(|_| !is_doubtful);
                let mut is_whole = later.is_empty();
                if is_first_sight || is_blocked {
                    let facts = now_part.part(Reason::is_fact);
                    is_whole &= facts.reasons == now_part.reasons;
                    now_part = facts;
                }
                if !is_whole {
                    note_conflict(writer, &later.account);
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let accounts: Vec<Account> = harmless.iter().map(|change| change.account.clone()).collect();
        let again = self.apply(writer, harmless, conflicts).await?;
        for account in accounts.iter().filter(|account| again.contains(&account.id)) {
            note_conflict(writer, account);
        }
        Ok(())
    }
}

/// Accounts as they are now, with what the panel returned for the same names before.
fn with_observations(accounts: Vec<Account>, before: &[Observed]) -> Vec<Observed> {
    let before: BTreeMap<AccountId, &Observed> = before
        .iter()
        .map(|observed| (observed.account.id, observed))
        .collect();
    let observe = |mut account: Account| {
        let known = before
            .get(&account.id)
            .filter(|observed| observed.account.name == account.name);
        let observation = known.map_or_else(
            || Observation::Unavailable("the account is new".to_owned()),
            |observed| observed.observation.clone(),
        );
        // Those who name the user in another case are not the database's to find.
        if let Some(known) = known.filter(|_| account.sharers.is_empty()) {
            account.sharers = Arc::clone(&known.account.sharers);
        }
        Observed { account, observation }
    };
    accounts.into_iter().map(observe).collect()
}

pub(super) fn note_conflict(writer: &mut ChangeWriter<'_>, account: &Account) {
    writer.note_problem(account.id, Problem::of(account, ProblemReason::Conflict, None));
}

/// Notes accounts that were deleted, or left the scope of the job, while the run looked at them.
fn note_gone(
    writer: &mut ChangeWriter<'_>,
    conflicts: &BTreeSet<AccountId>,
    accounts: &[Account],
    before: &[Observed],
) {
    let gone = before
        .iter()
        .map(|observed| &observed.account)
        .filter(|account| conflicts.contains(&account.id))
        .filter(|account| !accounts.iter().any(|current| current.id == account.id));
    for account in gone {
        let detail = Some(GONE.to_owned());
        writer.note_problem(account.id, Problem::of(account, ProblemReason::Conflict, detail));
    }
}
