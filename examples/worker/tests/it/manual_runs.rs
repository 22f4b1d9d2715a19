//! Runs by hand, from the command line and over HTTP.

use serde_json::{Value, json};

use crate::stage::Stage;

async fn post(address: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{address}/api/jobs"));
    let response = request.json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_for_a_run_and_waits_for_its_report() {
    let Some(stage) = Stage::new(&["default", "de"]).await else {
        return;
    };
    stage.insert_customers(1, "de", 1..=3).await;
    let ended = stage
        .run(&["enqueue", "sync-subscriptions-from-marzban", "--panel", "de"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let printed = ended.json();
    assert_eq!(
        (&printed["job"], &printed["panel"]),
        (&json!("sync_subscriptions_from_marzban"), &json!("de"))
    );
    let _worker = stage.start_worker(&["--panel", "default", "--panel", "de"]);
    let result = stage
        .until_status(printed["task"].as_str().unwrap(), "Done")
        .await;
    assert_eq!(
        (&result["Ok"]["synced"], &result["Ok"]["panel"]),
        (&json!(3), &json!("de"))
    );

    let ended = stage
        .run(&["enqueue", "get_marzban_system_stats", "--wait"])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.json()["job"], "get_marzban_system_stats");
    assert!(ended.json()["stats"]["version"].is_string(), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_asks_for_a_run_and_is_told_the_task() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let board = stage.start_board(&["--role", "worker"]);
    let address = board.address().await;
    let metrics = async || {
        let scraped = reqwest::get(format!("{address}/metrics")).await.unwrap();
        scraped.text().await.unwrap()
    };
    let of_job = r#"{panel="default",job="get_marzban_system_stats""#;
    let healthy = format!("marzban_sync_healthy{of_job}}} 1\n");
    assert!(metrics().await.contains(&healthy), "{}", metrics().await);

    let (status, answer) = post(&address, json!({"job": "get-marzban-system-stats"})).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        (&answer["job"], &answer["panel"]),
        (&json!("get_marzban_system_stats"), &json!("default"))
    );
    let task = answer["task"].as_str().unwrap();
    stage.until_status(task, "Done").await;
    let scraped = metrics().await;
    for line in [
        healthy,
        format!("marzban_sync_runs_total{of_job},outcome=\"completed\"}} 1\n"),
        "marzban_panel_users{panel=\"default\",status=\"active\"} 0\n".to_owned(),
    ] {
        assert!(scraped.contains(&line), "{line}: {scraped}");
    }
    let shown = reqwest::get(format!("{address}/api/v1/queues/marzban/tasks/{task}"))
        .await
        .unwrap();
    assert_eq!(
        shown.json::<Value>().await.unwrap()["args"]["job"],
        "get_marzban_system_stats"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_says_what_is_wrong_with_a_request() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let board = stage.start_board(&[]);
    let address = board.address().await;
    for (body, why) in [
        (
            json!({"job": "reboot"}),
            "the jobs are sync_subscriptions_from_marzban",
        ),
        (
            json!({"job": "get-marzban-system-stats", "panel": "nl"}),
            "the panels are default",
        ),
        (
            json!({"job": "get-marzban-system-stats", "allow_mass_change": true}),
            "unknown field",
        ),
        (json!({}), "missing field `job`"),
        (
            json!({"job": "sync-user-status-from-marzban", "trust_bot": ["anna"]}),
            "are for sync_subscriptions_from_marzban",
        ),
        (
            json!({"job": "sync-subscriptions-from-marzban", "trust_panel": ["anna"], "trust_bot": ["anna"]}),
            "only one can be right",
        ),
        (
            json!({"job": "sync-subscriptions-from-marzban", "trust_panel": [""]}),
            "none is empty",
        ),
        (
            json!({"job": "sync-subscriptions-from-marzban", "trust_panel": "anna"}),
            "invalid type",
        ),
    ] {
        let (status, answer) = post(&address, body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
}
