//! `explain` and `undo`, which need the database alone.

use marzban_api::testing::FakeStatus;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{DEFAULT_PANEL, Journal, PostgresStore, RunLock, SqliteStore};
use serde_json::{Value, json};

use super::bots::{AnyBot, user};
use super::sqlite::SqliteBot;
use super::{Sync, date, day, panel};

/// The same without any variable of a panel.
fn without_panel(sync: Sync) -> Sync {
    ["URL", "USERNAME", "PASSWORD", "PAUSE_MS"]
        .into_iter()
        .fold(sync, |sync, name| sync.without(&format!("MARZBAN_{name}")))
}

/// A bot whose customer anna was extended and reactivated by a run, and whose olga was cleaned up.
async fn after_some_runs() -> Vec<(AnyBot, Sync)> {
    let mut bots = Vec::new();
    for (bot, panel, sync) in AnyBot::each().await {
        bot.add_in_line(&panel).await;
        bot.add(11, "anna", "expired", -2, false).await;
        panel.insert_user(user("anna", 20));
        bot.add(12, "olga", "expired", -30, false).await;
        panel.insert_user(user("olga", -30).status(FakeStatus::Expired));
        let ended = sync.run(&["all"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(bot.row("anna").await, format!("anna active {} 1", date(20)));
        bots.push((bot, without_panel(sync)));
    }
    bots
}

fn texts(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|entry| entry[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_explained_by_telegram_id_and_by_name() {
    for (_bot, sync) in after_some_runs().await {
        let by_name = sync.run(&["explain", "anna"]);
        assert_eq!(by_name.code, Some(0), "{by_name:?}");
        let (by_name, by_id) = (by_name.report(), sync.run(&["explain", "10011"]).report());
        for list in ["accounts", "agreements", "changes"] {
            assert_eq!(by_name[list], by_id[list]);
        }
        assert_eq!(
            (&by_name["job"], &by_name["name"]),
            (&json!("explain"), &json!("anna"))
        );
        let account = &by_name["accounts"][0];
        for (key, value) in [
            ("telegram_id", json!(10_011)),
            ("username", json!("anna")),
            ("panel", json!("default")),
            ("is_active", json!(true)),
            ("status", json!("active")),
            ("end_date", json!(format!("{}T00:00:00Z", date(20)))),
        ] {
            assert_eq!(account[key], value, "{account}");
        }
        let agreement = &by_name["agreements"][0];
        assert_eq!(
            agreement["end"]["at"],
            json!(format!("{}T00:00:00Z", date(20))),
            "{agreement}"
        );
        let changes = &by_name["changes"];
        let mut columns = texts(changes, "column");
        columns.sort();
        assert_eq!(
            columns,
            [
                "subscriptions.end_date",
                "subscriptions.status",
                "vpn_configs.is_active"
            ]
        );
        let status = changes
            .as_array()
            .unwrap()
            .iter()
            .find(|change| change["column"] == "subscriptions.status");
        let status = status.unwrap();
        assert_eq!(
            (
                &status["old"],
                &status["new"],
                &status["reason"],
                &status["state"]
            ),
            (
                &json!("expired"),
                &json!("active"),
                &json!("reactivated"),
                &json!("done")
            )
        );
        assert!(status["run"].is_i64() && status["when"].is_string(), "{status}");

        let table = sync.run(&["explain", "anna", "--format", "table"]);
        assert_eq!(table.code, Some(0), "{table:?}");
        for words in [
            "accounts (1)",
            "changes (3)",
            "subscriptions.end_date",
            "reactivated",
        ] {
            assert!(table.stdout.contains(words), "{words}: {}", table.stdout);
        }
        assert!(!table.stdout.contains('{'), "{}", table.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cleaned_up_is_explained_by_what_was_done_and_who_was_never_there_is_not() {
    for (_bot, sync) in after_some_runs().await {
        for name in ["olga", "10012"] {
            let report = sync.run(&["explain", name]).report();
            assert_eq!(report["accounts"], json!([]), "{report}");
            let columns = texts(&report["changes"], "column");
            assert!(columns.contains(&"panel.user".to_owned()), "{report}");
        }
        for name in ["nobody", "99"] {
            let ended = sync.run(&["explain", name]);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
            assert!(
                ended.stderr.starts_with("error: nobody has") && ended.stderr.contains(name),
                "{}",
                ended.stderr
            );
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_ten_thousand_is_found_in_whichever_panel() {
    let (bot, panel) = (SqliteBot::empty(), panel().await);
    let sync = without_panel(Sync::new(&panel, &bot.url()));
    assert_eq!(sync.run(&["migrate"]).code, Some(0));
    let n = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)";
    bot.execute(&format!(
        "INSERT INTO users {n} SELECT n, 10000 + n, 'fa' FROM n;
         INSERT INTO subscriptions {n} SELECT n, n, 3, 'active', NULL, '{end}', NULL FROM n;
         INSERT INTO vpn_configs (id, user_id, protocol, marzban_user_id, is_active, panel)
             {n} SELECT n, n, 'vless', 'user' || n, true, CASE WHEN n > 5000 THEN 'de' END FROM n",
        end = day(9).format("%Y-%m-%d %H:%M:%S")
    ));
    let report = sync.run(&["explain", "user9999"]).report();
    assert_eq!(report["accounts"][0]["panel"], json!("de"), "{report}");
    assert_eq!(sync.run(&["explain", "19999", "--panel", "de"]).code, Some(0));
    assert_eq!(
        sync.run(&["explain", "19999", "--panel", "default"]).code,
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_undone_once_and_only_where_the_rows_are_as_it_left_them() {
    for (bot, sync) in after_some_runs().await {
        let changes = sync.run(&["explain", "anna"]).report();
        let run = changes["changes"][0]["run"].to_string();
        let after = bot.rows().await;

        let planned = sync.run(&["undo", &run, "--dry-run"]);
        assert_eq!(planned.code, Some(0), "{planned:?}");
        let report = planned.report();
        assert_eq!(
            (
                &report["job"],
                &report["dry_run"],
                &report["undone"],
                &report["kept"]
            ),
            (&json!("undo"), &json!(true), &json!(3), &json!(0)),
            "{report}"
        );
        assert_eq!(bot.rows().await, after);

        // The bot has changed one of the values since.
        bot.sql("UPDATE vpn_configs SET is_active = false WHERE marzban_user_id = 'anna'")
            .await;
        let undone = sync.run(&["undo", &run]);
        assert_eq!(undone.code, Some(0), "{undone:?}");
        let report = undone.report();
        assert_eq!(
            (&report["undone"], &report["kept"]),
            (&json!(2), &json!(1)),
            "{report}"
        );
        assert_eq!(bot.row("anna").await, format!("anna expired {} 0", date(-2)));

        let again = sync.run(&["undo", &run]).report();
        assert_eq!(
            (&again["undone"], &again["kept"]),
            (&json!(0), &json!(3)),
            "{again}"
        );
        let explained = sync.run(&["explain", "anna"]).report();
        assert_eq!(
            texts(&explained["changes"], "reason")
                .iter()
                .filter(|reason| *reason == "undone")
                .count(),
            2
        );
        let table = sync.run(&["undo", &run, "--dry-run", "--format", "table"]);
        assert!(
            table.stdout.contains("plan (3)") && !table.stdout.contains('{'),
            "{}",
            table.stdout
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_there_or_a_panel_at_work_is_one_line() {
    for (bot, sync) in after_some_runs().await {
        let line = |arguments: &[&str], words: &str| {
            let ended = sync.run(arguments);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
            assert!(
                ended.stderr.starts_with("error: ") && ended.stderr.contains(words),
                "{words}: {}",
                ended.stderr
            );
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        };
        line(&["undo", "4000"], "run 4000 has no trail");
        let run = sync.run(&["explain", "anna"]).report()["changes"][0]["run"].to_string();
        line(&["undo", &run, "--panel", "de"], "is of the panel \"default\"");
        let held = lock(&bot).await;
        line(&["undo", &run], "another run of sync_user_status_from_marzban");
        held.release().await.unwrap();
        assert_eq!(sync.run(&["undo", &run]).code, Some(0));
    }
}

/// The lock of a job, as a run elsewhere holds it.
async fn lock(bot: &AnyBot) -> Box<dyn RunLock> {
    let job = Job::SyncUserStatusFromMarzban;
    match bot {
        AnyBot::Postgres(bot) => {
            let store = PostgresStore::connect(bot.database.url()).await.unwrap();
            store.lock(job, DEFAULT_PANEL).await.unwrap()
        }
        AnyBot::Sqlite(bot) => {
            let store = SqliteStore::connect(&bot.url()).await.unwrap();
            store.lock(job, DEFAULT_PANEL).await.unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_tables_says_so() {
    let (bot, panel) = (SqliteBot::new(), panel().await);
    let sync = without_panel(Sync::new(&panel, &bot.url()));
    for arguments in [&["explain", "anna"], &["undo", "1"]] {
        let ended = sync.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("run `migrate`"), "{}", ended.stderr);
    }
}
