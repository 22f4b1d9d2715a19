//! The log of a core over a websocket, frame by frame.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use marzban_api::resource::LogOptions;
use marzban_api::testing::{FakeAdmin, FakePanel};
use marzban_api::{Error, ErrorKind, RetryPolicy};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::wire::{QUICK, Recorded, Reply, Wire, builder, html, json, raw, refused};

/// A text of less than 126 bytes as a server sends it.
fn text(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn accepted(request: &Recorded, frames: &[Vec<u8>]) -> Vec<u8> {
    let key = derive_accept_key(request.header("sec-websocket-key").unwrap().as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {key}\r\n\r\n"
    );
    [head.into_bytes(), frames.concat()].concat()
}

/// Grants logins and answers the openings of the log, counted from 0.
async fn panel(open: impl Fn(usize, &Recorded) -> Reply + Send + Sync + 'static) -> Wire {
    let opened = std::sync::atomic::AtomicUsize::new(0);
    Wire::answering(move |request| {
        if request.is_login() {
            return crate::wire::granted("s3cr3t-token");
        }
        open(opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed), request)
    })
    .await
}

async fn all(logs: impl Stream<Item = Result<String, Error>>) -> (Vec<String>, Error) {
    let mut items: Vec<_> = logs.collect().await;
    let error = items.pop().unwrap().unwrap_err();
    (items.into_iter().map(Result::unwrap).collect(), error)
}

#[tokio::test]
async fn frames_become_lines_however_they_are_cut() {
    // One line a frame, several lines a frame, a ping between, and a line of two fragments.
    let frames = [
        text("Xray 1.8.24"),
        text("a\nb\r\n\nc\n"),
        vec![0x89, 0],
        [&[0x01, 2][..], b"he", &[0x80, 2], b"lo"].concat(),
    ];
    let wire = panel(move |_, request| Reply::Hang(accepted(request, &frames))).await;
    let client = wire.client();
    let lines: Vec<_> = client
        .core()
        .logs(LogOptions::default())
        .take(6)
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(lines, ["Xray 1.8.24", "a", "b", "", "c", "helo"]);
}

#[tokio::test]
async fn the_token_of_a_log_travels_in_the_header_and_not_in_the_address() {
    let wire = panel(|_, request| Reply::Hang(accepted(request, &[text("a")]))).await;
    let client = wire.client();
    let options = LogOptions::default().interval(Duration::from_millis(1500));
    let mut core = Box::pin(client.core().logs(options));
    assert_eq!(core.next().await.unwrap().unwrap(), "a");
    let mut node = Box::pin(client.nodes().logs(7, LogOptions::default()));
    assert_eq!(node.next().await.unwrap().unwrap(), "a");
    assert_eq!(
        wire.lines(),
        ["GET /api/core/logs?interval=1.5", "GET /api/node/7/logs"]
    );
    for request in wire.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer s3cr3t-token"));
        assert_eq!(request.header("sec-websocket-version"), Some("13"));
        assert_eq!(request.header("upgrade"), Some("websocket"));
    }
}

#[tokio::test]
async fn a_refused_log_is_forbidden_and_not_asked_for_again() {
    // The panel refuses before it accepts: no body, no JSON, none of its own codes.
    let refusal = || Reply::Close(raw(403, "content-type: text/plain\r\nconnection: close\r\n", ""));
    let wire = panel(move |_, _| refusal()).await;
    let client = wire.client();
    let (lines, error) = all(client.core().logs(LogOptions::default())).await;
    assert_eq!(
        (lines.len(), error.kind(), error.status()),
        (0, ErrorKind::Forbidden, Some(403))
    );
    assert_eq!((error.operation(), error.attempts()), ("core.logs", 1));
    let (_, error) = all(client.nodes().logs(999, LogOptions::default())).await;
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Forbidden, "nodes.logs")
    );
    // Whether it is the token that is refused is asked of an ordinary operation.
    assert_eq!(
        wire.lines(),
        [
            "GET /api/core/logs",
            "GET /api/admin",
            "GET /api/node/999/logs",
            "GET /api/admin"
        ]
    );
}

#[tokio::test]
async fn a_log_whose_token_the_panel_has_forgotten_is_opened_with_a_new_one() {
    let panel = FakePanel::start().await;
    let client = builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .unwrap();
    client.admins().current().await.unwrap();
    panel.revoke_tokens();
    let mut lines = Box::pin(client.core().logs(LogOptions::default()));
    assert!(lines.next().await.unwrap().is_ok());

    // One who may not read it is refused with a good token, too, and no login is spent on that.
    panel.insert_admin(FakeAdmin::new("ali", "pass"));
    let ali = builder(&panel.url()).credentials("ali", "pass").build().unwrap();
    let logins = panel.count("POST", "/api/admin/token");
    let mut lines = Box::pin(ali.core().logs(LogOptions::default()));
    let error = lines.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert_eq!(panel.count("POST", "/api/admin/token"), logins + 1);
}

