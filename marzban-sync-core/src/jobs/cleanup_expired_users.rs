use chrono::{DateTime, Utc};

use super::Context;
use super::session::{Interrupt, Session};
use crate::account::Account;
use crate::deletion::{Verdict, is_believed, judge, judge_again};
use crate::error::SyncError;
use crate::event::Event;
use crate::observation::Observation;
use crate::panel::MAX_NAMES;
use crate::plan::{Change, Shown};
use crate::reconcile::{Facet, Observed, customers, reconcile};
use crate::report::{CleanupReport, Deletion, Job, Problem, ProblemReason, Report, Stopped};
use crate::safety::Withheld;
use crate::store::Scope;

/// Users a page of candidates.
const PAGE_USERS: u32 = 5_000;

/// Deletes the panel users of customers all of whose subscriptions ended more than 7 days ago, and unlinks their
/// accounts.
///
/// # Flow
/// All candidates are looked at in the panel; of those that it agrees on, each is looked at again, in the panel and
/// then in the database, right before it is deleted; and its row is written right after, so that a crash loses
/// nothing. A user that the panel says was renewed is kept, and the renewal is synced.
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
    scope: Scope,
    total: u64,
    cleaned: u64,
    skipped: u64,
    /// How many accounts the bot has.
    accounts: u64,
    /// How many panel users may still be deleted.
    budget: u64,
    /// Whether the panel has shown that it knows a user of the bot's.
    is_known_panel: bool,
    /// Why something is withheld.
    withheld: Option<Withheld>,
    deletions: Vec<Deletion>,
}

impl Cleanup {
    fn new(cutoff: DateTime<Utc>) -> Self {
        let scope = Scope::Ended { before: cutoff };
        Self {
            cutoff,
            scope,
            total: 0,
            cleaned: 0,
            skipped: 0,
            accounts: 0,
            budget: 0,
            is_known_panel: false,
            withheld: None,
            deletions: Vec::new(),
        }
    }

