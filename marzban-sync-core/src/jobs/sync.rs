use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use futures_util::future::try_join;

use super::Context;
use super::change_writer::ChangeWriter;
use super::job_run::{Interrupt, JobRun};
use crate::decide::limits::{LimitExceeded, Tally};
use crate::decide::merge_ends::is_plausible;
use crate::decide::reconcile::{Decision, Facet, reconcile};
use crate::decide::zone::Differences;
use crate::model::account::{Account, AccountId};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observation, Observed, customers};
use crate::model::outcome::Stopped;
use crate::model::plan::{Change, Reason, split};
use crate::model::report::{Job, Problem, Report, SyncSubscriptionsReport, SyncUserStatusReport};
use crate::port::error::SyncError;
use crate::port::event::Event;

mod confirm_missing;
mod conflicts;
mod deferred;
mod look;
mod push;

use confirm_missing::{MAX_UNCONFIRMED, Unconfirmed};
use deferred::Deferred;
use look::{Look, is_in_scope};
use push::Pushed;

/// What a report says of an account that is gone, or that this job no longer looks at, before the run has ended.
const GONE: &str = "the row was deleted or closed while the run looked at it";

/// Accounts that are read again, or written, at once.
const BATCH: usize = 1_000;

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
    let mut job_run = JobRun::begin(context, Job::SyncSubscriptionsFromMarzban).await?;
    let (outcome, result) = SyncRun::run(&mut job_run, Facet::Subscriptions).await;
    let total = outcome.tally.total;
    let errors = job_run.writer.errors();
    let report = SyncSubscriptionsReport {
        synced: total - errors.min(total),
        errors,
        total,
        run: job_run.writer.run.clone(),
    };
    job_run
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
    let mut job_run = JobRun::begin(context, Job::SyncUserStatusFromMarzban).await?;
    let (outcome, result) = SyncRun::run(&mut job_run, Facet::UserStatus).await;
    let report = SyncUserStatusReport {
        updated: outcome.updated,
        missing: outcome.missing,
        errors: job_run.writer.errors(),
        total: outcome.tally.total,
        run: job_run.writer.run.clone(),
    };
    job_run
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
struct SyncRun {
    facet: Facet,
    tally: Tally,
    /// How many accounts were written.
    updated: u64,
    /// The written ones among those that are looked at more than once, so that each counts once.
    updated_before: BTreeSet<AccountId>,
    missing: u64,
    /// Accounts with a change that waits until the whole run has been seen.
    deferred: BTreeMap<AccountId, Deferred>,
    /// Accounts whose end the panel alone moved earlier, and that keep theirs.
    kept_cuts: BTreeSet<AccountId>,
    /// What is only to be remembered, and was decided while a brake seemed to be tripped.
    put_off: Vec<Change>,
    /// Accounts of customers with at least one account missing from a list, until that one has been looked up
    /// individually.
    unconfirmed: BTreeMap<AccountId, Unconfirmed>,
    /// What the panel returned for a user that was looked up individually, by its name, and when.
    answers: BTreeMap<String, (DateTime<Utc>, Observation)>,
    /// Absent accounts that were not looked up, and that might have been marked missing.
    unasked: u64,
    /// How much the ends differ of accounts that are seen for the first time.
    differences: Differences,
    /// Panel users that are to be extended.
    pushed: Vec<Pushed>,
}

impl SyncRun {
    async fn run(job_run: &mut JobRun<'_>, facet: Facet) -> (Self, Result<(), Interrupt>) {
        let mut sync = Self {
            facet,
            tally: Tally::default(),
            updated: 0,
            updated_before: BTreeSet::new(),
            missing: 0,
            deferred: BTreeMap::new(),
            kept_cuts: BTreeSet::new(),
            put_off: Vec::new(),
            unconfirmed: BTreeMap::new(),
            answers: BTreeMap::new(),
            unasked: 0,
            differences: Differences::default(),
            pushed: Vec::new(),
        };
        let result = sync.all(job_run).await;
        if result.is_err() {
            sync.give_up_on_unconfirmed(&mut job_run.writer);
            sync.withhold(
                &mut job_run.writer,
                "the run ended before everything had been looked at",
            );
            sync.give_up_pushing(&mut job_run.writer);
        }
        job_run.writer.note_end(&result);
        (sync, result)
    }

    /// Observe, decide, write what is harmless; then, with everything seen, check and write the rest.
    async fn all(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let expected = step!(sync.count, accounts.count_accounts(panel_name)).await?;
        job_run.writer.run.ignored.panels =
            step!(sync.count_elsewhere, accounts.count_elsewhere(panel_name)).await?;
        job_run.context.emit(Event::Started {
            job: self.job(),
            total: expected,
        });
        let read = self.read(job_run).await;
        let ignored: u64 = job_run.writer.run.ignored.statuses.values().sum();
        if read.is_err() {
            job_run.writer.run.unreached = expected.saturating_sub(self.tally.total + ignored);
            self.tally.total += job_run.writer.run.unreached;
        }
        if self.tally.total == 0 && !job_run.writer.run.ignored.is_empty() {
            tracing::warn!(
                panel.name = panel_name,
                ignored = ?job_run.writer.run.ignored,
                "no account is in scope: are the words of status and the panel's name as the library expects them?"
            );
        }
        if matches!(read, Err(Interrupt::Stopped(Stopped::Deadline))) {
            job_run.reader.is_looking = false;
            self.give_up_on_unconfirmed(&mut job_run.writer);
            self.give(job_run).await?;
        }
        read?;
        job_run.reader.require_an_answer()?;
        self.confirm(job_run).await?;
        self.finish(job_run).await?;
        self.push(job_run).await
    }

