//! Plans that a safety limit withheld, and that wait for an operator.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunRecord;
use serde_json::Value;

use super::load::Facts;
use super::order::{Order, Right};
use super::view::{Figure, Problem, figures, problems};
use super::words::{Moment, grouped, reason};
use crate::task::SyncTask;

/// A plan that waits.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The id of its run.
    pub(crate) run: i64,
    pub(crate) job: Job,
    pub(crate) panel: String,
    pub(crate) started: Moment,
    /// Why it was withheld.
    pub(crate) because: String,
    pub(crate) figures: Vec<Figure>,
    /// The first changes, as many as were recorded.
    pub(crate) changes: Vec<Change>,
    /// For a cleanup: the accounts whose panel users would be deleted.
    pub(crate) deletions: Vec<Problem>,
    /// Recorded accounts whose two ends differ, for the operator to decide which is right.
    pub(crate) disagreements: Vec<Problem>,
    /// How many changes were withheld in all.
    pub(crate) withheld: u64,
    /// Whether a run that applies it is in the queue already.
    pub(crate) is_asked_for: bool,
    /// Whether this board may ask for one.
    pub(crate) is_ours: bool,
}

impl Plan {
    /// Returns whether the operator may decide single accounts: only the sync of subscriptions moves ends.
    pub(crate) fn can_be_answered(&self) -> bool {
        self.is_ours && !self.is_asked_for && self.job == Job::SyncSubscriptionsFromMarzban
    }
}

/// The reasons of problems that an answer can settle.
const DISAGREEMENTS: [&str; 4] = ["ends_disagree", "panel_ahead", "panel_behind", "other_user"];

/// The change that an account would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) telegram_id: Option<i64>,
    /// What, from, to.
    pub(crate) values: Vec<(&'static str, String, String)>,
    pub(crate) reasons: Vec<String>,
}

/// Whether a safety limit stopped this run.
pub(crate) fn is_withheld(run: &RunRecord) -> bool {
    run.stopped() == Some(Stopped::Safety)
}

/// Whether a good run of the same job and panel came after this one.
pub(crate) fn is_followed(run: &RunRecord, completed: &[RunRecord]) -> bool {
    completed.iter().any(|later| {
        later.job == run.job
            && later.panel == run.panel
            && (later.started_at, later.id.0) > (run.started_at, run.id.0)
    })
}

/// The runs whose plans wait.
pub(crate) fn pending<'a>(
    stopped: &'a [RunRecord],
    completed: &'a [RunRecord],
) -> impl Iterator<Item = &'a RunRecord> {
    stopped
        .iter()
        .filter(|run| is_withheld(run) && !is_followed(run, completed))
}

/// The plans that wait, for the page.
pub(crate) fn plans(facts: &Facts, panels: &[String], now: DateTime<Utc>) -> Vec<Plan> {
    let plan = |run: &RunRecord| {
        let report = run.report.clone().unwrap_or_default();
        let is_cleanup = run.job == Job::CleanupExpiredMarzbanUsers;
        let changes: Vec<Change> = list(&report, "plan").iter().map(change).collect();
        let (deleted, changes) = if is_cleanup {
            (changes, Vec::new())
        } else {
            (Vec::new(), changes)
        };
        let is_asked_for = facts.waiting.iter().any(|waiting| {
            let task = &waiting.task;
            task.known_job() == Some(run.job) && task.panel == run.panel && task.has_answers()
        });
        Plan {
            run: run.id.0,
            job: run.job,
            panel: run.panel.clone(),
            started: Moment::of(run.started_at, now),
            because: text(&report, "withheld_because").unwrap_or_else(|| "no reason was recorded".to_owned()),
            figures: figures(run.job, &report),
            changes,
            deletions: deleted.into_iter().map(deletion).collect(),
            disagreements: disagreements(&report),
            withheld: report.get("withheld").and_then(Value::as_u64).unwrap_or_default(),
            is_asked_for,
            is_ours: panels.contains(&run.panel),
        }
    };
    pending(&facts.runs.stopped, &facts.runs.completed)
        .map(plan)
        .collect()
}