    fn report(self, session: &Session<'_>) -> CleanupReport {
        CleanupReport {
            cleaned: self.cleaned,
            skipped: self.skipped,
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
            ..
        } = session.context;
        let expected = step!(cleanup.count, store.count_accounts(panel_name, self.scope)).await?;
        self.accounts = step!(cleanup.count_all, store.count_accounts(panel_name, Scope::All)).await?;
        self.budget = limits.deletion_budget(self.accounts);
        self.is_known_panel = limits.allow_mass_changes;
        session.context.emit(Event::Started {
            job: Job::CleanupExpiredMarzbanUsers,
            total: expected,
        });
        let result = self.pages(session).await;
        if let Some(withheld) = &self.withheld {
            session.ledger.run.stopped = Some(Stopped::Safety);
            session.ledger.run.withheld_because = Some(withheld.to_string());
        }
        if result.is_err() {
            let looked_at = self.cleaned + self.skipped + session.ledger.errors();
            session.ledger.run.unreached = expected.saturating_sub(looked_at);
        }
        self.total = self.cleaned + self.skipped + session.ledger.errors();
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
            let page = store.page_accounts(panel_name, self.scope, after, PAGE_USERS);
            let page = step!(cleanup.page, page).await?;
            let (observed, result) = session.inquiry.observe(page.accounts).await;
            self.know_the_panel(session, &observed).await?;
            for customer in customers(&observed) {
                self.customer(session, customer).await?;
            }
            result?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// A panel that shows none of the candidates may be the wrong one, where nobody is known and all would count as
    /// gone; so it is asked for other users of the bot's, and without one of them nothing is done.
    async fn know_the_panel(
        &mut self,
        session: &mut Session<'_>,
        seen: &[Observed],
    ) -> Result<(), Interrupt> {
        let knows = |seen: &[Observed]| {
            seen.iter()
                .any(|observed| matches!(observed.observation, Observation::Found(_)))
        };
        if self.is_known_panel || knows(seen) {
            self.is_known_panel = true;
            return Ok(());
        }
        if !seen
            .iter()
            .any(|observed| observed.observation == Observation::Absent)
        {
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
        // Those who have access are the likeliest to be there, and then whoever has lost it only lately.
        let mut asked = sample(session, Scope::Subscribed, has_access).await?;
        if asked.is_empty() {
            asked = sample(session, Scope::All, is_no_candidate).await?;
        }
        // Without any other account there is nobody to ask for, and nobody to lose.
        let is_alone = asked.is_empty();
        let (others, result) = session.inquiry.observe(asked).await;
        self.is_known_panel = is_alone || knows(&others);
        result
    }

    fn withhold(&mut self, session: &mut Session<'_>, because: Withheld) {
        self.skipped += 1;
        session.ledger.run.withheld += 1;
        self.withheld = Some(because);
    }

    /// Cleans the accounts of one user, and syncs them if any is kept.
    async fn customer(&mut self, session: &mut Session<'_>, customer: &[Observed]) -> Result<(), Interrupt> {
        let mut kept: Option<Vec<Observed>> = None;
        for (position, observed) in customer.iter().enumerate() {
            let account = &observed.account;
            // What a second look has shown of one account counts for the others.
            let seen = kept.as_deref().unwrap_or(customer);
            match judge(observed, seen, self.cutoff, session.ledger.now()) {
                Verdict::Delete | Verdict::AlreadyGone if !self.is_known_panel => {
                    let total = self.skipped + 1;
                    self.withhold(session, Withheld::NoUserReturned { total });
                }
                Verdict::Delete | Verdict::AlreadyGone if self.budget == 0 => {
                    let budget = session.context.limits.deletion_budget(self.accounts);
                    self.withhold(session, Withheld::DeletionBudget { budget });
                }
                Verdict::Delete | Verdict::AlreadyGone if session.context.dry_run => {
                    self.budget -= 1;
                    self.cleaned += 1;
                    self.deletions.push(Deletion {
                        telegram_id: account.telegram_id,
                        name: account.name.clone(),
                    });
                }
                Verdict::Delete | Verdict::AlreadyGone => {
                    if let Some(second) = self.look_again(session, observed).await? {
                        kept.get_or_insert_with(|| customer.to_vec());
                        if let Some(observed) = kept.as_mut().and_then(|kept| kept.get_mut(position)) {
                            observed.observation = second;
                        }
                    }
                }
                Verdict::Keep => {
                    self.skipped += 1;
                    kept.get_or_insert_with(|| customer.to_vec());
                }
                Verdict::Problem(reason, detail) => {
                    session
                        .ledger
                        .note_problem(account.id, Problem::of(account, reason, detail));
                }
            }
        }
        match kept {
            Some(kept) => sync(session, &kept).await,
            None => Ok(()),
        }
    }

    /// The second look, in the panel and then in the database, and the deletion if both agree; returns what the panel
    /// says of a user that is kept.
    async fn look_again(
        &mut self,
        session: &mut Session<'_>,
        first: &Observed,
    ) -> Result<Option<Observation>, Interrupt> {
        let account = &first.account;
        let looked_at = session.ledger.now();
        let second = session.inquiry.ask_for(&account.name).await?;
        let verdict = judge_again(&first.observation, &second, self.cutoff, session.ledger.now());
        match verdict {
            Verdict::Keep => {
                self.skipped += 1;
                return Ok(Some(second));
            }
            Verdict::Problem(reason, detail) => {
                session
                    .ledger
                    .note_problem(account.id, Problem::of(account, reason, detail));
                return Ok(None);
            }
            Verdict::Delete | Verdict::AlreadyGone => {}
        }
        let Some(account) = self.still_ended(session, account).await? else {
            self.skipped += 1;
            return Ok(Some(second));
        };
        // The last thing before the deletion: a run that was overtaken knows nothing of what the next one did.
        session.verify_lock().await?;
        if !is_believed(looked_at, session.ledger.now()) {
            let why = Some("the second look took too long to be believed".to_owned());
            session
                .ledger
                .note_problem(account.id, Problem::of(&account, ProblemReason::NotDeleted, why));
            return Ok(None);
        }
        self.budget -= 1;
        if verdict == Verdict::Delete
            && let Err(error) = step!(cleanup.delete, session.context.panel.delete_user(&account.name)).await
        {
            let why = session.inquiry.note_failure(error)?;
            session.ledger.note_problem(
                account.id,
                Problem::of(&account, ProblemReason::NotDeleted, Some(why)),
            );
            return Ok(None);
        }
        self.unlink(session, &account).await?;
        Ok(None)
    }

    /// The account as the database has it now, if that still says that every subscription of the user ended long ago.
    async fn still_ended(
        &self,
        session: &Session<'_>,
        account: &Account,
    ) -> Result<Option<Account>, Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let ids = [account.id];
        let fresh = step!(
            cleanup.read_again,
            store.reload_accounts(panel_name, self.scope, &ids)
        )
        .await?;
        Ok(fresh
            .into_iter()
            .find(|fresh| fresh.id == account.id && fresh.name == account.name && !fresh.active_elsewhere))
    }

    async fn unlink(&mut self, session: &mut Session<'_>, account: &Account) -> Result<(), Interrupt> {
        let Context {
            store, panel_name, ..
        } = session.context;
        let unlink = store.unlink(panel_name, account, session.ledger.now());
        if step!(cleanup.unlink, unlink).await? {
            self.cleaned += 1;
            let user = Shown(account.telegram_id);
            tracing::info!(
                user.name = account.name,
                "Cleaned up expired Marzban user for {user}"
            );
            session.context.emit(Event::Cleaned(account));
        } else {
            let detail =
                Some("the panel user is gone, but its row names another by now, or somebody paid".to_owned());
            session
                .ledger
                .note_problem(account.id, Problem::of(account, ProblemReason::Conflict, detail));
        }
        Ok(())
    }
}

/// A few accounts of a scope that the panel may be asked for to see whether it knows them.
async fn sample(
    session: &Session<'_>,
    scope: Scope,
    is_wanted: impl Fn(&Account) -> bool,
) -> Result<Vec<Account>, Interrupt> {
    let Context {
        store, panel_name, ..
    } = session.context;
    let page = store.page_accounts(panel_name, scope, None, PAGE_USERS);
    let mut accounts = step!(cleanup.page_others, page).await?.accounts;
    accounts.retain(is_wanted);
    accounts.truncate(MAX_NAMES);
    Ok(accounts)
}

/// Writes what the panel says of users that are kept, as far as it is to their good; the rest is for the other jobs,
/// whose safety check sees all accounts.
async fn sync(session: &mut Session<'_>, kept: &[Observed]) -> Result<(), Interrupt> {
    let decisions = reconcile(
        kept,
        Facet::Subscriptions,
        session.context.policy,
        session.ledger.now(),
    );
    let changes: Vec<Change> = decisions
        .into_iter()
        .filter_map(|decision| decision.change)
        .map(|change| change.split().0)
        .filter(|change| !change.is_empty())
        .collect();
    // A row that changed meanwhile is left to the next run of the other jobs.
    session.ledger.apply(changes).await.map(drop)
}
