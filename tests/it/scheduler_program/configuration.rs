//! Bad usage and bad configuration: one clear line each, and exit code 2.

use super::panels::with_panel;
use super::{PASSWORD, Scheduler, scheduler};

const DATABASE: &str = "sqlite:///nowhere/bot-with-a-secret.sqlite3";

/// Asserts that it says this in one line and ends with this code.
#[track_caller]
fn assert_refused(variables: &[(&str, &str)], arguments: &[&str], code: i32, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = scheduler(folder.path(), arguments);
    with_panel(&mut command, "MARZBAN", "http://127.0.0.1:9").env("DATABASE_URL", DATABASE);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    assert!(
        stderr.starts_with("error: ") && stderr.contains(words),
        "{words:?}: {stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(!stderr.contains(PASSWORD), "{stderr}");
}

#[test]
fn a_bad_flag_or_variable_is_one_line() {
    for (variables, arguments, words) in [
        (
            &[][..],
            &["--schedule", "sync_user_status_from_marzban=hourly"][..],
            "\"hourly\" is not a cron expression",
        ),
        (
            &[],
            &["--schedule", "everything=* * * * *"],
            "there is no job \"everything\"",
        ),
        (&[], &["--panel", "a b"], "a panel's name is"),
        (&[], &["--panel", "de"], "MARZBAN_DE_URL is not set"),
        (&[], &["--demo"], "--demo is a program of its own"),
        (&[], &["--fast"], "--fast"),
        (&[("DATABASE_URL", "")], &[], "DATABASE_URL is not set"),
        (
            &[("DATABASE_URL", "mysql://a:b@c/d")],
            &[],
            "DATABASE_URL must begin with",
        ),
        (&[("MARZBAN_PASSWORD", "")], &[], "MARZBAN_PASSWORD is not set"),
        (&[("RUST_LOG", "a=[b")], &[], "RUST_LOG"),
        (
            &[("MARZBAN_SYNC_KEEP_HISTORY", "1y 2q")],
            &[],
            "MARZBAN_SYNC_KEEP_HISTORY must be a length of time",
        ),
    ] {
        assert_refused(variables, arguments, 2, words);
    }
}

#[test]
fn a_port_that_is_taken_is_one_line() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = crate::program::program("day");
    let output = command
        .current_dir(folder.path())
        .args(["--listen", &address])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with(&format!("error: --listen {address}: ")),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_database_without_the_librarys_tables_is_refused_unless_it_is_to_be_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let bot = marzban_sync_examples::bot::Bot::create(&folder.path().join("bot.sqlite3"), &[]).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = scheduler(folder.path(), arguments);
        with_panel(&mut command, "MARZBAN", "http://127.0.0.1:9").env("DATABASE_URL", bot.url());
        command
    };
    let output = command(&[]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.ends_with("; --migrate adds what is missing\n") && stderr.lines().count() == 1,
        "{stderr}"
    );
    let process = Scheduler::start(command(&["--migrate"]));
    let (status, health) = process.health();
    assert_eq!((status, &health["jobs"][0]["panel"]), (200, &"default".into()));
    assert_eq!(process.stop().0, Some(0));
    assert_eq!(Scheduler::start(command(&[])).stop().0, Some(0), "once is enough");
}

#[test]
fn the_help_lists_flags_variables_and_schedules() {
    let folder = tempfile::tempdir().unwrap();
    let output = scheduler(folder.path(), &["--help"]).output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for name in [
        "MARZBAN_URL",
        "MARZBAN_DE_1_URL",
        "DATABASE_URL",
        "RUST_LOG",
        "MARZBAN_SYNC_EXEMPT",
        "MARZBAN_SYNC_CLOCK_DIFFERENCE",
        "--panel",
        "--schedule",
        "--jitter",
        "/metrics",
        "*/15 * * * *",
    ] {
        assert!(help.contains(name), "{name}: {help}");
    }
}
