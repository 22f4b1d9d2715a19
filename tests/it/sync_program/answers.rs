//! What an operator says of accounts whose two ends differ.

use marzban_api::testing::FakePanel;
use serde_json::{Value, json};

use super::bots::{AnyBot, user};
use super::{Ended, Sync, date};

const JOB: &str = "sync-subscriptions-from-marzban";

/// A drifted bot: three customers have later ends in the bot, as nobody wrote the payments into the panel, or back.
async fn drifted() -> Vec<(AnyBot, FakePanel, Sync)> {
    let mut drifted = Vec::new();
    for (bot, panel, sync) in AnyBot::each().await {
        bot.add_in_line(&panel).await;
        for (id, name, days) in [(11, "anna", 20), (12, "boris", 21), (13, "clara", 22)] {
            bot.add(id, name, "active", days, true).await;
            panel.insert_user(user(name, 15));
        }
        drifted.push((bot, panel, sync));
    }
    drifted
}

/// Names and reasons of the problems.
fn problems(ended: &Ended) -> Vec<String> {
    let report = ended.report();
    let problems = report["problems"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    problems
        .map(|problem| format!("{} {}", text(&problem["name"]), text(&problem["reason"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drifted_bot_is_told_which_side_is_right_for_named_accounts() {
    for (bot, _panel, sync) in drifted().await {
        let open = ["anna ends_disagree", "boris ends_disagree", "clara ends_disagree"];
        let ended = sync.run(&[JOB]);
        assert_eq!(
            (ended.code, problems(&ended)),
            (Some(0), open.map(str::to_owned).to_vec())
        );
        assert_eq!(ended.report()["reasons"], json!({"ends_disagree": 3}));
        let before = bot.rows().await;

        let ended = sync.run(&[JOB, "--trust-panel", "anna", "--dry-run"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report = ended.report();
        let changed = &report["changed"][0];
        assert_eq!(
            (&changed["username"], &changed["what"], &changed["reason"]),
            (&json!("anna"), &json!("end_date"), &json!("shortened")),
            "{report}"
        );
        assert_eq!(bot.rows().await, before, "a dry run writes nothing");

        let ended = sync.run(&[JOB, "--trust-panel", "anna,nobody", "--trust-bot", "boris"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(problems(&ended), ["boris panel_behind", "clara ends_disagree"]);
        let warnings: Vec<&str> = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("warning: "))
            .collect();
        assert_eq!(
            warnings,
            ["warning: --trust-panel nobody: the panel \"default\" has no account of this name"]
        );
        assert_eq!(bot.row("anna").await, format!("anna active {} 1", date(15)));
        assert_eq!(bot.row("boris").await, format!("boris active {} 1", date(21)));

        // What was answered needs no answer any more.
        let ended = sync.run(&[JOB]);
        assert_eq!(problems(&ended), ["boris panel_behind", "clara ends_disagree"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_the_answer_is_for_everybody_and_the_brakes_count() {
    for (bot, _panel, sync) in drifted().await {
        // The answer moves three of thirteen ends earlier, which is too many for nobody to look.
        bot.sql("DELETE FROM subscriptions WHERE user_id < 8; DELETE FROM vpn_configs WHERE user_id < 8")
            .await;
        let ended = sync.run(&[JOB, "--trust-panel"]);
        assert_eq!(
            (ended.code, &ended.report()["stopped"]),
            (Some(1), &json!("safety")),
            "{ended:?}"
        );
        assert_eq!(bot.row("anna").await, format!("anna active {} 1", date(20)));

        let ended = sync.run(&[
            "sync_subscriptions_from_marzban",
            "--trust-panel",
            "--allow-mass-changes",
        ]);
        assert_eq!((ended.code, problems(&ended)), (Some(0), vec![]), "{ended:?}");
        for name in ["anna", "boris", "clara"] {
            assert_eq!(bot.row(name).await, format!("{name} active {} 1", date(15)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_can_be_right_for_everybody_in_all_four_jobs() {
    for (bot, _panel, sync) in drifted().await {
        let before = bot.rows().await;
        let ended = sync.run(&["all", "--trust-bot"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let reports = ended.reports();
        assert_eq!(reports.len(), 4, "{ended:?}");
        assert_eq!(reports[0]["reasons"], json!({"panel_behind": 3}));
        assert_eq!(bot.rows().await, before);
        assert_eq!(sync.run(&[JOB]).report()["reasons"], json!({"panel_behind": 3}));
    }
}
