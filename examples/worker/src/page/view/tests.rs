//! Each row of data is a state of the history, and the words that the page has for it.

use marzban_sync_core::run::RunId;
use serde_json::json;

use super::*;
use crate::page::load::{Runs, Waiting};
use crate::page::words::reason;
use crate::task::SyncTask;

const JOB: Job = Job::SyncSubscriptionsFromMarzban;

fn now() -> DateTime<Utc> {
    "2025-09-15T12:40:00Z".parse().unwrap()
}

fn record(time: &str, outcome: RunStatus, report: Value) -> RunRecord {
    let started_at = format!("2025-09-15T{time}Z").parse().unwrap();
    RunRecord {
        id: RunId(1),
        job: JOB,
        panel: "de".to_owned(),
        started_at,
        finished_at: (outcome != RunStatus::Running).then(|| started_at + TimeDelta::seconds(12)),
        status: outcome,
        report: Some(report),
    }
}

#[test]
fn an_outcome_is_told_in_words() {
    let half_an_hour = TimeDelta::minutes(30);
    for (record, tone, words) in [
        (
            record("12:20:00", RunStatus::Running, json!(null)),
            Tone::Busy,
            "under way",
        ),
        (
            record("12:00:00", RunStatus::Running, json!(null)),
            Tone::Warning,
            "under way for longer than 30 minutes: its process may have died",
        ),
        (
            record("12:00:00", RunStatus::Completed, json!({"errors": 0})),
            Tone::Good,
            "completed",
        ),
        (
            record("12:00:00", RunStatus::Completed, json!({"errors": 2})),
            Tone::Warning,
            "completed, with errors",
        ),
        (
            record("12:00:00", RunStatus::Stopped, json!({"stopped": "safety"})),
            Tone::Bad,
            "stopped by a safety limit",
        ),
        (
            record("12:00:00", RunStatus::Stopped, json!({"stopped": "deadline"})),
            Tone::Bad,
            "stopped: its time was up",
        ),
        (
            record("12:00:00", RunStatus::Stopped, json!({"stopped": "cancelled"})),
            Tone::Warning,
            "stopped: it was cancelled",
        ),
        (
            record("12:00:00", RunStatus::Stopped, json!([])),
            Tone::Bad,
            "stopped",
        ),
        (
            record("12:00:00", RunStatus::Failed, json!({"error": "x"})),
            Tone::Bad,
            "failed",
        ),
        (
            record("12:00:00", RunStatus::Abandoned, json!(null)),
            Tone::Warning,
            "abandoned: its process died",
        ),
    ] {
        let run = run(&record, half_an_hour, now());
        assert_eq!(run.state, State::new(tone, words), "{record:?}");
        let took = (record.status != RunStatus::Running).then_some("12s");
        assert_eq!(run.took.as_deref(), took);
    }
}

#[test]
fn a_job_is_late_by_the_librarys_rule_and_the_page_counts_what_was_missed() {
    // Every two hours, and each run may take 30 minutes.
    let schedule = Schedule::default_of(JOB);
    for (good, at, words) in [
        (Some("10:00:07"), "14:29:59", "fresh"),
        (Some("10:00:07"), "14:30:00", "late: 2 runs were missed"),
        (Some("12:00:00"), "16:29:59", "fresh"),
        (Some("04:00:07"), "12:40:00", "late: 4 runs were missed"),
        (None, "12:40:00", "never done"),
    ] {
        let time = |time: &str| format!("2025-09-15T{time}Z").parse::<DateTime<Utc>>().unwrap();
        let state = freshness(good.map(time), &schedule, time(at));
        assert_eq!(state.words, words, "{good:?} at {at}");
    }
}

#[test]
fn a_job_is_judged_by_how_its_last_run_ended() {
    let schedule = Schedule::default_of(JOB);
    let since = now() - TimeDelta::hours(1);
    let of = |outcome, report| {
        status(
            Some(&record("12:00:00", outcome, report)),
            &schedule,
            since,
            now(),
        )
    };
    for (outcome, report, expected) in [
        (RunStatus::Running, json!(null), HealthStatus::Healthy),
        (RunStatus::Completed, json!({"errors": 2}), HealthStatus::Healthy),
        (
            RunStatus::Stopped,
            json!({"stopped": "cancelled"}),
            HealthStatus::Healthy,
        ),
        (
            RunStatus::Stopped,
            json!({"stopped": "safety"}),
            HealthStatus::Failed,
        ),
        (RunStatus::Failed, json!(null), HealthStatus::Failed),
    ] {
        assert_eq!(of(outcome, report), expected, "{outcome:?}");
    }
    assert_eq!(status(None, &schedule, since, now()), HealthStatus::Healthy);
    assert_eq!(
        status(None, &schedule, since, now() + TimeDelta::hours(4)),
        HealthStatus::Late
    );
}

