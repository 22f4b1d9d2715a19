//! The error for each kind of bad response and bad connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use marzban_api::{Detail, Error, ErrorKind, RetryPolicy, Throttle, Timeouts};

use crate::wire::{Reply, Wire, builder, html, internal_error, json, one, raw, system, user_not_found};

/// The error of reading one user from a server that gives these replies.
async fn failure(replies: impl IntoIterator<Item = Reply>) -> (Error, usize) {
    let wire = Wire::script(replies).await;
    let error = wire.client().users().get("alice").await.unwrap_err();
    (error, wire.requests().len())
}

#[tokio::test]
async fn every_status_has_its_kind_and_its_number_of_tries() {
    let refusal = |status| json(status, r#"{"detail":"You're not allowed"}"#);
    for (reply, kind, tries) in [
        (refusal(400), ErrorKind::Rejected, 1),
        (refusal(403), ErrorKind::Forbidden, 1),
        (refusal(404), ErrorKind::NotFound, 1),
        (refusal(405), ErrorKind::Rejected, 1),
        (refusal(409), ErrorKind::Conflict, 1),
        (refusal(422), ErrorKind::Rejected, 1),
        (refusal(429), ErrorKind::RateLimited, 3),
        (internal_error(), ErrorKind::Server, 3),
        (html(500), ErrorKind::Server, 3),
        (html(501), ErrorKind::Server, 1),
        (html(502), ErrorKind::Server, 3),
        (html(503), ErrorKind::Server, 3),
        (html(504), ErrorKind::Server, 3),
        (html(200), ErrorKind::UnexpectedResponse, 1),
        (html(403), ErrorKind::UnexpectedResponse, 1),
        (html(404), ErrorKind::UnexpectedResponse, 1),
        (html(302), ErrorKind::UnexpectedResponse, 1),
        (html(429), ErrorKind::RateLimited, 3),
        (Reply::Keep(raw(200, "", "")), ErrorKind::UnexpectedResponse, 1),
        (
            Reply::Keep(raw(200, "content-type: text/plain\r\n", "OK")),
            ErrorKind::UnexpectedResponse,
            1,
        ),
        (json(200, "<html>"), ErrorKind::UnexpectedResponse, 1),
        (json(200, "null"), ErrorKind::Decode, 1),
        (json(200, "{}"), ErrorKind::Decode, 1),
        (json(200, r#"{"username":"al"#), ErrorKind::Decode, 1),
    ] {
        let (error, requests) = failure(vec![reply.clone(); 9]).await;
        assert_eq!(error.kind(), kind, "{reply:?}");
        assert_eq!(
            (requests, error.attempts()),
            (tries, u32::try_from(tries).unwrap()),
            "{reply:?}"
        );
        assert_eq!(error.operation(), "users.get");
    }
}

#[tokio::test]
async fn only_the_panels_own_message_shows_that_a_user_does_not_exist() {
    let (missing, _) = failure([user_not_found()]).await;
    assert!(missing.is_user_not_found());
    for reply in [
        json(404, r#"{"detail":"Not Found"}"#),
        json(404, r#"{"detail":{"user":"User not found"}}"#),
        json(404, r#"{"message":"User not found"}"#),
        json(400, r#"{"detail":"User not found"}"#),
        Reply::Keep(raw(404, "content-type: text/html\r\n", "<p>User not found</p>")),
        Reply::Keep(raw(404, "content-type: text/plain\r\n", "User not found")),
    ] {
        let (error, _) = failure([reply.clone()]).await;
        assert!(!error.is_user_not_found(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_422_names_its_fields() {
    let (error, _) = failure([json(
        422,
        r#"{"detail":{"expire":"must be an integer","body":"required"}}"#,
    )])
    .await;
    let fields = [("body", "required"), ("expire", "must be an integer")];
    let fields: BTreeMap<_, _> = fields
        .map(|(field, text)| (field.to_owned(), text.to_owned()))
        .into();
    assert_eq!(error.detail(), Some(&Detail::Fields(fields)));
    assert_eq!(
        with_time_removed(&error),
        "users.get: not accepted (GET /api/user/{username}, status 422, 1 attempt in _ ms): \
         body: required, expire: must be an integer"
    );
}

#[tokio::test]
async fn another_form_of_detail_is_kept_as_it_came() {
    let (error, _) = failure([json(422, r#"{"detail":[{"loc":["body"],"msg":"no"}]}"#)]).await;
    assert_eq!(
        error.detail(),
        Some(&Detail::Other(
            serde_json::json!([{"loc": ["body"], "msg": "no"}])
        ))
    );
}

#[tokio::test]
async fn a_message_is_one_short_line_whatever_the_panel_sends() {
    let long = format!("first line\\nsecond line {}", "x".repeat(5000));
    let (error, _) = failure([json(400, &format!(r#"{{"detail":"{long}"}}"#))]).await;
    let text = error.to_string();
    assert!(text.contains(r"first line\nsecond line xxx"), "{text}");
    assert!(text.chars().count() < 350 && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn no_message_repeats_its_cause() {
    let closed = builder("http://127.0.0.1:1")
        .build()
        .unwrap()
        .users()
        .get("alice")
        .await
        .unwrap_err();
    assert_eq!(
        (closed.kind(), closed.status(), closed.attempts()),
        (ErrorKind::Connect, None, 3)
    );
    assert!(closed.is_retryable());
    let (decode, _) = failure([json(
        200,
        r#"{"username":"alice","status":"active","used_traffic":"x"}"#,
    )])
    .await;
    for error in [closed, decode] {
        let text = error.to_string();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!text.contains(&cause), "{text}");
    }
}

#[tokio::test]
async fn a_decoding_error_names_the_place() {
    let (error, _) = failure([json(
        200,
        r#"{"username":"alice","status":"active","used_traffic":[-1]}"#,
    )])
    .await;
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "at `used_traffic`: invalid type: sequence, expected u64 at line 1 column 53"
    );
}

#[tokio::test]
async fn a_proxy_that_is_down_for_a_moment_is_asked_again() {
    let wire = Wire::script([html(502), html(503), one("alice")]).await;
    assert_eq!(
        wire.client().users().get("alice").await.unwrap().username,
        "alice"
    );
    assert_eq!(wire.requests().len(), 3);
}

#[tokio::test]
async fn a_connection_that_ends_with_a_500_does_not_fail_the_next_request() {
    let wire = Wire::script((0..20).flat_map(|_| [internal_error(), one("alice")])).await;
    let client = wire.client();
    for _ in 0..20 {
        client.users().get("alice").await.unwrap();
    }
    assert_eq!(wire.requests().len(), 40);
}

#[tokio::test]
async fn a_kept_connection_that_dies_with_the_request_is_replaced() {
    let wire = Wire::script([one("alice"), Reply::Close(Vec::new()), one("bobby")]).await;
    let client = wire.client();
    client.users().get("alice").await.unwrap();
    assert_eq!(client.users().get("bobby").await.unwrap().username, "bobby");
    let connections: Vec<_> = wire.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections[0], connections[1]);
    assert_ne!(connections[1], connections[2]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again_and_then_an_error() {
    let half = || Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"username\":\"al".to_vec());
    let wire = Wire::script([half(), one("alice")]).await;
    assert_eq!(
        wire.client().users().get("alice").await.unwrap().username,
        "alice"
    );
    let (error, requests) = failure([half(), half(), half()]).await;
    assert_eq!(
        (error.kind(), error.status(), requests),
        (ErrorKind::Connect, Some(200), 3)
    );
}

#[tokio::test]
async fn a_slow_body_is_cut_by_time() {
    let read = Timeouts {
        read: Duration::from_millis(80),
        ..Timeouts::default()
    };
    let total = Timeouts {
        request: Duration::from_millis(80),
        ..Timeouts::default()
    };
    for timeouts in [read, total] {
        let wire = Wire::script([Reply::Hang(
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(),
        )])
        .await;
        let client = wire
            .builder()
            .timeouts(timeouts)
            .retry(RetryPolicy::none())
            .build()
            .unwrap();
        let error = client.users().get("alice").await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 1));
        assert!(error.elapsed() >= Duration::from_millis(80) && error.is_retryable());
    }
}

#[tokio::test]
async fn a_flooding_body_is_cut_by_size() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
    let wire = Wire::script([Reply::Flood(head)]).await;
    let client = wire.builder().max_body_bytes(100_000).build().unwrap();
    let error = client.users().get("alice").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::TooLarge, 1));
}

#[tokio::test]
async fn retry_after_is_honoured_and_capped() {
    let wait = |seconds: u32| Reply::Keep(raw(429, &format!("retry-after: {seconds}\r\n"), ""));
    let wire = Wire::script([wait(3600), wait(0), system()]).await;
    let started = Instant::now();
    wire.client().system().stats().await.unwrap();
    // The policy of these tests waits for at most 60 ms.
    assert!(
        started.elapsed() >= Duration::from_millis(60),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(wire.requests().len(), 3);

    let (error, _) = failure(vec![wait(7); 3]).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn there_is_a_pause_between_requests_across_clones() {
    let wire = Wire::script([system(), system()]).await;
    let pause = Duration::from_millis(40);
    let client = wire
        .builder()
        .throttle(Throttle::between(pause, pause))
        .build()
        .unwrap();
    let started = Instant::now();
    // A login and two requests.
    client.system().stats().await.unwrap();
    client.clone().system().stats().await.unwrap();
    assert!(started.elapsed() >= 2 * pause, "{:?}", started.elapsed());
}

fn with_time_removed(error: &Error) -> String {
    error
        .to_string()
        .replace(&format!("in {} ms", error.elapsed().as_millis()), "in _ ms")
}
