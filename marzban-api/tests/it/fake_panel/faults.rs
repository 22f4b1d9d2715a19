//! Faults on demand, and how connections end.

use std::time::Duration;

use marzban_api::testing::{FakeUser, Fault};
use serde_json::json;
use tokio::time::Instant;

use super::{Setup, Wire, call, text_of};

async fn with_alice() -> Setup {
    let setup = Setup::new().await;
    setup
        .panel
        .insert_user(FakeUser::new("alice").owner(Some("root2")));
    setup
}

#[tokio::test]
async fn a_connection_is_closed_after_a_500_and_no_header_says_so() {
    let setup = with_alice().await;
    setup.panel.inject(Fault::Status(500));
    let mut wire = Wire::open(&setup.panel).await;
    wire.send(&text_of("GET", "/api/users", Some(&setup.token), None))
        .await;
    let reply = wire.read(true).await.unwrap_or_else(|_| panic!("a whole answer"));
    reply.assert_internal_error();
    assert_eq!(reply.header("connection"), None);
    assert!(wire.is_closed().await);
}

#[tokio::test]
async fn a_connection_is_kept_after_every_other_answer() {
    let setup = with_alice().await;
    let mut wire = Wire::open(&setup.panel).await;
    for (target, status) in [
        ("/api/user/ghost", 404),
        ("/api/users?limit=x", 422),
        ("/api/users", 200),
    ] {
        wire.send(&text_of("GET", target, Some(&setup.token), None)).await;
        assert_eq!(
            wire.read(true).await.map(|reply| reply.status),
            Ok(status),
            "{target}"
        );
    }
}

#[tokio::test]
async fn refusals_come_with_their_status_headers_and_kind_of_body() {
    let setup = with_alice().await;
    for (fault, status, kind, header) in [
        (Fault::Status(503), 503, "text/plain; charset=utf-8", None),
        (Fault::Status(403), 403, "application/json", None),
        (
            Fault::Unauthorized,
            401,
            "application/json",
            Some(("www-authenticate", "Bearer")),
        ),
        (
            Fault::TooManyRequests { retry_after: 7 },
            429,
            "application/json",
            Some(("retry-after", "7")),
        ),
        (Fault::HtmlBody(502), 502, "text/html", None),
        (Fault::HtmlBody(200), 200, "text/html", None),
        (Fault::NotFoundHtml, 404, "text/html", None),
    ] {
        setup.panel.inject(fault.clone());
        let reply = setup.delete("/api/user/alice").await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (status, Some(kind)),
            "{fault:?}"
        );
        if let Some((name, value)) = header {
            assert_eq!(reply.header(name), Some(value), "{fault:?}");
        }
    }
    assert!(setup.panel.user("alice").is_some(), "a refusal does nothing");
    assert_eq!(setup.delete("/api/user/alice").await.status, 200);
}

#[tokio::test]
async fn a_dropped_connection_answers_nothing_before_or_after_the_deed() {
    for (fault, is_done) in [(Fault::DropConnection, false), (Fault::DropAfterCommit, true)] {
        let setup = with_alice().await;
        setup.panel.inject(fault);
        let mut wire = Wire::open(&setup.panel).await;
        wire.send(&text_of("DELETE", "/api/user/alice", Some(&setup.token), None))
            .await;
        assert_eq!(wire.read(true).await.err(), Some(Vec::new()));
        assert_eq!(setup.panel.user("alice").is_none(), is_done);
        assert_eq!(setup.panel.requests().last().unwrap().status, None);
    }
}

#[tokio::test]
async fn a_truncated_body_promises_more_than_comes() {
    let setup = with_alice().await;
    let whole = setup.get("/api/users").await.body.len();
    setup.panel.inject(Fault::TruncatedBody);
    let mut wire = Wire::open(&setup.panel).await;
    wire.send(&text_of("GET", "/api/users", Some(&setup.token), None))
        .await;
    let text = String::from_utf8(wire.read(true).await.err().expect("a broken answer")).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains(&format!("content-length: {whole}")), "{head}");
    assert_eq!(body.len(), whole / 2);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_comes_late_and_its_deed_at_once() {
    let setup = with_alice().await;
    setup.panel.inject(Fault::Delay(Duration::from_secs(90)));
    let start = Instant::now();
    let reply = setup.delete("/api/user/alice");
    tokio::pin!(reply);
    loop {
        tokio::select! {
            biased;
            _ = &mut reply => panic!("the answer is not held back"),
            () = tokio::task::yield_now() => if setup.panel.user("alice").is_none() { break },
        }
    }
    assert!(start.elapsed() < Duration::from_secs(90));
    assert_eq!(reply.await.status, 200);
    assert!(start.elapsed() >= Duration::from_secs(90));
}

#[tokio::test]
async fn a_list_comes_out_empty_or_half_though_the_users_are_there() {
    let setup = Setup::new().await;
    setup.panel.populate(5);
    setup.panel.inject(Fault::EmptyList);
    setup.panel.inject(Fault::HalfList);
    assert_eq!(setup.get("/api/system").await.json()["total_user"], 5);
    assert_eq!(
        setup.get("/api/users").await.json(),
        json!({"users": [], "total": 0})
    );
    let half = setup.get("/api/users").await;
    assert_eq!((half.names().len(), &half.json()["total"]), (2, &json!(2)));
    assert_eq!(setup.get("/api/users").await.names().len(), 5);
}

#[tokio::test]
async fn a_rule_counts_and_holds_only_for_what_it_describes() {
    let setup = with_alice().await;
    let panel = &setup.panel;
    panel.insert_user(FakeUser::new("alice2"));
    panel.inject(
        Fault::Status(503)
            .times(2)
            .method("get")
            .path("/api/user")
            .user("alice"),
    );
    assert_eq!(setup.get("/api/user/alice2").await.status, 200);
    assert_eq!(setup.get("/api/users?username=alice2").await.status, 200);
    assert_eq!(setup.put("/api/user/alice", "{}").await.status, 200);
    assert_eq!(
        setup
            .get("/api/users?username=alice2&username=alice")
            .await
            .status,
        503
    );
    assert_eq!(setup.get("/api/user/alice").await.status, 503);
    assert_eq!(setup.get("/api/user/alice").await.status, 200);
    panel.inject(Fault::Status(503).always());
    for _ in 0..3 {
        assert_eq!(setup.get("/api/admin").await.status, 503);
    }
    panel.clear_faults();
    assert_eq!(setup.get("/api/admin").await.status, 200);
}

#[tokio::test]
async fn a_rule_without_a_path_spares_the_login() {
    let setup = Setup::new().await;
    let form = Some("username=admin&password=admin");
    setup.panel.inject(Fault::Status(503));
    assert_eq!(
        call(&setup.panel, "POST", "/api/admin/token", None, form)
            .await
            .status,
        200
    );
    setup.panel.clear_faults();
    setup
        .panel
        .inject(Fault::Status(503).once().path("/api/admin/token"));
    assert_eq!(
        call(&setup.panel, "POST", "/api/admin/token", None, form)
            .await
            .status,
        503
    );
}
