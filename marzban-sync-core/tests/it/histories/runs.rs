//! Time that passes, and the jobs that run meanwhile, as in production.

use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::policy::{Answers, CleanupAction, PanelBehind, Policy};
use marzban_sync_core::report::Job;
use marzban_sync_core::store::Journal;
use marzban_sync_core::{Context, jobs};

use super::judge::Run;
use super::ports::{Desk, Line, Plant};
use super::stop::{Fault, Gate};
use super::world::{PANELS, World, end};

/// A sync job runs at least so often, also where nothing has happened.
const AT_LEAST_EVERY: TimeDelta = TimeDelta::hours(72);

/// How long runs and their trail are kept; nothing here looks further back.
const KEPT: TimeDelta = TimeDelta::days(3);

impl World {
    pub(super) fn wait(&self, hours: i64) {
        for _ in 0..hours {
            if self.verdict().is_some() {
                return;
            }
            self.pass_hour();
            self.run_what_is_due();
        }
    }

    fn pass_hour(&self) {
        self.pass(TimeDelta::hours(1));
        let (now, epoch) = (self.now(), self.truth(|truth| truth.epoch));
        for panel in &self.panels {
            if panel.with(|state| state.review(now)) {
                self.stir();
            }
        }
        self.bot_acts(now.hour() == 0);
        if self.truth(|truth| truth.epoch) != epoch {
            self.note_closed();
        }
        if now.hour() == 0 {
            self.forget();
        }
    }

    /// Old runs are forgotten, as the job of the statistics does it.
    pub(super) fn forget(&self) {
        for panel in PANELS {
            let forgotten = self.store.prune_history(panel, self.clock.now() - KEPT);
            at_once(forgotten)
                .expect("the store in memory never waits")
                .expect("nor does it fail");
        }
    }

    fn run_what_is_due(&self) {
        let now = self.now();
        let is_cleanup = now.weekday() == Weekday::Mon && now.hour() == 1;
        for panel in 0..PANELS.len() {
            if !self.truth(|truth| truth.logins.iter().any(|login| login.panel == panel)) {
                continue;
            }
            let syncs = [
                (
                    Job::SyncSubscriptionsFromMarzban,
                    now.hour().is_multiple_of(2) || is_cleanup,
                ),
                (Job::SyncUserStatusFromMarzban, true),
            ];
            for (job, is_scheduled) in syncs {
                if is_scheduled && self.is_due(job, panel, is_cleanup) {
                    let fault = self.armed(job, panel);
                    self.run(job, panel, fault, Answers::default());
                }
            }
            if is_cleanup {
                self.run(Job::CleanupExpiredMarzbanUsers, panel, None, Answers::default());
            }
        }
    }

    /// Whether a run can differ from the one before it. Where nothing has happened and no end has passed, a run does what
    /// the last one did, and only some histories go through all of them.
    fn is_due(&self, job: Job, panel: usize, is_cleanup: bool) -> bool {
        let now = self.now();
        let (last, epoch) = self.truth(|truth| {
            let last = truth.last_looks.get(&(panel, job)).copied();
            (last, truth.epoch)
        });
        let Some((at, epoch_then)) = last else { return true };
        self.setup.is_full
            || is_cleanup
            || epoch != epoch_then
            || now - at >= AT_LEAST_EVERY
            || self.passed_since(at)
    }

    /// What is to become of a call of this run, if it is the one that was waited for.
    fn armed(&self, job: Job, panel: usize) -> Option<(usize, Fault)> {
        let last = self.truth(|truth| truth.last_looks.get(&(panel, job)).copied());
        let has_passed = last.is_none_or(|(at, _)| self.passed_since(at));
        if has_passed {
            self.truth(|truth| truth.armed.take())
        } else {
            None
        }
    }

    /// Whether an end, or the day after it, lies between that moment and now.
    fn passed_since(&self, at: DateTime<Utc>) -> bool {
        let now = self.clock.now();
        let at = at + self.skew();
        let has_passed = |moment: DateTime<Utc>| moment > at && moment <= now;
        let rows = self.store.subscriptions();
        rows.iter()
            .any(|row| row.status.is_open() && has_passed(end(row.end_date)))
            || self.panels.iter().any(|panel| {
                panel.with(|state| {
                    let mut users = state.answering().values();
                    users.any(|user| {
                        has_passed(end(user.expire)) || has_passed(end(user.expire) + TimeDelta::days(1))
                    })
                })
            })
    }

    /// Runs a job, perhaps not to its end, and lets the judge look at what it did.
    pub(super) fn run(&self, job: Job, panel: usize, fault: Option<(usize, Fault)>, answers: Answers) {
        let run = self.perform(job, panel, fault, answers.clone());
        let is_repeatable =
            run.is_quiet_and_complete() && !run.has_extended() && answers == Answers::default();
        self.judge(&run);
        let runs = self.truth(|truth| {
            truth.runs += 1;
            truth.runs
        });
        if is_repeatable && runs.is_multiple_of(16) && job != Job::CleanupExpiredMarzbanUsers {
            let again = self.perform(job, panel, None, answers);
            self.judge_repetition(&run, &again);
        }
    }

    pub(super) fn perform(
        &self,
        job: Job,
        panel: usize,
        fault: Option<(usize, Fault)>,
        answers: Answers,
    ) -> Run {
        self.truth(|truth| {
            truth.last_looks.insert((panel, job), (truth.now, truth.epoch));
            truth.removed = 0;
        });
        let world = self.clone();
        let gate = Gate::new(fault, move || {
            if let Some((_, fault)) = fault {
                world.meanwhile(fault);
            }
        });
        let context = self.context(panel, &gate, answers.clone());
        let before = self.begin_judging(panel);
        let result = at_once(jobs::run(job, &context));
        let fault = fault.filter(|_| gate.has_happened()).map(|(_, fault)| fault);
        self.end_judging(before, job, panel, result, fault, answers)
    }

    pub(super) fn context(&self, panel: usize, gate: &Gate, mut answers: Answers) -> Context {
        let line = Line {
            world: self.clone(),
            place: panel,
            gate: gate.clone(),
        };
        let desk = Desk {
            store: self.store.clone(),
            gate: gate.clone(),
            plant: self.plant,
        };
        answers.allow_mass_changes |= self.plant == Some(Plant::SkipsBrakes);
        let rest = if self.plant == Some(Plant::DeletesAtOnce) {
            0
        } else {
            7
        };
        Context::builder(line, desk)
            .clock(self.clock.clone())
            .panel_name(PANELS[panel])
            .policy(self.policy())
            .answers(answers)
            .cleanup_after(TimeDelta::days(rest))
            .build()
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        if let Some(hours) = self.setup.extend_after {
            policy.panel_behind = PanelBehind::Extend;
            policy.extend_after = TimeDelta::hours(hours);
        }
        if self.setup.disables {
            policy.cleanup = CleanupAction::Disable;
        }
        policy
    }
}

/// The output of a future that never waits, or none where the process died at one of its calls.
pub(super) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
