//! A report is read back as what it was: bots and dashboards of other processes have nothing else.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind};
use marzban_sync_core::outcome::{Outcome, RunStatus, Stopped};
use marzban_sync_core::plan::{Change, Reason, SubscriptionPatch, VpnConfigPatch};
use marzban_sync_core::report::{
    Changed, CleanupReport, Deletion, Ignored, KeptBecause, Problem, ProblemReason, Report, Run,
    SyncSubscriptionsReport, SyncUserStatusReport, SystemStats, SystemStatsReport,
};
use serde_json::Value;

use crate::given::{day, now, subscribed};

/// A run of which every field has something in it.
fn full_run() -> Run {
    let account = subscribed("active", day(5));
    let mut change = Change::of(&account);
    change.vpn_config = VpnConfigPatch {
        is_active: Some(false),
        traffic_used: Some(7),
        last_connected_at: Some(day(-1)),
    };
    change.subscription = SubscriptionPatch {
        status: Some("grace".into()),
        end_date: Some(EndDate::At(day(30))),
    };
    change.also_expired = account.subscription.iter().cloned().collect();
    change.reasons = vec![Reason::Extended, Reason::Disabled];
    Run {
        finished_at: now() + TimeDelta::seconds(3),
        changes: BTreeMap::from([(Reason::Extended, 1)]),
        problems: vec![Problem::of(
            &account,
            ProblemReason::PanelBehind,
            Some("why".to_owned()),
        )],
        problems_left_out: 2,
        reasons: BTreeMap::from([(ProblemReason::PanelBehind, 3)]),
        changed: vec![Changed {
            telegram_id: None,
            username: "user1".to_owned(),
            what: "end_date".into(),
            from: None,
            to: Some("2025-09-15T12:00:00Z".to_owned()),
            reason: "extended".to_owned(),
        }],
        changed_left_out: 4,
        extended_in_panel: 5,
        ignored: Ignored {
            statuses: BTreeMap::from([("grace".to_owned(), 6)]),
            panels: BTreeMap::from([("germany".to_owned(), 7)]),
        },
        time_zone: Some("3 hours".to_owned()),
        kept_for_another_panel: 8,
        stopped: Some(Stopped::Safety),
        withheld: 9,
        withheld_because: Some("too many".to_owned()),
        unreached: 10,
        plan: vec![change],
        ..Run::new("default", now(), true)
    }
}

/// Each job's report, once with everything and once with nothing.
fn reports() -> Vec<Report> {
    let runs = || [full_run(), Run::new("default", now(), false)];
    let mut reports = vec![Report::GetMarzbanSystemStats(SystemStatsReport {
        timestamp: now(),
        panel: "default".to_owned(),
        stats: SystemStats {
            cpu_usage: 12.5,
            online_users: Some(3),
            ..SystemStats::default()
        },
    })];
    for run in runs() {
        reports.push(Report::SyncSubscriptionsFromMarzban(SyncSubscriptionsReport {
            synced: 1,
            errors: 2,
            total: 3,
            run,
        }));
    }
    for run in runs() {
        reports.push(Report::SyncUserStatusFromMarzban(SyncUserStatusReport {
            updated: 1,
            missing: 2,
            errors: 3,
            total: 4,
            run,
        }));
    }
    for run in runs() {
        reports.push(Report::CleanupExpiredMarzbanUsers(CleanupReport {
            cleaned: 1,
            skipped: 2,
            errors: 3,
            total: 6,
            skipped_because: BTreeMap::from([(KeptBecause::PendingInvoice, 2)]),
            deletions: vec![Deletion {
                telegram_id: Some(1),
                name: "user1".to_owned(),
            }],
            run,
        }));
    }
    reports
}

#[test]
fn a_report_that_is_read_back_is_the_report_that_was_written() {
    for report in reports() {
        let json = serde_json::to_string(&report).unwrap();
        let read: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(read.outcome(), report.outcome());
    }
}

#[test]
fn no_field_of_a_full_report_is_left_out() {
    let json = serde_json::to_value(full_run()).unwrap();
    let empty = serde_json::to_value(Run::new("default", now(), true)).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().len();
    assert!(fields(&json) > fields(&empty));
    let is_nothing = |value: &Value| value.is_null() || value == &Value::from(0) || value == &Value::from("");
    let left_out: Vec<&String> = json
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| is_nothing(value))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(left_out, Vec::<&String>::new());
}

#[test]
fn a_report_of_a_later_version_is_read_with_what_this_one_knows() {
    let json = r#"{"job":"sync_user_status_from_marzban","updated":1,"missing":0,"errors":0,"total":1,"news":true,
        "panel":"default","started_at":"2025-08-16T12:00:00Z","finished_at":"2025-08-16T12:00:03Z","dry_run":false,
        "changes":{"works":1},"problems":[],"reasons":{},"changed":[],"kept_for_another_panel":0,"withheld":0,
        "unreached":0}"#;
    let report: Report = serde_json::from_str(json).unwrap();
    assert_eq!(
        report.run().unwrap().changes,
        BTreeMap::from([(Reason::Works, 1)])
    );
    assert_eq!(report.outcome(), Outcome::Completed);
    let unknown = json.replace("sync_user_status_from_marzban", "make_coffee");
    assert!(serde_json::from_str::<Report>(&unknown).is_err());
}

#[test]
fn an_outcome_is_a_status_of_the_history_unless_nothing_was_begun() {
    let table = [
        (Outcome::Completed, Some(RunStatus::Completed), false, false),
        (Outcome::Safety, Some(RunStatus::Stopped), false, true),
        (Outcome::Deadline, Some(RunStatus::Stopped), true, true),
        (Outcome::Cancelled, Some(RunStatus::Stopped), true, false),
        (Outcome::AlreadyRunning, None, true, false),
        (Outcome::Panel, Some(RunStatus::Failed), true, true),
        (Outcome::Store, Some(RunStatus::Failed), true, true),
        (Outcome::TimedOut, Some(RunStatus::Abandoned), true, true),
        (Outcome::Panicked, Some(RunStatus::Abandoned), true, true),
    ];
    assert_eq!(table.map(|(outcome, ..)| outcome), Outcome::ALL);
    for (outcome, status, is_retryable, is_failure) in table {
        assert_eq!(outcome.status(), status, "{outcome}");
        assert_eq!(outcome.is_retryable(), is_retryable, "{outcome}");
        assert_eq!(outcome.is_failure(), is_failure, "{outcome}");
    }
}

#[test]
fn an_outage_is_tried_again_and_a_refusal_is_not() {
    assert!(PanelError::new(PanelErrorKind::Unavailable, "x").is_retryable());
    assert!(!PanelError::new(PanelErrorKind::Refused, "x").is_retryable());
    assert!(StoreError::new(StoreErrorKind::Contended, "x").is_retryable());
    assert!(!StoreError::new(StoreErrorKind::Schema, "x").is_retryable());
}
