//! The handle: routes that are not there, the log, hooks, the clock, and the end.

use std::collections::BTreeSet;
use std::time::Duration;

use marzban_api::testing::{FakeAdmin, FakePanel, FakeStatus, FakeUser};
use serde_json::json;
use tokio::net::TcpStream;

use super::{Setup, at, call, log_in};

#[tokio::test]
async fn unknown_routes_wrong_methods_and_a_slash_too_many_are_answered_as_by_fastapi() {
    let setup = Setup::new().await;
    setup
        .get("/api/nope")
        .await
        .assert(404, r#"{"detail":"Not Found"}"#);
    let home = setup.get("/").await;
    assert_eq!(
        (home.status, home.header("content-type")),
        (200, Some("text/html"))
    );
    let reply = setup.get("/api/admin/token").await;
    reply.assert(405, r#"{"detail":"Method Not Allowed"}"#);
    assert_eq!(reply.header("allow"), Some("POST"));
    let reply = call(&setup.panel, "HEAD", "/api/users", Some(&setup.token), None).await;
    assert_eq!(
        (reply.status, reply.header("allow"), reply.text()),
        (405, Some("GET"), "")
    );
    let reply = setup.get("/api/users/?limit=1").await;
    reply.assert(307, "");
    assert_eq!(
        reply.header("location"),
        Some("http://panel.example/api/users?limit=1")
    );
}

#[tokio::test]
async fn the_inbounds_are_listed_by_protocol() {
    let setup = Setup::new().await;
    let inbounds = setup.get("/api/inbounds").await.json();
    assert_eq!(
        inbounds["trojan"],
        json!([{ "tag": "Trojan Websocket TLS", "protocol": "trojan", "network": "ws", "tls": "tls", "port": 2083 }])
    );
    assert_eq!(inbounds.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn the_log_tells_what_arrived_and_how_it_was_answered() {
    let setup = Setup::new().await;
    setup.panel.clear_requests();
    setup.get("/api/users?username=a%40b").await;
    setup.get("/api/user/a%40b").await;
    setup.put("/api/user/ghost", r#"{"note": "x"}"#).await;
    let log: Vec<_> = setup
        .panel
        .requests()
        .into_iter()
        .map(|request| {
            (
                request.method,
                request.path,
                request.query,
                request.status,
                request.body_bytes,
            )
        })
        .collect();
    let line = |method: &str, path: &str, query: &str, status, length| {
        (
            method.to_owned(),
            path.to_owned(),
            query.to_owned(),
            Some(status),
            length,
        )
    };
    assert_eq!(
        log,
        [
            line("GET", "/api/users", "username=a%40b", 200, 0),
            line("GET", "/api/user/a%40b", "", 404, 0),
            line("PUT", "/api/user/ghost", "", 404, 13),
        ]
    );
    assert_eq!(setup.panel.count("GET", "/api/users"), 1);
    assert_eq!(setup.panel.count("DELETE", "/api/users"), 0);
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_password_a_token_or_a_credential() {
    let panel = FakePanel::builder()
        .environment_admin("boss", "hunter2")
        .admin(FakeAdmin::new("ali", "hunter2"))
        .users([FakeUser::new("alice")])
        .start()
        .await
        .unwrap();
    let token = log_in(&panel, "boss", "hunter2").await;
    let alice = call(&panel, "GET", "/api/user/alice", Some(&token), None)
        .await
        .json();
    let id = alice["proxies"]["vless"]["id"].as_str().unwrap();
    let builder = FakePanel::builder().environment_admin("boss", "hunter2");
    let printed = format!("{panel:?} {:?} {:?} {builder:?}", panel.state(), panel.requests());
    for secret in ["hunter2", &token, id] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains("/api/user/alice"), "the log is printed at all");
}

#[tokio::test]
async fn a_hook_can_change_the_panel_between_the_arrival_and_the_answer() {
    let setup = Setup::new().await;
    setup.panel.insert_user(FakeUser::new("alice"));
    setup.panel.on_request(|panel, request| async move {
        if request.path == "/api/user/alice" {
            panel.remove_user("alice");
        }
    });
    assert_eq!(setup.get("/api/users").await.names(), ["alice"]);
    assert_eq!(setup.get("/api/user/alice").await.status, 404);
    setup.panel.insert_user(FakeUser::new("alice"));
    setup.panel.clear_hooks();
    assert_eq!(setup.get("/api/user/alice").await.status, 200);
}

#[tokio::test]
async fn the_clock_stands_where_it_is_put_and_moves_by_what_it_is_told() {
    let panel = FakePanel::start().await;
    panel.set_now(at("2026-11-22T20:59:42.1234567Z"));
    assert_eq!(panel.state().now, at("2026-11-22T20:59:42.123456Z"));
    panel.advance(Duration::from_millis(500));
    assert_eq!(panel.state().now, at("2026-11-22T20:59:42.623456Z"));
}

#[tokio::test]
async fn a_populated_panel_has_every_state_and_users_of_two_kilobytes() {
    let setup = Setup::new().await;
    setup.panel.populate(200);
    let state = setup.panel.state();
    let states: BTreeSet<FakeStatus> = state.users.iter().map(|user| user.status).collect();
    assert_eq!(
        (state.users.len(), states),
        (200, BTreeSet::from(FakeStatus::ALL))
    );
    setup.panel.review();
    assert_eq!(
        setup.panel.state().users,
        state.users,
        "a review finds nothing to do"
    );
    let bytes = setup.get("/api/users").await.body.len() / 200;
    assert!((1_500..2_500).contains(&bytes), "{bytes}");
    let other = Setup::new().await;
    other.panel.populate(200);
    let plain = |state: marzban_api::testing::PanelState| {
        state
            .users
            .into_iter()
            .map(|user| (user.username, user.status, user.expire))
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(other.panel.state()), plain(state));
}

#[tokio::test]
async fn clones_are_handles_of_one_panel_which_stops_with_the_last() {
    let panel = FakePanel::start().await;
    let address = panel.url().replace("http://", "");
    let clone = panel.clone();
    clone.insert_user(FakeUser::new("alice"));
    assert_eq!(
        panel.state().user("alice").map(|user| user.status),
        Some(FakeStatus::Active)
    );
    drop(panel);
    let kept = TcpStream::connect(&address).await.expect("a handle is left");
    drop(clone);
    let mut byte = [0; 1];
    kept.readable().await.expect("the end of the panel is seen");
    assert!(
        matches!(kept.try_read(&mut byte), Ok(0) | Err(_)),
        "the connection is closed"
    );
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn a_panel_that_was_shut_down_refuses_connections() {
    let panel = FakePanel::start().await;
    panel.shutdown().await;
    let refused = TcpStream::connect(panel.url().replace("http://", "")).await;
    assert_eq!(
        refused.map_err(|error| error.kind()).err(),
        Some(std::io::ErrorKind::ConnectionRefused)
    );
}
