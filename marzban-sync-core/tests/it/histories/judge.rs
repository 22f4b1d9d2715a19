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
//! 10. A customer that is over by both sides is `expired`, and its panel user gone and its row unlinked, unless a report
//!     asks an operator, or counts it as skipped.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{SubscriptionId, SubscriptionStatus};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::error::SyncError;
use marzban_sync_core::outcome::{RunStatus, Stopped};
use marzban_sync_core::policy::Answers;
use marzban_sync_core::report::{Job, Problem, ProblemReason, Report};
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{MemorySubscription, MemoryVpnConfig};
use marzban_sync_core::trail::{EntryRecord, Target, moment};

mod brakes;
mod end;
mod payers;
mod removal;

use brakes::{governing, is_too_many};

use super::panel::User;
use super::stop::Fault;
use super::world::{FOREVER, LastRun, Mark, PANELS, World, end};

/// What two clocks and two roundings may make of one moment.
const SLACK: TimeDelta = TimeDelta::minutes(75);

const WEEK: TimeDelta = TimeDelta::days(7);

/// All rows and the panel's users, as they are at one moment.
pub(super) struct Moment {
    subscriptions: Vec<MemorySubscription>,
    configs: Vec<MemoryVpnConfig>,
    users: BTreeMap<String, User>,
    last_entry: i64,
    last_run: Option<RunId>,
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
#[expect(clippy::struct_excessive_bools, reason = "any of them may be so at once")]
struct Conditions {
    is_down: bool,
    is_slow: bool,
    is_another: bool,
    hides: bool,
    /// How far the clocks are apart.
    clocks: TimeDelta,
}

impl Run {
    /// Whether it may have changed anything that the judge has an eye on.
    fn has_left_traces(&self) -> bool {
        !self.entries.is_empty()
            || self.fault.is_some()
            || self.before.subscriptions != self.after.subscriptions
            || self.before.configs != self.after.configs
    }

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
            let doubts_shared = |detail: &String| detail.contains("another user has the name");
            problem.name == name
                && match problem.reason {
                    ProblemReason::OtherUser | ProblemReason::ImplausibleEnd => true,
                    ProblemReason::SharedUser => problem.detail.as_ref().is_some_and(doubts_shared),
                    _ => false,
                }
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
            last_run: self.store.recorded_runs().last().map(|run| run.id),
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
        if run.is_alone() && run.has_left_traces() {
            self.judge_trail(run);
            self.judge_ends(run);
            self.judge_expiries(run);
            self.judge_brakes(run);
        }
        if let Some(promise) = self.truth(|truth| truth.paying.take()) {
            self.judge_payment(run, promise);
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
        if run.has_left_traces() {
            self.note_closed();
        }
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
            if was == is && run.entries.is_empty() {
                continue;
            }
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
            let (old, new) = (was.end_date.map(moment), is.end_date.map(moment));
            self.judge_value(run, Target::EndDate(was.id), old.as_deref(), new.as_deref());
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
                let of_promise = run.after.subscriptions.iter();
                let best = of_promise
                    .filter(|row| self.promise_of_row(row.id) == Some(promise))
                    .map(row_end)
                    .max()
                    .unwrap_or(FOREVER);
                if was.end_date.is_some() || best + SLACK < owed && marks.is_empty() {
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
        let can_lose = if shortened > 1 {
            self.can_lose(run)
        } else {
            u64::MAX
        };
        if !run.answers.allow_mass_changes && is_too_many(shortened, 2, can_lose) {
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
        // One that died before it was recorded has left nothing, and an earlier one is another.
        let recorded = recorded
            .filter(|recorded| recorded.job == run.job && run.fault.is_some())
            .filter(|recorded| Some(recorded.id) > run.before.last_run);
        recorded.map_or((false, false), |recorded| {
            let stopped = recorded
                .report
                .as_ref()
                .and_then(|report| report["stopped"].as_str());
            (recorded.status == RunStatus::Completed, stopped == Some("safety"))
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
