use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join;

use super::Context;
use super::inquiry::Inquiry;
use super::ledger::Ledger;
use super::session::{Interrupt, Session};
use crate::account::{Account, AccountId};
use crate::error::SyncError;
use crate::event::Event;
use crate::observation::{Observation, PanelStatus};
use crate::plan::{Change, split};
use crate::reconcile::{Decision, Facet, Observed, customers, reconcile};
use crate::report::{Job, Problem, ProblemReason, Report, SyncSubscriptionsReport, SyncUserStatusReport};
use crate::safety::Tally;
use crate::store::{Cursor, Scope};

mod absent;
mod cheap;
mod held;

use absent::{MAX_WAITING, Waiting};
use cheap::Choice;
use held::Held;

/// Users a page: enough that a run takes few statements, and few enough that two pages are little memory.
const PAGE_USERS: u32 = 2_500;

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
    let errors = session.ledger.errors();
    let report = SyncSubscriptionsReport {
        synced: total - errors.min(total),
        errors,
        total,
        run: session.ledger.run.clone(),
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
/// Looks at every account, or at those of whom there may be news: [`StatusReads`](super::StatusReads). Default
/// schedule: `30 * * * *`, UTC.
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
        updated: outcome.updated,
        missing: outcome.missing,
        errors: session.ledger.errors(),
        total: outcome.tally.total,
        run: session.ledger.run.clone(),
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

/// What a run over accounts gathers on its way: names of a limited number, and ids of what is out of line.
struct Sync {
    facet: Facet,
    scope: Scope,
    tally: Tally,
    /// How many accounts were written.
    updated: u64,
    /// The written ones among those that are looked at more than once, so that each counts once.
    updated_before: BTreeSet<AccountId>,
    missing: u64,
    /// Accounts with a change that takes something away, kept until the whole run has been seen.
    held: BTreeMap<AccountId, Held>,
    /// Accounts of users one of whose accounts a list lacked, until that one has been asked for by itself.
    waiting: BTreeMap<AccountId, Waiting>,
    /// What the panel said of a user when it was asked for by itself, by the user's name.
    answers: BTreeMap<String, Observation>,
    /// Absent accounts that nobody asked for, and that might have been marked missing.
    unasked: u64,
    /// How many of the users that were read the panel calls active.
    read_active: u64,
    /// How many of the users that were asked for the panel did not show: they may be active or not.
    unclear: u64,
}

/// One page of accounts, as far as they are read, and what the panel says of them.
struct Look {
    observed: Vec<Observed>,
    next: Option<Cursor>,
    result: Result<(), Interrupt>,
}

impl Look {
    /// Reads the next page, from the database and then from the panel, as far as it gets.
    async fn at(
        scope: Scope,
        after: Option<Cursor>,
        context: &Context,
        inquiry: &mut Inquiry<'_>,
        choice: &mut Choice<'_>,
    ) -> Self {
        let page = match inquiry.check() {
            Ok(()) => {
                let page = context
                    .store
                    .page_accounts(&context.panel_name, scope, after, PAGE_USERS);
                step!(sync.page, page).await.map_err(Interrupt::from)
            }
            Err(interrupt) => Err(interrupt),
        };
        match page {
            Ok(page) => {
                let chosen = choice.choose(page.accounts, context.clock.now());
                let (observed, result) = inquiry.observe(chosen).await;
                Self {
                    observed,
                    next: page.next,
                    result,
                }
            }
            Err(interrupt) => Self {
                observed: Vec::new(),
                next: None,
                result: Err(interrupt),
            },
        }
    }
}

impl Sync {
    async fn run(session: &mut Session<'_>, facet: Facet, scope: Scope) -> (Self, Result<(), Interrupt>) {
        let mut sync = Self {
            facet,
            scope,
            tally: Tally::default(),
            updated: 0,
            updated_before: BTreeSet::new(),
            missing: 0,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answers: BTreeMap::new(),
            unasked: 0,
            read_active: 0,
            unclear: 0,
        };
        let result = sync.all(session).await;
        if result.is_err() {
            sync.give_up_on_waiting(&mut session.ledger);
            sync.withhold(
                &mut session.ledger,
                "the run ended before everything had been looked at".to_owned(),
            );
        }
        session.ledger.note_end(&result);
        (sync, result)
    }

    /// Observe, decide, write what is harmless; then, with everything seen, check and write the rest.
    async fn all(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let expected = step!(sync.count, store.count_accounts(panel_name, self.scope)).await?;
        session.context.emit(Event::Started {
            job: self.job(),
            total: expected,
        });
        let read = self.read(session, expected).await;
        if read.is_err() {
            session.ledger.run.unreached = expected.saturating_sub(self.tally.total);
            self.tally.total += session.ledger.run.unreached;
        }
        read?;
        session.inquiry.require_an_answer()?;
        self.confirm(session).await?;
        self.take_away(session).await
    }

    fn job(&self) -> Job {
        match self.facet {
            Facet::Subscriptions => Job::SyncSubscriptionsFromMarzban,
            Facet::UserStatus => Job::SyncUserStatusFromMarzban,
        }
    }

    /// Reads page after page; while one is decided and written, the next is being read.
    async fn read_chosen(
        &mut self,
        session: &mut Session<'_>,
        choice: &mut Choice<'_>,
    ) -> Result<(), Interrupt> {
        let Session {
            context,
            inquiry,
            ledger,
            ..
        } = session;
        let scope = self.scope;
        let mut look = Look::at(scope, None, context, inquiry, choice).await;
        loop {
            let Look {
                observed,
                next,
                result,
            } = look;
            self.tally_up(&observed);
            let (Some(after), Ok(())) = (next, &result) else {
                self.settle(ledger, &observed).await?;
                return result;
            };
            let following = async { Ok(Look::at(scope, Some(after), context, inquiry, choice).await) };
            ((), look) = try_join(self.settle(ledger, &observed), following).await?;
        }
    }

    fn tally_up(&mut self, observed: &[Observed]) {
        self.tally.total += observed.len() as u64;
        for customer in customers(observed) {
            let absent = self.tally.absent;
            for Observed { observation, .. } in customer {
                match observation {
                    Observation::Found(user) => {
                        self.tally.found += 1;
                        self.read_active += u64::from(user.status == PanelStatus::Active);
                    }
                    Observation::Absent => self.tally.absent += 1,
                    Observation::Missing => {}
                    Observation::NotPermitted | Observation::Unreadable(_) | Observation::Unavailable(_) => {
                        self.unclear += 1;
                    }
                }
            }
            if self.tally.absent == absent {
                continue;
            }
            if self.waiting.len() < MAX_WAITING {
                let waiting = customer
                    .iter()
                    .map(|observed| (observed.account.id, Waiting::of(observed)));
                self.waiting.extend(waiting);
            } else {
                self.unasked += self.news_of_absence(customer);
            }
        }
    }

    /// Decides for whole users, writes what is harmless at once and holds the rest.
    async fn settle(&mut self, ledger: &mut Ledger<'_>, observed: &[Observed]) -> Result<(), Interrupt> {
        let now = ledger.now();
        let mut harmless = Vec::new();
        let mut returning = BTreeSet::new();
        for customer in customers(observed) {
            if self.waits(customer) {
                continue;
            }
            let mut changes = Vec::new();
            let mut early = Vec::new();
            for decision in reconcile(customer, self.facet, ledger.context.policy, now) {
                note(ledger, &decision);
                ledger.run.kept_for_another_panel += u64::from(decision.kept_for_another_panel);
                if let Some(change) = decision.change {
                    changes.push(change);
                    early.push(decision.expired_early);
                }
            }
            for ((now_part, later), is_early) in split(changes).into_iter().zip(early) {
                if !later.is_empty() {
                    returning.insert(later.account.id);
                    self.hold(later, is_early, ledger.context.dry_run);
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let conflicts = self.apply(ledger, harmless, &returning).await?;
        for id in &conflicts {
            self.held.remove(id);
        }
        self.decide_again(ledger, &conflicts, observed).await
    }

    /// Applies changes, counts the accounts that were written, and returns those that were in conflict.
    async fn apply(
        &mut self,
        ledger: &mut Ledger<'_>,
        changes: Vec<Change>,
        returning: &BTreeSet<AccountId>,
    ) -> Result<BTreeSet<AccountId>, Interrupt> {
        let ids: Vec<AccountId> = changes.iter().map(|change| change.account.id).collect();
        let conflicts = ledger.apply(changes).await?;
        for id in ids.iter().filter(|id| !conflicts.contains(id)) {
            if !returning.contains(id) || self.updated_before.insert(*id) {
                self.updated += 1;
            }
        }
        Ok(conflicts)
    }

    /// Whether one of the accounts has yet to be asked for by itself.
    fn waits(&self, customer: &[Observed]) -> bool {
        customer
            .iter()
            .any(|observed| self.waiting.contains_key(&observed.account.id))
    }

    /// Rows that changed under the run are read and decided again, once, and only to the customer's good: whoever
    /// changed them knew more than the panel did when it was asked. What would take away is reported as a conflict.
    async fn decide_again(
        &mut self,
        ledger: &mut Ledger<'_>,
        conflicts: &BTreeSet<AccountId>,
        before: &[Observed],
    ) -> Result<(), Interrupt> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let ids: Vec<AccountId> = conflicts.iter().copied().collect();
        let Context {
            store, panel_name, ..
        } = ledger.context;
        let read = store.reload_accounts(panel_name, self.scope, &ids);
        let accounts = step!(sync.read_conflicts, read).await?;
        let fresh = with_observations(accounts, before);
        let mut harmless = Vec::new();
        for customer in customers(&fresh) {
            for decision in reconcile(customer, self.facet, ledger.context.policy, ledger.now()) {
                let Some(change) = decision.change else { continue };
                if !conflicts.contains(&change.account.id) {
                    continue;
                }
                let (now_part, later) = change.split();
                if !later.is_empty() {
                    note_conflict(ledger, &later.account);
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let accounts: Vec<Account> = harmless.iter().map(|change| change.account.clone()).collect();
        let again = self.apply(ledger, harmless, conflicts).await?;
        for account in accounts.iter().filter(|account| again.contains(&account.id)) {
            note_conflict(ledger, account);
        }
        Ok(())
    }

    /// Looks at whole users once more: the accounts as they are now, and what the panel says of them now, or has said
    /// when it was asked for one by itself.
    async fn look_again(
        &self,
        session: &mut Session<'_>,
        ids: &[AccountId],
    ) -> Result<Vec<Observed>, Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let read = store.reload_accounts(panel_name, self.scope, ids);
        let accounts = step!(sync.read_again, read).await?;
        let (answered, others): (Vec<Account>, Vec<Account>) = accounts
            .into_iter()
            .partition(|account| self.answers.contains_key(&account.name));
        let mut observed = session.inquiry.observe_again(others).await?;
        observed.extend(answered.into_iter().filter_map(|account| {
            let observation = self.answers.get(&account.name)?.clone();
            Some(Observed { account, observation })
        }));
        observed.sort_by_key(|observed| (observed.account.user_id, observed.account.id));
        Ok(observed)
    }
}

fn note(ledger: &mut Ledger<'_>, decision: &Decision<'_>) {
    if let Some((reason, detail)) = &decision.problem {
        ledger.note_problem(
            decision.account.id,
            Problem::of(decision.account, *reason, detail.clone()),
        );
    }
}

/// Accounts as they are now, with what the panel said about the same names before.
fn with_observations(accounts: Vec<Account>, before: &[Observed]) -> Vec<Observed> {
    let before: BTreeMap<AccountId, &Observed> = before
        .iter()
        .map(|observed| (observed.account.id, observed))
        .collect();
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

fn note_conflict(ledger: &mut Ledger<'_>, account: &Account) {
    ledger.note_problem(account.id, Problem::of(account, ProblemReason::Conflict, None));
}
