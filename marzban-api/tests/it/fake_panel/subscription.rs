//! Subscriptions: whose token is good for how long, and what an app is given for it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use marzban_api::testing::{FakePanel, FakeProtocol, FakeUser};
use marzban_api::{Client, ErrorKind};
use serde_json::json;

use super::{Reply, Setup, Wire};

async fn fetch(setup: &Setup, target: &str, header: &str) -> Reply {
    let mut wire = Wire::open(&setup.panel).await;
    wire.send(&format!(
        "GET {target} HTTP/1.1\r\nhost: panel.example\r\n{header}\r\n\r\n"
    ))
    .await;
    wire.read(true).await.expect("a whole answer")
}

async fn with_alice() -> Setup {
    let setup = Setup::new().await;
    let alice = FakeUser::new("alice").protocols([FakeProtocol::Vless, FakeProtocol::Shadowsocks]);
    setup
        .panel
        .insert_user(alice.data_limit(1_000).used_traffic(10).expire(1_795_467_582));
    setup
}

#[tokio::test]
async fn an_app_gets_its_links_and_what_is_left_and_its_visit_is_noted() {
    let setup = with_alice().await;
    let token = setup.panel.subscription_token("alice");
    let reply = fetch(&setup, &format!("/sub/{token}"), "user-agent: v2rayNG/1.8").await;
    assert_eq!(
        reply.header("subscription-userinfo"),
        Some("upload=0; download=10; total=1000; expire=1795467582")
    );
    assert_eq!(
        reply.header("profile-web-page-url"),
        Some(format!("http://panel.example/sub/{token}").as_str())
    );
    assert_eq!(
        reply.header("content-disposition"),
        Some("attachment; filename=\"alice\"")
    );
    let links = BASE64_STANDARD.decode(&reply.body).expect("base64");
    let links = String::from_utf8(links).expect("text");
    assert_eq!(links.lines().count(), 3, "{links}");
    let user = setup.panel.user("alice").expect("alice");
    assert_eq!(user.sub_last_user_agent.as_deref(), Some("v2rayNG/1.8"));
    assert_eq!(user.sub_updated_at, Some(setup.panel.state().now));
}

#[tokio::test]
async fn the_name_of_an_app_or_of_a_format_decides_what_is_sent() {
    let setup = with_alice().await;
    let token = setup.panel.subscription_token("alice");
    for (target, header, kind, start) in [
        (
            "",
            "user-agent: clash-verge/1",
            "text/yaml; charset=utf-8",
            "mode: Global",
        ),
        ("", "user-agent: SFA/1.8", "application/json", "{"),
        ("", "user-agent: Outline/1", "application/json", "{\"method\""),
        (
            "",
            "accept: text/html",
            "text/html; charset=utf-8",
            "<!DOCTYPE html>",
        ),
        ("/clash", "", "text/yaml; charset=utf-8", "mode: Global"),
        ("/v2ray-json", "accept: */*", "application/json", "["),
        ("/v2ray", "accept: */*", "text/plain; charset=utf-8", ""),
        ("/", "accept: */*", "text/plain; charset=utf-8", ""),
    ] {
        let header = if header.is_empty() { "accept: */*" } else { header };
        let reply = fetch(&setup, &format!("/sub/{token}{target}"), header).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some(kind)),
            "{target} {header}"
        );
        assert!(reply.text().starts_with(start), "{}", reply.text());
    }
    let info = fetch(&setup, &format!("/sub/{token}/info"), "accept: */*")
        .await
        .json();
    assert_eq!(info.as_object().map(serde_json::Map::len), Some(17));
    assert_eq!(
        fetch(&setup, &format!("/sub/{token}/nope"), "accept: */*")
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked_and_another_user_of_the_name_has_none() {
    let setup = with_alice().await;
    setup.panel.advance(Duration::from_secs(10));
    let (old, legacy) = (
        setup.panel.subscription_token("alice"),
        setup.panel.legacy_subscription_token("alice"),
    );
    setup.panel.advance(Duration::from_secs(10));
    for token in [&old, &legacy] {
        assert_eq!(setup.get(&format!("/sub/{token}/info")).await.status, 200);
    }
    let before = setup.get("/api/user/alice").await.json();
    let after = setup.post("/api/user/alice/revoke_sub", "").await.json();
    assert_ne!(before["proxies"]["vless"]["id"], after["proxies"]["vless"]["id"]);
    assert_eq!(
        before["proxies"]["shadowsocks"]["method"],
        after["proxies"]["shadowsocks"]["method"]
    );
    for token in [&old, &legacy] {
        let reply = setup.get(&format!("/sub/{token}/info")).await;
        reply.assert(404, r#"{"detail":"Not Found"}"#);
    }
    let url = after["subscription_url"].as_str().expect("a URL");
    let new = url.rsplit('/').next().expect("a token");
    assert_eq!(
        setup.get(&format!("/sub/{new}/info")).await.json()["username"],
        json!("alice")
    );
    let forged = format!("{}AAAAAAAAAA", &new[..new.len() - 10]);
    assert_eq!(setup.get(&format!("/sub/{forged}/info")).await.status, 404);
    setup.panel.remove_user("alice");
    setup.panel.advance(Duration::from_secs(10));
    setup.panel.insert_user(FakeUser::new("alice"));
    assert_eq!(setup.get(&format!("/sub/{new}/info")).await.status, 404);
}

#[tokio::test]
async fn subscriptions_have_the_path_and_the_prefix_of_the_panels_settings() {
    let panel = FakePanel::builder()
        .users([FakeUser::new("alice")])
        .subscription_path("/my/links/")
        .subscription_url_prefix("https://vpn.example/")
        .start()
        .await
        .expect("a free port");
    let client = Client::builder(&panel.url())
        .credentials("admin", "admin")
        .subscription_path("my/links")
        .build()
        .expect("a client");
    let alice = client.users().get("alice").await.expect("alice");
    let path = alice.subscription_url.strip_prefix("https://vpn.example");
    let path = path.expect("the panel completes the URL itself");
    assert!(path.starts_with("/my/links/"), "{path}");
    assert_eq!(
        client.subscription_link(&alice).as_deref(),
        Some(alice.subscription_url.as_str())
    );
    let token = path.rsplit('/').next().expect("a token");
    assert_eq!(
        client.subscription(token).info().await.expect("alice").username,
        "alice"
    );
    let other = Client::builder(&panel.url())
        .credentials("admin", "admin")
        .build()
        .expect("a client");
    let error = other.subscription(token).info().await.expect_err("another path");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