    fn job(&self) -> Job {
        match self.facet {
            Facet::Subscriptions => Job::SyncSubscriptionsFromMarzban,
            Facet::UserStatus => Job::SyncUserStatusFromMarzban,
        }
    }

    /// Reads page after page; while one is decided and written, the next is being read.
    async fn read(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let JobRun {
            context,
            reader,
            writer,
            ..
        } = job_run;
        let facet = self.facet;
        let mut look = Look::at(facet, None, context, reader).await;
        loop {
            let Look {
                observed,
                ignored,
                next,
                clock_difference,
                result,
            } = look;
            for (word, count) in ignored {
                *writer.run.ignored.statuses.entry(word).or_default() += count;
            }
            self.tally.clock_difference = clock_difference.or(self.tally.clock_difference);
            self.tally_up(&observed, writer.now());
            let (Some(after), Ok(())) = (next, &result) else {
                self.settle(writer, &observed).await?;
                return result;
            };
            let following = async { Ok(Look::at(facet, Some(after), context, reader).await) };
            ((), look) = try_join(self.settle(writer, &observed), following).await?;
        }
    }

    fn tally_up(&mut self, observed: &[Observed], now: DateTime<Utc>) {
        self.tally.total += observed.len() as u64;
        for customer in customers(observed) {
            let mut is_absent = false;
            for Observed { account, observation } in customer {
                self.tally.can_lose += u64::from(account.can_lose(now));
                match observation {
                    Observation::Found(user) => {
                        self.tally.found += 1;
                        // An end that cannot be one tells nothing of a clock.
                        let can_be_an_end = is_plausible(user, account.last_connected_at);
                        self.tally.stale += u64::from(can_be_an_end && user.is_stale_active(now));
                    }
                    Observation::NotListed | Observation::NotFound => {
                        is_absent |= *observation == Observation::NotListed;
                        self.missing += u64::from(*observation == Observation::NotFound);
                        self.tally.absent += 1;
                        self.tally.absent_with_access += u64::from(account.is_active == Some(true));
                    }
                    Observation::NotPermitted | Observation::Unreadable(_) | Observation::Unavailable(_) => {}
                }
            }
            if !is_absent {
                continue;
            }
            if self.unconfirmed.len() < MAX_UNCONFIRMED {
                let unconfirmed = customer
                    .iter()
                    .map(|observed| (observed.account.id, Unconfirmed::of(observed, self.facet, now)));
                self.unconfirmed.extend(unconfirmed);
            } else {
                self.unasked += self.news_of_absence(customer);
            }
        }
    }

    /// Why nothing but facts may be written, as far as the run has seen.
    fn blocks(&self, context: &Context) -> Option<LimitExceeded> {
        context
            .limits
            .check(&self.tally, context.options.answers.allow_mass_changes)
            .filter(LimitExceeded::is_total)
    }

    /// Decides for whole customers, writes what is harmless at once and holds the rest.
    async fn settle(
        &mut self,
        writer: &mut ChangeWriter<'_>,
        observed: &[Observed],
    ) -> Result<(), Interrupt> {
        let now = writer.now();
        let blocked = self.blocks(writer.context);
        let mut harmless = Vec::new();
        let mut returning = BTreeSet::new();
        for customer in customers(observed) {
            if self.waits(customer) {
                continue;
            }
            let mut decided = Vec::new();
            let mut flags = Vec::new();
            for decision in self.decide(writer, customer, now) {
                self.note(writer, &decision);
                writer.run.kept_for_another_panel += u64::from(decision.kept_for_another_panel);
                if let Some(difference) = decision.first_difference {
                    self.differences.note(difference);
                }
                if decision.is_cut && !decision.change.as_ref().is_some_and(Change::is_shortened) {
                    self.kept_cuts.insert(decision.account.id);
                }
                let flag = Flags::of(&decision, now);
                if let Some(change) = decision.change {
                    flags.push(flag);
                    decided.push(change);
                }
            }
            for ((now_part, later), flag) in parts(decided, blocked.as_ref(), &flags).into_iter().zip(flags) {
                if later.touches_no_row() {
                    self.put_off(later);
                } else {
                    returning.insert(later.account.id);
                    self.defer(later, flag, writer.context.options.dry_run);
                }
                if !now_part.is_empty() {
                    harmless.push(now_part);
                }
            }
        }
        let conflicts = self.apply(writer, harmless, &returning).await?;
        for id in &conflicts {
            self.deferred.remove(id);
            self.kept_cuts.remove(id);
        }
        self.decide_again(writer, &conflicts, observed).await
    }

