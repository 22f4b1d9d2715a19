//! The websockets of logs, frame by frame.

use std::time::Duration;

use marzban_api::testing::FakePanel;
use tokio::io::AsyncReadExt as _;

use super::{Setup, Wire, log_in};

/// Asks for a websocket and reads the head of the answer.
async fn connect(panel: &FakePanel, target: &str, token: Option<&str>) -> (Wire, u16) {
    let mut wire = Wire::open(panel).await;
    let token = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    wire.send(&format!(
        "GET {target} HTTP/1.1\r\nhost: panel.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{token}\r\n"
    ))
    .await;
    // Byte by byte, because the first frames may follow at once.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(wire.0.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).expect("the head is text");
    if head.contains("101 ") {
        // The answer to the key of the example in RFC 6455.
        assert!(
            head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{head}"
        );
    }
    let status = head[9..12].parse().expect("the status is a number");
    (wire, status)
}

/// Reads one short text frame, which a server does not mask.
async fn frame(wire: &mut Wire) -> String {
    let mut head = [0; 2];
    wire.0.read_exact(&mut head).await.expect("a frame");
    assert_eq!(head[0], 0x81, "a whole text frame");
    assert!(head[1] < 126, "a short one");
    let mut text = vec![0; usize::from(head[1])];
    wire.0.read_exact(&mut text).await.expect("a whole frame");
    String::from_utf8(text).expect("a frame is text")
}

#[tokio::test]
async fn a_listener_is_sent_the_lines_so_far_and_then_each_new_one() {
    let setup = Setup::new().await;
    let target = format!("/api/core/logs?token={}", setup.token);
    for (target, token) in [
        (target.as_str(), None),
        ("/api/core/logs", Some(setup.token.as_str())),
    ] {
        let (mut wire, status) = connect(&setup.panel, target, token).await;
        assert_eq!(status, 101);
        assert_eq!(
            frame(&mut wire).await,
            "Xray 1.8.24 (Xray, Penetrates Everything.)"
        );
        assert_eq!(frame(&mut wire).await, "[Warning] core: Xray 1.8.24 started");
        if token.is_none() {
            setup.panel.write_log("one");
            assert_eq!(frame(&mut wire).await, "one");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_an_interval_lines_come_together_but_for_the_first() {
    let setup = Setup::new().await;
    let (mut wire, status) = connect(&setup.panel, "/api/core/logs?interval=2", Some(&setup.token)).await;
    assert_eq!(status, 101);
    assert_eq!(
        frame(&mut wire).await,
        "Xray 1.8.24 (Xray, Penetrates Everything.)\n"
    );
    let started = tokio::time::Instant::now();
    assert_eq!(frame(&mut wire).await, "[Warning] core: Xray 1.8.24 started\n");
    assert_eq!(started.elapsed().as_secs(), 2);
    setup.panel.write_log("one");
    setup.panel.write_log("two");
    assert_eq!(frame(&mut wire).await, "one\ntwo\n");
    assert_eq!(started.elapsed().as_secs(), 4);
    tokio::time::advance(Duration::from_secs(2)).await;
}

#[tokio::test]
async fn whoever_may_not_listen_is_refused_before_there_is_a_websocket() {
    let setup = Setup::new().await;
    let other = log_in(&setup.panel, "ali", "ali").await;
    for (target, token) in [
        ("/api/core/logs", None),
        ("/api/core/logs", Some("nonsense")),
        ("/api/core/logs", Some(other.as_str())),
        ("/api/core/logs?interval=11", Some(setup.token.as_str())),
        ("/api/core/logs?interval=x", Some(setup.token.as_str())),
        ("/api/node/1/logs", Some(setup.token.as_str())),
    ] {
        let (_, status) = connect(&setup.panel, target, token).await;
        assert_eq!(status, 403, "{target}");
    }
    setup
        .get("/api/core/logs")
        .await
        .assert(404, r#"{"detail":"Not Found"}"#);
}

#[tokio::test]
async fn a_listener_is_cut_off_when_the_panel_stops() {
    let setup = Setup::new().await;
    let (mut wire, _) = connect(&setup.panel, "/api/core/logs", Some(&setup.token)).await;
    frame(&mut wire).await;
    frame(&mut wire).await;
    setup.panel.shutdown().await;
    assert!(wire.is_closed().await);
}
