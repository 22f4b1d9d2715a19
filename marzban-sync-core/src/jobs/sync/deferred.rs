//! What waits until everything has been seen: what gives at first sight, and what takes something from a customer. It is
//! looked at once more before it is written.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};

use super::conflicts::note_conflict;
use super::{BATCH, Flags, GONE, SyncRun};
use crate::decide::limits::{LimitExceeded, Tally};
use crate::decide::reconcile::Decision;
use crate::decide::zone;
use crate::jobs::change_writer::ChangeWriter;
use crate::jobs::job_run::{Interrupt, JobRun};
use crate::model::account::{Account, AccountId, Subscription};
use crate::model::end_date::EndDate;
use crate::model::observation::{Observed, customers};
use crate::model::plan::{Change, Reason};
use crate::model::report::{MAX_PROBLEMS, Problem, ProblemReason};
use crate::port::panel::MAX_NAMES;

/// How many withheld changes a report shows; a dry run shows all.
const MAX_WITHHELD_SHOWN: usize = 1_000;

/// How many disagreements that a brake withheld are remembered per run; the further ones are left to the next runs.
const MAX_OPENED: usize = 10_000;

/// Accounts that are looked at again, in the panel too, before they are written: so few requests that the look is fresh.
const LOOKED_AT: usize = 5 * MAX_NAMES;

/// For how long what the panel said of one user counts, when something is taken by it.
const BELIEVED_FOR: TimeDelta = TimeDelta::minutes(1);

/// An account with a change that waits: what the row must still be, and, as far as a report names it, who that is. Of
/// the others only this and the id are kept, as there may be as many as there are accounts.
pub(super) struct Deferred {
    row: u64,
    pub(super) flags: Flags,
    named: Option<Box<Named>>,
}

struct Named {
    name: String,
    telegram_id: Option<i64>,
    /// The change, as far as a report shows it; what is written is decided anew.
    change: Option<Change>,
}

/// A hash of the columns that another writer may change; traffic and last connection are left out because only the
/// panel changes them. A collision is harmless: the change is read and decided again before it is written.
fn fingerprint(account: &Account) -> u64 {
    let Account {
        name,
        is_active,
        subscription,
        ..
    } = account;
    let subscription = subscription.as_ref().map(
        |Subscription {
             id, word, end_date, ..
         }| (id, word, end_date),
    );
    let mut hasher = DefaultHasher::new();
    (name, is_active, subscription).hash(&mut hasher);
    hasher.finish()
}

/// What a run may still write, now that everything has been seen.
struct Verdict {
    /// Why nothing that is still ahead may be taken.
    brake: Option<LimitExceeded>,
    /// The constant difference of ends that none of the accounts seen for the first time may follow.
    zone: Option<TimeDelta>,
    /// Whether the run ended before all accounts were seen, so that nothing is taken.
    gives_only: bool,
}

impl SyncRun {
    pub(super) fn defer(&mut self, change: Change, flags: Flags, is_dry_run: bool) {
        let id = change.account.id;
        let row = fingerprint(&change.account);
        let position = self.deferred.len();
        let keeps_change =
            is_dry_run || position < MAX_WITHHELD_SHOWN || (flags.is_cut && position < MAX_OPENED);
        let named = (is_dry_run || position < MAX_PROBLEMS || keeps_change).then(|| {
            Box::new(Named {
                name: change.account.name.clone(),
                telegram_id: change.account.telegram_id,
                change: keeps_change.then_some(change),
            })
        });
        self.deferred.insert(id, Deferred { row, flags, named });
    }

    /// Puts off what is only to be remembered, until it is known that the panel is the right one; what there is no room for
    /// is left to the next run.
    pub(super) fn put_off(&mut self, change: Change) {
        if change.agreement.is_some() && self.put_off.len() < MAX_OPENED {
            self.put_off.push(change);
        }
    }

