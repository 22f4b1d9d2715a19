//! Reading the history, and forgetting what is old.

use chrono::TimeDelta;
use serde_json::json;

use super::{Fixture, days};
use crate::model::outcome::RunStatus;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord};
use crate::port::journal::Journal;

const STATUS: Job = Job::SyncUserStatusFromMarzban;
const SUBSCRIPTIONS: Job = Job::SyncSubscriptionsFromMarzban;

/// A run that began so many days from now and ended an hour later, if it ended.
async fn run(journal: &dyn Journal, job: Job, panel: &str, day: i64, outcome: RunStatus) -> RunId {
    let id = journal
        .begin_run(job, panel, days(day))
        .await
        .expect("the run begins");
    if outcome != RunStatus::Running {
        journal
            .finish_run(id, outcome, &json!({"day": day}), days(day) + TimeDelta::hours(1))
            .await
            .expect("the run ends");
    }
    id
}

/// The ids of all runs, the latest first.
pub(super) async fn all_runs(journal: &dyn Journal) -> Vec<RunRecord> {
    journal
        .runs(&RunQuery::latest(1_000))
        .await
        .expect("the history is read")
}

async fn ids(journal: &dyn Journal, query: RunQuery) -> Vec<RunId> {
    let runs = journal.runs(&query).await.expect("the history is read");
    runs.into_iter().map(|run| run.id).collect()
}

/// A run that is still `running` when the next of its job and panel begins is one whose process died: it becomes
/// `abandoned`, without an end. Runs of other jobs and panels, and those that ended, stay as they are.
pub async fn a_run_left_running_is_abandoned_by_the_next(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let ended = run(&*journal, STATUS, "main", 0, RunStatus::Failed).await;
    let died = run(&*journal, STATUS, "main", 1, RunStatus::Running).await;
    let elsewhere = run(&*journal, STATUS, "second", 1, RunStatus::Running).await;
    let other_job = run(&*journal, SUBSCRIPTIONS, "main", 1, RunStatus::Running).await;
    let next = run(&*journal, STATUS, "main", 2, RunStatus::Completed).await;
    let mut runs: Vec<_> = all_runs(&*journal)
        .await
        .into_iter()
        .map(|run| (run.id, run.status, run.finished_at.is_some()))
        .collect();
    runs.sort_by_key(|(id, ..)| *id);
    assert_eq!(
        runs,
        [
            (ended, RunStatus::Failed, true),
            (died, RunStatus::Abandoned, false),
            (elsewhere, RunStatus::Running, false),
            (other_job, RunStatus::Running, false),
            (next, RunStatus::Completed, true),
        ]
    );
}

/// Runs are read the latest first, which is the one that began last whatever its clock said, not more than were asked for, and of the panel, job and outcome that were asked
/// for.
pub async fn runs_are_read_the_latest_first_and_by_what_is_asked(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let third = run(&*journal, STATUS, "main", 3, RunStatus::Completed).await;
    let first = run(&*journal, STATUS, "main", 1, RunStatus::Failed).await;
    let second = run(&*journal, SUBSCRIPTIONS, "main", 2, RunStatus::Stopped).await;
    let same_moment = run(&*journal, STATUS, "second", 3, RunStatus::Completed).await;
    let latest = RunQuery::latest(10);
    assert_eq!(
        ids(&*journal, latest.clone()).await,
        [same_moment, second, first, third]
    );
    assert_eq!(ids(&*journal, RunQuery::latest(2)).await, [same_moment, second]);
    assert_eq!(ids(&*journal, RunQuery::latest(0)).await, []);
    let of_main = RunQuery {
        panel: Some("main".to_owned()),
        ..latest.clone()
    };
    assert_eq!(ids(&*journal, of_main.clone()).await, [second, first, third]);
    let of_status = RunQuery {
        job: Some(STATUS),
        ..of_main.clone()
    };
    assert_eq!(ids(&*journal, of_status).await, [first, third]);
    let stopped = RunQuery {
        status: Some(RunStatus::Stopped),
        ..of_main
    };
    assert_eq!(ids(&*journal, stopped).await, [second]);
    let nowhere = RunQuery {
        panel: Some("Main".to_owned()),
        ..latest
    };
    assert_eq!(ids(&*journal, nowhere).await, []);
}

