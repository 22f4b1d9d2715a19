use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::Context;
use super::session::{Interrupt, Session};
use crate::account::Account;
use crate::deletion::{KeptBecause, Verdict, is_believed, is_candidate, judge, judge_again, kept_by_rows};
use crate::error::{PanelError, SyncError, chain};
use crate::event::Event;
use crate::history::{RunQuery, RunRecord};
use crate::merge::is_other_user;
use crate::observation::{Observation, PanelStatus};
use crate::panel::{ExpectedUser, MAX_NAMES, UpdateOutcome};
use crate::plan::{Change, Reason, Shown};
use crate::policy::CleanupAction;
use crate::reconcile::{Facet, Observed, customers, reconcile};
use crate::report::{CleanupReport, Deletion, Job, Problem, ProblemReason, Report, Stopped};
use crate::safety::Withheld;
use crate::store::{Outcome, Trail};
use crate::trail::{Entry, EntryState, Target};

/// Customers per page of candidates.
const PAGE_USERS: u32 = 5_000;

/// A sync job must have completed this lately before anything is deleted.
const RECENT_SYNC: TimeDelta = TimeDelta::days(1);

/// How many runs of a sync job are looked through for the last one that ended.
const RUNS_LOOKED_THROUGH: u32 = 50;

/// Deletes the panel users of customers all of whose subscriptions ended more than 7 days ago, and unlinks their
/// accounts; or disables them, by policy.
///
/// # Flow
/// Nothing is done unless a sync completed within the last day, and none was stopped by a safety limit. All candidates
/// are looked at in the panel; those that it agrees on are looked at again one by one, in the database, where the row is
/// tried, and last in the panel, right before the deletion, and the row is written right after, so that a crash loses
/// nothing. A user that was renewed in the panel is kept, and the renewal is synced.
/// Default schedule: `0 1 * * 1`, UTC.
///
/// # Errors
/// As [`sync_subscriptions_from_marzban`](super::sync_subscriptions_from_marzban).
///
/// # Cancel safety
/// May be dropped at any point, and run again: a user that was deleted while its row was not yet written is found
/// gone by the next run. To end it in order, cancel the context's token.
pub async fn cleanup_expired_marzban_users(context: &Context) -> Result<CleanupReport, SyncError> {
    let mut session = Session::begin(context, Job::CleanupExpiredMarzbanUsers).await?;
    session.inquiry.is_looking = false;
    let mut cleanup = Cleanup::new(session.ledger.now() - context.ended_for);
    let result = cleanup.all(&mut session).await;
    session.ledger.note_end(&result);
    let report = cleanup.report(&session);
    session
        .end(result, Report::CleanupExpiredMarzbanUsers(report.clone()))
        .await?;
    tracing::info!(
        panel.name = report.run.panel,
        sync.total = report.total,
        "Marzban cleanup completed: {} cleaned, {} skipped, {} errors",
        report.cleaned,
        report.skipped,
        report.errors
    );
    Ok(report)
}

struct Cleanup {
    cutoff: DateTime<Utc>,
    total: u64,
    cleaned: u64,
    skipped: BTreeMap<KeptBecause, u64>,
    /// How many accounts of the page that no row speaks against have not been judged yet.
    pending: u64,
    /// How many panel users may still be deleted.
    budget: u64,
    /// How many that were at the beginning.
    whole_budget: u64,
    /// Whether the panel has returned a user of the bot's.
    is_known_panel: bool,
    /// Why nothing may be deleted at all.
    blocked: Option<Withheld>,
    deletions: Vec<Deletion>,
}

/// What the panel said of a user right before the deletion.
struct LastLook {
    at: DateTime<Utc>,
    observation: Observation,
    verdict: Verdict,
}

impl Cleanup {
    fn new(cutoff: DateTime<Utc>) -> Self {
        Self {
            cutoff,
            total: 0,
            cleaned: 0,
            skipped: BTreeMap::new(),
            pending: 0,
            budget: 0,
            whole_budget: 0,
            is_known_panel: false,
            blocked: None,
            deletions: Vec::new(),
        }
    }

