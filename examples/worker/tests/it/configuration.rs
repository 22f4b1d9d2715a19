//! Bad usage and configuration: one clear line, and exit code 2.

use crate::stage::Stage;

/// Variables, arguments, and what the line must hold.
type Case = (
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static str,
);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_one_line() {
    let Some(mut stage) = Stage::before_migration(&["default"]).await else {
        return;
    };
    let url = stage.database.url().to_owned();
    let cases: [Case; 10] = [
        (&[("DATABASE_URL", "")], &["migrate"], "DATABASE_URL is not set"),
        (
            &[("DATABASE_URL", "sqlite://bot.sqlite3")],
            &["migrate"],
            "the queue needs PostgreSQL",
        ),
        (
            &[("DATABASE_URL", "postgres://[")],
            &["migrate"],
            "DATABASE_URL: the PostgreSQL URL",
        ),
        (
            &[("MARZBAN_PASSWORD", "")],
            &["--role", "worker"],
            "MARZBAN_PASSWORD is not set",
        ),
        (&[], &["--panel", "nl"], "MARZBAN_NL_URL is not set"),
        (&[("RUST_LOG", "=,=")], &[], "RUST_LOG is not a log filter"),
        (
            &[("MARZBAN_SYNC_MAX_PROMISES", "many")],
            &["--role", "worker"],
            "MARZBAN_SYNC_MAX_PROMISES must be a whole number of percent",
        ),
        (
            &[],
            &["--listen", "0.0.0.0:0"],
            "is reached from other machines: set MARZBAN_BOARD_USERNAME",
        ),
        (
            &[("MARZBAN_BOARD_USERNAME", "operator")],
            &[],
            "must be set together",
        ),
        (
            &[],
            &["--panel", "default", "--panel", "default"],
            "names a panel twice",
        ),
    ];
    for (variables, arguments, why) in cases {
        stage.set("DATABASE_URL", &url);
        stage.set("MARZBAN_PASSWORD", crate::stage::PASSWORD);
        stage.set("RUST_LOG", "info");
        stage.set("MARZBAN_BOARD_USERNAME", "");
        stage.set("MARZBAN_SYNC_MAX_PROMISES", "");
        for (name, value) in variables {
            stage.set(name, value);
        }
        let ended = stage.run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{ended:?}");
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(why),
            "{why}: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_lists_the_policies_and_limits() {
    let Some(stage) = Stage::before_migration(&["default"]).await else {
        return;
    };
    let help = stage.run(&["--help"]).await;
    assert_eq!(help.code, Some(0), "{help:?}");
    for name in [
        "MARZBAN_SYNC_TOLERANCE",
        "MARZBAN_SYNC_EXEMPT",
        "MARZBAN_SYNC_MAX_DELETIONS",
    ] {
        assert!(help.stdout.contains(name), "{name}: {}", help.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_environment_counts_in_every_run() {
    let Some(mut stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.insert_customers(0, "default", 1..=20).await;
    for id in 1..=6 {
        stage.panels[0].remove_user(&format!("user{id}"));
    }
    stage.set("MARZBAN_SYNC_MAX_ABSENT", "40");
    stage.set("MARZBAN_SYNC_MAX_OFF_EARLY", "40");
    let _worker = stage.start_worker(&[]);
    let ended = stage
        .run(&["enqueue", "sync-user-status-from-marzban", "--wait"])
        .await;
    assert_eq!(
        (ended.code, &ended.json()["updated"]),
        (Some(0), &serde_json::json!(20)),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tables_it_says_how_to_make_them_and_making_them_twice_changes_nothing() {
    let Some(stage) = Stage::before_migration(&["default"]).await else {
        return;
    };
    for arguments in [
        &["--role", "scheduler"][..],
        &["enqueue", "get-marzban-system-stats"],
    ] {
        let ended = stage.run(arguments).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(
            ended.stderr,
            "error: the tables of the queue are missing: run `worker migrate` first\n"
        );
    }
    let first = stage.run(&["migrate"]).await;
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.stdout.contains("marzban_sync_runs"), "{first:?}");
    let second = stage.run(&["migrate"]).await;
    assert_eq!(
        (second.code, &second.json()["created"]),
        (Some(0), &serde_json::json!([])),
        "{second:?}"
    );
}