    fn decide<'o>(
        &self,
        writer: &ChangeWriter<'_>,
        customer: &'o [Observed],
        now: DateTime<Utc>,
    ) -> Vec<Decision<'o>> {
        let Context { policy, options, .. } = writer.context;
        reconcile(customer, self.facet, *policy, &options.answers, now)
    }

    /// Applies changes, counts the accounts that were written, and returns those that were in conflict.
    async fn apply(
        &mut self,
        writer: &mut ChangeWriter<'_>,
        changes: Vec<Change>,
        returning: &BTreeSet<AccountId>,
    ) -> Result<BTreeSet<AccountId>, Interrupt> {
        let ids: Vec<AccountId> = changes
            .iter()
            .filter(|change| !change.touches_no_row())
            .map(|change| change.account.id)
            .collect();
        let written = writer.apply(changes).await?;
        for id in ids.iter().filter(|id| written.applied.contains(id)) {
            if !returning.contains(id) || self.updated_before.insert(*id) {
                self.updated += 1;
            }
        }
        Ok(written.conflicts)
    }

    /// Whether one of the accounts has yet to be looked up individually.
    fn waits(&self, customer: &[Observed]) -> bool {
        customer
            .iter()
            .any(|observed| self.unconfirmed.contains_key(&observed.account.id))
    }

    /// Looks at whole customers once more: the accounts as they are now, and what the panel returns for them now, or
    /// has returned when it was asked for one individually; `believed` says how long ago that may be.
    async fn look_again(
        &mut self,
        job_run: &mut JobRun<'_>,
        ids: &[AccountId],
        believed: TimeDelta,
    ) -> Result<Vec<Observed>, Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let read = accounts.reload_accounts(panel_name, ids, job_run.writer.now());
        let mut accounts = step!(sync.read_again, read).await?;
        accounts.retain(|account| is_in_scope(self.facet, account));
        let (answered, others): (Vec<Account>, Vec<Account>) = accounts
            .into_iter()
            .partition(|account| self.answers.contains_key(&account.name));
        let mut observed = job_run.reader.observe_again(others).await?;
        for account in answered {
            if let Some(observation) = self.answer(job_run, &account.name, believed).await? {
                observed.push(Observed { account, observation });
            }
        }
        observed.sort_by_key(|observed| (observed.account.user_id, observed.account.id));
        job_run.reader.note_other_spellings(&mut observed).await?;
        Ok(observed)
    }

    fn note(&mut self, writer: &mut ChangeWriter<'_>, decision: &Decision<'_>) {
        if let Some(push) = decision.push {
            self.pushed.push(Pushed::of(decision, push));
            return;
        }
        if let Some((reason, detail)) = &decision.problem {
            writer.note_problem(
                decision.account.id,
                Problem::of(decision.account, *reason, detail.clone()),
            );
        }
    }
}

/// What a deferred change does, as far as the brakes and the report ask.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Flags {
    /// Whether access would go off before the own end.
    is_off_early: bool,
    /// Whether the panel alone moved the end earlier.
    is_cut: bool,
    /// Whether it takes something that is still ahead.
    is_ahead: bool,
    /// Whether it gives something at first sight.
    is_first_sight: bool,
    /// How much the ends differ at first sight.
    first_difference: Option<TimeDelta>,
}

impl Flags {
    fn of(decision: &Decision<'_>, now: DateTime<Utc>) -> Self {
        let takes = decision.change.as_ref().is_some_and(Change::is_destructive);
        let is_cut = decision.is_cut && decision.change.as_ref().is_some_and(Change::is_shortened);
        // An end that is ahead can be taken from a subscription that the bot has closed, too.
        let is_end_ahead = decision
            .account
            .subscription
            .as_ref()
            .is_some_and(|subscription| subscription.end() > EndDate::At(now));
        Self {
            is_off_early: decision.is_off_early,
            is_cut,
            is_ahead: takes && (decision.account.is_promise_ahead(now) || (is_cut && is_end_ahead)),
            is_first_sight: decision.is_first_sight,
            first_difference: decision.first_difference,
        }
    }
}

/// Parts the changes of one customer into what is written at once, and what waits.
fn parts(changes: Vec<Change>, blocked: Option<&LimitExceeded>, flags: &[Flags]) -> Vec<(Change, Change)> {
    if blocked.is_none() && flags.iter().all(|flags| !flags.is_first_sight) {
        return split(changes);
    }
    let waits = |change: Change| {
        let mut now_part = change.part(Reason::is_fact);
        let mut later = change.part(|reason| !reason.is_fact());
        if later.touches_no_row() && blocked.is_none() {
            now_part.agreement = change.agreement;
        } else {
            // What is remembered waits too: as far as is known, the panel may be the wrong one.
            later.account = now_part.applied();
            later.agreement = change.agreement;
            later.interim = change.interim;
        }
        (now_part, later)
    };
    changes.into_iter().map(waits).collect()
}
