//! The history of runs, and the figures of a panel.

use serde_json::json;

use super::history::all_runs;
use super::{Fixture, days, now};
use crate::model::outcome::RunStatus;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunRecord, SystemStatsRecord};
use crate::port::error::StoreErrorKind;

/// A run is recorded as `running` when it begins, and with its end, outcome and report when it ends.
pub async fn a_run_is_recorded_from_begin_to_end(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let job = Job::SyncSubscriptionsFromMarzban;
    let id = journal
        .begin_run(job, "main", now())
        .await
        .expect("the run begins");
    let running = RunRecord {
        id,
        job,
        panel: "main".to_owned(),
        started_at: now(),
        finished_at: None,
        status: RunStatus::Running,
        report: None,
    };
    assert_eq!(
        all_runs(&*fixture.journal()).await,
        std::slice::from_ref(&running)
    );

    let report =
        json!({"synced": 15, "errors": 2, "names": ["Ünïcødé", "O'Brien", "new\nline"], "none": null});
    journal
        .finish_run(id, RunStatus::Completed, &report, days(1))
        .await
        .expect("the run ends");
    let finished = RunRecord {
        finished_at: Some(days(1)),
        status: RunStatus::Completed,
        report: Some(report),
        ..running
    };
    assert_eq!(all_runs(&*fixture.journal()).await, [finished]);
}

/// Runs have ids of their own, and each ends as itself.
pub async fn each_run_ends_as_itself(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let mut begun = Vec::new();
    for job in Job::ALL {
        begun.push(
            journal
                .begin_run(job, "main", now())
                .await
                .expect("the run begins"),
        );
    }
    let outcomes = [RunStatus::Completed, RunStatus::Stopped, RunStatus::Failed];
    for (id, outcome) in begun.iter().zip(outcomes).rev() {
        journal
            .finish_run(*id, outcome, &json!({}), days(1))
            .await
            .expect("the run ends");
    }
    let mut runs = all_runs(&*fixture.journal()).await;
    runs.sort_by_key(|run| run.id);
    assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), begun);
    assert_eq!(
        runs.iter().map(|run| (run.job, run.status)).collect::<Vec<_>>(),
        [
            (Job::SyncSubscriptionsFromMarzban, RunStatus::Completed),
            (Job::SyncUserStatusFromMarzban, RunStatus::Stopped),
            (Job::CleanupExpiredMarzbanUsers, RunStatus::Failed),
            (Job::GetMarzbanSystemStats, RunStatus::Running),
        ],
    );
}

/// A run that never began cannot end: that is `Invalid`, and records nothing.
pub async fn a_run_that_never_began_cannot_end(fixture: &dyn Fixture) {
    let ended = fixture
        .journal()
        .finish_run(RunId(77), RunStatus::Completed, &json!({}), now())
        .await;
    assert_eq!(
        ended.expect_err("there is no such run").kind(),
        StoreErrorKind::Invalid
    );
    assert_eq!(all_runs(&*fixture.journal()).await, []);
}

/// The figures of a panel are recorded as they are, one row a collection, and read for one panel, the earliest first;
/// those that an old panel lacks are none.
pub async fn system_stats_are_recorded(fixture: &dyn Fixture) {
    let _store = fixture.store();
    let full = SystemStats {
        version: "0.8.4".to_owned(),
        mem_total: 8_000_000_000,
        mem_used: 3_000_000_000,
        cpu_cores: 4,
        cpu_usage: 12.5,
        total_user: 17,
        online_users: Some(0),
        users_active: 11,
        users_on_hold: Some(1),
        users_disabled: Some(2),
        users_expired: Some(3),
        users_limited: Some(4),
        incoming_bandwidth: i64::MAX,
        outgoing_bandwidth: 2,
        incoming_bandwidth_speed: 3,
        outgoing_bandwidth_speed: 4,
    };
    let old = SystemStats {
        version: "0.7.0".to_owned(),
        online_users: None,
        users_on_hold: None,
        users_disabled: None,
        users_expired: None,
        users_limited: None,
        ..full.clone()
    };
    let record = |panel: &str, day, stats: &SystemStats| SystemStatsRecord {
        panel: panel.to_owned(),
        collected_at: days(day),
        stats: stats.clone(),
    };
    let records = [
        record("main", 1, &old),
        record("main", 0, &full),
        record("second", 1, &old),
    ];
    let journal = fixture.journal();
    for record in &records {
        journal
            .record_system_stats(&record.panel, &record.stats, record.collected_at)
            .await
            .expect("the figures are recorded");
    }
    let [later, earlier, elsewhere] = records;
    let journal = fixture.journal();
    for (panel, since, expected) in [
        ("main", days(-1), vec![earlier, later.clone()]),
        ("main", days(1), vec![later]),
        ("main", days(2), vec![]),
        ("second", now(), vec![elsewhere]),
        ("third", now(), vec![]),
    ] {
        let stats = journal.system_stats(panel, since).await;
        assert_eq!(
            stats.expect("the figures are read"),
            expected,
            "{panel} since {since}"
        );
    }
}
