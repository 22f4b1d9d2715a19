//! Runs and their reports as metrics, for whichever recorder of the `metrics` crate the program has installed.
//!
//! The client's own metrics (`marzban_api_*`) come from its feature `metrics`, and need nothing from here.

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use serde_json::Value;

use super::{FinishedRun, Health, HealthStatus};
use crate::model::outcome::Outcome;
use crate::model::report::{Job, Report, Run, SystemStats};

const RUNS: &str = "marzban_sync_runs_total";
/// How long runs took; a program with buckets of its own names it.
pub const RUN_DURATION: &str = "marzban_sync_run_duration_seconds";
const LAST_COMPLETED: &str = "marzban_sync_last_completed_timestamp_seconds";
const HEALTHY: &str = "marzban_sync_healthy";
const ACCOUNTS: &str = "marzban_sync_accounts";
const RESULTS: &str = "marzban_sync_account_results";
const WITHHELD: &str = "marzban_sync_withheld_changes";
const CHANGES: &str = "marzban_sync_changes_total";
const INFO: &str = "marzban_panel_info";
const USERS: &str = "marzban_panel_users";
const ONLINE: &str = "marzban_panel_users_online";
const MEMORY_SIZE: &str = "marzban_panel_memory_size_bytes";
const MEMORY_USED: &str = "marzban_panel_memory_used_bytes";
const CPU_USAGE: &str = "marzban_panel_cpu_usage_ratio";
const CPU_CORES: &str = "marzban_panel_cpu_cores";
const NETWORK: &str = "marzban_panel_network_bytes_total";
const NETWORK_SPEED: &str = "marzban_panel_network_speed_bytes_per_second";
/// How long the client's requests took; a program with buckets of its own names it.
pub const REQUEST_DURATION: &str = "marzban_api_request_duration_seconds";

/// Tells the recorder what each metric means; once, after it was installed.
pub fn describe() {
    describe_counter!(RUNS, "Runs that ended, by outcome");
    describe_histogram!(RUN_DURATION, Unit::Seconds, "How long runs took");
    describe_gauge!(
        LAST_COMPLETED,
        Unit::Seconds,
        "When a run last completed, by the clock of the jobs"
    );
    describe_gauge!(
        HEALTHY,
        "Whether the job runs when it should and did not fail the last time"
    );
    describe_gauge!(ACCOUNTS, "Accounts in scope of the last run");
    describe_gauge!(RESULTS, "Accounts of the last run by what became of them");
    describe_gauge!(WITHHELD, "Changes that the last run decided and did not apply");
    describe_counter!(CHANGES, "Values that runs changed, by reason");
    describe_gauge!(INFO, "The panel's version");
    describe_gauge!(USERS, "Users of the panel by status");
    describe_gauge!(ONLINE, "Users seen connected lately");
    describe_gauge!(MEMORY_SIZE, Unit::Bytes, "Memory of the panel's host");
    describe_gauge!(MEMORY_USED, Unit::Bytes, "Memory in use on the panel's host");
    describe_gauge!(CPU_USAGE, "CPU load of the panel's host, 1 is full");
    describe_gauge!(CPU_CORES, "Cores of the panel's host");
    describe_counter!(NETWORK, Unit::Bytes, "Traffic since the panel counts");
    describe_gauge!(NETWORK_SPEED, "Traffic per second, as the panel last measured it");
    describe_counter!(
        "marzban_api_requests_total",
        "Operations of the client by outcome"
    );
    describe_counter!("marzban_api_retries_total", "Requests that the client repeated");
    describe_counter!("marzban_api_logins_total", "Logins of the client by outcome");
    describe_histogram!(
        REQUEST_DURATION,
        Unit::Seconds,
        "How long operations took, with their retries"
    );
}