/// Returns the task that answers a plan for the ticked accounts; none when the plan cannot be answered or lacks one.
pub(crate) fn answer(run: &RunRecord, right: Right, order: &Order) -> Option<SyncTask> {
    let report = run.report.as_ref()?;
    let changes = list(report, "plan").iter().map(change).map(|change| change.name);
    let others = disagreements(report).into_iter().map(|problem| problem.name);
    let known: BTreeSet<String> = changes.chain(others).collect();
    let is_answerable = run.job == Job::SyncSubscriptionsFromMarzban;
    if !is_answerable || !order.names.iter().all(|name| known.contains(name)) {
        return None;
    }
    let names = |side| {
        if side == right {
            order.names.clone()
        } else {
            Vec::new()
        }
    };
    Some(SyncTask {
        plan: Some(run.id.0),
        trust_panel: names(Right::Panel),
        trust_bot: names(Right::Bot),
        ..SyncTask::manual(run.job, &run.panel, order.is_confirmed())
    })
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The accounts whose ends differ, of those that are recorded.
fn disagreements(report: &Value) -> Vec<Problem> {
    let mut problems = problems(report);
    problems.retain(|problem| DISAGREEMENTS.contains(&problem.reason.as_str()));
    problems
}

fn deletion(change: Change) -> Problem {
    Problem {
        name: change.name,
        telegram_id: change.telegram_id,
        reason: "withheld".to_owned(),
        detail: None,
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn change(change: &Value) -> Change {
    let none = Value::Null;
    let at = |path: &str| change.pointer(path).unwrap_or(&none);
    let mut values = Vec::new();
    let mut add = |what, from: &Value, to: &Value, words: fn(&Value) -> String| {
        if !to.is_null() {
            values.push((what, words(from), words(to)));
        }
    };
    let old_end = at("/account/subscription/end_date");
    add(
        "access",
        at("/account/is_active"),
        at("/vpn_config/is_active"),
        access,
    );
    add(
        "subscription",
        at("/account/subscription/status"),
        at("/subscription/status"),
        plain,
    );
    add("end", old_end, at("/subscription/end_date"), end);
    add(
        "traffic",
        at("/account/traffic_used"),
        at("/vpn_config/traffic_used"),
        bytes,
    );
    add(
        "last connection",
        at("/account/last_connected_at"),
        at("/vpn_config/last_connected_at"),
        moment,
    );
    let reasons = at("/reasons").as_array().into_iter().flatten();
    Change {
        name: at("/account/name").as_str().unwrap_or_default().to_owned(),
        telegram_id: at("/account/telegram_id").as_i64(),
        values,
        reasons: reasons
            .filter_map(Value::as_str)
            .map(|name| reason(name).to_owned())
            .collect(),
    }
}

fn access(value: &Value) -> String {
    match value.as_bool() {
        Some(true) => "on",
        Some(false) => "off",
        None => "not known",
    }
    .to_owned()
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or("none").to_owned()
}

/// Formats the end of a subscription: a row's moment, or a change's `{"at": …}` or `"never"`.
fn end(value: &Value) -> String {
    match value.get("at") {
        Some(at) => moment(at),
        None if value.is_null() || value == "never" => "never".to_owned(),
        None => moment(value),
    }
}

fn moment(value: &Value) -> String {
    let Some(text) = value.as_str() else {
        return "none".to_owned();
    };
    match text.parse::<DateTime<Utc>>() {
        Ok(time) => time.format("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}

fn bytes(value: &Value) -> String {
    match value.as_i64() {
        Some(bytes) => format!("{} bytes", grouped(bytes)),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use marzban_sync_core::outcome::RunStatus;
    use marzban_sync_core::run::RunId;
    use serde_json::json;

    use super::*;

    fn run(id: i64, minute: u32, outcome: RunStatus, report: Value) -> RunRecord {
        RunRecord {
            id: RunId(id),
            job: Job::SyncUserStatusFromMarzban,
            panel: "de".to_owned(),
            started_at: format!("2025-09-15T00:{minute:02}:00Z").parse().unwrap(),
            finished_at: None,
            status: outcome,
            report: Some(report),
        }
    }

    #[test]
    fn a_plan_waits_until_a_good_run_of_its_job_and_panel_follows() {
        let withheld = run(2, 10, RunStatus::Stopped, json!({"stopped": "safety"}));
        let count = |completed: &[RunRecord]| pending(std::slice::from_ref(&withheld), completed).count();
        let completed = |id, minute| run(id, minute, RunStatus::Completed, json!({}));
        let of = |job, panel: &str| RunRecord {
            job,
            panel: panel.to_owned(),
            ..completed(3, 20)
        };
        for (completed, expected) in [
            (vec![], 1),
            (vec![completed(1, 5)], 1),
            (vec![completed(1, 10)], 1),
            (vec![completed(3, 10)], 0),
            (vec![completed(3, 20)], 0),
            (vec![of(Job::SyncUserStatusFromMarzban, "nl")], 1),
            (vec![of(Job::CleanupExpiredMarzbanUsers, "de")], 1),
        ] {
            assert_eq!(count(&completed), expected, "{completed:?}");
        }
    }

    #[test]
    fn a_plan_is_answered_for_accounts_that_it_has() {
        let report = json!({"stopped": "safety", "plan": [{"account": {"name": "anna"}}], "problems": [
            {"name": "boris", "reason": "ends_disagree"}, {"name": "clara", "reason": "unreadable"}]});
        let withheld = RunRecord {
            job: Job::SyncSubscriptionsFromMarzban,
            ..run(7, 0, RunStatus::Stopped, report)
        };
        let order = Order::ticking;
        let task = answer(&withheld, Right::Panel, &order(&["anna", "boris"], true)).unwrap();
        assert_eq!((task.trust_panel.len(), task.trust_bot.len()), (2, 0));
        assert_eq!(
            (task.plan, task.allow_mass_changes, task.panel.as_str()),
            (Some(7), true, "de")
        );
        let task = answer(&withheld, Right::Bot, &order(&["boris"], false)).unwrap();
        assert_eq!((task.trust_panel.len(), task.trust_bot.len()), (0, 1));
        assert!(!task.allow_mass_changes);
        for names in [&["clara"][..], &["anna", "nobody"]] {
            assert_eq!(
                answer(&withheld, Right::Bot, &order(names, false)),
                None,
                "{names:?}"
            );
        }
        let of_status = RunRecord {
            job: Job::SyncUserStatusFromMarzban,
            ..withheld
        };
        assert_eq!(answer(&of_status, Right::Bot, &order(&["anna"], false)), None);
    }

    #[test]
    fn a_run_that_was_stopped_for_another_reason_has_no_plan() {
        for report in [json!({"stopped": "deadline"}), json!({}), json!(null), json!([])] {
            assert!(!is_withheld(&run(1, 0, RunStatus::Stopped, report)));
        }
    }

    #[test]
    fn a_change_is_told_as_what_it_was_and_what_it_becomes() {
        let expired = change(&json!({
            "account": {"name": "user17", "telegram_id": 17, "is_active": true, "traffic_used": 1000,
                "subscription": {"status": "active", "end_date": "2025-10-01T00:00:00Z"}},
            "vpn_config": {"is_active": false, "traffic_used": 2000},
            "subscription": {"status": "expired", "end_date": {"at": "2025-09-15T00:00:00Z"}},
            "reasons": ["expired", "shortened"],
        }));
        let value = |what, from: &str, to: &str| (what, from.to_owned(), to.to_owned());
        assert_eq!(
            expired.values,
            [
                value("access", "on", "off"),
                value("subscription", "active", "expired"),
                value("end", "2025-10-01 00:00 UTC", "2025-09-15 00:00 UTC"),
                value("traffic", "1,000 bytes", "2,000 bytes"),
            ]
        );
        assert_eq!(
            expired.reasons,
            ["the panel's user is expired", "the panel's end is earlier"]
        );
    }

    #[test]
    fn a_change_of_another_version_is_told_as_far_as_it_is_understood() {
        let nothing = Change {
            name: String::new(),
            telegram_id: None,
            values: Vec::new(),
            reasons: Vec::new(),
        };
        for odd in [json!(null), json!([1]), json!({"account": "x", "reasons": 5})] {
            assert_eq!(change(&odd), nothing);
        }
        let endless = change(&json!({"subscription": {"end_date": "never"}, "reasons": ["<b>"]}));
        assert_eq!(endless.values, [("end", "never".to_owned(), "never".to_owned())]);
        assert_eq!(endless.reasons, ["<b>"]);
    }
}
