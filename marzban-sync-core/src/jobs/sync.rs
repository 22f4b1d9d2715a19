use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::session::{Interrupt, Session};
use crate::account::{Account, AccountId, UserId};
use crate::error::SyncError;
use crate::event::Event;
use crate::observation::Observation;
use crate::plan::{Change, split};
use crate::reconcile::{Decision, Facet, Observed, UNCONFIRMED, customers, reconcile};
use crate::report::{
    Job, Problem, ProblemReason, Report, Stopped, SyncSubscriptionsReport, SyncUserStatusReport,
};
use crate::safety::{Tally, Withheld};
use crate::store::Scope;

/// Users a page: large enough that a run takes few statements, small enough to be held in memory.
const PAGE_USERS: u32 = 5_000;

/// How many absent users are still asked for, once the safety check will withhold what is found.
const MAX_CONFIRMATIONS: u32 = 100;

/// How many absent users the subscriptions job asks for.
const MAX_CONFIRMATIONS_TO_REPORT: u32 = 25;

/// How many withheld changes a report shows; a dry run shows all.
const MAX_WITHHELD_SHOWN: usize = 1_000;

/// Brings subscriptions in line with the panel: status, end date, access, traffic, last connection.
///
/// Looks at every account whose governing subscription is `active`, `trial` or `expired`.
/// Default schedule: `0 */2 * * *`, UTC.
///
/// # Errors
/// `AlreadyRunning`, `Panel` when the panel does not answer or refuses, `Store` when the database fails; what was
/// done until then stays done, and [`SyncError::report`] says what that was. A single account that cannot be brought
/// in line is no error but a [`Problem`].
///
/// # Cancel safety
/// May be dropped at any point, and run again: every change is written whole or not at all.
pub async fn sync_subscriptions_from_marzban(
    context: &Context,
) -> Result<SyncSubscriptionsReport, SyncError> {
    let mut session = Session::begin(context, Job::SyncSubscriptionsFromMarzban).await?;
    let (outcome, result) = Sync::run(&mut session, Facet::Subscriptions, Scope::Subscribed).await;
    let total = outcome.tally.total;
    let errors = session.errors();
    let report = SyncSubscriptionsReport {
        synced: total - errors.min(total),
        errors,
        total,
        run: session.run.clone(),
    };
    session
        .end(result, Report::SyncSubscriptionsFromMarzban(report.clone()))
        .await?;
    tracing::info!(
        panel.name = report.run.panel,
        sync.synced = report.synced,
        sync.errors = report.errors,
        sync.total = report.total,
        "Marzban sync completed: {} synced, {} errors",
        report.synced,
        report.errors
    );
    Ok(report)
}

/// Brings VPN configs in line with the panel: does the user still exist, does its access work, its traffic.
///
/// Looks at every account. Default schedule: `30 * * * *`, UTC.
///
/// # Errors
/// As [`sync_subscriptions_from_marzban`].
///
/// # Cancel safety
/// As [`sync_subscriptions_from_marzban`].
pub async fn sync_user_status_from_marzban(context: &Context) -> Result<SyncUserStatusReport, SyncError> {
    let mut session = Session::begin(context, Job::SyncUserStatusFromMarzban).await?;
    let (outcome, result) = Sync::run(&mut session, Facet::UserStatus, Scope::All).await;
    let report = SyncUserStatusReport {
        updated: outcome.updated.len() as u64,
        missing: outcome.missing,
        errors: session.errors(),
        total: outcome.tally.total,
        run: session.run.clone(),
    };
    session
        .end(result, Report::SyncUserStatusFromMarzban(report.clone()))
        .await?;
    tracing::info!(
        panel.name = report.run.panel,
        sync.updated = report.updated,
        sync.missing = report.missing,
        sync.errors = report.errors,
        sync.total = report.total,
        "User status sync completed: {} users updated",
        report.updated
    );
    Ok(report)
}

/// What a run over accounts gathers on its way.
struct Sync {
    facet: Facet,
    scope: Scope,
    tally: Tally,
    /// Accounts of which something was written.
    updated: BTreeSet<AccountId>,
    missing: u64,
    held: Vec<Held>,
    /// Users one of whose accounts is absent, all accounts of each together.
    unconfirmed: Vec<Observed>,
    /// Absent accounts that nobody asked for, and that might have been marked missing.
    unasked: u64,
}

/// A change that takes something away, kept until the whole run has been seen.
struct Held {
    change: Change,
    /// All accounts of the user, for deciding again if the row changes meanwhile.
    customer: Vec<Observed>,
}

impl Sync {
    async fn run(session: &mut Session<'_>, facet: Facet, scope: Scope) -> (Self, Result<(), Interrupt>) {
        let mut sync = Self {
            facet,
            scope,
            tally: Tally::default(),
            updated: BTreeSet::new(),
            missing: 0,
            held: Vec::new(),
            unconfirmed: Vec::new(),
            unasked: 0,
        };
        let result = sync.all(session).await;
        if result.is_err() {
            sync.withhold(
                session,
                "the run ended before everything had been looked at".to_owned(),
            );
        }
        session.note_end(&result);
        (sync, result)
    }

