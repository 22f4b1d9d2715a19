use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::Context;
use super::job_run::{Interrupt, JobRun};
use crate::decide::deletion::{Verdict, is_candidate, judge, kept_by_rows};
use crate::decide::limits::LimitExceeded;
use crate::decide::reconcile::{Facet, reconcile};
use crate::model::account::Account;
use crate::model::observation::{Observation, Observed, PanelStatus, customers};
use crate::model::plan::{Change, Reason};
use crate::model::policy::CleanupAction;
use crate::model::report::{CleanupReport, Deletion, Job, KeptBecause, Problem, Report};
use crate::port::error::SyncError;
use crate::port::event::Event;
use crate::port::panel::MAX_NAMES;

mod doubts;
mod remove;

use doubts::blocked_by_syncs;

/// Customers per page of candidates.
const PAGE_USERS: u32 = 5_000;

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
    let mut job_run = JobRun::begin(context, Job::CleanupExpiredMarzbanUsers).await?;
    job_run.reader.is_looking = false;
    let mut cleanup = Cleanup::new(job_run.writer.now() - context.cleanup_after);
    let result = cleanup.all(&mut job_run).await;
    job_run.writer.note_end(&result);
    let report = cleanup.report(&job_run);
    job_run
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
    blocked: Option<LimitExceeded>,
    deletions: Vec<Deletion>,
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

    fn report(self, job_run: &JobRun<'_>) -> CleanupReport {
        CleanupReport {
            cleaned: self.cleaned,
            skipped: self.skipped.values().sum(),
            skipped_because: self.skipped,
            errors: job_run.writer.errors(),
            total: self.total,
            deletions: self.deletions,
            run: job_run.writer.run.clone(),
        }
    }

    async fn all(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let Context {
            accounts,
            limits,
            panel_name,
            options,
            ..
        } = job_run.context;
        let accounts = step!(cleanup.count, accounts.count_accounts(panel_name)).await?;
        self.whole_budget = if options.answers.allow_mass_changes {
            u64::MAX
        } else {
            limits.deletion_budget(accounts)
        };
        self.budget = self.whole_budget;
        self.is_known_panel = options.answers.allow_mass_changes;
        self.blocked = blocked_by_syncs(job_run).await?;
        job_run.context.emit(Event::Started {
            job: Job::CleanupExpiredMarzbanUsers,
            total: accounts,
        });
        let result = self.pages(job_run).await;
        if result.is_err() {
            job_run.writer.run.unreached = self.pending;
        }
        self.total = self.cleaned + self.skipped.values().sum::<u64>() + job_run.writer.errors();
        result?;
        job_run.reader.require_an_answer()
    }

    async fn pages(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let mut after = None;
        loop {
            job_run.reader.check()?;
            let Context {
                accounts, panel_name, ..
            } = job_run.context;
            let page = accounts.page_accounts(panel_name, after, PAGE_USERS, job_run.writer.now());
            let page = step!(cleanup.page, page).await?;
            let read = page.accounts.len() as u64;
            let candidates = self.candidates(job_run, &page.accounts);
            job_run
                .context
                .emit(Event::Observed(read - candidates.len() as u64));
            let (observed, result) = job_run.reader.observe(candidates).await;
            self.check_clock(job_run);
            self.know_the_panel(job_run, &observed).await?;
            for customer in customers(&observed) {
                self.customer(job_run, customer).await?;
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
    fn candidates(&mut self, job_run: &mut JobRun<'_>, accounts: &[Account]) -> Vec<Account> {
        let now = job_run.writer.now();
        let mut kept = Vec::new();
        for customer in accounts.chunk_by(|one, next| one.user_id == next.user_id) {
            let mut any = false;
            let cutoff = self.cutoff;
            for account in customer.iter().filter(|account| is_candidate(account, cutoff)) {
                if let Some(because) = self.kept(job_run, account, now) {
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

    fn kept(&self, job_run: &JobRun<'_>, account: &Account, now: DateTime<Utc>) -> Option<KeptBecause> {
        if job_run.context.exempt.contains(&account.name) {
            return Some(KeptBecause::Exempt);
        }
        kept_by_rows(account, self.cutoff, now)
    }

    fn skip(&mut self, because: KeptBecause) {
        *self.skipped.entry(because).or_default() += 1;
    }

    fn withhold(&mut self, job_run: &mut JobRun<'_>, account: &Account, because: &LimitExceeded) {
        self.skip(KeptBecause::Withheld);
        job_run.writer.run.withheld += 1;
        job_run.writer.stop_for_safety(because);
        if job_run.writer.run.plan.len() < MAX_NAMES {
            job_run.writer.run.plan.push(Change::of(account));
        }
    }

    /// Why this account may not be deleted now although nothing speaks against it.
    fn withheld(&self) -> Option<LimitExceeded> {
        if let Some(blocked) = self.blocked {
            return Some(blocked);
        }
        if !self.is_known_panel {
            let total = self
                .skipped
                .get(&KeptBecause::Withheld)
                .map_or(1, |count| count + 1);
            return Some(LimitExceeded::NoUserReturned { total });
        }
        (self.budget == 0).then_some(LimitExceeded::DeletionBudget {
            budget: self.whole_budget,
        })
    }

    /// Cleans the accounts of one customer, and syncs them if any is kept.
    async fn customer(&mut self, job_run: &mut JobRun<'_>, customer: &[Observed]) -> Result<(), Interrupt> {
        let mut seen: Option<Vec<Observed>> = None;
        for (position, observed) in customer.iter().enumerate() {
            let (account, now) = (&observed.account, job_run.writer.now());
            if !is_candidate(account, self.cutoff) || self.kept(job_run, account, now).is_some() {
                continue;
            }
            // What a second look has shown of one account counts for the others.
            let others = seen.as_deref().unwrap_or(customer);
            let mut verdict = judge(observed, others, self.cutoff, now);
            if verdict == Verdict::Delete && job_run.reader.has_other_spelling(account).await? {
                verdict = Verdict::Keep(KeptBecause::OtherSpelling);
            }
            match verdict {
                Verdict::Delete | Verdict::AlreadyGone if is_disabled_already(job_run, observed) => {}
                Verdict::Delete | Verdict::AlreadyGone => {
                    if let Some(withheld) = self.withheld() {
                        self.withhold(job_run, account, &withheld);
                    } else if job_run.context.options.dry_run {
                        self.budget -= 1;
                        self.cleaned += 1;
                        self.deletions.push(Deletion {
                            telegram_id: account.telegram_id,
                            name: account.name.clone(),
                        });
                    } else if let Some(second) = self.look_again(job_run, observed).await? {
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
                    job_run
                        .writer
                        .note_problem(account.id, Problem::of(account, reason, detail));
                }
            }
            self.pending = self.pending.saturating_sub(1);
        }
        match seen {
            // Whatever speaks against deleting by this panel's word speaks against writing by it.
            Some(seen) if self.blocked.is_none() && self.is_known_panel => sync(job_run, &seen).await,
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether the user is disabled already where a cleanup only disables, and its row says so: it is not counted again.
fn is_disabled_already(job_run: &JobRun<'_>, observed: &Observed) -> bool {
    job_run.context.policy.cleanup == CleanupAction::Disable
        && observed.account.is_active == Some(false)
        && matches!(&observed.observation, Observation::Found(user) if user.status == PanelStatus::Disabled)
}

/// Writes what the panel returned for users that are kept, as far as it is to their good; the rest is for the other
/// jobs, whose safety check sees all accounts.
async fn sync(job_run: &mut JobRun<'_>, kept: &[Observed]) -> Result<(), Interrupt> {
    let Context { policy, options, .. } = job_run.context;
    let now = job_run.writer.now();
    let decisions = reconcile(kept, Facet::Subscriptions, *policy, &options.answers, now);
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
    job_run.writer.apply(changes).await.map(drop)
}
