//! What the program prints and writes when it runs its jobs.

use marzban_api::testing::{FakePanel, FakeUser};
use serde_json::{Value, json};

use super::sqlite::SqliteBot;
use super::{CUSTOMERS, Ended, Sync, date, day, insert_panel_users, panel};
use crate::bot::{Bot, assert_same};

const JOBS: [&str; 4] = [
    "sync-subscriptions-from-marzban",
    "sync-user-status-from-marzban",
    "cleanup-expired-marzban-users",
    "get-marzban-system-stats",
];

/// What `migrate` creates.
const CREATED: [&str; 5] = [
    "vpn_configs.panel",
    "marzban_sync_runs",
    "marzban_system_stats",
    "marzban_sync_agreements",
    "marzban_sync_changes",
];

/// The bot of [`CUSTOMERS`] in PostgreSQL, without the library's own tables.
async fn postgres_bot() -> Option<Bot> {
    let bot = Bot::before_migration().await?;
    for (id, name, status, days, is_active) in CUSTOMERS {
        let end_date = day(days).format("%Y-%m-%d %H:%M:%S").to_string();
        bot.add(id, name, status, &end_date, is_active).await;
    }
    Some(bot)
}

fn figures(report: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| report[key].clone()).collect()
}

/// `all` over a database that was migrated: four lines, the keys and figures, and the messages of the log.
fn assert_all_four(ended: &Ended, panel: &FakePanel) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let reports = ended.reports();
    assert_eq!(reports.len(), 4, "{ended:?}");
    assert_eq!(
        figures(&reports[0], &["job", "synced", "errors", "total"]),
        json!(["sync_subscriptions_from_marzban", 3, 1, 4])
    );
    assert_eq!(
        figures(&reports[1], &["job", "updated", "missing", "errors", "total"]),
        json!(["sync_user_status_from_marzban", 1, 1, 0, 4])
    );
    assert_eq!(
        figures(&reports[2], &["job", "cleaned", "skipped", "errors", "total"]),
        json!(["cleanup_expired_marzban_users", 1, 0, 0, 1])
    );
    assert_stats(&reports[3]);
    let missing = &reports[0]["problems"][0];
    assert_eq!(
        figures(missing, &["telegram_id", "name", "reason"]),
        json!([10_002, "boris", "missing"])
    );
    assert!(panel.user("clara").is_none());

    for message in [
        format!(
            "Updating subscription end_date for user 10001: {} -> {}",
            date(3),
            date(20)
        ),
        "Marzban sync completed: 3 synced, 1 errors".to_owned(),
        "Marked VPN config inactive for missing user 10002".to_owned(),
        "User status sync completed: 1 users updated".to_owned(),
        "Cleaned up expired Marzban user for 10003".to_owned(),
    ] {
        let is_logged = ended
            .stderr
            .lines()
            .any(|line| line.contains(" INFO ") && line.contains(&message));
        assert!(is_logged, "{message:?} is not in the log:\n{}", ended.stderr);
    }
}

