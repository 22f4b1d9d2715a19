//! Logging in, tokens, and what an admin may see.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use marzban_api::testing::{FakeAdmin, FakePanel, FakeUser};
use serde_json::{Value, json};

use super::{Setup, Wire, at, call, log_in};

const REFUSED: &str = r#"{"detail":"Could not validate credentials"}"#;

#[tokio::test]
async fn a_login_with_wrong_or_missing_fields_is_refused_as_the_panel_does() {
    let panel = FakePanel::start().await;
    for (form, status, detail) in [
        (
            "username=admin&password=nope",
            401,
            json!("Incorrect username or password"),
        ),
        (
            "username=ADMIN&password=admin",
            401,
            json!("Incorrect username or password"),
        ),
        ("username=admin", 422, json!({ "password": "Field required" })),
        (
            r#"{"username": "admin", "password": "admin"}"#,
            422,
            json!({ "username": "Field required", "password": "Field required" }),
        ),
        (
            "grant_type=refresh&username=admin&password=admin",
            422,
            json!({ "grant_type": "String should match pattern 'password'" }),
        ),
    ] {
        let reply = call(&panel, "POST", "/api/admin/token", None, Some(form)).await;
        assert_eq!(
            (reply.status, reply.json()),
            (status, json!({ "detail": detail })),
            "{form}"
        );
        assert_eq!(
            reply.header("www-authenticate"),
            (status == 401).then_some("Bearer"),
            "{form}"
        );
    }
}

#[tokio::test]
async fn a_token_is_a_jwt_with_the_times_of_the_panels_clock() {
    let panel = FakePanel::builder()
        .now(at("2026-11-22T20:59:42.5Z"))
        .start()
        .await
        .unwrap();
    let form = "grant_type=password&username=admin&password=admin&scope=";
    let reply = call(&panel, "POST", "/api/admin/token", None, Some(form)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["token_type"], "bearer");
    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let parts: Vec<Vec<u8>> = token
        .split('.')
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap())
        .collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0], br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims: Value = serde_json::from_slice(&parts[1]).unwrap();
    let expected = json!({ "sub": "admin", "access": "sudo", "iat": 1_795_381_182, "exp": 1_795_467_582 });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_token_dies_at_its_end_by_the_panels_clock() {
    let setup = Setup::new().await;
    setup
        .panel
        .advance(Duration::from_hours(24) - Duration::from_secs(1));
    assert_eq!(setup.get("/api/admin").await.status, 200);
    setup.panel.advance(Duration::from_secs(1));
    setup.get("/api/admin").await.assert(401, REFUSED);
}

#[tokio::test]
async fn a_token_that_was_revoked_or_never_issued_is_refused_with_a_challenge() {
    let setup = Setup::new().await;
    setup.panel.revoke_tokens();
    let reply = setup.get("/api/users").await;
    reply.assert(401, REFUSED);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    call(&setup.panel, "GET", "/api/users", Some("a.b.c"), None)
        .await
        .assert(401, REFUSED);
    let reply = call(&setup.panel, "GET", "/api/users", None, None).await;
    reply.assert(401, r#"{"detail":"Not authenticated"}"#);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn the_scheme_is_bearer_in_any_case_and_nothing_else() {
    let setup = Setup::new().await;
    for (scheme, status) in [("bearer", 200), ("BEARER", 200), ("Basic", 401)] {
        let mut wire = Wire::open(&setup.panel).await;
        let head = format!(
            "GET /api/admin HTTP/1.1\r\nhost: x\r\nauthorization: {scheme} {}\r\n\r\n",
            setup.token
        );
        wire.send(&head).await;
        assert_eq!(wire.read(true).await.unwrap().status, status, "{scheme}");
    }
}

#[tokio::test]
async fn a_password_change_kills_older_tokens_and_the_login_of_the_same_second() {
    let setup = Setup::new().await;
    let old = log_in(&setup.panel, "ali", "ali").await;
    setup.panel.advance(Duration::from_millis(500));
    setup.panel.set_password("ali", "new");
    let same_second = log_in(&setup.panel, "ali", "new").await;
    for token in [old, same_second] {
        call(&setup.panel, "GET", "/api/admin", Some(&token), None)
            .await
            .assert(401, REFUSED);
    }
    setup.panel.advance(Duration::from_secs(1));
    let later = log_in(&setup.panel, "ali", "new").await;
    assert_eq!(
        call(&setup.panel, "GET", "/api/admin", Some(&later), None)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_current_admin_has_five_keys_and_the_environments_no_usage() {
    let setup = Setup::new().await;
    let expected =
        r#"{"username":"admin","is_sudo":true,"telegram_id":null,"discord_webhook":null,"users_usage":null}"#;
    setup.get("/api/admin").await.assert(200, expected);
    let expected =
        r#"{"username":"ali","is_sudo":false,"telegram_id":null,"discord_webhook":null,"users_usage":0}"#;
    setup
        .call_as("ali", "GET", "/api/admin")
        .await
        .assert(200, expected);
}

#[tokio::test]
async fn an_admin_without_sudo_meets_404_before_403_and_sees_its_own_users_only() {
    let setup = Setup::new().await;
    for (name, owner) in [
        ("of_ali", Some("ali")),
        ("of_root2", Some("root2")),
        ("of_nobody", None),
    ] {
        setup.panel.insert_user(FakeUser::new(name).owner(owner));
    }
    for (target, status) in [
        ("/api/user/of_ali", 200),
        ("/api/user/of_root2", 403),
        ("/api/user/of_nobody", 403),
        ("/api/user/ghost", 404),
    ] {
        assert_eq!(
            setup.call_as("ali", "GET", target).await.status,
            status,
            "{target}"
        );
    }
    let reply = setup.call_as("ali", "DELETE", "/api/user/of_root2").await;
    reply.assert(403, r#"{"detail":"You're not allowed"}"#);
    assert_eq!(
        setup
            .call_as("ali", "GET", "/api/users?admin=root2")
            .await
            .names(),
        ["of_ali"]
    );
    assert_eq!(setup.call_as("root2", "GET", "/api/users").await.names().len(), 3);
}

#[tokio::test]
async fn the_users_of_a_removed_admin_stay_behind_ownerless_and_its_token_dies() {
    let setup = Setup::new().await;
    setup.panel.insert_admin(FakeAdmin::new("tmp", "tmp"));
    setup.panel.insert_user(FakeUser::new("alice").owner(Some("tmp")));
    let token = log_in(&setup.panel, "tmp", "tmp").await;
    assert_eq!(
        setup.get("/api/user/alice").await.json()["admin"]["username"],
        "tmp"
    );
    setup.panel.remove_admin("tmp");
    assert_eq!(setup.get("/api/user/alice").await.json()["admin"], Value::Null);
    call(&setup.panel, "GET", "/api/admin", Some(&token), None)
        .await
        .assert(401, REFUSED);
}

#[tokio::test]
async fn a_login_may_come_in_parts_as_browsers_send_it() {
    let setup = Setup::new().await;
    let form = |password: &str| {
        let field = |name: &str, value: &str| {
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        format!(
            "{}{}--edge--\r\n",
            field("username", "admin"),
            field("password", password)
        )
    };
    for (body, status) in [
        (form("admin"), 200),
        (form("nimda"), 401),
        ("--edge--\r\n".to_owned(), 422),
    ] {
        let mut wire = Wire::open(&setup.panel).await;
        wire.send(&format!(
            "POST /api/admin/token HTTP/1.1\r\nhost: panel.example\r\n\
             content-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let reply = wire.read(true).await.expect("a whole answer");
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}
