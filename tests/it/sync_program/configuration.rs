//! Bad usage and bad configuration: one clear line each, and the exit code that says whose fault it is.

use std::fs;

use serde_json::json;

use super::sqlite::SqliteBot;
use super::{PASSWORD, Sync, USERNAME, insert_panel_users, panel};
use crate::bot::Bot;

const JOB: &str = "sync-subscriptions-from-marzban";

/// Asserts that a run says this in one line, has printed nothing else, and ends with code 2.
#[track_caller]
fn assert_refused(sync: &Sync, arguments: &[&str], words: &str) {
    let ended = sync.run(arguments);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(
        ended.stderr.starts_with("error: ") && ended.stderr.contains(words),
        "{words:?}: {}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

/// Asserts that a job could not run: code 1, one line of JSON with the error, and one line that says what is wrong.
#[track_caller]
fn assert_failed(sync: &Sync, kind: &str, words: &str) {
    let ended = sync.run(&[JOB, "--format", "json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = ended.report();
    assert_eq!(
        (&report["job"], &report["error"]["kind"]),
        (&json!(JOB.replace('-', "_")), &json!(kind))
    );
    assert_error_line(&ended.stderr, words);
}

/// Asserts that there is one line of an error, which has these words.
#[track_caller]
fn assert_error_line(stderr: &str, words: &str) {
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert!(errors[0].contains(words), "{words:?}: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_missing_or_malformed_is_named_in_one_line() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let valid = || Sync::new(&panel, &bot.url());
    for name in [
        "MARZBAN_URL",
        "MARZBAN_USERNAME",
        "MARZBAN_PASSWORD",
        "DATABASE_URL",
    ] {
        assert_refused(&valid().without(name), &[JOB], &format!("{name} is not set"));
        assert_refused(&valid().with(name, ""), &[JOB], &format!("{name} is not set"));
    }
    let with_credentials = panel.url().replace("//", &format!("//{USERNAME}:{PASSWORD}@"));
    for (name, value, words) in [
        (
            "MARZBAN_URL",
            with_credentials.as_str(),
            "the panel's URL contains credentials",
        ),
        (
            "MARZBAN_URL",
            "panel.example.com",
            "the panel's URL cannot be parsed",
        ),
        ("MARZBAN_URL", "ftp://panel.example.com", "neither http nor https"),
        (
            "DATABASE_URL",
            "mysql://bot:secret-word@localhost/bot",
            "DATABASE_URL must begin with postgres://",
        ),
        ("DATABASE_URL", "/srv/bot.sqlite3", "DATABASE_URL must begin with"),
        ("MARZBAN_PAUSE_MS", "fast", "MARZBAN_PAUSE_MS must be A..B"),
        ("MARZBAN_PAUSE_MS", "100..50", "MARZBAN_PAUSE_MS must be A..B"),
        ("MARZBAN_PAUSE_MS", "50", "MARZBAN_PAUSE_MS must be A..B"),
        (
            "MARZBAN_SYNC_CLEANUP",
            "burn",
            "MARZBAN_SYNC_CLEANUP must be delete or disable; it is \"burn\"",
        ),
        (
            "MARZBAN_SYNC_TOLERANCE",
            "1",
            "MARZBAN_SYNC_TOLERANCE must be a length of time such as 90s",
        ),
        (
            "MARZBAN_CA_FILE",
            "/nowhere/ca.pem",
            "MARZBAN_CA_FILE cannot be read",
        ),
        ("MARZBAN_CA_FILE", "/dev/null", "contains no certificate"),
        (
            "MARZBAN_DANGER_ACCEPT_INVALID_CERTS",
            "perhaps",
            "MARZBAN_DANGER_ACCEPT_INVALID_CERTS must be",
        ),
        ("RUST_LOG", "marzban=[loud", "RUST_LOG"),
    ] {
        assert_refused(&valid().with(name, value), &[JOB], words);
    }
    for (arguments, words) in [
        (&["migrate", "--dry-run"][..], "migrate has no --dry-run"),
        (&["all", "--allow-mass-changes"], "name the job"),
        (
            &["get-marzban-system-stats", "--trust-panel"],
            "are for sync-subscriptions-from-marzban",
        ),
        (&[JOB, "--trust-bot", ""], "--trust-bot has an empty name"),
        (
            &[JOB, "--trust-panel", "anna", "--trust-bot", "anna"],
            "both answer for \"anna\"",
        ),
        (&["undo", "the-last"], "is not the id of a run"),
        (&["explain"], "explain whom?"),
    ] {
        assert_refused(&valid(), arguments, words);
    }
    assert_eq!(panel.requests(), [], "the panel is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bad_policies_are_named_at_once_each_in_its_line() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let sync = Sync::new(&panel, &bot.url())
        .with("MARZBAN_SYNC_UNLIMITED", "perhaps")
        .with("MARZBAN_SYNC_ACCESS", "only_off")
        .with("MARZBAN_SYNC_CLEANUP_AFTER", "1h")
        .with("MARZBAN_SYNC_MAX_ABSENT", "200");
    let ended = sync.run(&[JOB]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{ended:?}");
    for (line, name) in lines.iter().zip(["UNLIMITED", "CLEANUP_AFTER", "MAX_ABSENT"]) {
        assert!(
            line.starts_with(&format!("error: MARZBAN_SYNC_{name} must be ")),
            "{line}"
        );
    }
    assert_eq!(panel.requests(), [], "the panel is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_arguments_are_bad_usage() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let sync = Sync::new(&panel, &bot.url());
    for (arguments, words) in [
        (&["sync-everything"][..], "sync-everything"),
        (&[], "<TASK>"),
        (&[JOB, "--fromat", "json"], "--fromat"),
        (&[JOB, "--format", "xml"], "xml"),
        (
            &[JOB, "cleanup-expired-marzban-users"],
            "cleanup-expired-marzban-users",
        ),
    ] {
        let ended = sync.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(
            ended.stderr.starts_with("error: ") && ended.stderr.contains(words),
            "{}",
            ended.stderr
        );
    }
    let help = sync.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for name in [
        "MARZBAN_URL",
        "MARZBAN_PASSWORD",
        "DATABASE_URL",
        "MARZBAN_PAUSE_MS",
        "MARZBAN_SYNC_TOLERANCE",
        "MARZBAN_SYNC_MAX_DELETIONS",
        "--dry-run",
        "--trust-panel",
        "--trust-bot",
        "migrate",
        "explain",
        "undo",
    ] {
        assert!(
            help.stdout.contains(name),
            "{name} is not in the help: {}",
            help.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_dotenv_is_named_without_its_words() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let sync = Sync::new(&panel, &bot.url());
    fs::write(
        sync.path().join(".env"),
        "MARZBAN_USERNAME=robot\nthe password is Pr1vate\n",
    )
    .unwrap();
    assert_refused(&sync, &[JOB], ".env");
    let stderr = sync.run(&[JOB]).stderr;
    assert!(!stderr.contains("Pr1vate"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dotenv_of_the_working_directory_is_read_and_the_environment_wins() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    insert_panel_users(&panel);
    let lines = [
        format!("MARZBAN_URL={}", panel.url()),
        format!("MARZBAN_USERNAME={USERNAME}"),
        "MARZBAN_PASSWORD='of somebody else'".to_owned(),
        "MARZBAN_PAUSE_MS=0..0 # none".to_owned(),
        format!("DATABASE_URL=\"{}\"", bot.url()),
    ];
    let mut sync = Sync::new(&panel, &bot.url());
    sync.environment = vec![("MARZBAN_PASSWORD".to_owned(), PASSWORD.to_owned())];
    fs::write(sync.path().join(".env"), lines.join("\n")).unwrap();
    assert_eq!(sync.run(&["migrate"]).code, Some(0));
    let ended = sync.run(&[JOB, "--format", "json"]);
    assert_eq!(
        (ended.code, &ended.report()["synced"]),
        (Some(0), &json!(3)),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_refuses_or_is_not_there_fails_the_run() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let valid = || Sync::new(&panel, &bot.url());
    valid().run(&["migrate"]);
    let before = bot.rows();
    assert_failed(
        &valid().with("MARZBAN_PASSWORD", "a wrong password"),
        "panel",
        "Incorrect username or password",
    );
    assert_eq!(
        panel.count("POST", "/api/admin/token"),
        1,
        "a refused login is not repeated"
    );
    // The discard port, where nobody listens.
    assert_failed(
        &valid().with("MARZBAN_URL", "http://127.0.0.1:9"),
        "panel",
        "no connection",
    );
    assert_eq!(bot.rows(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_database_that_cannot_be_used_fails_the_run() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let lacks = "the database lacks vpn_configs.panel, marzban_sync_runs, marzban_system_stats, \
         marzban_sync_agreements, marzban_sync_changes: run `migrate`";
    assert_failed(&Sync::new(&panel, &bot.url()), "store", lacks);
    bot.execute("DROP TABLE vpn_configs");
    assert_failed(&Sync::new(&panel, &bot.url()), "store", "vpn_configs");

    let nowhere = Sync::new(&panel, "sqlite:///nowhere/bot.sqlite3").run(&[JOB]);
    assert_eq!(
        (nowhere.code, nowhere.stdout.as_str()),
        (Some(1), ""),
        "{nowhere:?}"
    );
    assert_error_line(&nowhere.stderr, "there is no database");
    // A database that is not there is a mistake in the path, and is not made.
    let missing = bot.path().with_file_name("other.sqlite3");
    let sync = Sync::new(&panel, &format!("sqlite://{}", missing.display()));
    assert_eq!(sync.run(&["migrate"]).code, Some(1));
    assert!(!missing.exists());
    assert_eq!(panel.requests(), [], "the panel is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_that_cannot_be_used_fails_the_run() {
    let Some(bot) = Bot::before_migration().await else {
        return;
    };
    let panel = panel().await;
    assert_failed(
        &Sync::new(&panel, bot.database.url()),
        "store",
        "marzban_sync_runs is missing: run migrate",
    );
    bot.sql("DROP TABLE vpn_configs").await;
    assert_failed(
        &Sync::new(&panel, bot.database.url()),
        "store",
        "table vpn_configs is missing",
    );
    let migrate = Sync::new(&panel, bot.database.url()).run(&["migrate"]);
    assert_eq!(
        (migrate.code, migrate.stdout.as_str()),
        (Some(1), ""),
        "{migrate:?}"
    );
    assert_error_line(&migrate.stderr, "table vpn_configs is missing");

    let (server, _) = bot.database.url().rsplit_once('/').unwrap();
    for (url, code, words) in [
        (format!("{server}/no_such_database"), 1, "no_such_database"),
        (
            "postgres://bot:secret-word@127.0.0.1:9/bot".to_owned(),
            1,
            "cannot connect to PostgreSQL",
        ),
        (
            "postgres://bot:secret-word@127.0.0.1:9/bot?sslmode=maybe".to_owned(),
            2,
            "DATABASE_URL: sslmode",
        ),
        (
            "postgres://bot:secret-word@127.0.0.1:many/bot".to_owned(),
            2,
            "URL cannot be read",
        ),
    ] {
        let ended = Sync::new(&panel, &url).run(&[JOB]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
        assert_error_line(&ended.stderr, words);
        assert!(!ended.stderr.contains("secret-word"), "{}", ended.stderr);
    }
    assert_eq!(panel.requests(), [], "the panel is not asked");
}