fn assert_stats(report: &Value) {
    assert_eq!(report["job"], "get_marzban_system_stats");
    let timestamp = report["timestamp"].as_str().unwrap();
    assert!(
        chrono::NaiveDateTime::parse_from_str(timestamp, "%Y-%m-%dT%H:%M:%SZ").is_ok(),
        "{timestamp}"
    );
    let expected = json!({
        "version": "0.8.4", "mem_total": 4_294_967_296_i64, "mem_used": 1_073_741_824, "cpu_cores": 2,
        "cpu_usage": 12.5, "total_user": 2, "online_users": 0, "users_active": 2, "users_on_hold": 0,
        "users_disabled": 0, "users_expired": 0, "users_limited": 0, "incoming_bandwidth": 30_000_000,
        "outgoing_bandwidth": 90_000_000, "incoming_bandwidth_speed": 512, "outgoing_bandwidth_speed": 1_024,
    });
    assert_eq!(report["stats"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_jobs_over_postgresql_print_one_line_each() {
    let Some(bot) = postgres_bot().await else { return };
    let panel = panel().await;
    insert_panel_users(&panel);
    let sync = Sync::new(&panel, bot.database.url());
    let migrated = sync.run(&["migrate", "--format", "json"]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let created = json!(CREATED);
    assert_eq!(migrated.report(), json!({"job": "migrate", "created": created}));
    assert_eq!(
        sync.run(&["migrate", "--format", "json"]).report(),
        json!({"job": "migrate", "created": []})
    );

    assert_all_four(&sync.run(&["all", "--format", "json"]), &panel);
    bot.sql("UPDATE subscriptions SET updated_at = NULL; UPDATE vpn_configs SET updated_at = NULL")
        .await;
    let subscription = |id: i64, status: &str, days| {
        format!(
            "{id} | {id} | 3 | 4.99 | {status} | 2025-08-10 00:00:00 | {} 00:00:00 | -\n",
            date(days)
        )
    };
    let subscriptions = [
        (1, "active", 20),
        (2, "active", 9),
        (3, "expired", -30),
        (4, "active", 9),
    ];
    let subscriptions = subscriptions
        .map(|(id, status, days)| subscription(id, status, days))
        .concat();
    bot.assert_rows("subscriptions", &subscriptions).await;
    bot.assert_rows(
        "vpn_configs",
        "
        1 | 1 | vless | anna   | t | 1000 | - | -
        2 | 2 | vless | boris  | f | 0    | - | -
        3 | 3 | vless | -      | f | 0    | - | -
        4 | 4 | vless | dmitry | t | 0    | - | -
        ",
    )
    .await;
    let runs = "SELECT string_agg(job || ' ' || outcome, ', ' ORDER BY id) FROM marzban_sync_runs";
    assert_eq!(
        bot.text(runs).await,
        "sync_subscriptions_from_marzban completed, sync_user_status_from_marzban completed, \
         cleanup_expired_marzban_users completed, get_marzban_system_stats completed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_four_jobs_over_sqlite_print_one_line_each() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    insert_panel_users(&panel);
    let sync = Sync::new(&panel, &bot.url());
    let created = json!(CREATED);
    assert_eq!(
        sync.run(&["migrate"]).report(),
        json!({"job": "migrate", "created": created})
    );

    assert_all_four(&sync.run(&["all", "--format", "json"]), &panel);
    let expected = [
        "user|1|10001|fa".to_owned(),
        "user|2|10002|fa".to_owned(),
        "user|3|10003|fa".to_owned(),
        "user|4|10004|fa".to_owned(),
        format!("subscription|1|1|3|active|{} 00:00:00|1", date(20)),
        format!("subscription|2|2|3|active|{} 00:00:00|0", date(9)),
        format!("subscription|3|3|3|expired|{} 00:00:00|0", date(-30)),
        format!("subscription|4|4|3|active|{} 00:00:00|0", date(9)),
        "config|1|1|vless|anna|1|1000|1".to_owned(),
        "config|2|2|vless|boris|0|0|1".to_owned(),
        "config|3|3|vless|-|0|0|1".to_owned(),
        "config|4|4|vless|dmitry|1|0|0".to_owned(),
    ];
    assert_same(&bot.rows(), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_by_itself_prints_one_line() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    insert_panel_users(&panel);
    let sync = Sync::new(&panel, &bot.url());
    sync.run(&["migrate"]);
    for job in JOBS {
        // JSON is what is printed where stdout is no terminal.
        for arguments in [&[job, "--format", "json", "--no-progress"][..], &[job]] {
            let ended = sync.run(arguments);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(ended.report()["job"], job.replace('-', "_"));
        }
    }
    let table = sync.run(&[JOBS[0], "--format", "table"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(
        table.stdout.contains("synced") && !table.stdout.contains('{'),
        "{}",
        table.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let Some(bot) = postgres_bot().await else { return };
    bot.store().await.migrate().await.unwrap();
    let panel = panel().await;
    insert_panel_users(&panel);
    let sync = Sync::new(&panel, bot.database.url());
    // Without a sync of the last day nothing would be cleaned up.
    bot.sql(
        "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
         VALUES ('sync_subscriptions_from_marzban', 'default', now(), now(), 'completed', '{}')",
    )
    .await;
    let (places, users) = (bot.places().await, panel.state().users);

    let ended = sync.run(&["all", "--dry-run", "--format", "json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let reports = ended.reports();
    assert_eq!(reports.len(), 4, "{ended:?}");
    assert!(
        reports[..3].iter().all(|report| report["dry_run"] == true),
        "{ended:?}"
    );
    let planned = |report: &Value| {
        let plan = report["plan"].as_array().unwrap().iter();
        plan.map(|change| figures(&change["account"], &["telegram_id", "name"]))
            .collect::<Vec<_>>()
    };
    // What gives at first sight waits until everybody has been seen, and so is a change of its own.
    assert_eq!(
        planned(&reports[0]),
        [json!([10_001, "anna"]), json!([10_001, "anna"])]
    );
    let end_date = &reports[0]["plan"][1]["subscription"]["end_date"]["at"];
    assert_eq!(*end_date, json!(format!("{}T00:00:00Z", date(20))));
    assert_eq!(
        planned(&reports[1]),
        [json!([10_001, "anna"]), json!([10_002, "boris"])]
    );
    assert_eq!(
        reports[2]["deletions"],
        json!([{"telegram_id": 10_003, "name": "clara"}])
    );

    assert_same(&bot.places().await, &places);
    assert_eq!(panel.state().users, users);
    let own = "SELECT concat((SELECT count(*) FROM marzban_sync_runs), (SELECT count(*) FROM marzban_system_stats))";
    assert_eq!(bot.text(own).await, "10");
    assert!(
        !ended.stderr.contains("Updating subscription end_date"),
        "nothing is updated: {}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safety_limit_stops_the_run_until_an_operator_allows_mass_changes() {
    let Some(bot) = Bot::new().await else { return };
    let panel = panel().await;
    for id in 1..=10 {
        bot.add(
            id,
            &format!("user{id}"),
            "active",
            &format!("{} 00:00:00", date(9)),
            true,
        )
        .await;
        if id > 6 {
            let user = FakeUser::new(format!("user{id}"));
            panel.insert_user(user.expire(day(9).timestamp()));
        }
    }
    let places = bot.places().await;
    let sync = Sync::new(&panel, bot.database.url());
    let stopped = sync.run(&["sync-user-status-from-marzban", "--format", "json"]);
    assert_eq!(stopped.code, Some(1), "{stopped:?}");
    let report = stopped.report();
    assert_eq!(
        figures(
            &report,
            &["stopped", "withheld", "updated", "missing", "errors", "total"]
        ),
        json!(["safety", 6, 0, 6, 6, 10])
    );
    let why = report["withheld_because"].as_str().unwrap();
    assert!(why.contains("6 of 10 users"), "{why}");
    assert!(stopped.stderr.contains(why), "{}", stopped.stderr);
    assert_same(&bot.places().await, &places);

    let allowed = sync.run(&[
        "sync-user-status-from-marzban",
        "--format",
        "json",
        "--allow-mass-changes",
    ]);
    assert_eq!(allowed.code, Some(0), "{allowed:?}");
    let report = allowed.report();
    assert_eq!(
        figures(&report, &["stopped", "updated", "missing", "errors"]),
        json!([null, 6, 6, 0])
    );
    assert_eq!(
        bot.text("SELECT count(*)::text FROM vpn_configs WHERE NOT is_active")
            .await,
        "6"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_panels_has_variables_and_accounts_of_its_own() {
    let bot = SqliteBot::new();
    let (default, de) = (panel().await, panel().await);
    insert_panel_users(&default);
    insert_panel_users(&de);
    let sync = Sync::new(&default, &bot.url())
        .with("MARZBAN_DE_1_URL", &de.url())
        .with("MARZBAN_DE_1_USERNAME", super::USERNAME)
        .with("MARZBAN_DE_1_PASSWORD", super::PASSWORD)
        .with("MARZBAN_DE_1_PAUSE_MS", "0..0");
    assert_eq!(sync.run(&["migrate"]).code, Some(0));
    bot.execute("UPDATE vpn_configs SET panel = 'de-1' WHERE marzban_user_id = 'anna'");

    let ended = sync.run(&[JOBS[0], "--panel", "de-1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        figures(&ended.report(), &["panel", "synced", "errors", "total"]),
        json!(["de-1", 1, 0, 1])
    );
    assert_eq!(default.requests().len(), 0, "the other panel is left alone");

    let ended = sync.run(&[JOBS[0]]);
    assert_eq!(
        figures(&ended.report(), &["panel", "synced", "errors", "total"]),
        json!(["default", 2, 1, 3])
    );
    let ended = sync
        .without("MARZBAN_DE_1_URL")
        .run(&[JOBS[0], "--panel", "de-1"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.stderr,
        "error: MARZBAN_DE_1_URL is not set; `--help` lists the variables\n"
    );
}