    /// With everything seen: the safety check, and then what has waited.
    pub(super) async fn finish(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let limits = job_run.context.limits;
        let allow = job_run.context.options.answers.allow_mass_changes;
        let tally = self.counted(job_run).await?;
        let brake = limits.check(&tally, allow);
        if let Some(total) = brake.filter(LimitExceeded::is_total) {
            job_run.writer.stop_for_safety(&total);
            // A wrong clock says nothing about the panel's ends.
            if matches!(
                total,
                LimitExceeded::Absent { .. } | LimitExceeded::NoUserReturned { .. }
            ) {
                self.remember_cuts(job_run).await?;
            }
            self.withhold(&mut job_run.writer, &total.to_string());
            return Ok(());
        }
        self.remember_put_off(job_run).await?;
        let zone = self.differences.zone();
        job_run.writer.run.time_zone = zone.map(zone::describe);
        let verdict = Verdict {
            brake,
            zone,
            gives_only: false,
        };
        if let Some(brake) = &verdict.brake {
            job_run.writer.stop_for_safety(brake);
            self.withhold_ahead(job_run, brake).await?;
        }
        if job_run.context.options.dry_run {
            return self.show(&mut job_run.writer, &verdict).await;
        }
        self.write_deferred(job_run, &verdict).await
    }

    /// What gives at first sight, when the time was up before everything had been looked at.
    pub(super) async fn give(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let limits = job_run.context.limits;
        let is_blocked = limits
            .check(&self.tally, job_run.context.options.answers.allow_mass_changes)
            .is_some_and(|withheld| withheld.is_total());
        let verdict = Verdict {
            brake: None,
            zone: self.differences.zone(),
            gives_only: true,
        };
        if is_blocked || job_run.context.options.dry_run {
            return Ok(());
        }
        self.write_deferred(job_run, &verdict).await
    }

    /// The counts for the brakes, without the accounts whose row has changed since it was read: a payment that came in
    /// between is no loss.
    async fn counted(&self, job_run: &JobRun<'_>) -> Result<Tally, Interrupt> {
        let mut tally = self.tally;
        tally.off_early = 0;
        tally.cuts = self.kept_cuts.len() as u64;
        let counted: Vec<AccountId> = self
            .deferred
            .iter()
            .filter(|(_, deferred)| deferred.flags.is_off_early || deferred.flags.is_cut)
            .map(|(id, _)| *id)
            .collect();
        let context = job_run.context;
        for ids in counted.chunks(BATCH) {
            let read = context
                .accounts
                .reload_accounts(&context.panel_name, ids, job_run.writer.now());
            for account in step!(sync.read_counted, read).await? {
                let Some(deferred) = self.deferred.get(&account.id) else {
                    continue;
                };
                // A dry run has not written the harmless half, on which the fingerprint stands.
                if deferred.row == fingerprint(&account) || context.options.dry_run {
                    tally.off_early += u64::from(deferred.flags.is_off_early);
                    tally.cuts += u64::from(deferred.flags.is_cut);
                }
            }
        }
        Ok(tally)
    }

    /// Looks at what has waited once more, and writes it as far as the verdict allows.
    async fn write_deferred(&mut self, job_run: &mut JobRun<'_>, verdict: &Verdict) -> Result<(), Interrupt> {
        loop {
            let waits = |deferred: &Deferred| {
                !verdict.gives_only || (deferred.flags.is_first_sight && !deferred.flags.is_ahead)
            };
            let ids: Vec<AccountId> = self
                .deferred
                .iter()
                .filter(|(_, deferred)| waits(deferred))
                .map(|(id, _)| *id)
                .take(LOOKED_AT)
                .collect();
            if ids.is_empty() {
                return Ok(());
            }
            // Until they are written they are deferred, and if they never are, reported as withheld.
            job_run.reader.check()?;
            let observed = self.look_again(job_run, &ids, BELIEVED_FOR).await?;
            job_run.verify_lock().await?;
            self.write_again(&mut job_run.writer, &observed, verdict).await?;
            let seen: BTreeSet<AccountId> = observed.iter().map(|observed| observed.account.id).collect();
            for id in ids {
                let deferred = self.deferred.remove(&id).filter(|_| !seen.contains(&id));
                if let Some(deferred) = deferred {
                    note_gone(&mut job_run.writer, id, deferred);
                }
            }
        }
    }

