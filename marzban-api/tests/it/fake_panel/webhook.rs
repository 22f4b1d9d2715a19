//! Notifications, as a receiver gets them.

use std::time::Duration;

use marzban_api::testing::{FakePanel, FakeUser};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Reply, Wire, at, call, log_in};

/// Takes one request and answers it with this status.
async fn receive(listener: &TcpListener, status: u16) -> (String, Value) {
    let (socket, _) = listener.accept().await.expect("a notification");
    let mut wire = Wire(socket);
    let (head, body) = wire.read_raw().await;
    wire.send(&format!(
        "HTTP/1.1 {status} Any\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ))
    .await;
    (head, serde_json::from_slice(&body).expect("a batch is JSON"))
}

/// A panel that notifies a receiver, and the token of its sudo admin with a row.
async fn setup(listener: &TcpListener) -> (FakePanel, String) {
    let address = listener.local_addr().expect("an address");
    let panel = FakePanel::builder()
        .now(at("2026-11-22T20:59:42Z"))
        .admin(marzban_api::testing::FakeAdmin::new("root2", "root2").sudo())
        .webhook(format!("http://{address}/hook"))
        .webhook_secret("s3cr3t")
        .start()
        .await
        .expect("a free port");
    let token = log_in(&panel, "root2", "root2").await;
    (panel, token)
}

async fn post(panel: &FakePanel, token: &str, target: &str, body: &str) -> Reply {
    call(panel, "POST", target, Some(token), Some(body)).await
}

const ALICE: &str = r#"{"username":"alice","proxies":{"vless":{}},"inbounds":{},"data_limit":1000}"#;

fn actions(batch: &Value) -> Vec<&str> {
    let batch = batch.as_array().expect("a batch is a list");
    batch
        .iter()
        .map(|event| event["action"].as_str().expect("an action"))
        .collect()
}

#[tokio::test]
async fn what_admins_and_jobs_do_is_posted_in_one_batch_with_the_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (panel, token) = setup(&listener).await;
    post(&panel, &token, "/api/user", ALICE).await;
    call(
        &panel,
        "PUT",
        "/api/user/alice",
        Some(&token),
        Some(r#"{"status":"disabled"}"#),
    )
    .await;
    call(
        &panel,
        "PUT",
        "/api/user/alice",
        Some(&token),
        Some(r#"{"status":"active"}"#),
    )
    .await;
    panel.add_traffic("alice", 850);
    panel.review();
    panel.add_traffic("alice", 850);
    panel.review();
    post(&panel, &token, "/api/user/alice/reset", "").await;
    post(&panel, &token, "/api/user/alice/revoke_sub", "").await;
    call(&panel, "DELETE", "/api/user/alice", Some(&token), None).await;
    let (sent, (head, batch)) = tokio::join!(panel.send_notifications(), receive(&listener, 200));
    assert_eq!(sent, Some(1));
    assert!(head.contains("x-webhook-secret: s3cr3t"), "{head}");
    assert_eq!(
        actions(&batch),
        [
            "user_created",
            "user_updated",
            "user_disabled",
            "user_updated",
            "user_enabled",
            "reached_usage_percent",
            "user_limited",
            "data_usage_reset",
            "subscription_revoked",
            "user_deleted",
        ]
    );
    assert_eq!(batch[2]["reason"], Value::Null);
    assert_eq!(batch[5]["used_percent"], json!(85.0));
    assert_eq!(batch[6].get("by"), None);
    assert_eq!(batch[9].get("user"), None);
    assert_eq!(batch[0]["by"]["username"], "root2");
    assert_eq!(batch[0]["user"]["username"], "alice");
    assert_eq!(batch[0]["enqueued_at"], json!(1_795_381_182.0));
    assert_eq!(panel.send_notifications().await, None);
}

#[tokio::test]
async fn a_refused_batch_comes_again_three_times_after_three_minutes_and_is_then_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (panel, token) = setup(&listener).await;
    post(&panel, &token, "/api/user", ALICE).await;
    for tries in 0..4 {
        let (sent, (_, batch)) = tokio::join!(panel.send_notifications(), receive(&listener, 500));
        assert_eq!((sent, &batch[0]["tries"]), (Some(0), &json!(tries)));
        assert_eq!(panel.send_notifications().await, None, "not before its time");
        panel.advance(Duration::from_mins(3));
    }
    assert_eq!(panel.send_notifications().await, None, "given up");
}

#[tokio::test]
async fn the_deletion_of_an_ownerless_user_and_what_nobody_did_are_not_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (panel, token) = setup(&listener).await;
    panel.insert_user(FakeUser::new("bob"));
    let reply = call(&panel, "DELETE", "/api/user/bob", Some(&token), None).await;
    reply.assert_internal_error();
    post(&panel, &token, "/api/users/reset", "").await;
    assert_eq!(panel.send_notifications().await, None);
}
