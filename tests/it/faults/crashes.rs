//! A process that is killed between any two of its steps, and the run after it.

use std::collections::{BTreeMap, BTreeSet};

use marzban_sync_core::failpoints;
use marzban_sync_core::report::Job;

use super::Row;
use super::process::Process;
use super::town::{State, Town, said};

/// What is special about a town before its run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    Usual,
    /// The panel has none of those whom a cleanup looks at.
    AllGone,
    /// Everybody was read an hour ago.
    ReadLately,
}

impl Setting {
    async fn prepare(self, town: &Town) {
        match self {
            Self::Usual => {}
            Self::AllGone => town.lose_all_ended(),
            Self::ReadLately => town.note_a_full_read().await,
        }
    }
}

/// Where a process is killed, and how everything is at the end of a run that is not.
#[derive(Clone)]
pub(super) struct Crash {
    pub(super) job: Job,
    pub(super) failpoint: String,
    pub(super) time: u32,
    pub(super) setting: Setting,
    pub(super) expected: State,
    /// The same when those from whom something is taken pay before the run that brings it to its end.
    expected_if_paid: State,
}

impl Crash {
    pub(super) fn place(&self) -> String {
        let Self { failpoint, time, .. } = self;
        if *time > 1 {
            format!("`{failpoint}`, time {time}")
        } else {
            format!("`{failpoint}`")
        }
    }

    /// Makes a process stop dead at the failpoint.
    pub(super) async fn stop_there(&self, town: &Town) -> Process {
        self.setting.prepare(town).await;
        let mut process = Process::start(town, self.job, Some((&self.failpoint, self.time)));
        process.until_there().await;
        process
    }

    /// Between the crash and the next run somebody pays, and if `all_pay` those too from whom something was taken.
    pub(super) async fn play(&self, all_pay: bool, town: &mut Town) -> Row {
        self.stop_there(town).await.kill().await;
        town.until_the_lock_is_free().await;
        town.pay_later().await;
        if all_pay {
            town.pay_after_all().await;
        }
        let deletions_before = town.bot.panel.count("DELETE", "/api/user/ended");
        let result = town.run(self.job).await;

        town.until_the_lock_is_free().await;
        let place = format!(
            "after a crash at {} of {}, paid: {all_pay}",
            self.place(),
            self.job
        );
        let expected = if all_pay {
            &self.expected_if_paid
        } else {
            &self.expected
        };
        town.state().await.assert_is(expected, &place);
        let deletions = town.bot.panel.count("DELETE", "/api/user/ended") - deletions_before;
        let outcomes = town.outcomes(self.job).await;
        assert_eq!(outcomes, self.expected_outcomes(), "{place}");
        Row {
            fault: if all_pay {
                "killed; then who was to lose something pays".to_owned()
            } else {
                "killed".to_owned()
            },
            place: self.place(),
            job: self.job,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions() + if all_pay { deletions } else { 0 },
            said: format!("history: {outcomes}; the next run: {}", said(&result)),
        }
    }

    /// A run that had noted its beginning, and not its end, is found abandoned.
    fn expected_outcomes(&self) -> &'static str {
        match self.failpoint.as_str() {
            "session.before_verify_schema"
            | "session.after_verify_schema"
            | "session.before_lock"
            | "session.after_lock"
            | "session.before_begin_run" => "completed",
            "session.after_finish_run" | "session.before_release" | "session.after_release" => {
                "completed, completed"
            }
            _ => "abandoned, completed",
        }
    }
}

/// Every time that each job reaches each failpoint, seen by runs that are not killed.
pub(super) async fn all(town: &mut Town) -> Vec<Crash> {
    let mut crashes = Vec::new();
    for job in Job::ALL {
        crashes.extend(of(town, job, Setting::Usual).await);
    }
    let reached: BTreeSet<String> = crashes.iter().map(|crash| crash.failpoint.clone()).collect();
    for (job, setting) in [
        (Job::CleanupExpiredMarzbanUsers, Setting::AllGone),
        (Job::SyncUserStatusFromMarzban, Setting::ReadLately),
    ] {
        let others = of(town, job, setting).await.into_iter();
        crashes.extend(others.filter(|crash| !reached.contains(&crash.failpoint)));
    }

    let reached: BTreeSet<&str> = crashes.iter().map(|crash| crash.failpoint.as_str()).collect();
    let all: BTreeSet<&str> = failpoints::ALL.iter().copied().collect();
    assert_eq!(reached, all, "the failpoints that some job reaches");
    crashes
}

async fn of(town: &mut Town, job: Job, setting: Setting) -> Vec<Crash> {
    town.rebuild(job).await;
    setting.prepare(town).await;
    town.pay_later().await;
    let mut reached = Process::start(town, job, None).lines().await;
    assert_eq!(reached.pop().as_deref(), Some("done"), "{job}: {reached:?}");
    let expected = town.state().await;
    let expected_if_paid = paid(town, job, setting).await;
    let mut times = BTreeMap::new();
    let crash = |failpoint: String| {
        let time = times.entry(failpoint.clone()).or_insert(0);
        *time += 1;
        Crash {
            job,
            time: *time,
            failpoint,
            setting,
            expected: expected.clone(),
            expected_if_paid: expected_if_paid.clone(),
        }
    };
    reached.into_iter().map(crash).collect()
}

/// The end of a run that is not killed, and before which all pay.
async fn paid(town: &mut Town, job: Job, setting: Setting) -> State {
    town.rebuild(job).await;
    setting.prepare(town).await;
    town.pay_later().await;
    town.pay_after_all().await;
    let result = town.run(job).await;
    assert!(result.is_ok(), "{job}: {}", said(&result));
    town.state().await
}