    /// Notes what a dry run would have written.
    async fn show(&mut self, writer: &mut ChangeWriter<'_>, verdict: &Verdict) -> Result<(), Interrupt> {
        let deferred = std::mem::take(&mut self.deferred);
        let ids: BTreeSet<AccountId> = deferred.keys().copied().collect();
        let mut changes = Vec::new();
        for deferred in deferred.into_values() {
            let Some(change) = deferred.named.and_then(|named| named.change) else {
                continue;
            };
            if deferred.flags.is_first_sight
                && verdict.zone.is_some()
                && deferred.flags.first_difference.is_some()
            {
                note_zone(writer, &change.account, verdict);
            } else {
                changes.push(change);
            }
        }
        self.apply(writer, changes, &ids).await.map(drop)
    }

    /// Whether the row is as it was at the first look, and the second takes nothing that the brakes have not counted.
    fn is_as_deferred(&self, account: &Account, flags: Flags) -> bool {
        self.deferred.get(&account.id).is_some_and(|deferred| {
            deferred.row == fingerprint(account)
                && flags.is_off_early <= deferred.flags.is_off_early
                && flags.is_cut <= deferred.flags.is_cut
        })
    }

    /// Writes what the second look says, from those whose row is as it was; what the first look did not know is left to
    /// the next run, as far as it takes something.
    async fn write_again(
        &mut self,
        writer: &mut ChangeWriter<'_>,
        observed: &[Observed],
        verdict: &Verdict,
    ) -> Result<(), Interrupt> {
        let now = writer.now();
        let mut changes = Vec::new();
        for customer in customers(observed) {
            for decision in self.decide(writer, customer, now) {
                self.note_again(writer, &decision);
                changes.extend(self.allowed(writer, decision, verdict, now));
            }
        }
        changes.retain(|change| !change.is_empty());
        let returning = observed.iter().map(|observed| observed.account.id).collect();
        let conflicts = self.apply(writer, changes, &returning).await?;
        self.decide_again(writer, &conflicts, observed).await
    }

    fn note_again(&mut self, writer: &mut ChangeWriter<'_>, decision: &Decision<'_>) {
        if decision.push.is_none() {
            self.note(writer, decision);
        }
    }

    /// The part of a decision that may be written now.
    fn allowed(
        &self,
        writer: &mut ChangeWriter<'_>,
        decision: Decision<'_>,
        verdict: &Verdict,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let is_zone = verdict.zone.is_some() && decision.first_difference.is_some();
        let is_first_sight = decision.is_first_sight;
        let flags = Flags::of(&decision, now);
        let change = decision.change?;
        if is_first_sight && is_zone {
            note_zone(writer, &change.account, verdict);
            return Some(change.part(Reason::is_fact));
        }
        if !change.is_destructive() {
            return Some(change);
        }
        let is_braked = verdict.gives_only || (verdict.brake.is_some() && flags.is_ahead);
        if self.is_as_deferred(&change.account, flags) && !is_braked {
            return Some(change);
        }
        if is_braked {
            writer.note_problem(
                change.account.id,
                Problem::of(&change.account, ProblemReason::Withheld, None),
            );
        } else if self.deferred.contains_key(&change.account.id) {
            note_conflict(writer, &change.account);
        }
        Some(change.split().0)
    }