    /// Observe, decide, write what is harmless; then, with everything seen, check and write the rest.
    async fn all(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let expected = session.context.store.count_accounts(self.scope).await?;
        session.context.emit(Event::Started {
            job: session.job,
            total: expected,
        });
        let read = self.read(session).await;
        session.run.unreached = if read.is_err() {
            expected.saturating_sub(self.tally.total)
        } else {
            0
        };
        self.tally.total += session.run.unreached;
        read?;
        session.require_an_answer()?;
        self.confirm(session).await?;
        self.take_away(session).await
    }

    async fn read(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let mut after = None;
        loop {
            session.check()?;
            let page = session
                .context
                .store
                .page_accounts(self.scope, after, PAGE_USERS)
                .await?;
            let (observed, result) = session.observe(page.accounts).await;
            self.tally_up(&observed);
            let (absent, observed) = set_aside(observed);
            self.unconfirmed.extend(absent);
            self.settle(session, &observed).await?;
            result?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    fn tally_up(&mut self, observed: &[Observed]) {
        self.tally.total += observed.len() as u64;
        for Observed { observation, .. } in observed {
            match observation {
                Observation::Found(_) => self.tally.found += 1,
                Observation::Absent => self.tally.absent += 1,
                Observation::Missing
                | Observation::NotPermitted
                | Observation::Unreadable(_)
                | Observation::Unavailable(_) => {}
            }
        }
    }

    /// Decides for whole users, writes what is harmless at once and holds the rest.
    async fn settle(&mut self, session: &mut Session<'_>, observed: &[Observed]) -> Result<(), Interrupt> {
        let now = session.now();
        let mut harmless = Vec::new();
        for customer in customers(observed) {
            let mut changes = Vec::new();
            for decision in reconcile(customer, self.facet, session.context.policy, now) {
                self.note(session, &decision);
                changes.extend(decision.change);
            }
            for (now_part, later) in split(changes) {
                if !later.is_empty() {
                    self.held.push(Held {
                        change: later,
                        customer: customer.to_vec(),
                    });
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let conflicts = self.apply(session, harmless).await?;
        self.held
            .retain(|held| !conflicts.contains(&held.change.account.id));
        self.decide_again(session, &conflicts, observed.iter()).await
    }

    /// Applies changes, counts the accounts that were written, and returns those that were in conflict.
    async fn apply(
        &mut self,
        session: &mut Session<'_>,
        changes: Vec<Change>,
    ) -> Result<BTreeSet<AccountId>, Interrupt> {
        let ids: Vec<AccountId> = changes.iter().map(|change| change.account.id).collect();
        let conflicts = session.apply(changes).await?;
        self.updated
            .extend(ids.iter().filter(|id| !conflicts.contains(id)));
        Ok(conflicts)
    }

    fn note(&mut self, session: &mut Session<'_>, decision: &Decision<'_>) {
        if decision.expired_early {
            self.tally.expired_early += 1;
        }
        if let Some((reason, detail)) = &decision.problem {
            session.note_problem(
                decision.account.id,
                Problem::of(decision.account, *reason, detail.clone()),
            );
        }
    }

    /// Rows that changed under the run are read and decided again, once, and only to the customer's good: whoever
    /// changed them knew more than the panel did when it was asked. What would take away is reported as a conflict.
    async fn decide_again(
        &mut self,
        session: &mut Session<'_>,
        conflicts: &BTreeSet<AccountId>,
        before: impl Iterator<Item = &Observed> + Send,
    ) -> Result<(), Interrupt> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let ids: Vec<AccountId> = conflicts.iter().copied().collect();
        let accounts = session.context.store.reload_accounts(self.scope, &ids).await?;
        let fresh = with_observations(accounts, before);
        let mut harmless = Vec::new();
        for customer in customers(&fresh) {
            for decision in reconcile(customer, self.facet, session.context.policy, session.now()) {
                let Some(change) = decision.change else { continue };
                if !conflicts.contains(&change.account.id) {
                    continue;
                }
                let (now_part, later) = change.split();
                if !later.is_empty() {
                    note_conflict(session, &later.account);
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let accounts: Vec<Account> = harmless.iter().map(|change| change.account.clone()).collect();
        let again = self.apply(session, harmless).await?;
        for account in accounts.iter().filter(|account| again.contains(&account.id)) {
            note_conflict(session, account);
        }
        Ok(())
    }

    /// Asks for each absent user by itself, and decides by what is known then, also when that ends early.
    async fn confirm(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let result = self.ask_for_absent(session).await;
        let confirmed = std::mem::take(&mut self.unconfirmed);
        self.note_unasked(&confirmed);
        self.settle(session, &confirmed).await?;
        result
    }

    fn note_unasked(&mut self, observed: &[Observed]) {
        // Only the status job marks who is missing.
        let might_be_marked = |observed: &&Observed| {
            self.facet == Facet::UserStatus && is_absent(observed) && is_news(&observed.account)
        };
        self.unasked += observed.iter().filter(might_be_marked).count() as u64;
    }

    /// Asks until so many are missing that the safety check withholds them anyway.
    async fn ask_for_absent(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let mut asked = 0;
        for position in 0..self.unconfirmed.len() {
            let Some(observed) = self
                .unconfirmed
                .get(position)
                .filter(|observed| is_absent(observed))
            else {
                continue;
            };
            let news = u64::from(is_news(&observed.account));
            let may_ask = match session.context.limits.check(&self.tally) {
                None => true,
                Some(Withheld::NoUserReturned { .. }) => false,
                Some(Withheld::MassChange { .. } | Withheld::DeletionBudget { .. }) => {
                    asked < MAX_CONFIRMATIONS
                }
            };
            // The subscriptions job only reports who is missing, and asks for a few, so that it says it rightly.
            let is_enough = self.facet == Facet::Subscriptions && asked >= MAX_CONFIRMATIONS_TO_REPORT;
            if !may_ask || is_enough {
                return Ok(());
            }
            asked += 1;
            let observation = session.ask_for(&observed.account.name).await?;
            match &observation {
                Observation::Missing => {
                    self.missing += 1;
                    self.tally.missing += if self.facet == Facet::UserStatus { news } else { 0 };
                }
                Observation::Found(_) => self.tally.found += 1,
                Observation::Absent
                | Observation::NotPermitted
                | Observation::Unreadable(_)
                | Observation::Unavailable(_) => {}
            }
            if let Some(observed) = self.unconfirmed.get_mut(position) {
                observed.observation = observation;
            }
        }
        Ok(())
    }

    /// With everything seen: the safety check, and then what takes something away.
    async fn take_away(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        if let Some(withheld) = session.context.limits.check(&self.tally) {
            self.withhold(session, withheld.to_string());
            session.run.stopped = Some(Stopped::Safety);
            return Ok(());
        }
        while !self.held.is_empty() {
            session.check()?;
            session.verify_lock().await?;
            let start = self.held.len().saturating_sub(PAGE_USERS as usize);
            let changes = self
                .held
                .iter()
                .skip(start)
                .map(|held| held.change.clone())
                .collect();
            // Until they are written they are held, and if they never are, reported as withheld.
            let conflicts = self.apply(session, changes).await?;
            let batch = self.held.split_off(start);
            self.decide_again(session, &conflicts, batch.iter().flat_map(|held| &held.customer))
                .await?;
        }
        Ok(())
    }

    /// Notes what is not written, and why.
    fn withhold(&mut self, session: &mut Session<'_>, because: String) {
        let unconfirmed = std::mem::take(&mut self.unconfirmed);
        self.note_unasked(&unconfirmed);
        for observed in unconfirmed {
            let (reason, detail) = if is_absent(&observed) {
                (ProblemReason::Missing, Some(UNCONFIRMED.to_owned()))
            } else {
                // Another account of the same user is absent, so nothing was decided for this one.
                (ProblemReason::Withheld, None)
            };
            let Observed { account, .. } = observed;
            session.note_problem(account.id, Problem::of(&account, reason, detail));
        }
        session.run.withheld = self.held.len() as u64 + self.unasked;
        if session.run.withheld > 0 {
            session.run.withheld_because = Some(because);
        }
        for Held { change, .. } in self.held.drain(..) {
            session.note_problem(
                change.account.id,
                Problem::of(&change.account, ProblemReason::Withheld, None),
            );
            if session.run.plan.len() < MAX_WITHHELD_SHOWN || session.context.dry_run {
                session.run.plan.push(change);
            }
        }
    }
}

/// Parts the users that wait for a confirmation, because one of their accounts is absent, from the others.
fn set_aside(observed: Vec<Observed>) -> (Vec<Observed>, Vec<Observed>) {
    if !observed.iter().any(is_absent) {
        return (Vec::new(), observed);
    }
    let waiting: BTreeSet<UserId> = observed
        .iter()
        .filter(|observed| is_absent(observed))
        .map(|observed| observed.account.user_id)
        .collect();
    observed
        .into_iter()
        .partition(|observed| waiting.contains(&observed.account.user_id))
}

/// Whether it would be news to the account that its user is missing.
fn is_news(account: &Account) -> bool {
    account.is_active != Some(false)
}

fn is_absent(observed: &Observed) -> bool {
    observed.observation == Observation::Absent
}

/// Accounts as they are now, with what the panel said about the same names before.
fn with_observations<'a>(
    accounts: Vec<Account>,
    before: impl Iterator<Item = &'a Observed>,
) -> Vec<Observed> {
    let before: BTreeMap<AccountId, &Observed> =
        before.map(|observed| (observed.account.id, observed)).collect();
    let observe = |account: Account| {
        let known = before
            .get(&account.id)
            .filter(|observed| observed.account.name == account.name);
        let observation = known.map_or_else(
            || Observation::Unavailable("the account is new".to_owned()),
            |observed| observed.observation.clone(),
        );
        Observed { account, observation }
    };
    accounts.into_iter().map(observe).collect()
}

fn note_conflict(session: &mut Session<'_>, account: &Account) {
    session.note_problem(account.id, Problem::of(account, ProblemReason::Conflict, None));
}