/// Of each panel and job the latest run is found, by panel and job; and given an outcome, the latest that ended so.
pub async fn the_latest_run_of_each_panel_and_job_is_found(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    assert_eq!(journal.latest_runs(None).await.expect("the history is read"), []);
    let good = run(&*journal, STATUS, "main", 1, RunStatus::Completed).await;
    let failed = run(&*journal, STATUS, "main", 2, RunStatus::Failed).await;
    let subscriptions = run(&*journal, SUBSCRIPTIONS, "main", 1, RunStatus::Completed).await;
    let elsewhere = run(&*journal, STATUS, "Second", 1, RunStatus::Stopped).await;
    let mut found = Vec::new();
    for outcome in [None, Some(RunStatus::Completed), Some(RunStatus::Abandoned)] {
        let runs = journal.latest_runs(outcome).await.expect("the history is read");
        found.push(runs.into_iter().map(|run| run.id).collect::<Vec<_>>());
    }
    assert_eq!(
        found,
        [
            vec![elsewhere, subscriptions, failed],
            vec![subscriptions, good],
            vec![]
        ]
    );
}

/// A run whose clock was years ahead is not for years the latest, nor the last good one that is kept.
pub async fn a_clock_that_ran_ahead_hides_no_later_run(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    run(&*journal, STATUS, "main", 4_000, RunStatus::Completed).await;
    let good = run(&*journal, STATUS, "main", 1, RunStatus::Completed).await;
    let failed = run(&*journal, STATUS, "main", 2, RunStatus::Failed).await;
    for (outcome, expected) in [(None, failed), (Some(RunStatus::Completed), good)] {
        let latest = journal.latest_runs(outcome).await.expect("the history is read");
        assert_eq!(latest.iter().map(|run| run.id).collect::<Vec<_>>(), [expected]);
    }
    let forgotten = journal.prune_history("main", days(30)).await;
    assert_eq!(forgotten.expect("the history is shortened"), 1);
    let kept = journal
        .latest_runs(Some(RunStatus::Completed))
        .await
        .expect("the history is read");
    assert_eq!(kept.iter().map(|run| run.id).collect::<Vec<_>>(), [good]);
}

/// What is older than a moment is forgotten, for one panel; but runs under way stay, and so does the last good run of
/// each job, however old, so that it can always be told how stale a panel is.
pub async fn old_history_is_forgotten_but_for_the_last_good_runs(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let stats = SystemStats {
        version: "0.8.4".to_owned(),
        ..SystemStats::default()
    };
    run(&*journal, STATUS, "main", -30, RunStatus::Completed).await;
    let last_good = run(&*journal, STATUS, "main", -20, RunStatus::Completed).await;
    run(&*journal, STATUS, "main", -19, RunStatus::Failed).await;
    let under_way = run(&*journal, SUBSCRIPTIONS, "main", -15, RunStatus::Running).await;
    let elsewhere = run(&*journal, STATUS, "second", -30, RunStatus::Failed).await;
    let at_the_moment = run(&*journal, STATUS, "main", -10, RunStatus::Failed).await;
    for (panel, day) in [("main", -11), ("main", -10), ("second", -11)] {
        journal
            .record_system_stats(panel, &stats, days(day))
            .await
            .expect("the figures are recorded");
    }
    let forgotten = journal.prune_history("main", days(-10)).await;
    assert_eq!(forgotten.expect("the history is shortened"), 3);
    let mut kept = ids(&*journal, RunQuery::latest(10)).await;
    kept.sort();
    assert_eq!(kept, [last_good, under_way, elsewhere, at_the_moment]);
    for (panel, kept) in [("main", days(-10)), ("second", days(-11))] {
        let stats = journal
            .system_stats(panel, days(-365))
            .await
            .expect("the figures are read");
        let collected: Vec<_> = stats.iter().map(|record| record.collected_at).collect();
        assert_eq!(collected, [kept], "{panel}");
    }
    let again = journal.prune_history("main", days(-10)).await;
    assert_eq!(again.expect("the history is shortened"), 0);
}