#[test]
fn each_job_has_its_own_figures() {
    let report = json!({"synced": 1, "updated": 2, "missing": 3, "cleaned": 4, "skipped": 5, "errors": 6, "total": 1234,
        "withheld": 7, "stats": {"total_user": 8, "users_active": 9, "online_users": null}});
    let text = |job| {
        let figures = figures(job, &report).into_iter();
        figures
            .map(|(name, number)| format!("{number} {name}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (job, figures) in [
        (JOB, "1 synced, 6 errors, 1,234 total, 7 withheld"),
        (
            Job::SyncUserStatusFromMarzban,
            "2 updated, 3 missing, 6 errors, 1,234 total, 7 withheld",
        ),
        (
            Job::CleanupExpiredMarzbanUsers,
            "4 cleaned, 5 skipped, 6 errors, 1,234 total, 7 withheld",
        ),
        (Job::GetMarzbanSystemStats, "8 users, 9 active, 7 withheld"),
    ] {
        assert_eq!(text(job), figures);
    }
    assert!(figures(JOB, &json!("odd")).is_empty());
}

#[test]
fn problems_of_any_shape_are_told_as_far_as_they_are_understood() {
    let report = json!({"problems": [
        {"telegram_id": 17, "name": "user17", "reason": "missing"},
        {"name": "<b>", "reason": "of another version", "detail": "x"},
        5,
    ]});
    let problems = problems(&report);
    assert_eq!(reason(&problems[0].reason), "the panel does not have the user");
    assert_eq!(
        problems[1],
        Problem {
            name: "<b>".to_owned(),
            telegram_id: None,
            reason: "of another version".to_owned(),
            detail: Some("x".to_owned()),
        }
    );
    assert_eq!(problems[2].name, "");
}

fn view(facts: &Facts, names: &[&str]) -> Page {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    page(
        facts,
        &names,
        &Schedule::defaults(),
        (Selection::default(), None),
        now(),
    )
}

#[test]
fn a_new_board_says_that_nothing_has_run() {
    let page = view(&Facts::default(), &["de", "nl"]);
    let states: Vec<&str> = page
        .panels
        .iter()
        .map(|panel| panel.state.words.as_str())
        .collect();
    assert_eq!(states, ["nothing has run yet"; 2]);
    assert!(
        page.panels
            .iter()
            .all(|panel| panel.is_open && panel.jobs.len() == 4)
    );
    assert_eq!(page.charted.as_deref(), Some("de"));
    assert!(page.charts.is_empty() && page.plans.is_empty());
}

#[test]
fn a_panel_that_only_the_history_knows_is_shown_but_not_ours() {
    let facts = Facts {
        runs: Runs {
            latest: vec![record("12:00:00", RunStatus::Completed, json!({}))],
            ..Runs::default()
        },
        ..Facts::default()
    };
    let page = view(&facts, &["nl"]);
    let panels: Vec<_> = page
        .panels
        .iter()
        .map(|panel| (panel.name.as_str(), panel.is_ours))
        .collect();
    assert_eq!(panels, [("nl", true), ("de", false)]);
}

#[test]
fn of_many_panels_those_in_trouble_are_unfolded() {
    let names: Vec<String> = (1..=50).map(|number| format!("p{number}")).collect();
    let latest = |outcome| {
        let of = |name: &String| {
            Job::ALL.map(|job| RunRecord {
                job,
                panel: name.clone(),
                // Monday's cleanup is at one, and nothing else was due since twelve.
                ..record("12:31:00", outcome, json!({}))
            })
        };
        names.iter().flat_map(of).collect::<Vec<_>>()
    };
    let mut facts = Facts::default();
    facts.runs.completed = latest(RunStatus::Completed);
    facts.runs.latest = latest(RunStatus::Completed);
    facts.runs.latest[0].status = RunStatus::Failed;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = view(&facts, &names);
    let open: Vec<&str> = page
        .panels
        .iter()
        .filter(|panel| panel.is_open)
        .map(|panel| panel.state.words.as_str())
        .collect();
    assert_eq!(open, ["Sync subscriptions: failed"]);
    assert_eq!(page.panels[1].state, State::new(Tone::Good, "all fresh"));
}

#[test]
fn a_job_in_the_queue_is_said_to_be_there() {
    let waiting = |is_running| Waiting {
        task: SyncTask::manual(JOB, "de", false),
        is_running,
    };
    for (waiting, expected) in [
        (vec![], None),
        (vec![waiting(false)], Some("queued")),
        (vec![waiting(false), waiting(true)], Some("running")),
    ] {
        let facts = Facts {
            waiting,
            ..Facts::default()
        };
        let page = view(&facts, &["de", "nl"]);
        assert_eq!(page.panels[0].jobs[0].waiting, expected);
        assert_eq!(page.panels[1].jobs[0].waiting, None);
    }
}

#[test]
fn a_task_is_followed_from_the_queue_to_its_end() {
    let words = |status: &str, has_attempts_left, result: Value| {
        let task = TaskState {
            task: SyncTask::manual(JOB, "de", false),
            status: status.to_owned(),
            has_attempts_left,
            result: Some(result),
        };
        task_words(&task).words
    };
    for (status, has_attempts_left, expected) in [
        ("Pending", true, "queued"),
        ("Queued", true, "running"),
        ("Running", true, "running"),
        ("Done", true, "done"),
        ("Failed", true, "failed, and will be tried again (no answer)"),
        ("Failed", false, "failed (no answer)"),
        ("Killed", false, "ended by the queue"),
    ] {
        assert_eq!(
            words(status, has_attempts_left, json!({"Err": "no answer"})),
            expected
        );
    }
}
