//! `cargo run --example quickstart`, as a process.

use serde_json::{Value, json};

use crate::program::program;

#[test]
fn quickstart_shows_all_four_jobs_with_nothing_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let output = program("quickstart")
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let figures =
        |report: &Value, keys: &[&str]| keys.iter().map(|key| report[key].clone()).collect::<Vec<_>>();

    assert_eq!(reports.len(), 4, "{stdout}");
    let synced = figures(&reports[0], &["job", "synced", "errors", "total"]);
    assert_eq!(
        json!(synced),
        json!(["sync_subscriptions_from_marzban", 15, 2, 17])
    );
    let checked = figures(&reports[1], &["job", "updated", "missing", "errors", "total"]);
    assert_eq!(
        json!(checked),
        json!(["sync_user_status_from_marzban", 1, 1, 1, 17])
    );
    let cleaned = figures(&reports[2], &["job", "cleaned", "skipped", "errors", "total"]);
    assert_eq!(
        json!(cleaned),
        json!(["cleanup_expired_marzban_users", 2, 0, 0, 2])
    );
    assert_eq!(reports[3]["job"], "get_marzban_system_stats");
    assert_eq!(reports[3]["stats"]["version"], "0.8.4");
    assert_eq!(reports[3]["stats"]["total_user"], 14);

    // The table of accounts shows what became of each; nothing is left behind.
    assert!(stderr.contains("10016") && stderr.contains("pavel"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
