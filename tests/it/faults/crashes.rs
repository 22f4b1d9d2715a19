//! A process that is killed between any two of its steps, and the run after it.

use std::collections::{BTreeMap, BTreeSet};

use marzban_sync_core::failpoints;
use marzban_sync_core::report::Job;

use super::process::Process;
use super::table::Row;
use super::town::{State, Town};
use super::work::{Rules, Work};

/// What is special about a town before its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Usual,
    /// The panel has none of those whom a cleanup looks at.
    AllGone,
    /// A panel user that is behind is extended at once.
    Extending,
    /// A cleanup disables.
    Disabling,
    /// A sync has run, and is undone.
    Undoing,
}

/// Settings beside the usual one, and whose failpoints they are for.
const OTHERS: [(Work, Setting); 4] = [
    (Work::Job(Job::CleanupExpiredMarzbanUsers), Setting::AllGone),
    (Work::Job(Job::CleanupExpiredMarzbanUsers), Setting::Disabling),
    (Work::Job(Job::SyncSubscriptionsFromMarzban), Setting::Extending),
    (Work::Undo, Setting::Undoing),
];

impl Setting {
    async fn prepare(self, town: &mut Town) {
        match self {
            Self::Usual => {}
            Self::AllGone => town.lose_all_ended(),
            Self::Extending => town.rules = Rules::Extending,
            Self::Disabling => town.rules = Rules::Disabling,
            Self::Undoing => town.sync_to_undo().await,
        }
    }
}

/// Where a process is killed, and how everything is at the end of a run that is not.
#[derive(Clone)]
pub(super) struct Crash {
    pub(super) work: Work,
    pub(super) failpoint: String,
    pub(super) time: u32,
    pub(super) setting: Setting,
    pub(super) expected: State,
    /// The same when those from whom something is taken pay before the run that brings it to its end.
    expected_if_paid: State,
}

impl Crash {
    pub(super) fn place(&self) -> String {
        let Self {
            failpoint,
            time,
            setting,
            ..
        } = self;
        format!("{failpoint}, time {time}, {setting:?}")
    }

    /// Makes a process stop dead at the failpoint.
    pub(super) async fn stop_there(&self, town: &mut Town) -> Process {
        self.setting.prepare(town).await;
        let mut process = Process::start(town, self.work, Some((&self.failpoint, self.time)));
        process.until_there().await;
        process
    }

    /// Between the crash and the next run somebody pays, and if `all_pay` those too from whom something was taken.
    pub(super) async fn play(&self, all_pay: bool, town: &mut Town) -> Row {
        let place = format!(
            "after a crash at {} of {}, paid: {all_pay}",
            self.place(),
            self.work
        );
        self.stop_there(town).await.kill().await;
        town.until_the_lock_is_free().await;
        town.assert_traced(&place).await;
        town.pay_later().await;
        if all_pay {
            town.pay_after_all().await;
        }
        let deletions_before = town.bot.panel.count("DELETE", "/api/user/ended");
        let next = town.run(self.work).await;
        assert!(next.is_ok(), "{place}: {}", next.said);

        town.until_the_lock_is_free().await;
        let outcomes = town.outcomes(self.work).await;
        assert_eq!(outcomes, self.expected_outcomes(), "{place}");
        if all_pay {
            // What is remembered depends on whether the payment came before or after the change.
            let state = town.state().await.without_agreements();
            state.assert_is(&self.expected_if_paid, &place);
            town.assert_traced(&place).await;
        } else {
            town.state().await.assert_is(&self.expected, &place);
            town.writes_nothing_more(self.work, &place).await;
        }
        let deletions = town.bot.panel.count("DELETE", "/api/user/ended") - deletions_before;
        let mut words = next.words;
        words.extend(outcomes.contains("abandoned").then(|| "abandoned".to_owned()));
        Row {
            fault: if all_pay {
                "killed; then who was to lose something pays".to_owned()
            } else {
                "killed".to_owned()
            },
            place: self.place(),
            work: self.work,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions() + if all_pay { deletions } else { 0 },
            said: format!("history: {outcomes}; the next run: {}", next.said),
            words,
        }
    }

    /// A run that had noted its beginning, and not its end, is found abandoned.
    fn expected_outcomes(&self) -> &'static str {
        if self.work == Work::Undo {
            return "none";
        }
        match self.failpoint.as_str() {
            "job_run.before_verify_schema"
            | "job_run.after_verify_schema"
            | "job_run.before_lock"
            | "job_run.after_lock"
            | "job_run.before_begin_run" => "completed",
            "job_run.after_finish_run" | "job_run.before_release" | "job_run.after_release" => {
                "completed, completed"
            }
            _ => "abandoned, completed",
        }
    }
}

/// Every time that each job reaches each failpoint, seen by runs that are not killed; in another setting than the usual
/// one, from the first place on that the usual one has not.
pub(super) async fn all(town: &mut Town) -> Vec<Crash> {
    let mut crashes = Vec::new();
    for job in Job::ALL {
        crashes.extend(of(town, Work::Job(job), Setting::Usual).await);
    }
    let usual: BTreeSet<String> = crashes.iter().map(|crash| crash.failpoint.clone()).collect();
    for (work, setting) in OTHERS {
        let others = of(town, work, setting).await.into_iter();
        crashes.extend(others.skip_while(|crash| usual.contains(&crash.failpoint)));
    }

    let reached: BTreeSet<&str> = crashes.iter().map(|crash| crash.failpoint.as_str()).collect();
    let all: BTreeSet<&str> = failpoints::ALL.iter().copied().collect();
    assert_eq!(reached, all, "the failpoints that some job reaches");
    crashes
}

async fn of(town: &mut Town, work: Work, setting: Setting) -> Vec<Crash> {
    town.rebuild(work).await;
    setting.prepare(town).await;
    town.pay_later().await;
    let mut reached = Process::start(town, work, None).lines().await;
    assert_eq!(
        reached.pop().as_deref(),
        Some("done"),
        "{work}, {setting:?}: {reached:?}"
    );
    let when = format!("{work}, {setting:?}, without a fault");
    let expected = town.state().await;
    town.until_the_lock_is_free().await;
    town.writes_nothing_more(work, &when).await;
    let expected_if_paid = paid(town, work, setting).await;
    let mut times = BTreeMap::new();
    let crash = |failpoint: String| {
        let time = times.entry(failpoint.clone()).or_insert(0);
        *time += 1;
        Crash {
            work,
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
async fn paid(town: &mut Town, work: Work, setting: Setting) -> State {
    town.rebuild(work).await;
    setting.prepare(town).await;
    town.pay_later().await;
    town.pay_after_all().await;
    let ran = town.run(work).await;
    assert!(ran.is_ok(), "{work}, {setting:?}, paid: {}", ran.said);
    town.state().await.without_agreements()
}
