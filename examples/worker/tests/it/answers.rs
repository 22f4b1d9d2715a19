//! What an operator says of accounts whose two ends differ, on the page and over HTTP.

use reqwest::redirect::Policy;
use serde_json::{Value, json};

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
        .client
        .batch_execute("UPDATE subscriptions SET end_date = '2030-01-01'")
        .await
        .unwrap();
    let set = |ids: std::ops::RangeInclusive<i64>, expire| {
        for id in ids {
            stage.panels[0].update_user(&format!("user{id}"), |user| user.expire = Some(expire));
        }
    };
    set(1..=20, AGREED);
    let process = stage.start(&[
        "--role",
        "board",
        "--role",
        "worker",
        "--listen",
        "127.0.0.1:0",
        "--poll",
        "50ms",
    ]);
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

/// A browser that has opened the page: its cookie, and the secret of its forms.
struct Visitor {
    client: reqwest::Client,
    address: String,
    cookie: String,
    page: String,
}

impl Visitor {
    async fn new(address: String) -> Self {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let answer = client.get(format!("{address}/marzban")).send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self {
            client,
            address,
            cookie,
            page: answer.text().await.unwrap(),
        }
    }

    /// Sends a form of the page, and returns status and the address that it leads to.
    async fn send(&self, fields: &[(&str, &str)]) -> (u16, String) {
        let (_, token) = self.cookie.split_once('=').unwrap();
        let all = [&[("token", token), ("for", "default")], fields].concat();
        let request = self.client.post(format!("{}/marzban/run", self.address));
        let answer = request
            .header("cookie", &self.cookie)
            .form(&all)
            .send()
            .await
            .unwrap();
        let leads_to = answer
            .headers()
            .get("location")
            .map(|place| place.to_str().unwrap().to_owned());
        (answer.status().as_u16(), leads_to.unwrap_or_default())
    }
}

/// The form that answers a plan for these accounts.
fn form<'a>(plan: &'a str, right: &'a str, names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("job", "sync_subscriptions_from_marzban"),
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
    let visitor = Visitor::new(process.address().await).await;
    assert_eq!(
        visitor.page.matches("type=\"checkbox\" name=\"name\"").count(),
        15
    );
    for words in ["The panel is right", "The bot is right", "user15"] {
        assert!(visitor.page.contains(words), "{words}");
    }
    for (names, expected) in [
        (vec![], "notice=nobody"),
        (vec!["user20".to_owned()], "notice=changed"),
    ] {
        let (status, place) = visitor.send(&form(&plan, "bot", &names)).await;
        assert_eq!(status, 303);
        assert!(place.contains(expected), "{place}");
    }
    let all_but_one = names(2..=15);
    let (status, place) = visitor.send(&form(&plan, "bot", &all_but_one)).await;
    assert_eq!(status, 303);
    let task = place
        .split("task=")
        .nth(1)
        .expect(&place)
        .split('#')
        .next()
        .unwrap()
        .to_owned();
    let report = stage.until_status(&task, "Done").await["Ok"].take();
    assert_eq!(report["reasons"]["panel_behind"], json!(14), "{report}");
    assert_eq!(
        (&report["stopped"], moved(&stage).await.as_str()),
        (&Value::Null, "0"),
        "{report}"
    );

    // The plan has been answered, and nothing waits any more.
    let (_, place) = visitor.send(&form(&plan, "panel", &all_but_one)).await;
    assert!(place.contains("notice=changed"), "{place}");
    let (status, _) = visitor.send(&[("job", "reboot")]).await;
    assert_eq!(status, 422);
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
        stage.client.batch_execute(&insert).await.unwrap();
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