/// Records a run that ended at `now`; a [`Scheduler`](super::Scheduler) records its own.
pub fn record(ended: &FinishedRun, now: DateTime<Utc>) {
    let panel = &ended.panel_name;
    let labels = [("panel", panel.clone()), ("job", ended.job.to_string())];
    let with = |name: &'static str, value: &'static str| {
        let [panel, job] = labels.clone();
        [panel, job, (name, value.to_owned())]
    };
    counter!(RUNS, &with("outcome", ended.end.as_str())).increment(1);
    histogram!(RUN_DURATION, &labels).record(ended.duration);
    if ended.end == Outcome::Completed {
        gauge!(LAST_COMPLETED, &labels).set(float(now.timestamp()));
    }
    let Some(report) = &ended.report else { return };
    let (total, results) = accounts(report);
    if let Some(total) = total {
        gauge!(ACCOUNTS, &labels).set(float_of(total));
    }
    for (result, accounts) in results {
        gauge!(RESULTS, &with("result", result)).set(float_of(accounts));
    }
    if let Some(run) = report.run() {
        gauge!(WITHHELD, &labels).set(float_of(run.withheld));
        record_changes(run, &labels);
    }
    if let Report::GetMarzbanSystemStats(report) = report {
        record_panel(panel, &report.stats);
    }
}

/// Records whether each job does what it should; before each scrape, as a job that does not run records nothing.
pub fn record_health(health: &Health) {
    for job in &health.jobs {
        record_status(&job.panel, job.job, job.status);
    }
}

/// Records whether a job of a panel does what it should, for a program whose jobs run in other processes.
pub fn record_status(panel: &str, job: Job, status: HealthStatus) {
    let labels = [("panel", panel.to_owned()), ("job", job.to_string())];
    let is_healthy = status == HealthStatus::Healthy;
    gauge!(HEALTHY, &labels).set(if is_healthy { 1.0 } else { 0.0 });
}

/// How many accounts were in scope, and what became of them.
fn accounts(report: &Report) -> (Option<u64>, Vec<(&'static str, u64)>) {
    let (total, mut results) = match report {
        Report::SyncSubscriptionsFromMarzban(report) => (
            report.total,
            vec![("synced", report.synced), ("errors", report.errors)],
        ),
        Report::SyncUserStatusFromMarzban(report) => (
            report.total,
            vec![
                ("updated", report.updated),
                ("missing", report.missing),
                ("errors", report.errors),
            ],
        ),
        Report::CleanupExpiredMarzbanUsers(report) => (
            report.total,
            vec![
                ("cleaned", report.cleaned),
                ("skipped", report.skipped),
                ("errors", report.errors),
            ],
        ),
        Report::GetMarzbanSystemStats(_) => return (None, Vec::new()),
    };
    results.extend(report.run().map(|run| ("unreached", run.unreached)));
    (Some(total), results)
}

fn record_changes(run: &Run, labels: &[(&'static str, String); 2]) {
    for (reason, count) in &run.changes {
        // The name that the reports have.
        if let Ok(Value::String(reason)) = serde_json::to_value(reason) {
            let [panel, job] = labels.clone();
            counter!(CHANGES, &[panel, job, ("reason", reason)]).increment(*count);
        }
    }
}

fn record_panel(panel: &str, stats: &SystemStats) {
    let labels = [("panel", panel.to_owned())];
    let with = |name: &'static str, value: &str| [("panel", panel.to_owned()), (name, value.to_owned())];
    gauge!(INFO, &with("version", &stats.version)).set(1.0);
    let users = [
        ("active", Some(stats.users_active)),
        ("on_hold", stats.users_on_hold),
        ("disabled", stats.users_disabled),
        ("expired", stats.users_expired),
        ("limited", stats.users_limited),
    ];
    for (status, count) in users {
        if let Some(count) = count {
            gauge!(USERS, &with("status", status)).set(float(count));
        }
    }
    if let Some(online) = stats.online_users {
        gauge!(ONLINE, &labels).set(float(online));
    }
    gauge!(MEMORY_SIZE, &labels).set(float(stats.mem_total));
    gauge!(MEMORY_USED, &labels).set(float(stats.mem_used));
    gauge!(CPU_USAGE, &labels).set(stats.cpu_usage / 100.0);
    gauge!(CPU_CORES, &labels).set(float(stats.cpu_cores));
    for (direction, bytes, speed) in [
        (
            "received",
            stats.incoming_bandwidth,
            stats.incoming_bandwidth_speed,
        ),
        ("sent", stats.outgoing_bandwidth, stats.outgoing_bandwidth_speed),
    ] {
        let labels = with("direction", direction);
        // A counter never falls: of a panel that counts anew it stays until it is passed.
        counter!(NETWORK, &labels).absolute(u64::try_from(bytes).unwrap_or(0));
        gauge!(NETWORK_SPEED, &labels).set(float(speed));
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn float_of(number: u64) -> f64 {
    number as f64
}
