//! What takes something from a customer: held until the end of a run, and looked at once more before it is written.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Sync, note, note_conflict};
use crate::account::{Account, AccountId, Subscription};
use crate::jobs::ledger::Ledger;
use crate::jobs::session::{Interrupt, Session};
use crate::plan::{Change, split};
use crate::reconcile::{Observed, customers, reconcile};
use crate::report::{MAX_PROBLEMS, Problem, ProblemReason, Stopped};

/// How many withheld changes a report shows; a dry run shows all.
const MAX_WITHHELD_SHOWN: usize = 1_000;

/// Accounts that are looked at again, and written, at once.
const BATCH: usize = 1_000;

/// An account from which something is to be taken: what the row must still say, and, as far as a report names it, who
/// that is. Of the others only this and the id are kept, as there may be as many as there are accounts.
pub(super) struct Held {
    row: u64,
    is_early: bool,
    named: Option<Box<Named>>,
}

struct Named {
    name: String,
    telegram_id: Option<i64>,
    /// The change, as far as a report shows it; what is written is decided anew.
    change: Option<Change>,
}

/// What tells whether somebody has changed a row since the first look, but for what the panel alone knows.
///
/// Should two rows ever have the same, the change is still one that panel and row were asked about once more.
fn fingerprint(account: &Account) -> u64 {
    let Account {
        name,
        is_active,
        subscription,
        ..
    } = account;
    let subscription = subscription
        .as_ref()
        .map(|Subscription { id, status, end_date }| (id, status, end_date));
    let mut hasher = DefaultHasher::new();
    (name, is_active, subscription).hash(&mut hasher);
    hasher.finish()
}

impl Sync {
    pub(super) fn hold(&mut self, change: Change, is_early: bool, is_dry_run: bool) {
        let id = change.account.id;
        let row = fingerprint(&change.account);
        let position = self.held.len();
        let named = (is_dry_run || position < MAX_PROBLEMS).then(|| {
            Box::new(Named {
                name: change.account.name.clone(),
                telegram_id: change.account.telegram_id,
                change: (is_dry_run || position < MAX_WITHHELD_SHOWN).then_some(change),
            })
        });
        let held = Held { row, is_early, named };
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
        let changes = held.into_values().filter_map(|held| held.named?.change).collect();
        self.apply(ledger, changes, &ids).await.map(drop)
    }

    fn may_take_from(&self, account: &Account) -> bool {
        self.held
            .get(&account.id)
            .is_some_and(|held| held.row == fingerprint(account))
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
            let Some(named) = held.named else {
                ledger.note_unnamed_problem(id);
                continue;
            };
            let Named {
                name,
                telegram_id,
                change,
            } = *named;
            let problem = Problem {
                telegram_id,
                name,
                reason: ProblemReason::Withheld,
                detail: None,
            };
            ledger.note_problem(id, problem);
            ledger.run.plan.extend(change);
        }
    }
}

fn takes(change: &Change) -> bool {
    change.reasons.iter().any(|reason| reason.is_destructive())
}