    /// Withholds what takes something that is still ahead, and remembers the ends that a brake kept, so that they stay
    /// open until somebody answers.
    async fn withhold_ahead(
        &mut self,
        job_run: &mut JobRun<'_>,
        brake: &LimitExceeded,
    ) -> Result<(), Interrupt> {
        let ids: Vec<AccountId> = self
            .deferred
            .iter()
            .filter(|(_, deferred)| deferred.flags.is_ahead && !deferred.flags.is_first_sight)
            .map(|(id, _)| *id)
            .collect();
        self.remember_cuts(job_run).await?;
        let writer = &mut job_run.writer;
        writer.run.withheld += ids.len() as u64 + self.unasked;
        writer
            .run
            .withheld_because
            .get_or_insert_with(|| brake.to_string());
        for id in ids {
            if let Some(deferred) = self.deferred.remove(&id) {
                withhold(writer, id, deferred);
            }
        }
        Ok(())
    }

    /// Remembers the ends that this run keeps although the panel alone moved them earlier, so that they stay open until
    /// somebody answers.
    pub(super) async fn remember_cuts(&self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let now = job_run.writer.now();
        let opened: Vec<Change> = self
            .deferred
            .values()
            .filter(|deferred| deferred.flags.is_cut)
            .filter_map(|deferred| left_open(deferred.named.as_ref()?.change.as_ref()?, now))
            .collect();
        remember(job_run, &opened).await
    }

    async fn remember_put_off(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        let put_off = std::mem::take(&mut self.put_off);
        remember(job_run, &put_off).await
    }

    /// Notes what is not written, and why.
    pub(super) fn withhold(&mut self, writer: &mut ChangeWriter<'_>, because: &str) {
        let withheld = self.deferred.len() as u64 + self.unasked;
        writer.run.withheld += withheld;
        if withheld > 0 {
            writer
                .run
                .withheld_because
                .get_or_insert_with(|| because.to_owned());
        }
        for (id, deferred) in std::mem::take(&mut self.deferred) {
            withhold(writer, id, deferred);
        }
    }
}

/// Writes changes that touch no row.
async fn remember(job_run: &mut JobRun<'_>, changes: &[Change]) -> Result<(), Interrupt> {
    if changes.is_empty() || job_run.context.options.dry_run {
        return Ok(());
    }
    job_run.verify_lock().await?;
    for changes in changes.chunks(BATCH) {
        // One that lost a race is met again by the next run.
        job_run.writer.apply(changes.to_vec()).await.map(drop)?;
    }
    Ok(())
}

/// Notes a row that was deleted, or left the scope of the job, while its change waited.
fn note_gone(writer: &mut ChangeWriter<'_>, id: AccountId, deferred: Deferred) {
    let Some(named) = deferred.named else {
        writer.note_unnamed_problem(id, ProblemReason::Conflict);
        return;
    };
    let problem = Problem {
        telegram_id: named.telegram_id,
        name: named.name,
        reason: ProblemReason::Conflict,
        detail: Some(GONE.to_owned()),
    };
    writer.note_problem(id, problem);
}

fn withhold(writer: &mut ChangeWriter<'_>, id: AccountId, deferred: Deferred) {
    let Some(named) = deferred.named else {
        writer.note_unnamed_problem(id, ProblemReason::Withheld);
        return;
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
    writer.note_problem(id, problem);
    if writer.run.plan.len() < MAX_WITHHELD_SHOWN {
        writer.run.plan.extend(change);
    }
}

fn note_zone(writer: &mut ChangeWriter<'_>, account: &Account, verdict: &Verdict) {
    let detail = verdict.zone.map(zone::describe);
    writer.note_problem(
        account.id,
        Problem::of(account, ProblemReason::EndsDisagree, detail),
    );
}

/// The change that only remembers a shortening which was withheld.
fn left_open(change: &Change, now: DateTime<Utc>) -> Option<Change> {
    let row = change.account.subscription.as_ref().map(Subscription::end)?;
    let panel: EndDate = change.subscription.end_date.filter(|_| change.is_shortened())?;
    let mut agreement = change.account.agreement.clone();
    agreement.leave_open(row, panel, now);
    let mut opened = change.part(|_: Reason| false);
    opened.agreement = Some(agreement);
    Some(opened)
}
