//! The judge. It knows what was paid for and what was done on purpose, and looks at rows, panel users, reports and the
//! trail; of agreements and decisions it knows nothing.
//!
//! # What is owed
//! *Always, whatever has happened:*
//! 1. No panel user is deleted or disabled that a customer has paid for within the last 7 days or is still paying for, as
//!    far as either side shows it, or showed it to a run that completed; nor one that the panel itself has as working, or
//!    as over for less than 7 days; nor one whose rows were closed and touched within 7 days; nor while the last run of a
//!    sync job was stopped by a brake, or none completed within a day; nor more than 20 % of the accounts at once. Each
//!    deletion was recorded as intended before.
//! 2. A run moves an end earlier only where somebody moved it earlier in the panel, never at the word of a restored panel
//!    whose end both sides had left behind, and never so many at once that a brake should hold. The row is never below
//!    that panel user's end, and the trail and the report say so. What is paid for while a run is under way stays.
//! 3. A run ends a subscription only when its end has passed and no panel user of the customer works.
//! 4. While too many users are absent, a run moves no end and no status, and switches no access off that is still paid
//!    for; while the clocks disagree or the panel says nothing, it moves no access either.
//! 5. While another panel answers, no end moves of a customer whose users were known before.
//! 6. Every value that a run changed is in the trail, with the old and the new value; what is not the library's to change
//!    stays.
//! 7. A panel user is extended only to what the bot itself wrote, when that has been so for as long as the policy says.
//! 8. Running a job again at once changes nothing, and the counts of a report add up.
//!
//! *After each undisturbed run of the subscriptions job:*
//!
//! 9. No payer is `expired` beside a user that works, and no end is below what was paid for and the panel shows; where
//!    something has befallen the customer that leaves a doubt, a problem of the report names the user instead.
//!
//! *When all has stood still for long enough:*
//!
//! 10. Whoever is over by both sides is `expired`, and its panel user gone and its row unlinked, unless a report asks an
//!     operator, or counts it as skipped.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{SubscriptionId, SubscriptionStatus};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::error::SyncError;
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::policy::Answers;
use marzban_sync_core::report::{Job, Problem, ProblemReason, Report, Stopped};
use marzban_sync_core::store::{MemorySubscription, MemoryVpnConfig, Outcome};
use marzban_sync_core::trail::{EntryRecord, EntryState, Target, moment};

use super::panel::User;
use super::steps::Kind;
use super::stop::Fault;
use super::world::{FOREVER, LastRun, Mark, PANELS, World, end, user_id};

/// What two clocks and two roundings may make of one moment.
const SLACK: TimeDelta = TimeDelta::minutes(75);

const WEEK: TimeDelta = TimeDelta::days(7);

/// All rows and the panel's users, as they are at one moment.
pub(super) struct Moment {
    subscriptions: Vec<MemorySubscription>,
    configs: Vec<MemoryVpnConfig>,
    users: BTreeMap<String, User>,
    last_entry: i64,
}

/// A run, and what it left behind.
pub(super) struct Run {
    job: Job,
    panel: usize,
    before: Moment,
    after: Moment,
    /// None where the process died.
    result: Option<Result<Report, SyncError>>,
    fault: Option<Fault>,
    answers: Answers,
    entries: Vec<EntryRecord>,
    removed: u64,
    conditions: Conditions,
}

/// What the panel is like during a run.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fault of its own, and all may come together"
)]
struct Conditions {
    is_down: bool,
    is_slow: bool,
    is_another: bool,
    hides: bool,
    /// How far the clocks are apart.
    clocks: TimeDelta,
}

impl Run {
    /// Whether nothing but the run itself happened meanwhile.
    fn is_alone(&self) -> bool {
        !matches!(self.fault, Some(Fault::Pays(_) | Fault::IsRecreated(_)))
    }

    fn report(&self) -> Option<&Report> {
        self.result.as_ref()?.as_ref().ok()
    }

    fn stopped(&self) -> Option<Stopped> {
        self.report()?.run()?.stopped
    }

    pub(super) fn is_quiet_and_complete(&self) -> bool {
        self.fault.is_none()
            && !self.conditions.is_slow
            && self
                .report()
                .is_some_and(|report| report.run().is_some_and(|run| run.stopped.is_none()))
    }

    /// Whether panel users were extended, whose access the next run sees.
    pub(super) fn has_extended(&self) -> bool {
        self.report()
            .and_then(Report::run)
            .is_some_and(|run| run.extended_in_panel > 0)
    }

    /// Whether the report has a problem of this user.
    fn names(&self, name: &str) -> bool {
        let run = self.report().and_then(Report::run);
        run.is_some_and(|run| run.problems.iter().any(|problem| problem.name == name))
    }

    /// Whether the report takes this user for another one, or its end for none.
    fn doubts(&self, name: &str) -> bool {
        let run = self.report().and_then(Report::run);
        let is_doubted = |problem: &Problem| {
            problem.name == name
                && matches!(
                    problem.reason,
                    ProblemReason::OtherUser | ProblemReason::ImplausibleEnd
                )
        };
        run.is_some_and(|run| run.problems.iter().any(is_doubted))
    }

    fn row(&self, id: SubscriptionId) -> Option<&MemorySubscription> {
        self.after.subscriptions.iter().find(|row| row.id == id)
    }

    /// The subscriptions whose end or status the run has changed.
    fn moved_rows(&self) -> Vec<String> {
        let rows = self.before.subscriptions.iter().filter_map(|was| {
            let is = self.row(was.id)?;
            ((&was.status, was.end_date) != (&is.status, is.end_date))
                .then(|| format!("{was:?} became {is:?}"))
        });
        rows.collect()
    }

