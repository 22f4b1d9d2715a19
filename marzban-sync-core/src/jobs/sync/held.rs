//! What takes something from a customer: held until the end of a run, and looked at once more before it is written.

use std::collections::BTreeSet;

use super::{Sync, note, note_conflict};
use crate::account::{Account, AccountId, Subscription};
use crate::jobs::ledger::Ledger;
use crate::jobs::session::{Interrupt, Session};
use crate::plan::{Change, split};
use crate::reconcile::{Observed, customers, reconcile};
use crate::report::{Problem, ProblemReason, Stopped};

/// How many withheld changes a report shows; a dry run shows all.
const MAX_WITHHELD_SHOWN: usize = 1_000;

/// Accounts that are looked at again, and written, at once.
const BATCH: usize = 1_000;

/// An account from which something is to be taken: what a report has to name, and what the row must still say.
pub(super) struct Held {
    name: String,
    telegram_id: Option<i64>,
    is_active: Option<bool>,
    subscription: Option<Subscription>,
    is_early: bool,
    /// The change, as far as a report shows it; what is written is decided anew.
    change: Option<Box<Change>>,
}

impl Held {
    /// Whether nobody has changed the row since the first look, but for what the panel alone knows.
    fn is_unchanged(&self, account: &Account) -> bool {
        (&self.name, self.is_active, &self.subscription)
            == (&account.name, account.is_active, &account.subscription)
    }
}

impl Sync {
    pub(super) fn hold(&mut self, change: Change, is_early: bool, is_dry_run: bool) {
        let is_shown = is_dry_run || self.held.len() < MAX_WITHHELD_SHOWN;
        let account = &change.account;
        let held = Held {
            name: account.name.clone(),
            telegram_id: account.telegram_id,
            is_active: account.is_active,
            subscription: account.subscription.clone(),
            is_early,
            change: None,
        };
        let id = account.id;
        let held = Held {
            change: is_shown.then(|| Box::new(change)),
            ..held
        };
        let before = self.held.insert(id, held);
        if is_early && !before.is_some_and(|before| before.is_early) {
            self.tally.expired_early += 1;
        }
    }

    /// With everything seen: the safety check, and then what takes something away.
    pub(super) async fn take_away(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        if let Some(withheld) = session.context.limits.check(&self.tally) {
            self.withhold(&mut session.ledger, withheld.to_string());
            session.ledger.run.stopped = Some(Stopped::Safety);
            return Ok(());
        }
        if session.context.dry_run {
            return self.show(&mut session.ledger).await;
        }
        while !self.held.is_empty() {
            // Until they are written they are held, and if they never are, reported as withheld.
            let ids: Vec<AccountId> = self.held.keys().take(BATCH).copied().collect();
            session.inquiry.check()?;
            let observed = self.look_again(session, &ids).await?;
            session.verify_lock().await?;
            self.take_from(&mut session.ledger, &observed).await?;
            for id in ids {
                self.held.remove(&id);
            }
        }
        Ok(())
    }

    /// Notes what a dry run would have taken away.
    async fn show(&mut self, ledger: &mut Ledger<'_>) -> Result<(), Interrupt> {
        let held = std::mem::take(&mut self.held);
        let ids: BTreeSet<AccountId> = held.keys().copied().collect();
        let changes = held
            .into_values()
            .filter_map(|held| held.change)
            .map(|change| *change)
            .collect();
        self.apply(ledger, changes, &ids).await.map(drop)
    }

    fn may_take_from(&self, account: &Account) -> bool {
        self.held
            .get(&account.id)
            .is_some_and(|held| held.is_unchanged(account))
    }

    /// Takes from those whose row is as it was, and of whom the panel still says the same; the others were renewed
    /// meanwhile, in the panel or in the database.
    async fn take_from(&mut self, ledger: &mut Ledger<'_>, observed: &[Observed]) -> Result<(), Interrupt> {
        let mut changes = Vec::new();
        for customer in customers(observed) {
            let mut decided = Vec::new();
            for decision in reconcile(customer, self.facet, ledger.context.policy, ledger.now()) {
                note(ledger, &decision);
                decided.extend(decision.change);
            }
            if decided
                .iter()
                .all(|change| !takes(change) || self.may_take_from(&change.account))
            {
                changes.extend(decided);
                continue;
            }
            for (harmless, destructive) in split(decided) {
                if !destructive.is_empty() && self.held.contains_key(&destructive.account.id) {
                    note_conflict(ledger, &destructive.account);
                }
                if !harmless.is_empty() {
                    changes.push(harmless);
                }
            }
        }
        let returning = observed.iter().map(|observed| observed.account.id).collect();
        let conflicts = self.apply(ledger, changes, &returning).await?;
        self.decide_again(ledger, &conflicts, observed).await
    }

    /// Notes what is not written, and why.
    pub(super) fn withhold(&mut self, ledger: &mut Ledger<'_>, because: String) {
        ledger.run.withheld = self.held.len() as u64 + self.unasked;
        if ledger.run.withheld > 0 {
            ledger.run.withheld_because = Some(because);
        }
        for (id, held) in std::mem::take(&mut self.held) {
            ledger.note_problem(
                id,
                Problem {
                    telegram_id: held.telegram_id,
                    name: held.name,
                    reason: ProblemReason::Withheld,
                    detail: None,
                },
            );
            ledger.run.plan.extend(held.change.map(|change| *change));
        }
    }
}

fn takes(change: &Change) -> bool {
    change.reasons.iter().any(|reason| reason.is_destructive())
}
