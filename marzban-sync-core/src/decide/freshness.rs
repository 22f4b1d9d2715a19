//! How old what a row says is.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::model::account::Account;
use crate::model::outcome::RunStatus;
use crate::model::report::Job;
use crate::model::run::RunRecord;

/// When the latest of these runs began that looked at the account and had no problem with it.
///
/// The status job looks at every account; the subscriptions job counts when the account's subscription is one that it
/// looks at. A run that did not read all accounts, or had more problems than its record holds, proves nothing. An
/// account that was made after a run is not told from an older one: the bot knows when it made it.
#[must_use]
pub fn last_synced_at(account: &Account, runs: &[RunRecord]) -> Option<DateTime<Utc>> {
    let is_subscribed = account
        .subscription
        .as_ref()
        .is_some_and(|subscription| subscription.status.is_synced());
    runs.iter()
        .filter(|run| match run.job {
            Job::SyncUserStatusFromMarzban => true,
            Job::SyncSubscriptionsFromMarzban => is_subscribed,
            Job::CleanupExpiredMarzbanUsers | Job::GetMarzbanSystemStats => false,
        })
        .filter(|run| matches!(run.status, RunStatus::Completed | RunStatus::Stopped))
        .filter(|run| {
            run.report
                .as_ref()
                .is_some_and(|report| proves(report, &account.name))
        })
        .map(|run| run.started_at)
        .max()
}

/// Whether a report is of a run that read every account of its scope; one without the figures proves nothing.
fn read_everybody(report: &Value) -> bool {
    let number = |key: &str| report.get(key).and_then(Value::as_u64);
    number("unreached") == Some(0)
}

/// Whether a report shows that the account of this name was looked at, and was no problem.
fn proves(report: &Value, name: &str) -> bool {
    let number = |key: &str| report.get(key).and_then(Value::as_u64);
    let Some(problems) = report.get("problems").and_then(Value::as_array) else {
        return false;
    };
    read_everybody(report)
        && number("errors") == Some(problems.len() as u64)
        && !problems
            .iter()
            .any(|problem| problem.get("name").and_then(Value::as_str) == Some(name))
}
