//! What an operator says of accounts whose two ends differ, on the page and over HTTP.

use serde_json::{Value, json};

use crate::page::{Board, place};
use crate::stage::{Process, Stage};

const JOB: &str = "sync-subscriptions-from-marzban";

/// 2030-01-01 and 2029-01-01, as a panel counts them.
const AGREED: i64 = 1_893_456_000;
const EARLIER: i64 = 1_861_920_000;

/// The ends that bot and panel agreed on, and that the panel then moved earlier for 15 of 20: a plan that is withheld.
async fn withheld() -> Option<(Stage, Process, String)> {
    let stage = Stage::new(&["default"]).await?;
    stage.insert_customers(0, "default", 1..=20).await;
    stage
        .sql("UPDATE subscriptions SET end_date = '2030-01-01'")
        .await;
    let set = |ids: std::ops::RangeInclusive<i64>, expire| {
        for id in ids {
            stage.panels[0].update_user(&format!("user{id}"), |user| user.expire = Some(expire));
        }
    };
    set(1..=20, AGREED);
    let process = stage.start_board(&["--role", "worker"]);
    let agreed = stage.run(&["enqueue", JOB, "--wait"]).await;
    assert_eq!(agreed.code, Some(0), "{agreed:?}");
    set(1..=15, EARLIER);
    let stopped = stage.run(&["enqueue", JOB, "--wait"]).await;
    assert_eq!(
        (stopped.code, &stopped.json()["stopped"]),
        (Some(1), &json!("safety")),
        "{stopped:?}"
    );
    let plan = stage.text("SELECT max(id)::text FROM marzban_sync_runs").await;
    Some((stage, process, plan))
}

/// How many subscriptions end when the panel says, and not when the bot does.
async fn moved(stage: &Stage) -> String {
    stage
        .text("SELECT count(*)::text FROM subscriptions WHERE end_date = '2029-01-01'")
        .await
}

fn names(ids: std::ops::RangeInclusive<i64>) -> Vec<String> {
    ids.map(|id| format!("user{id}")).collect()
}

/// The form that answers a plan for these accounts.
fn form<'a>(plan: &'a str, right: &'a str, names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("job", "sync_subscriptions_from_marzban"),
        ("for", "default"),
        ("apply", plan),
        ("right", right),
    ];
    fields.extend(names.iter().map(|name| ("name", name.as_str())));
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_a_plan_are_ticked_and_answered_once() {
    let Some((stage, process, plan)) = withheld().await else {
        return;
    };
    let board = Board::of(process).await;
    let page = board.get("/marzban").await.text().await.unwrap();
    assert_eq!(page.matches("type=\"checkbox\" name=\"name\"").count(), 15);
    for words in ["The panel is right", "The bot is right", "user15"] {
        assert!(page.contains(words), "{words}");
    }
    for (names, expected) in [
        (vec![], "notice=nobody"),
        (vec!["user20".to_owned()], "notice=changed"),
    ] {
        let answer = board.post("same-origin", &form(&plan, "bot", &names)).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(place(&answer), expected);
    }
    let all_but_one = names(2..=15);
    let answer = board.post("same-origin", &form(&plan, "bot", &all_but_one)).await;
    assert_eq!(answer.status(), 303);
    let task = place(&answer);
    let task = task.strip_prefix("task=").expect(&task);
    let report = stage.until_status(task, "Done").await["Ok"].take();
    assert_eq!(report["reasons"]["panel_behind"], json!(14), "{report}");
    assert_eq!(
        (&report["stopped"], moved(&stage).await.as_str()),
        (&Value::Null, "0"),
        "{report}"
    );

    // The plan has been answered, and nothing waits any more.
    let answer = board
        .post("same-origin", &form(&plan, "panel", &all_but_one))
        .await;
    assert_eq!(place(&answer), "notice=changed");
    let answer = board
        .post("same-origin", &[("job", "reboot"), ("for", "default")])
        .await;
    assert_eq!(answer.status(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_plan_that_is_not_the_last_word_does_not_count() {
    let Some((stage, _process, plan)) = withheld().await else {
        return;
    };
    let old = ulid::Ulid::from_parts(ulid::Ulid::generate().timestamp_ms() - 7_200_000, 7).to_string();
    let earlier_plan = (plan.parse::<i64>().unwrap() - 1).to_string();
    for (id, plan) in [
        (ulid::Ulid::generate().to_string(), earlier_plan.as_str()),
        (ulid::Ulid::generate().to_string(), "\"latest\""),
        (old, plan.as_str()),
    ] {
        let names = serde_json::to_string(&names(1..=15)).unwrap();
        let insert = format!(
            "INSERT INTO apalis.jobs (id, job_type, job, max_attempts) VALUES ('{id}', 'marzban',
                '{{\"job\": \"{JOB}\", \"trust_panel\": {names}, \"plan\": {plan}, \"allow_mass_changes\": true}}', 3)"
        );
        stage.sql(&insert).await;
        let result = stage.until_status(&id, "Done").await;
        assert_eq!(result["Ok"]["stopped"], json!("safety"), "{result}");
        assert_eq!(moved(&stage).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_takes_both_answers_at_once() {
    let Some((stage, process, _)) = withheld().await else {
        return;
    };
    let body = json!({"job": JOB, "trust_panel": ["user1"], "trust_bot": names(2..=15)});
    let address = process.address().await;
    let request = reqwest::Client::new()
        .post(format!("{address}/api/jobs"))
        .json(&body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(answer["task"].is_string(), "{answer}");
    let task = answer["task"].as_str().unwrap();
    let report = stage.until_status(task, "Done").await["Ok"].take();
    assert_eq!(report["reasons"], json!({"panel_behind": 14}), "{report}");
    assert_eq!(moved(&stage).await, "1");
}