    /// These, and the accounts whose access it has changed.
    fn moved(&self) -> Vec<String> {
        let configs = self
            .before
            .configs
            .iter()
            .zip(&self.after.configs)
            .filter(|(was, is)| was.is_active != is.is_active)
            .map(|(was, is)| format!("{was:?} became {is:?}"));
        self.moved_rows().into_iter().chain(configs).collect()
    }
}

/// Whether so many are too many: 5 and more than the share, or 2 and at least half.
fn is_too_many(count: u64, percent: u64, of: u64) -> bool {
    (count >= 5 && count * 100 > percent * of) || (count >= 2 && count * 2 >= of)
}

fn row_end(row: &MemorySubscription) -> DateTime<Utc> {
    end(row.end_date)
}

fn is_closed(row: &MemorySubscription) -> bool {
    matches!(
        row.status,
        SubscriptionStatus::Expired | SubscriptionStatus::Cancelled
    )
}

impl World {
    fn moment(&self, panel: usize) -> Moment {
        let entries = self.store.recorded_entries();
        Moment {
            subscriptions: self.store.subscriptions(),
            configs: self.store.vpn_configs(),
            users: self.panels[panel].with(|state| state.answering().clone()),
            last_entry: entries.last().map_or(0, |entry| entry.id),
        }
    }

    pub(super) fn begin_judging(&self, panel: usize) -> Moment {
        self.moment(panel)
    }

    pub(super) fn end_judging(
        &self,
        before: Moment,
        job: Job,
        panel: usize,
        result: Option<Result<Report, SyncError>>,
        fault: Option<Fault>,
        answers: Answers,
    ) -> Run {
        let mut entries = self.store.recorded_entries();
        entries.retain(|entry| entry.id > before.last_entry);
        let skew = self.skew();
        let conditions = self.panels[panel].with(|state| Conditions {
            is_down: state.is_down,
            is_slow: state.slow > TimeDelta::zero(),
            is_another: state.another.is_some(),
            hides: state.another.is_none() && !state.hidden.is_empty(),
            clocks: (state.skew - skew).abs(),
        });
        Run {
            job,
            panel,
            before,
            after: self.moment(panel),
            result,
            fault,
            answers,
            entries,
            removed: self.truth(|truth| truth.removed),
            conditions,
        }
    }

    pub(super) fn judge(&self, run: &Run) {
        self.count("runs");
        self.judge_report(run);
        if run.is_alone() {
            self.judge_trail(run);
            self.judge_ends(run);
            self.judge_expiries(run);
            self.judge_brakes(run);
        }
        if let Some(Fault::Pays(who)) = run.fault {
            self.judge_payment(run, self.promise_at(who));
        }
        self.judge_budget(run);
        if run.is_quiet_and_complete()
            && run.job == Job::SyncSubscriptionsFromMarzban
            && !run.conditions.is_down
            && !run.conditions.is_another
        {
            self.judge_payers(run);
        }
        self.note_run(run);
        self.note_closed();
    }

    fn judge_report(&self, run: &Run) {
        let adds_up = match run.report() {
            Some(Report::SyncSubscriptionsFromMarzban(report)) => {
                report.synced + report.errors == report.total
            }
            Some(Report::CleanupExpiredMarzbanUsers(report)) => {
                report.cleaned + report.skipped + report.errors == report.total
            }
            Some(Report::SyncUserStatusFromMarzban(report)) => report.errors <= report.total,
            Some(Report::GetMarzbanSystemStats(_)) | None => true,
        };
        if !adds_up {
            self.accuse("8, a report adds up", || format!("{:?}", run.report()));
        }
    }

    /// Law 6.
    fn judge_trail(&self, run: &Run) {
        for was in &run.before.subscriptions {
            let Some(is) = run.row(was.id) else { continue };
            if (was.user_id, was.start_date) != (is.user_id, is.start_date) {
                self.accuse("6, only what is the library's", || {
                    format!("{was:?} became {is:?}")
                });
            }
            if !was.status.is_synced() && was != is {
                self.accuse("6, a status that is not the library's", || {
                    format!("{was:?} became {is:?}")
                });
            }
            self.judge_value(
                run,
                Target::EndDate(was.id),
                was.end_date.map(moment).as_deref(),
                is.end_date.map(moment).as_deref(),
            );
            let (old, new) = (was.status.as_str(), is.status.as_str());
            self.judge_value(run, Target::Status(was.id), Some(old), Some(new));
        }
        for (was, is) in run.before.configs.iter().zip(&run.after.configs) {
            let is_own = was.panel.as_deref().unwrap_or("default") == PANELS[run.panel];
            if !is_own && was != is {
                self.accuse("6, the row of another panel", || format!("{was:?} became {is:?}"));
            }
            let found = run.entries.iter().filter(|entry| entry.entry.account == was.id);
            let of = |target: Target| {
                let mut values = found.clone().filter(|entry| entry.entry.target == target);
                values.next_back().map(|entry| entry.entry.new.clone())
            };
            let access = is.is_active.map(|is_active| is_active.to_string());
            if was.is_active != is.is_active
                && is.marzban_user_id.is_some()
                && of(Target::IsActive) != Some(access)
            {
                self.accuse("6, access is in the trail", || {
                    format!("{was:?} became {is:?}, {:?}", run.entries)
                });
            }
            if was.marzban_user_id != is.marzban_user_id && of(Target::Username) != Some(None) {
                self.accuse("6, an unlinked row is in the trail", || {
                    format!("{was:?} became {is:?}")
                });
            }
        }
    }

