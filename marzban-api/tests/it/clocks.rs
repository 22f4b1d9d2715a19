//! What the client knows of the panel's clock.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_api::Client;
use marzban_api::testing::{FakePanel, Fault};

use crate::wire::{Reply, SYSTEM, Wire, builder, raw};

/// A reply of this status and type whose date is so many seconds after eleven.
fn dated(status: u16, content_type: &str, seconds: u32, body: &str) -> Reply {
    let headers = format!(
        "date: Mon, 15 Sep 2025 11:00:{seconds:02} GMT\r\n{}",
        match content_type {
            "" => String::new(),
            kind => format!("content-type: {kind}\r\n"),
        }
    );
    Reply::Keep(raw(status, &headers, body))
}

fn eleven_and(seconds: i64) -> DateTime<Utc> {
    let eleven: DateTime<Utc> = "2025-09-15T11:00:00Z".parse().unwrap();
    eleven + TimeDelta::seconds(seconds)
}

/// Asks once, whatever comes of it.
async fn ask(client: &Client) {
    let _either: Result<_, marzban_api::Error> = client.system().stats().await;
}

#[tokio::test]
async fn the_date_is_that_of_the_panels_last_answer_by_its_own_clock() {
    let panel = FakePanel::start().await;
    let client = builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .unwrap();
    assert_eq!(client.last_date(), None, "nothing was asked yet");
    for time in [
        "2019-01-01T00:00:00Z",
        "2031-12-31T23:59:59.999Z",
        "2025-09-15T12:00:00Z",
    ] {
        let time = time.parse::<DateTime<Utc>>().unwrap();
        panel.set_now(time);
        panel.revoke_tokens();
        client.clone().system().stats().await.unwrap();
        let whole = DateTime::from_timestamp(time.timestamp(), 0);
        assert_eq!(client.last_date(), whole, "clones share it");
    }
    panel.set_now("2025-09-15T13:00:00Z".parse().unwrap());
    for fault in [
        Fault::HtmlBody(200),
        Fault::HtmlBody(404),
        Fault::HtmlBody(500),
        Fault::HtmlBody(503),
        Fault::Status(503),
        Fault::DropConnection,
    ] {
        panel.inject(fault.clone().always());
        ask(&client).await;
        panel.clear_faults();
        let noon = "2025-09-15T12:00:00Z".parse().ok();
        assert_eq!(client.last_date(), noon, "{fault:?}");
    }
    client.users().get("nobody").await.unwrap_err();
    assert_eq!(client.last_date(), "2025-09-15T13:00:00Z".parse().ok());
}

#[tokio::test]
async fn only_what_the_panel_itself_says_counts() {
    let json = "application/json";
    for (reply, counts) in [
        (dated(200, json, 1, SYSTEM), true),
        (dated(200, json, 1, "null"), true),
        (dated(403, json, 1, r#"{"detail":"You're not allowed"}"#), true),
        (dated(404, json, 1, r#"{"detail":"Not Found"}"#), true),
        (dated(200, "text/html", 1, "<p>welcome</p>"), false),
        (dated(404, "text/html", 1, "<p>Not Found</p>"), false),
        (dated(200, "text/plain", 1, "OK"), false),
        (dated(500, "text/plain", 1, "Internal Server Error"), false),
        (dated(502, json, 1, r#"{"error":"bad gateway"}"#), false),
        (dated(302, "", 1, ""), false),
    ] {
        let login = move |_| dated(200, json, 0, r#"{"access_token":"token"}"#);
        let wire = Wire::with_logins(login, vec![reply; 3]).await;
        let client = wire.client();
        ask(&client).await;
        assert_eq!(
            client.last_date(),
            Some(eleven_and(i64::from(counts))),
            "{:?}",
            wire.lines()
        );
    }
}

#[tokio::test]
async fn an_answer_without_a_date_leaves_the_last_one() {
    let of_panel = |date: &str| {
        let headers = format!("content-type: application/json\r\n{date}");
        Reply::Keep(raw(200, &headers, SYSTEM))
    };
    let wire = Wire::script([
        of_panel(""),
        of_panel("date: Mon, 15 Sep 2025 11:00:05 GMT\r\n"),
        of_panel(""),
        of_panel("date: yesterday\r\n"),
        of_panel("date: Mon, 15 Sep 2025 11:00:02 GMT\r\n"),
    ])
    .await;
    let client = wire.client();
    let [two, five] = [2, 5].map(|seconds| Some(eleven_and(seconds)));
    for expected in [None, five, five, five, two] {
        client.system().stats().await.unwrap();
        assert_eq!(client.last_date(), expected);
    }
}