#[tokio::test]
async fn a_refusal_of_a_log_that_cannot_be_confirmed_is_not_said_to_be_one() {
    // The token is refused, and then the panel is away for a moment: whose fault it is nobody knows yet.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let wire = Wire::answering(move |request| {
        if request.is_login() {
            return crate::wire::granted("token");
        }
        match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::Close(raw(403, "", "")),
            1..=3 => Reply::Close(raw(503, "", "")),
            _ => Reply::Hang(accepted(request, &[text("a")])),
        }
    })
    .await;
    let client = wire.client();
    let mut lines = Box::pin(client.core().logs(LogOptions::default()));
    assert_eq!(lines.next().await.unwrap().unwrap(), "a");
}

#[tokio::test]
async fn a_lost_log_is_opened_again_until_the_tries_are_used_up() {
    let wire = panel(|opened, request| match opened {
        0 => Reply::Close(accepted(request, &[text("before")])),
        1 => Reply::Close(raw(502, "", "")),
        2 => Reply::Close(accepted(request, &[text("after"), vec![0x88, 0]])),
        _ => Reply::Close(Vec::new()),
    })
    .await;
    let client = wire.client();
    let (lines, error) = all(client.core().logs(LogOptions::default().max_tries(5))).await;
    assert_eq!(lines, ["before", "after"]);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.is_retryable());
    assert_eq!(wire.lines().len(), 5);
    assert_eq!(wire.logins().len(), 1);
}

#[tokio::test]
async fn the_pauses_before_a_log_is_opened_again_grow() {
    let wire = panel(|_, request| Reply::Close(accepted(request, &[]))).await;
    let slow = RetryPolicy {
        initial_delay: Duration::from_millis(40),
        max_delay: Duration::from_millis(80),
        ..QUICK
    };
    let client = wire.builder().retry(slow).build().unwrap();
    let begin = std::time::Instant::now();
    let (_, error) = all(client.core().logs(LogOptions::default().max_tries(4))).await;
    assert_eq!(error.kind(), ErrorKind::Connect);
    // The first loss is made good at once; then half of 40 ms and half of 80 ms at least.
    assert!(
        begin.elapsed() >= Duration::from_millis(60),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(wire.lines().len(), 4);
}

#[tokio::test]
async fn what_is_no_websocket_is_not_the_panels_and_not_asked_for_again() {
    let forged =
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n";
    let cases = [
        (html(200), ErrorKind::UnexpectedResponse),
        (json(200, "{}"), ErrorKind::UnexpectedResponse),
        (html(404), ErrorKind::UnexpectedResponse),
        (json(404, r#"{"detail":"Not Found"}"#), ErrorKind::NotFound),
        (refused(), ErrorKind::Unauthorized),
        (
            Reply::Close(forged.as_bytes().to_vec()),
            ErrorKind::UnexpectedResponse,
        ),
    ];
    for (reply, kind) in cases {
        let wire = panel(move |_, _| reply.clone()).await;
        let (_, error) = all(wire.client().core().logs(LogOptions::default())).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(wire.lines().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_batch_of_lines_that_is_too_large_ends_the_log() {
    // A frame that claims 5,000 bytes, and one that claims 2^62.
    for claim in [
        &[0x81, 126, 0x13, 0x88][..],
        &[0x81, 127, 0x40, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let claim = claim.to_vec();
        let wire = panel(move |_, request| Reply::Hang(accepted(request, &[text("a"), claim.clone()]))).await;
        let client = wire.builder().max_body_bytes(4096).build().unwrap();
        let (lines, error) = all(client.core().logs(LogOptions::default())).await;
        assert_eq!((lines, error.kind()), (vec!["a".to_owned()], ErrorKind::TooLarge));
        assert_eq!(wire.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_interval_that_the_panel_would_refuse_is_not_sent() {
    let wire = panel(|_, _| html(200)).await;
    let client = wire.client();
    for interval in [Duration::ZERO, Duration::from_millis(10_001), Duration::MAX] {
        let (_, error) = all(client.core().logs(LogOptions::default().interval(interval))).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let (_, error) = all(client.nodes().logs(1, LogOptions::default().interval(interval))).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert!(wire.lines().is_empty() && wire.logins().is_empty());
}