    fn judge_value(&self, run: &Run, target: Target, old: Option<&str>, new: Option<&str>) {
        let entries: Vec<&EntryRecord> = run
            .entries
            .iter()
            .filter(|entry| entry.entry.target == target)
            .collect();
        let is_recorded = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => {
                first.entry.old.as_deref() == old && last.entry.new.as_deref() == new
            }
            _ => old == new,
        };
        if !is_recorded {
            self.accuse("6, a change is in the trail", || {
                format!("{target:?} went from {old:?} to {new:?}, and the trail has {entries:?}")
            });
        }
    }

    /// Laws 2 and 5.
    fn judge_ends(&self, run: &Run) {
        let mut shortened = 0;
        for was in &run.before.subscriptions {
            let Some(is) = run.row(was.id) else { continue };
            if was.end_date == is.end_date {
                continue;
            }
            let Some(promise) = self.promise_of_row(was.id) else {
                continue;
            };
            if run.conditions.is_another
                && self.truth(|truth| truth.promises[promise].is_known)
                && run.answers == Answers::default()
            {
                self.accuse("5, another panel moves no end", || {
                    format!("{was:?} became {is:?}")
                });
            }
            if row_end(is) >= row_end(was) {
                continue;
            }
            let reason = run
                .entries
                .iter()
                .rev()
                .find(|entry| entry.entry.target == Target::EndDate(was.id))
                .map(|entry| entry.entry.reason.clone());
            let has_begun = reason.as_deref() == Some("begun");
            shortened += u64::from(!has_begun);
            let (marks, owed) = self.truth(|truth| {
                let promise = &truth.promises[promise];
                (promise.marks.clone(), promise.owed)
            });
            if has_begun {
                if was.end_date.is_some() || row_end(is) + SLACK < owed && marks.is_empty() {
                    self.accuse("2, time that has begun", || format!("{was:?} became {is:?}"));
                }
                continue;
            }
            self.count("shortened ends");
            if marks.is_empty() {
                self.accuse("2, nobody moved the end earlier", || {
                    format!("{was:?} became {is:?}")
                });
            }
            let is_only_restored = marks.iter().all(|mark| *mark == Mark::Restored);
            if is_only_restored && self.was_left_behind(promise, run.panel, row_end(is)) {
                self.accuse("2, a restored panel shortens nothing", || {
                    format!("{was:?} became {is:?}")
                });
            }
            let is_said = run.report().is_none_or(|report| {
                let changed = report.run().map(|run| &run.changed);
                changed.is_some_and(|changed| {
                    changed
                        .iter()
                        .any(|one| one.what == "end_date" && one.reason == "shortened")
                })
            });
            if reason.as_deref() != Some("shortened") || !is_said {
                self.accuse("2, a shortened end is reported", || {
                    format!("{was:?} became {is:?}: {reason:?}")
                });
            }
        }
        let can_lose = self.can_lose(run);
        if shortened > 0 && !run.answers.allow_mass_changes && is_too_many(shortened, 2, can_lose) {
            self.accuse("2, a mass of ends is not shortened", || {
                format!("{shortened} of {can_lose}: {:?}", run.moved())
            });
        }
    }

    /// Whether both sides had this end, or a later one, before they had a later one still.
    fn was_left_behind(&self, promise: usize, panel: usize, to: DateTime<Utc>) -> bool {
        self.truth(|truth| {
            let promise = &truth.promises[promise];
            let mut logins = promise
                .logins
                .iter()
                .filter(|login| truth.logins[**login].panel == panel);
            logins.any(|login| {
                let seen = promise.seen.get(login).map_or(&[][..], Vec::as_slice);
                matches!(seen, [.., before, last] if before < last && to <= *before)
            })
        })
    }

    /// Law 3.
    fn judge_expiries(&self, run: &Run) {
        let now = self.clock.now();
        for was in &run.before.subscriptions {
            let Some(is) = run.row(was.id) else { continue };
            if !was.status.is_open() || is.status != SubscriptionStatus::Expired {
                continue;
            }
            self.count("expired subscriptions");
            if row_end(is) > now {
                self.accuse("3, only what is over expires", || {
                    format!("{was:?} became {is:?}")
                });
            }
            for config in self.configs_sharing(run, was) {
                let name = config.marzban_user_id.clone().unwrap_or_default();
                let is_here = config.panel.as_deref().unwrap_or("default") == PANELS[run.panel];
                if is_here && run.after.users.get(&name).is_some_and(|user| user.works(now)) {
                    self.accuse("3, a user that works keeps the subscription open", || {
                        format!("{was:?} became {is:?} beside {:?}", run.after.users.get(&name))
                    });
                }
                if !is_here && config.is_active == Some(true) {
                    self.accuse("3, access in another panel keeps it open", || {
                        format!("{was:?} became {is:?}")
                    });
                }
            }
        }
    }

    /// The linked rows that stand for this subscription.
    fn configs_sharing<'r>(&self, run: &'r Run, row: &MemorySubscription) -> Vec<&'r MemoryVpnConfig> {
        let now = self.clock.now();
        let configs = run.before.configs.iter();
        configs
            .filter(|config| config.user_id == row.user_id && config.marzban_user_id.is_some())
            .filter(|config| match config.subscription_id {
                Some(id) => id == row.id,
                None => true,
            })
            .filter(|config| {
                // One that is not the governing one ends beside it.
                let governing = governing(&run.before, config, now);
                governing.is_some_and(|governing| governing.id == row.id)
            })
            .collect()
    }

    /// How many accounts in the scope of the run can lose something.
    fn can_lose(&self, run: &Run) -> u64 {
        self.in_scope(run)
            .filter(|(config, row)| {
                let is_promised = row
                    .as_ref()
                    .is_some_and(|row| row.status.is_open() && row_end(row) > self.clock.now());
                config.is_active == Some(true) || is_promised
            })
            .count() as u64
    }

    fn in_scope<'r>(
        &self,
        run: &'r Run,
    ) -> impl Iterator<Item = (&'r MemoryVpnConfig, Option<MemorySubscription>)> {
        let now = self.clock.now();
        let is_own = |config: &&MemoryVpnConfig| {
            config.marzban_user_id.is_some()
                && config.panel.as_deref().unwrap_or("default") == PANELS[run.panel]
        };
        run.before
            .configs
            .iter()
            .filter(is_own)
            .map(move |config| (config, governing(&run.before, config, now)))
            .filter(|(_, row)| {
                run.job != Job::SyncSubscriptionsFromMarzban
                    || row.as_ref().is_some_and(|row| row.status.is_synced())
            })
    }

    /// Law 4, and the accesses of law 2.
    fn judge_brakes(&self, run: &Run) {
        let conditions = run.conditions;
        if conditions.is_down {
            if let Some(moved) = run.moved().first() {
                self.accuse("4, a panel that says nothing moves nothing", || moved.clone());
            }
            return;
        }
        if self.setup.has_dates && conditions.clocks > SLACK {
            self.count("runs by a wrong clock");
            if let Some(moved) = run.moved().first() {
                self.accuse("4, a wrong clock moves nothing", || moved.clone());
            }
            if run.removed > 0 {
                self.accuse("4, a wrong clock deletes nobody", || {
                    format!("{} users", run.removed)
                });
            }
        }
        if run.job == Job::CleanupExpiredMarzbanUsers || run.answers.allow_mass_changes || conditions.hides {
            return;
        }
        let now = self.clock.now();
        let unreadable = self.panels[run.panel].with(|state| {
            if state.another.is_some() {
                std::collections::BTreeSet::new()
            } else {
                state.unreadable.clone()
            }
        });
        let can_lose = self.can_lose(run);
        let (mut absent, mut found, mut off_early, mut went_off_early) = (0, 0, 0, 0);
        for (config, row) in self.in_scope(run) {
            let name = config.marzban_user_id.clone().unwrap_or_default();
            if unreadable.contains(&name) {
                continue;
            }
            let user = run.before.users.get(&name);
            found += u64::from(user.is_some());
            absent += u64::from(user.is_none() && config.is_active == Some(true));
            let is = run.after.configs.iter().find(|other| other.id == config.id);
            let went_off = config.is_active == Some(true) && is.is_some_and(|is| is.is_active == Some(false));
            let is_ahead = row.is_none_or(|row| !is_closed(&row) && row_end(&row) > now);
            let is_early =
                user.is_none_or(|user| matches!(user.status, PanelStatus::Active | PanelStatus::Expired));
            off_early += u64::from(went_off && is_ahead && is_early);
            went_off_early += u64::from(went_off && is_ahead);
        }
        let is_nobody = found == 0 && absent > 0;
        if is_nobody || is_too_many(absent, 10, can_lose) {
            self.count("runs with too many absent");
            if let Some(moved) = run.moved_rows().first() {
                self.accuse("4, while too many are absent no end and no status moves", || {
                    format!("{absent} of {can_lose}: {moved}")
                });
            }
            if went_off_early > 0 {
                self.accuse("4, while too many are absent no access goes off early", || {
                    format!("{absent} of {can_lose}: {:?}", run.moved())
                });
            }
        }
        if is_too_many(off_early, 10, can_lose) {
            self.accuse("2, a mass of accesses does not go off early", || {
                format!("{off_early} of {can_lose}: {:?}", run.moved())
            });
        }
    }

    /// Law 2, of a payment that came in while the run was under way.
    fn judge_payment(&self, run: &Run, promise: usize) {
        let owed = self.truth(|truth| truth.promises[promise].owed);
        if owed == FOREVER {
            return;
        }
        self.count("payments during a run");
        let rows = self.rows_of(promise);
        if !rows
            .iter()
            .any(|row| row.status.is_open() && row_end(row) + SLACK >= owed)
        {
            self.accuse("2, a payment during a run is not overwritten", || {
                format!("paid until {owed}, {rows:?}, {:?}", run.entries)
            });
        }
    }

    fn judge_budget(&self, run: &Run) {
        let accounts = run.before.configs.iter().filter(|config| {
            config.marzban_user_id.is_some()
                && config.panel.as_deref().unwrap_or("default") == PANELS[run.panel]
        });
        let accounts = accounts.count() as u64;
        let budget = (accounts / 5).min(accounts / 2).max(2);
        if run.removed > budget && !run.answers.allow_mass_changes {
            self.accuse("1, a cleanup has a budget", || {
                format!("{} of {accounts} were deleted", run.removed)
            });
        }
    }

    /// Law 9.
    fn judge_payers(&self, run: &Run) {
        let now = self.clock.now();
        let logins = self.truth(|truth| truth.logins.len());
        for login in 0..logins {
            let (panel, name) = self.place(login);
            let (promise, id) = self.truth(|truth| (truth.logins[login].promise, truth.logins[login].id));
            let is_linked = run
                .after
                .configs
                .iter()
                .any(|config| config.id == id && config.marzban_user_id.as_deref() == Some(&name));
            let is_shown = self.panels[panel].with(|state| !state.is_hard_to_see(&name));
            if panel != run.panel || !is_linked || !is_shown {
                continue;
            }
            let Some(user) = run.after.users.get(&name) else {
                continue;
            };
            let (owed, marks) = self.truth(|truth| {
                let promise = &truth.promises[promise];
                (promise.owed, promise.marks.clone())
            });
            let rows = self.rows_of(promise);
            let is_open = rows.iter().any(|row| row.status.is_open());
            let config = run.after.configs.iter().find(|config| config.id == id);
            let governing = config.and_then(|config| governing(&run.after, config, now));
            // That the bot ended what has not ended is its own word.
            let is_expired = governing.is_some_and(|row| {
                row.status == SubscriptionStatus::Expired
                    && !(marks.contains(&Mark::BotSlipped) && row_end(&row) > now)
            });
            let panel_end = if user.status == PanelStatus::OnHold {
                FOREVER
            } else {
                end(user.expire)
            };
            let names = self.names_of(promise);
            let is_named = names.iter().any(|name| run.names(name));
            // A user that was put on hold again says nothing about the end.
            let is_held = user.status == PanelStatus::OnHold && !marks.is_empty();
            let is_paid = owed > now + SLACK && panel_end > now + SLACK;
            if is_paid && !is_held && user.works(now) && !is_open && is_expired && !self.is_known_gap(promise)
            {
                self.judge_doubt(
                    &marks,
                    is_named,
                    "9, no payer is expired beside a working user",
                    || format!("{rows:?}, {user:?}, paid until {owed}"),
                );
            }
            let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
            let due = panel_end.min(owed);
            if user.expire.is_some() && panel_end > now && best + SLACK < due && is_open {
                self.judge_doubt(&marks, is_named, "9, no end is below what was paid for", || {
                    format!("{rows:?}, {user:?}, paid until {owed}")
                });
            }
            self.count(if marks.is_empty() {
                "payers judged strictly"
            } else {
                "payers judged by reports"
            });
            self.note_seen(promise, login, user, &rows, is_named);
        }
    }

    fn names_of(&self, promise: usize) -> Vec<String> {
        self.truth(|truth| {
            let logins = truth.promises[promise].logins.iter();
            logins.map(|login| truth.logins[*login].name.clone()).collect()
        })
    }

    fn judge_doubt(
        &self,
        marks: &std::collections::BTreeSet<Mark>,
        is_named: bool,
        law: &str,
        what: impl FnOnce() -> String,
    ) {
        // A payment may look like one that the library has already given to the panel.
        let may_be_given_twice = is_named && self.setup.extend_after.is_some();
        if marks.is_empty() && !may_be_given_twice {
            self.accuse(law, || format!("{} (nothing leaves a doubt)", what()));
        } else if !is_named {
            self.accuse(law, || format!("{}, and no report says so ({marks:?})", what()));
        } else {
            self.count("left to a report");
        }
    }

    /// What the code does not keep yet, and the judge overlooks until it does: an extension that one panel brought while
    /// its own user did not work is not known to the other panel, whose user works.
    fn is_known_gap(&self, promise: usize) -> bool {
        let is_abroad = self.truth(|truth| truth.promises[promise].kind == Kind::Abroad);
        if is_abroad {
            self.count("known gap: a renewal of two panels");
        }
        is_abroad
    }

    /// The same for an end that the library wrote from another account and no longer knows to be its own: of a user that
    /// several customers name, or after the bot has saved a stale row over it.
    fn may_copy(&self, promise: usize) -> bool {
        let may_copy = self.truth(|truth| {
            let promise = &truth.promises[promise];
            let slips = [Mark::Shared, Mark::BotSlipped];
            promise.logins.len() > 1 && slips.iter().any(|slip| promise.marks.contains(slip))
        });
        if may_copy {
            self.count("known gap: an end copied between accounts");
        }
        may_copy
    }

    /// Both sides were seen as they are; where they agree, nothing of the past leaves a doubt any more.
    fn note_seen(
        &self,
        promise: usize,
        login: usize,
        user: &User,
        rows: &[MemorySubscription],
        is_named: bool,
    ) {
        let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
        let is_open = rows.iter().any(|row| row.status.is_open());
        let panel_end = end(user.expire);
        let is_in_step = (TimeDelta::zero()..=SLACK).contains(&(best - panel_end));
        let now = self.now();
        self.truth(|truth| {
            let of_all = truth.promises[promise].logins.len() == 1;
            let promise = &mut truth.promises[promise];
            promise.is_known = promise.logins.len() == 1 && !promise.marks.contains(&Mark::Shared);
            if !is_in_step || is_named || user.status == PanelStatus::OnHold {
                return;
            }
            let seen = promise.seen.entry(login).or_default();
            if seen.last() != Some(&panel_end) {
                seen.push(panel_end);
            }
            let is_paid = best + SLACK >= promise.owed;
            let is_marked = promise.marks.iter().any(|mark| *mark != Mark::Shared);
            if of_all && is_paid && is_open && best > now + SLACK && is_marked {
                promise.marks.retain(|mark| *mark == Mark::Shared);
                promise.seen.insert(login, vec![panel_end]);
            }
        });
    }

    /// Laws 8.
    pub(super) fn judge_repetition(&self, run: &Run, again: &Run) {
        self.count("repeated runs");
        // Of a user that several customers name, one row may only be heard once the other has taken a new user for its own.
        let is_shared_anew = self.truth(|truth| {
            let replaced = [Mark::Replaced, Mark::Deleted, Mark::Restored, Mark::Stranger];
            truth.promises.iter().any(|promise| {
                promise.marks.contains(&Mark::Shared)
                    && replaced.iter().any(|mark| promise.marks.contains(mark))
            })
        });
        // What was in conflict is left to the next run, and the report says so.
        let had_conflicts = run.report().and_then(Report::run).is_some_and(|report| {
            report
                .problems
                .iter()
                .any(|problem| problem.reason == ProblemReason::Conflict)
        });
        if is_shared_anew || had_conflicts {
            return;
        }
        let is_same =
            run.after.subscriptions == again.after.subscriptions && run.after.configs == again.after.configs;
        if !is_same || !again.entries.is_empty() {
            self.accuse("8, a job that runs again changes nothing", || {
                format!(
                    "{:?} {:?} {:?} after {:?}",
                    run.job,
                    again.moved(),
                    again.entries,
                    run.report()
                )
            });
        }
    }

    /// Whether a run completed, and whether a brake stopped it: by its report, or by its row of history where the report
    /// was lost.
    fn ended(&self, run: &Run) -> (bool, bool) {
        if run.report().is_some() {
            return (run.stopped().is_none(), run.stopped() == Some(Stopped::Safety));
        }
        let recorded = self.store.recorded_runs().pop();
        let recorded = recorded.filter(|recorded| recorded.job == run.job && run.fault.is_some());
        recorded.map_or((false, false), |recorded| {
            let stopped = recorded
                .report
                .as_ref()
                .and_then(|report| report["stopped"].as_str());
            (recorded.outcome == Outcome::Completed, stopped == Some("safety"))
        })
    }

    fn note_run(&self, run: &Run) {
        let now = self.now();
        let is_sync = run.job != Job::CleanupExpiredMarzbanUsers;
        let (completed, was_braked) = self.ended(run);
        if was_braked {
            self.count("runs stopped by a brake");
        }
        self.truth(|truth| {
            let is_subscriptions = run.job == Job::SyncSubscriptionsFromMarzban;
            if is_subscriptions && completed && !run.conditions.is_another && !run.conditions.is_down {
                let (rows, users) = (&run.after.subscriptions, &run.after.users);
                let unknown: Vec<String> = self.panels[run.panel].with(|state| state.hard_to_see());
                for promise in &mut truth.promises {
                    for login in &promise.logins {
                        let login = &truth.logins[*login];
                        let linked = run
                            .after
                            .configs
                            .iter()
                            .any(|config| config.id == login.id && config.marzban_user_id.is_some());
                        let Some(user) = users.get(&login.name).filter(|_| {
                            login.panel == run.panel
                                && linked
                                && !unknown.contains(&login.name)
                                && !run.doubts(&login.name)
                        }) else {
                            continue;
                        };
                        let best = rows
                            .iter()
                            .filter(|row| promise.rows.contains(&row.id))
                            .map(row_end)
                            .max();
                        let shown = best
                            .into_iter()
                            .chain([end(user.expire)])
                            .filter(|end| *end < FOREVER);
                        let of_panel = &mut promise.shown[run.panel];
                        *of_panel = shown.chain([*of_panel]).max().unwrap_or(*of_panel);
                    }
                }
            }
            if !is_sync {
                return;
            }
            let last = truth.last_runs.entry((run.panel, run.job)).or_insert(LastRun {
                was_braked: false,
                completed_at: None,
            });
            if completed {
                last.completed_at = Some(now);
            }
            if completed || was_braked {
                last.was_braked = was_braked;
            }
        });
    }

    /// Law 1, right before a panel user is deleted or disabled.
    pub(super) fn judge_removal(&self, panel: usize, name: &str) {
        self.count("removed users");
        let now = self.now();
        self.truth(|truth| truth.removed += 1);
        let (user, is_another) =
            self.panels[panel].with(|state| (state.answering().get(name).cloned(), state.another.is_some()));
        let Some(user) = user else { return };
        let works = matches!(user.status, PanelStatus::Active | PanelStatus::OnHold);
        let lately = now - WEEK + SLACK;
        if works || user.expire.is_none_or(|expire| expire > lately) {
            self.accuse("1, no user is deleted that the panel has as paid for", || {
                format!("{name} {user:?}")
            });
        }
        let last_entries = self.store.recorded_entries();
        let is_intended = last_entries.iter().rev().take(4).any(|entry| {
            entry.entry.username == name
                && entry.entry.target == Target::PanelUser
                && entry.entry.state == EntryState::Intended
        });
        if !is_intended {
            self.accuse("1, a deletion is recorded before", || name.to_owned());
        }
        self.judge_syncs(panel);
        if is_another {
            return;
        }
        let promises = self.linked_promises(panel, name);
        if promises.is_empty() {
            self.accuse("1, no user is deleted that no row names", || name.to_owned());
        }
        for promise in promises {
            self.judge_claim(promise, panel, &user);
        }
    }

    /// The promises of those whose rows name this panel user now.
    fn linked_promises(&self, panel: usize, name: &str) -> Vec<usize> {
        let configs = self.store.vpn_configs();
        self.truth(|truth| {
            let named = truth.logins.iter().filter(|login| {
                let mut rows = configs.iter().filter(|config| config.id == login.id);
                login.panel == panel && rows.any(|config| config.marzban_user_id.as_deref() == Some(name))
            });
            named.map(|login| login.promise).collect()
        })
    }

    fn judge_claim(&self, promise: usize, panel: usize, user: &User) {
        let now = self.now();
        let lately = now - WEEK + SLACK;
        let rows = self.rows_of(promise);
        let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
        self.truth(|truth| {
            let promise = &truth.promises[promise];
            let seen = promise.shown[panel].max(best).max(end(user.expire));
            let claim = promise.owed.min(seen);
            let is_quiet = promise.touched_at.is_none_or(|at| at <= lately) || !self.setup.keeps_updated_at;
            // Another panel may have seen it over before the rows were closed, which then were over for as long; and a
            // stale save may have opened them for an hour that nobody saw.
            let is_rested = promise.kind == Kind::Abroad
                || promise.marks.contains(&Mark::BotSlipped)
                || promise.closed_since.is_some_and(|since| since <= lately);
            let why = if claim > lately {
                Some(format!("a customer has paid until {}, shown until {seen}", promise.owed))
            } else if rows.iter().any(|row| !is_closed(row)) {
                Some("a subscription is open".to_owned())
            } else if !is_quiet && !is_rested {
                Some(format!("the rows have not rested: {:?}, {:?}", promise.touched_at, promise.closed_since))
            } else {
                None
            };
            if let Some(why) = why
                && truth.verdict.is_none()
            {
                let marks = &promise.marks;
                truth.verdict = Some(format!(
                    "1, no user is deleted that was paid for lately: {why}; {rows:?}, {user:?}, {marks:?}, on {now}"
                ));
            }
        });
    }

    fn judge_syncs(&self, panel: usize) {
        let now = self.now();
        let (braked, completed) = self.truth(|truth| {
            let runs = || {
                truth
                    .last_runs
                    .iter()
                    .filter(|((of, _), _)| *of == panel)
                    .map(|(_, run)| run)
            };
            let braked = runs().any(|run| run.was_braked);
            let is_recent = |at: DateTime<Utc>| now - at <= TimeDelta::days(1) + SLACK;
            (braked, runs().any(|run| run.completed_at.is_some_and(is_recent)))
        });
        let is_allowed = self.truth(|truth| {
            truth
                .promises
                .iter()
                .all(|promise| promise.marks.contains(&Mark::Answered))
        });
        if braked && !is_allowed {
            self.accuse("1, nobody is deleted after a sync that was braked", || {
                format!("{panel}")
            });
        }
        if !completed {
            self.accuse("1, nobody is deleted without a sync within a day", || {
                format!("{panel}")
            });
        }
    }

    /// Law 7, right before a panel user is extended.
    pub(super) fn judge_extension(&self, panel: usize, name: &str, to: DateTime<Utc>) {
        self.count("extended users");
        let now = self.now();
        let lag = TimeDelta::seconds(self.setup.row_lag);
        let entries = self.store.recorded_entries();
        let is_intended = entries.iter().rev().take(4).any(|entry| {
            entry.entry.username == name
                && entry.entry.target == Target::PanelExpire
                && entry.entry.state == EntryState::Intended
        });
        if !is_intended {
            self.accuse("7, an extension is recorded before", || name.to_owned());
        }
        let Some(hours) = self.setup.extend_after else {
            self.accuse("7, nobody is extended by default", || name.to_owned());
            return;
        };
        for promise in self.linked_promises(panel, name) {
            let written = self.truth(|truth| truth.promises[promise].written.clone());
            let is_to = |end: &DateTime<Utc>| (*end - to).abs() <= lag;
            let at = written
                .iter()
                .rev()
                .find(|(end, _)| is_to(end))
                .map(|(_, at)| *at);
            if at.is_none() && !self.may_copy(promise) {
                self.accuse("7, a user is extended to what the bot wrote", || {
                    format!(
                        "{name} to {to}, the bot wrote {written:?}; {:?}",
                        self.rows_of(promise)
                    )
                });
            }
            if at.is_some_and(|at| now - at < TimeDelta::hours(hours) - SLACK) {
                self.accuse("7, the bot's own push comes first", || {
                    format!("{name}: written at {at:?}")
                });
            }
        }
    }

    /// Law 10, when all has stood still for long enough.
    pub(super) fn judge_the_end(&self, last: &[Run]) {
        let now = self.now();
        let long_ago = now - TimeDelta::days(15);
        let logins = self.truth(|truth| truth.logins.len());
        for login in 0..logins {
            let (panel, name) = self.place(login);
            let (id, customer) = self.truth(|truth| (truth.logins[login].id, truth.logins[login].customer));
            let config = self.store.vpn_config(id).expect("rows stay");
            let user = self.user(login);
            let promises = self.promises_of(panel, &name);
            let is_gone_by_panel = self.users_beside(&promises).iter().all(|user| {
                !matches!(user.status, PanelStatus::Active | PanelStatus::OnHold)
                    && user.expire.is_some_and(|expire| expire <= long_ago)
            });
            let rows: Vec<MemorySubscription> = self
                .store
                .subscriptions()
                .into_iter()
                .filter(|row| {
                    let own = self.promise_of_row(row.id);
                    row.user_id == user_id(customer) || own.is_some_and(|own| promises.contains(&own))
                })
                .collect();
            let is_over_by_rows = rows
                .iter()
                .all(|row| row_end(row) <= long_ago || is_closed(row) && row_end(row) <= long_ago);
            if config.marzban_user_id.is_none() || !is_gone_by_panel || !is_over_by_rows {
                continue;
            }
            let panels = self.panels_beside(&promises);
            let of_panel = || last.iter().filter(|run| panels.contains(&run.panel));
            let is_stopped = of_panel().any(|run| run.stopped().is_some() || run.report().is_none());
            let is_named = of_panel().any(|run| run.names(&name));
            let (marks, latest) = self.truth(|truth| {
                let mut marks = std::collections::BTreeSet::new();
                let mut latest = DateTime::UNIX_EPOCH;
                for promise in &promises {
                    marks.extend(truth.promises[*promise].marks.iter().copied());
                    latest = latest.max(truth.promises[*promise].latest);
                }
                (marks, latest)
            });
            let is_disabled = self.setup.disables
                && config.is_active == Some(false)
                && user
                    .as_ref()
                    .is_none_or(|user| user.status == PanelStatus::Disabled);
            let is_open = rows
                .iter()
                .any(|row| row.status.is_open() && self.is_accounted_for(row));
            let skips = of_panel().any(|run| {
                matches!(run.report(), Some(Report::CleanupExpiredMarzbanUsers(report)) if report.skipped > 0)
            });
            let is_held_back = rows
                .iter()
                .any(|row| row.status.is_open() && !self.is_accounted_for(row));
            let may_be_skipped = !marks.is_empty() || latest > long_ago || is_held_back;
            let is_excused = is_stopped || is_named || (skips && may_be_skipped);
            if is_excused {
                self.count("left to an operator in the end");
            } else if is_open {
                self.accuse("10, whoever is over is expired", || {
                    format!("{config:?}, {rows:?}, {user:?}, {marks:?}")
                });
            } else if !is_disabled {
                self.accuse("10, whoever is over is cleaned up", || {
                    format!(
                        "{config:?}, {rows:?}, {user:?}, {marks:?}, {:?}",
                        of_panel().map(|run| run.report()).collect::<Vec<_>>()
                    )
                });
            }
        }
        self.count("histories judged to their end");
    }

    /// Whether an account stands for this row: one that has lost its link is nobody's.
    fn is_accounted_for(&self, row: &MemorySubscription) -> bool {
        let configs = self.store.vpn_configs().into_iter();
        let mut linked =
            configs.filter(|config| config.user_id == row.user_id && config.marzban_user_id.is_some());
        linked.any(|config| config.subscription_id.is_none_or(|id| id == row.id))
    }

    /// The logins of the customers who have these promises.
    fn logins_beside(&self, promises: &[usize]) -> Vec<usize> {
        self.truth(|truth| {
            let customers: Vec<usize> = promises
                .iter()
                .map(|promise| truth.promises[*promise].customer)
                .collect();
            let logins = truth.logins.iter().enumerate();
            logins
                .filter(|(_, login)| customers.contains(&login.customer))
                .map(|(number, _)| number)
                .collect()
        })
    }

    fn users_beside(&self, promises: &[usize]) -> Vec<User> {
        self.logins_beside(promises)
            .into_iter()
            .filter_map(|login| self.user(login))
            .collect()
    }

    fn panels_beside(&self, promises: &[usize]) -> Vec<usize> {
        self.logins_beside(promises)
            .into_iter()
            .map(|login| self.place(login).0)
            .collect()
    }

    pub(super) fn promise_of_row(&self, id: SubscriptionId) -> Option<usize> {
        self.truth(|truth| {
            truth
                .promises
                .iter()
                .position(|promise| promise.rows.contains(&id))
        })
    }

    /// Notes since when all rows of a promise are closed, and the latest end that it has.
    pub(super) fn note_closed(&self) {
        let now = self.now();
        let promises = self.truth(|truth| truth.promises.len());
        for promise in 0..promises {
            let rows = self.rows_of(promise);
            let are_closed = rows.iter().all(is_closed);
            let logins = self.truth(|truth| truth.promises[promise].logins.clone());
            let users = logins.into_iter().flat_map(|login| {
                let (panel, name) = self.place(login);
                let answering = self.panels[panel].with(|state| state.answering().get(&name).cloned());
                answering.into_iter().chain(self.user(login)).collect::<Vec<_>>()
            });
            let ends = rows.iter().map(row_end).chain(users.map(|user| end(user.expire)));
            let latest = ends.filter(|end| *end < FOREVER).max();
            self.truth(|truth| {
                let latest_yet = &mut truth.promises[promise].latest;
                *latest_yet = latest
                    .into_iter()
                    .chain([*latest_yet])
                    .max()
                    .unwrap_or(*latest_yet);
                let since = &mut truth.promises[promise].closed_since;
                *since = if are_closed { since.or(Some(now)) } else { None };
            });
        }
    }
}

/// The subscription of an account, in the words of DESIGN 4.
fn governing(moment: &Moment, config: &MemoryVpnConfig, now: DateTime<Utc>) -> Option<MemorySubscription> {
    let own = config.subscription_id;
    let rows = moment
        .subscriptions
        .iter()
        .filter(|row| row.user_id == config.user_id);
    if let Some(row) = rows.clone().find(|row| Some(row.id) == own) {
        return Some(row.clone());
    }
    let has_begun = |row: &MemorySubscription| {
        row.start_date
            .is_none_or(|start| start <= now + TimeDelta::days(1))
    };
    let rank = |row: &&MemorySubscription| {
        let class = match (row.status.is_open(), &row.status) {
            (true, _) if has_begun(row) => 3,
            (true, _) => 2,
            (false, SubscriptionStatus::Pending) => 0,
            (false, _) => 1,
        };
        (class, row_end(row), row.id)
    };
    rows.max_by_key(rank).cloned()
}