    fn report(self, session: &Session<'_>) -> CleanupReport {
        CleanupReport {
            cleaned: self.cleaned,
            skipped: self.skipped.values().sum(),
            skipped_because: self.skipped,
            errors: session.ledger.errors(),
            total: self.total,
            deletions: self.deletions,
            run: session.ledger.run.clone(),
        }
    }

    async fn all(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let Context {
            store,
            limits,
            panel_name,
            answers,
            ..
        } = session.context;
        let accounts = step!(cleanup.count, store.count_accounts(panel_name)).await?;
        self.whole_budget = if answers.allow_mass_changes {
            u64::MAX
        } else {
            limits.deletion_budget(accounts)
        };
        self.budget = self.whole_budget;
        self.is_known_panel = answers.allow_mass_changes;
        self.blocked = blocked_by_syncs(session).await?;
        session.context.emit(Event::Started {
            job: Job::CleanupExpiredMarzbanUsers,
            total: accounts,
        });
        let result = self.pages(session).await;
        if result.is_err() {
            session.ledger.run.unreached = self.pending;
        }
        self.total = self.cleaned + self.skipped.values().sum::<u64>() + session.ledger.errors();
        result?;
        session.inquiry.require_an_answer()
    }

    async fn pages(&mut self, session: &mut Session<'_>) -> Result<(), Interrupt> {
        let mut after = None;
        loop {
            session.inquiry.check()?;
            let Context {
                store, panel_name, ..
            } = session.context;
            let page = store.page_accounts(panel_name, after, PAGE_USERS, session.ledger.now());
            let page = step!(cleanup.page, page).await?;
            let read = page.accounts.len() as u64;
            let candidates = self.candidates(session, &page.accounts);
            session
                .context
                .emit(Event::Observed(read - candidates.len() as u64));
            let (observed, result) = session.inquiry.observe(candidates).await;
            self.check_clock(session);
            self.know_the_panel(session, &observed).await?;
            for customer in customers(&observed) {
                self.customer(session, customer).await?;
            }
            result?;
            self.pending = 0;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The accounts of customers with a candidate that no row speaks against; a customer is asked for as a whole, so
    /// that another account that works protects.
    fn candidates(&mut self, session: &mut Session<'_>, accounts: &[Account]) -> Vec<Account> {
        let now = session.ledger.now();
        let mut kept = Vec::new();
        for customer in accounts.chunk_by(|one, next| one.user_id == next.user_id) {
            let mut any = false;
            let cutoff = self.cutoff;
            for account in customer.iter().filter(|account| is_candidate(account, cutoff)) {
                if let Some(because) = self.kept(session, account, now) {
                    self.skip(because);
                } else {
                    any = true;
                    self.pending += 1;
                }
            }
            if any {
                kept.extend(customer.iter().cloned());
            }
        }
        kept
    }

    fn kept(&self, session: &Session<'_>, account: &Account, now: DateTime<Utc>) -> Option<KeptBecause> {
        if session.context.exempt.contains(&account.name) {
            return Some(KeptBecause::Exempt);
        }
        kept_by_rows(account, self.cutoff, now)
    }

    fn skip(&mut self, because: KeptBecause) {
        *self.skipped.entry(because).or_default() += 1;
    }

    fn check_clock(&mut self, session: &Session<'_>) {
        let limits = session.context.limits;
        let clocks = limits.check_clocks(session.inquiry.clock_difference());
        self.blocked = clocks.or(self.blocked);
    }

    /// A panel that returns none of the candidates may be the wrong one, where nobody is known and all would count as
    /// gone; so it is asked for other users of the bot's, and without one of them nothing is done.
    async fn know_the_panel(
        &mut self,
        session: &mut Session<'_>,
        seen: &[Observed],
    ) -> Result<(), Interrupt> {
        // A user of the same name in another panel was created at another time.
        let is_ours = |observed: &Observed| {
            matches!(&observed.observation, Observation::Found(user)
                if !is_other_user(user, &observed.account.agreement))
        };
        let knows = |seen: &[Observed]| seen.iter().any(is_ours);
        if self.is_known_panel || knows(seen) {
            self.is_known_panel = true;
            return Ok(());
        }
        let is_gone =
            |observed: &Observed| matches!(observed.observation, Observation::Absent | Observation::Missing);
        if !seen.iter().any(is_gone) {
            return Ok(());
        }
        let has_access = |account: &Account| {
            account
                .subscription
                .as_ref()
                .is_some_and(|subscription| subscription.status.is_open())
        };
        let is_no_candidate =
            |account: &Account| !seen.iter().any(|observed| observed.account.id == account.id);
        // Those who have access are the likeliest to be there, and then those who have lost it only lately.
        let mut asked = sample(session, has_access).await?;
        if asked.is_empty() {
            asked = sample(session, is_no_candidate).await?;
        }
        // Without any other account there is nobody to ask for, and nobody to lose.
        let is_alone = asked.is_empty();
        let (others, result) = session.inquiry.observe(asked).await;
        self.is_known_panel = is_alone || knows(&others);
        result
    }

    fn withhold(&mut self, session: &mut Session<'_>, account: &Account, because: &Withheld) {
        self.skip(KeptBecause::Withheld);
        session.ledger.run.withheld += 1;
        session.ledger.stop_for_safety(because);
        if session.ledger.run.plan.len() < MAX_NAMES {
            session.ledger.run.plan.push(Change::of(account));
        }
    }

    /// Why this account may not be deleted now although nothing speaks against it.
    fn withheld(&self) -> Option<Withheld> {
        if let Some(blocked) = self.blocked {
            return Some(blocked);
        }
        if !self.is_known_panel {
            let total = self
                .skipped
                .get(&KeptBecause::Withheld)
                .map_or(1, |count| count + 1);
            return Some(Withheld::NoUserReturned { total });
        }
        (self.budget == 0).then_some(Withheld::DeletionBudget {
            budget: self.whole_budget,
        })
    }

    /// Cleans the accounts of one customer, and syncs them if any is kept.
    async fn customer(&mut self, session: &mut Session<'_>, customer: &[Observed]) -> Result<(), Interrupt> {
        let mut seen: Option<Vec<Observed>> = None;
        for (position, observed) in customer.iter().enumerate() {
            let (account, now) = (&observed.account, session.ledger.now());
            if !is_candidate(account, self.cutoff) || self.kept(session, account, now).is_some() {
                continue;
            }
            // What a second look has shown of one account counts for the others.
            let others = seen.as_deref().unwrap_or(customer);
            match judge(observed, others, self.cutoff, now) {
                Verdict::Delete | Verdict::AlreadyGone if is_disabled_already(session, observed) => {}
                Verdict::Delete | Verdict::AlreadyGone => {
                    if let Some(withheld) = self.withheld() {
                        self.withhold(session, account, &withheld);
                    } else if session.context.dry_run {
                        self.budget -= 1;
                        self.cleaned += 1;
                        self.deletions.push(Deletion {
                            telegram_id: account.telegram_id,
                            name: account.name.clone(),
                        });
                    } else if let Some(second) = self.look_again(session, observed).await? {
                        let seen = seen.get_or_insert_with(|| customer.to_vec());
                        if let Some(observed) = seen.get_mut(position) {
                            observed.observation = second;
                        }
                    }
                }
                Verdict::Keep(because) => {
                    self.skip(because);
                    seen.get_or_insert_with(|| customer.to_vec());
                }
                Verdict::Problem(reason, detail) => {
                    session
                        .ledger
                        .note_problem(account.id, Problem::of(account, reason, detail));
                }
            }
            self.pending = self.pending.saturating_sub(1);
        }
        match seen {
            // Whatever speaks against deleting by this panel's word speaks against writing by it.
            Some(seen) if self.blocked.is_none() && self.is_known_panel => sync(session, &seen).await,
            Some(_) | None => Ok(()),
        }
    }

    /// The second look, in the database and then in the panel, and the deletion if both agree; returns what the panel
    /// returned for a user that is kept.
    async fn look_again(
        &mut self,
        session: &mut Session<'_>,
        first: &Observed,
    ) -> Result<Option<Observation>, Interrupt> {
        let Some(account) = self.still_ended(session, &first.account).await? else {
            self.skip(KeptBecause::OtherSubscription);
            return Ok(Some(first.observation.clone()));
        };
        let action = session.context.policy.cleanup;
        if action == CleanupAction::Delete && !self.rehearse(session, &account).await? {
            return Ok(None);
        }
        let becomes = match action {
            CleanupAction::Delete => None,
            CleanupAction::Disable => Some("disabled".to_owned()),
        };
        let entry =
            Entry::of(&account, Target::PanelUser, "cleaned").values(Some("exists".to_owned()), becomes);
        session.verify_lock().await?;
        let LastLook {
            at: looked_at,
            observation: second,
            verdict,
        } = self.last_look(session, &account, first, &entry).await?;
        let is_gone = match verdict {
            Verdict::Keep(because) => {
                self.skip(because);
                return Ok(Some(second));
            }
            Verdict::Problem(reason, detail) => {
                session
                    .ledger
                    .note_problem(account.id, Problem::of(&account, reason, detail));
                return Ok(None);
            }
            Verdict::Delete => false,
            Verdict::AlreadyGone => true,
        };
        if !is_believed(looked_at, session.ledger.now()) {
            let why = Some("the second look took too long to count".to_owned());
            session
                .ledger
                .note_problem(account.id, Problem::of(&account, ProblemReason::NotDeleted, why));
            return Ok(None);
        }
        self.budget -= 1;
        match action {
            CleanupAction::Disable if !is_gone => self.disable(session, &account, &second, entry).await?,
            CleanupAction::Disable | CleanupAction::Delete => {
                if is_gone || self.delete(session, &account, entry).await? {
                    self.unlink(session, &account).await?;
                }
            }
        }
        Ok(None)
    }

    /// Asks the panel, the database and the panel again: a payment during one question is seen by the next, and the panel
    /// comes last. What is about to be done is recorded before the last question, so that nothing that may take
    /// its time lies between the answer and the deletion.
    async fn last_look(
        &self,
        session: &mut Session<'_>,
        account: &Account,
        first: &Observed,
        entry: &Entry,
    ) -> Result<LastLook, Interrupt> {
        let look = self.ask_again(session, account, first).await?;
        // A user that is gone is only unlinked, which compares the row.
        if look.verdict != Verdict::Delete {
            return Ok(look);
        }
        session.inquiry.check()?;
        record(session, entry, EntryState::Intended).await?;
        if self.still_ended(session, account).await?.is_none() {
            return Ok(LastLook {
                verdict: Verdict::Keep(KeptBecause::OtherSubscription),
                ..look
            });
        }
        // A run that was overtaken knows nothing of what the next one did.
        session.verify_lock().await?;
        self.ask_again(session, account, first).await
    }

    async fn ask_again(
        &self,
        session: &mut Session<'_>,
        account: &Account,
        first: &Observed,
    ) -> Result<LastLook, Interrupt> {
        let at = session.ledger.now();
        let observation = session.inquiry.ask_for(&account.name).await?;
        let now = session.ledger.now();
        let verdict = judge_again(account, &first.observation, &observation, self.cutoff, now);
        Ok(LastLook {
            at,
            observation,
            verdict,
        })
    }

    /// The account as the database has it now, if nothing of it speaks against the deletion.
    async fn still_ended(
        &self,
        session: &Session<'_>,
        account: &Account,
    ) -> Result<Option<Account>, Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let (ids, now) = ([account.id], session.ledger.now());
        let fresh = step!(cleanup.read_again, store.reload_accounts(panel_name, &ids, now)).await?;
        Ok(fresh.into_iter().find(|fresh| {
            fresh.id == account.id
                && fresh.name == account.name
                && is_candidate(fresh, self.cutoff)
                && kept_by_rows(fresh, self.cutoff, now).is_none()
        }))
    }

    /// Whether the row could be written after the deletion; if not, that is a problem of this account.
    async fn rehearse(&self, session: &mut Session<'_>, account: &Account) -> Result<bool, Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let rehearsal = store.rehearse_unlink(panel_name, account, session.ledger.now());
        let (reason, detail) = match step!(cleanup.rehearse, rehearsal).await {
            Ok(true) => return Ok(true),
            Ok(false) => (
                ProblemReason::Conflict,
                "the row has changed, or somebody paid, so nothing was deleted".to_owned(),
            ),
            Err(error) if error.kind().is_of_one_row() => (
                ProblemReason::Rejected,
                format!(
                    "the row cannot be unlinked, so nothing was deleted: {}",
                    chain(&error)
                ),
            ),
            Err(error) => return Err(error.into()),
        };
        session
            .ledger
            .note_problem(account.id, Problem::of(account, reason, Some(detail)));
        Ok(false)
    }

    /// Deletes the panel user; returns whether it is gone.
    async fn delete(
        &mut self,
        session: &mut Session<'_>,
        account: &Account,
        entry: Entry,
    ) -> Result<bool, Interrupt> {
        if let Err(error) = step!(cleanup.delete, session.context.panel.delete_user(&account.name)).await {
            // Users that another administrator owns must not use up the budget, week after week.
            self.budget += u64::from(not_deleted(session, account, error)?);
            return Ok(false);
        }
        record(session, &entry, EntryState::Done).await?;
        session.ledger.note_changed(entry);
        Ok(true)
    }

    /// Disables the panel user, and marks its access off.
    async fn disable(
        &mut self,
        session: &mut Session<'_>,
        account: &Account,
        seen: &Observation,
        entry: Entry,
    ) -> Result<(), Interrupt> {
        let Observation::Found(user) = seen else {
            return Ok(());
        };
        let expected = ExpectedUser {
            expire: user.expire,
            created_at: user.created_at,
        };
        let disable = session.context.panel.disable_user(&account.name, &expected);
        match step!(cleanup.disable, disable).await {
            Ok(UpdateOutcome::Done) => {}
            Ok(UpdateOutcome::Changed(_)) => {
                self.skip(KeptBecause::InUse);
                return Ok(());
            }
            Err(error) => {
                self.budget += u64::from(not_deleted(session, account, error)?);
                return Ok(());
            }
        }
        record(session, &entry, EntryState::Done).await?;
        session.ledger.note_changed(entry);
        if account.is_active != Some(false) {
            let mut change = Change::of(account);
            change.vpn_config.is_active = Some(false);
            change.reasons.push(Reason::Disabled);
            // The row's rest goes on: this write is the library's own.
            let mut agreement = account.agreement.clone();
            agreement.own_write_at = Some(session.ledger.now());
            change.agreement = Some(agreement);
            let written = session.ledger.apply(vec![change]).await?;
            if !written.applied.contains(&account.id) {
                let detail = Some("the panel user is disabled, but its row has changed".to_owned());
                let problem = Problem::of(account, ProblemReason::Conflict, detail);
                session.ledger.note_problem(account.id, problem);
                return Ok(());
            }
        }
        self.note_cleaned(session, account);
        Ok(())
    }

    fn note_cleaned(&mut self, session: &Session<'_>, account: &Account) {
        self.cleaned += 1;
        let user = Shown(account.telegram_id);
        tracing::info!(
            user.name = account.name,
            "Cleaned up expired Marzban user for {user}"
        );
        session.context.emit(Event::Cleaned(account));
    }

    /// Writes the row of a panel user that is gone; a row that cannot be written is a problem of that account.
    async fn unlink(&mut self, session: &mut Session<'_>, account: &Account) -> Result<(), Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let unlink = store.unlink(panel_name, session.ledger.run_id, account, session.ledger.now());
        let (reason, detail) = match step!(cleanup.unlink, unlink).await {
            Ok(true) => {
                self.note_cleaned(session, account);
                return Ok(());
            }
            Ok(false) => (
                ProblemReason::Conflict,
                "the panel user is gone, but its row names another by now, or somebody paid".to_owned(),
            ),
            Err(error) if error.kind().is_of_one_row() => (
                ProblemReason::Rejected,
                format!(
                    "the panel user is gone, but its row was not written: {}",
                    chain(&error)
                ),
            ),
            Err(error) => return Err(error.into()),
        };
        session
            .ledger
            .note_problem(account.id, Problem::of(account, reason, Some(detail)));
        Ok(())
    }
}

/// Notes that a panel user was not deleted or disabled; returns whether that is certain, as the panel refused it.
fn not_deleted(session: &mut Session<'_>, account: &Account, error: PanelError) -> Result<bool, Interrupt> {
    let (is_refused, why) = session.inquiry.note_unchanged(error)?;
    session.ledger.note_problem(
        account.id,
        Problem::of(account, ProblemReason::NotDeleted, Some(why)),
    );
    Ok(is_refused)
}

/// Whether the user is disabled already where a cleanup only disables, and its row says so: it is not counted again.
fn is_disabled_already(session: &Session<'_>, observed: &Observed) -> bool {
    session.context.policy.cleanup == CleanupAction::Disable
        && observed.account.is_active == Some(false)
        && matches!(&observed.observation, Observation::Found(user) if user.status == PanelStatus::Disabled)
}

/// Why the runs of the sync jobs forbid a deletion: no brake may have been tripped in the last one of each, and one must
/// have completed within the last day.
///
/// A run that ended before it had counted, or whose clock was of the future, proves nothing.
async fn blocked_by_syncs(session: &Session<'_>) -> Result<Option<Withheld>, Interrupt> {
    let context = session.context;
    let now = session.ledger.now();
    let mut has_completed = false;
    for job in [Job::SyncSubscriptionsFromMarzban, Job::SyncUserStatusFromMarzban] {
        let query = RunQuery {
            panel: Some(context.panel_name.clone()),
            job: Some(job),
            ..RunQuery::latest(RUNS_LOOKED_THROUGH)
        };
        let runs = step!(cleanup.past_runs, context.store.runs(&query)).await?;
        let has_passed = |run: &&RunRecord| run.outcome == Outcome::Completed && run.started_at <= now;
        let was_stopped_for_safety = |run: &RunRecord| run.stopped() == Some(Stopped::Safety);
        let last = runs
            .iter()
            .find(|run| was_stopped_for_safety(run) || has_passed(run));
        if last.is_some_and(was_stopped_for_safety) {
            return Ok(Some(Withheld::SyncStopped));
        }
        let is_recent = |run: &RunRecord| {
            run.outcome == Outcome::Completed
                && (TimeDelta::zero()..=RECENT_SYNC).contains(&(now - run.started_at))
        };
        has_completed |= runs.iter().any(is_recent);
    }
    // A dry run of all jobs leaves no run of a sync behind, and deletes nobody.
    Ok((!has_completed && !context.dry_run).then_some(Withheld::NoRecentSync))
}

async fn record(session: &Session<'_>, entry: &Entry, state: EntryState) -> Result<(), Interrupt> {
    let Context {
        store, panel_name, ..
    } = session.context;
    let trail = Trail {
        entries: vec![Entry {
            state,
            ..entry.clone()
        }],
        ..Trail::default()
    };
    let record = store.record(panel_name, session.ledger.run_id, &trail, session.ledger.now());
    Ok(step!(cleanup.record, record).await?)
}

/// A few accounts that the panel may be asked for to see whether it knows them.
async fn sample(
    session: &Session<'_>,
    is_wanted: impl Fn(&Account) -> bool,
) -> Result<Vec<Account>, Interrupt> {
    let Context {
        store, panel_name, ..
    } = session.context;
    let mut after = None;
    loop {
        let page = store.page_accounts(panel_name, after, PAGE_USERS, session.ledger.now());
        let page = step!(cleanup.page_others, page).await?;
        let mut accounts = page.accounts;
        accounts.retain(&is_wanted);
        accounts.truncate(MAX_NAMES);
        match page.next {
            Some(next) if accounts.is_empty() => after = Some(next),
            _ => return Ok(accounts),
        }
    }
}

/// Writes what the panel returned for users that are kept, as far as it is to their good; the rest is for the other
/// jobs, whose safety check sees all accounts.
async fn sync(session: &mut Session<'_>, kept: &[Observed]) -> Result<(), Interrupt> {
    let Context { policy, answers, .. } = session.context;
    let decisions = reconcile(kept, Facet::Subscriptions, *policy, answers, session.ledger.now());
    let changes: Vec<Change> = decisions
        .into_iter()
        .filter_map(|decision| {
            let harmless = decision.change?.split().0;
            // What gives at first sight waits for a sync that has seen all accounts.
            Some(if decision.is_first_sight {
                harmless.part(Reason::is_fact)
            } else {
                harmless
            })
        })
        .filter(|change| !change.is_empty())
        .collect();
    // A row that changed meanwhile is left to the next run of the other jobs.
    session.ledger.apply(changes).await.map(drop)
}
