//! The day in 24 seconds: the scheduler over fake panels, with nothing to set up.

use std::collections::BTreeSet;

use serde_json::Value;

use super::exposition::{Sample, parse};
use super::{Scheduler, listening, wait_until};

const DASHBOARD: &str = include_str!("../../../examples/scheduler/dashboard.json");

fn start(folder: &std::path::Path, arguments: &[&str]) -> Scheduler {
    Scheduler::start(listening("day", folder, arguments))
}

#[test]
fn a_day_runs_every_job_when_it_is_due_and_ends_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let day = start(folder.path(), &["--days", "1", "--speed", "100000"]);
    let (code, stdout, stderr) = day.wait();
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let last: Vec<&str> = stdout
        .lines()
        .skip_while(|line| !line.contains("runs: "))
        .collect();
    assert_eq!(
        last,
        [
            "de       sync_subscriptions_from_marzban: 12 runs: 12 completed",
            "de       sync_user_status_from_marzban: 24 runs: 23 completed, 1 panel",
            "de       cleanup_expired_marzban_users: 1 runs: 1 completed",
            "de       get_marzban_system_stats: 96 runs: 93 completed, 3 panel",
            "default  sync_subscriptions_from_marzban: 12 runs: 12 completed",
            "default  sync_user_status_from_marzban: 24 runs: 24 completed",
            "default  cleanup_expired_marzban_users: 1 runs: 1 completed",
            "default  get_marzban_system_stats: 96 runs: 96 completed",
            "in step: 19 of 19 accounts",
        ],
        "{stdout}"
    );
    for line in [
        "Mon 03:12  default  anna pays for 30 more days",
        "pavel: gone from the panel, access off",
        "maria: deleted from the panel",
        "de       get_marzban_system_stats failed (panel): ",
    ] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    assert!(!stdout.contains('\u{1b}'), "colours although this is no terminal");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left"
    );
}

#[test]
fn every_metric_of_the_dashboard_is_exported_and_every_kind_of_change_occurs() {
    let folder = tempfile::tempdir().unwrap();
    let day = start(folder.path(), &["--speed", "100000"]);
    assert_eq!(day.get("/live"), (200, "ok\n".to_owned()));
    let status = [("panel", "default"), ("job", "sync_user_status_from_marzban")];
    let samples = wait_until("a day has passed", || {
        let samples = parse(&day.get("/metrics").1);
        let runs = samples
            .iter()
            .find(|sample| sample.name == "marzban_sync_runs_total" && sample.has(&status));
        let is_over = runs.is_some_and(|runs| runs.value >= 25.0);
        is_over.then_some(samples)
    });

    let exported: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    let named = metrics_of_dashboard();
    assert!(named.len() > 15, "{named:?}");
    let absent: Vec<&String> = named
        .iter()
        .filter(|name| !exported.contains(name.as_str()))
        .collect();
    assert!(absent.is_empty(), "not exported: {absent:?}");

    let of = |name: &'static str| samples.iter().filter(move |sample: &&Sample| sample.name == name);
    let reasons: BTreeSet<&str> = of("marzban_sync_changes_total")
        .map(|sample| sample.labels["reason"].as_str())
        .collect();
    // `unlimited` alone is missing: the default policy keeps the end of a subscription.
    let expected = [
        "connected",
        "disabled",
        "expired",
        "extended",
        "limited",
        "missing",
        "reactivated",
        "shortened",
        "traffic_reset",
        "traffic_used",
        "works",
    ];
    assert_eq!(reasons, expected.into());
    let failed = of("marzban_sync_runs_total")
        .find(|sample| sample.has(&[("panel", "de"), ("outcome", "panel")]))
        .unwrap();
    assert!(failed.value >= 1.0);

    let (code, stdout, stderr) = day.stop();
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
}

#[test]
fn a_day_shows_its_outage_in_the_health_of_that_panel_alone() {
    let folder = tempfile::tempdir().unwrap();
    let day = start(folder.path(), &["--speed", "7200"]);
    let ill = wait_until("a panel is down", || {
        let (status, health) = day.health();
        assert_eq!(status == 200, health["healthy"] == true, "{health}");
        (status == 503).then_some(health)
    });
    for job in ill["jobs"].as_array().unwrap() {
        let is_healthy = job["verdict"] == "healthy";
        assert!(is_healthy || job["panel"] == "de", "{ill}");
        assert!(
            is_healthy || job["outcome"] == "panel" && job["error"].is_string(),
            "{ill}"
        );
    }
    wait_until("it is up again", || (day.health().0 == 200).then_some(()));
    assert_eq!(day.stop().0, Some(0));
}

/// Every name of a metric in the expressions of the dashboard, which also must be whole.
fn metrics_of_dashboard() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    assert_eq!(rows, ["Is it in step", "The panel", "The client"]);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id occurs twice");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .flat_map(|target| {
            let expression = target["expr"].as_str().unwrap();
            expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        })
        .filter(|word| word.starts_with("marzban_"))
        .map(str::to_owned)
        .collect()
}
