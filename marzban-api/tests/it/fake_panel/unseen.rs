//! What nobody recorded, but what follows from the panel's readers of JSON, of times and of paths.

use std::fmt::Write as _;

use marzban_api::testing::FakeAdmin;
use serde_json::{Value, json};

use super::{Reply, Setup, Wire, call};

const INTEGER: &str = "Input should be a valid integer, unable to parse string as an integer";

/// Posts a body that is called whatever `kind` is; `None` calls it nothing.
async fn post_as(setup: &Setup, kind: Option<&str>, body: &[u8]) -> Reply {
    let mut head = format!(
        "POST /api/user HTTP/1.1\r\nhost: panel.example\r\nauthorization: Bearer {}\r\n",
        setup.token
    );
    if let Some(kind) = kind {
        let _ = write!(head, "content-type: {kind}\r\n");
    }
    let mut text = format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes();
    text.extend_from_slice(body);
    let mut wire = Wire::open(&setup.panel).await;
    wire.send_bytes(&text).await;
    wire.read(true).await.expect("a whole answer")
}

#[track_caller]
fn assert_detail(reply: &Reply, status: u16, detail: &Value, about: &str) {
    assert_eq!(
        (reply.status, reply.json()),
        (status, json!({ "detail": detail })),
        "{about}"
    );
}

#[tokio::test]
async fn malformed_json_is_refused_with_the_offset_where_reading_stopped() {
    let setup = Setup::new().await;
    for (body, offset) in [
        // Python counts these so too.
        ("  ", 2),
        ("{", 1),
        ("{'a': 1}", 1),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":}"#, 5),
        (r#"{"a": 1,}"#, 8),
        (r#"{"a": 1 "b": 2}"#, 8),
        (r#"{"é": 1 "b": 2}"#, 8),
        ("{\n\"a\":\n}", 7),
        ("[1,", 3),
        ("[1 2]", 3),
        ("01", 1),
        ("{} x", 3),
        // Of a word, a text or a number that is none, Python names the start.
        ("not json", 1),
        ("nul", 3),
        (r#"{"a": tru}"#, 9),
        (r#"{"a": "x"#, 8),
        ("{\"a\": \"é\n\"}", 9),
        (r#"{"a": "\x"}"#, 8),
        (r#"{"a": "\u12"}"#, 12),
        ("-", 1),
        ("1.", 2),
    ] {
        let reply = post_as(&setup, Some("application/json"), body.as_bytes()).await;
        let key = offset.to_string();
        assert_detail(&reply, 422, &json!({ key: "JSON decode error" }), body);
    }
}

#[tokio::test]
async fn a_body_is_json_when_it_is_called_so_or_not_called_anything() {
    let setup = Setup::new().await;
    let object = "Input should be a valid dictionary or object to extract fields from";
    let name = json!({ "username": "Field required" });
    for (kind, body, detail) in [
        (None, "{}", name.clone()),
        (Some("application/json; charset=utf-8"), "{}", name.clone()),
        (Some("application/problem+json"), "{}", name),
        (Some("text/json"), "{}", json!({ "body": object })),
        (Some("text/plain"), "{", json!({ "body": object })),
        (
            Some("application/json"),
            "null",
            json!({ "body": "Field required" }),
        ),
        (Some("application/json"), r#""text""#, json!({ "body": object })),
    ] {
        let reply = post_as(&setup, kind, body.as_bytes()).await;
        assert_detail(&reply, 422, &detail, &format!("{kind:?} {body}"));
    }
    let unreadable = json!("There was an error parsing the body");
    let reply = post_as(&setup, None, b"\xff\xfe\xfd").await;
    assert_detail(&reply, 400, &unreadable, "no text");
    let reply = post_as(&setup, None, "[".repeat(100_000).as_bytes()).await;
    assert_detail(&reply, 400, &unreadable, "too deep");
}

#[tokio::test]
async fn a_method_that_a_path_lacks_is_refused_with_that_of_its_first_route() {
    let setup = Setup::new().await;
    for (method, target, allowed) in [
        ("DELETE", "/api/admin", "POST"),
        ("GET", "/api/admin/ali", "PUT"),
        ("PUT", "/api/user_template", "POST"),
        ("POST", "/api/hosts", "GET"),
        ("PATCH", "/api/user/alice", "GET"),
        ("OPTIONS", "/api/users", "GET"),
        ("GET", "/api/admin/token", "POST"),
        ("POST", "/api/node/settings", "GET"),
        ("POST", "/api/users/expired", "GET"),
        ("GET", "/api/user/alice/set-owner", "PUT"),
        ("POST", "/sub/token/info", "GET"),
        ("POST", "/", "GET"),
    ] {
        let reply = call(&setup.panel, method, target, None, None).await;
        assert_detail(&reply, 405, &json!("Method Not Allowed"), target);
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {target}");
    }
    // There is no such route with these methods, but one with a number in this place.
    let number = json!({ "node_id": INTEGER });
    assert_detail(&setup.put("/api/node/settings", "{}").await, 422, &number, "PUT");
    assert_detail(&setup.delete("/api/node/settings").await, 422, &number, "DELETE");
}

#[tokio::test]
async fn a_browsers_question_before_its_request_is_answered() {
    let setup = Setup::new().await;
    let mut wire = Wire::open(&setup.panel).await;
    wire.send(
        "OPTIONS /api/users HTTP/1.1\r\nhost: panel.example\r\norigin: https://bot.example\r\n\
         access-control-request-method: GET\r\n\r\n",
    )
    .await;
    let reply = wire.read(true).await.expect("a whole answer");
    reply.assert(200, "OK");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn slashes_at_the_end_are_redirected_together() {
    let setup = Setup::new().await;
    for target in ["/api/users/?limit=1", "/api/users//?limit=1"] {
        let reply = setup.get(target).await;
        assert_eq!(reply.status, 307, "{target}");
        assert_eq!(
            reply.header("location"),
            Some("http://panel.example/api/users?limit=1")
        );
    }
    assert_eq!(setup.get("/api/nope/").await.status, 404);
}

#[tokio::test]
async fn a_path_with_an_empty_part_or_one_too_many_is_not_found() {
    let setup = Setup::new().await;
    for target in [
        "//",
        "/api//users",
        "/api/user//usage",
        "/sub/",
        "/sub//info",
        "/api/user/a%2Fb",
        "/api",
    ] {
        setup.get(target).await.assert(404, r#"{"detail":"Not Found"}"#);
    }
}

#[tokio::test]
async fn an_admin_may_be_named_like_a_route_of_another_method() {
    let setup = Setup::new().await;
    for name in ["token", "usage"] {
        setup.panel.insert_admin(FakeAdmin::new(name, "pass"));
        let reply = setup
            .put(&format!("/api/admin/{name}"), r#"{"is_sudo": false}"#)
            .await;
        assert_eq!(
            (reply.status, reply.json()["username"].as_str()),
            (200, Some(name))
        );
        assert_eq!(setup.delete(&format!("/api/admin/{name}")).await.status, 200);
    }
}

#[tokio::test]
async fn usage_takes_the_times_that_python_reads() {
    let setup = Setup::new().await;
    setup
        .post("/api/user", r#"{"username": "alice", "proxies": {"vless": {}}}"#)
        .await;
    for (start, status) in [
        ("2020-01-01", 200),
        ("20200101", 200),
        ("2020-01-01T10", 200),
        ("2020-01-01T10:30", 200),
        ("2020-01-01T1030", 200),
        ("2020-01-01%2010:30:00", 200),
        ("2020-01-01x10:30:00,5", 200),
        ("2020-01-01T10:30:00.123456Z", 200),
        ("2020-01-01T10:30:00%2B03:30", 200),
        ("2020-01-01T10:30:00-0330", 200),
        ("2020-01-01T10:30:00+03:30", 400),
        ("2020-01-01T25:00:00", 400),
        ("2020-01-01T", 400),
        ("2020-13-01", 400),
        ("1577836800", 400),
        ("x", 400),
    ] {
        let reply = setup.get(&format!("/api/user/alice/usage?start={start}")).await;
        assert_eq!(reply.status, status, "{start}: {}", reply.text());
    }
}

#[tokio::test]
async fn bounds_of_expired_users_take_the_times_of_models() {
    let setup = Setup::new().await;
    for (after, status) in [
        ("2020-01-01", 200),
        ("2020-01-01T10:30", 200),
        ("2020-01-01_10:30:00Z", 200),
        ("1577836800", 200),
        ("1577836800.5", 200),
        ("1577836800000", 200),
        ("20200101", 200),
        ("2020-01-01T10", 422),
        ("2020-01-01x10:30:00", 422),
        ("", 422),
    ] {
        let reply = setup
            .get(&format!("/api/users/expired?expired_after={after}"))
            .await;
        assert_eq!(reply.status, status, "{after}: {}", reply.text());
    }
}

#[tokio::test]
async fn inbounds_are_looked_for_among_those_of_all_protocols() {
    let setup = Setup::new().await;
    let create = async |name: &str, inbounds: &str| {
        let body =
            format!(r#"{{"username": "{name}", "proxies": {{"vless": {{}}}}, "inbounds": {inbounds}}}"#);
        setup.post("/api/user", &body).await
    };
    // The tag exists, so it is no mistake; but it is none of this protocol, so nothing is left.
    let reply = create("other", r#"{"vless": ["VMess TCP"]}"#).await;
    assert_eq!(
        (reply.status, &reply.json()["inbounds"]["vless"]),
        (200, &json!([]))
    );
    // What is of a protocol that the user lacks is dropped unread.
    let reply = create("lacking", r#"{"wireguard": ["Nope"], "vmess": ["Nope"]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = create("unknown", r#"{"vless": ["Nope"]}"#).await;
    let detail = json!({ "inbounds": "Value error, Inbound Nope doesn't exist" });
    assert_detail(&reply, 422, &detail, "unknown");
    let reply = setup
        .put("/api/user/other", r#"{"inbounds": {"wireguard": ["VMess TCP"]}}"#)
        .await;
    let detail = json!({ "[key]": "Input should be 'vmess', 'vless', 'trojan' or 'shadowsocks'" });
    assert_detail(&reply, 422, &detail, "an edit reads all of them");
}

#[tokio::test]
async fn null_is_no_value_of_what_has_a_default() {
    let setup = Setup::new().await;
    let reply = setup
        .post(
            "/api/node",
            r#"{"name": "a", "address": "b", "port": null, "usage_coefficient": null, "add_as_new_host": null}"#,
        )
        .await;
    let detail = json!({
        "port": "Input should be a valid integer",
        "usage_coefficient": "Input should be a valid number",
        "add_as_new_host": "Input should be a valid boolean",
    });
    assert_detail(&reply, 422, &detail, "a node");
    for (fields, detail) in [
        (
            r#""next_plan": {"data_limit": 1, "fire_on_either": null}"#,
            json!({ "fire_on_either": "Input should be a valid boolean" }),
        ),
        (
            r#""next_plan": {"data_limit": 1, "add_remaining_traffic": "maybe"}"#,
            json!({ "add_remaining_traffic": "Input should be a valid boolean, unable to interpret input" }),
        ),
        (
            r#""proxies": {"vless": {"id": null}}"#,
            json!({ "id": "UUID input should be a string, bytes or UUID object" }),
        ),
        (
            r#""proxies": {"trojan": {"password": 5}}"#,
            json!({ "password": "Input should be a valid string" }),
        ),
    ] {
        let body = format!(r#"{{"username": "alice", "proxies": {{"vless": {{}}}}, {fields}}}"#);
        assert_detail(&setup.post("/api/user", &body).await, 422, &detail, fields);
    }
    let reply = setup
        .post(
            "/api/user",
            r#"{"username": "alice", "proxies": {"vless": {"password": 5}}, "data_limit": true}"#,
        )
        .await;
    assert_eq!(
        (reply.status, &reply.json()["data_limit"]),
        (200, &json!(1)),
        "truth is a number, and a setting of another protocol none"
    );
}

#[tokio::test]
async fn a_template_takes_lists_of_tags_only() {
    let setup = Setup::new().await;
    let reply = setup
        .post(
            "/api/user_template",
            r#"{"name": "a", "inbounds": {"vless": "VLESS TCP REALITY"}}"#,
        )
        .await;
    assert_detail(
        &reply,
        422,
        &json!({ "vless": "Input should be a valid list" }),
        "a text",
    );
}

#[tokio::test]
async fn the_configuration_and_the_formats_of_apps_have_the_keys_of_the_panels_own() {
    let setup = Setup::new().await;
    let config = setup.get("/api/core/config").await.json();
    let at = |pointer: &str| config.pointer(pointer).is_some();
    assert!(at("/routing/rules/0/ip") && at("/inbounds/0/streamSettings/tcpSettings/header/request/headers"));
    assert!(at("/inbounds/2/settings/decryption") && at("/inbounds/2/streamSettings/realitySettings/xver"));
    assert!(at(
        "/inbounds/4/streamSettings/tlsSettings/certificates/0/keyFile"
    ));
    assert!(at("/inbounds/5/settings/network") && !at("/inbounds/5/streamSettings"));

    setup
        .post(
            "/api/user",
            r#"{"username": "alice", "proxies": {"vless": {}}, "inbounds": {}}"#,
        )
        .await;
    let token = setup.panel.subscription_token("alice");
    let format = async |name: &str| setup.get(&format!("/sub/{token}/{name}")).await.json();
    let sing_box = format("sing-box").await;
    let grpc = &sing_box["outbounds"][4];
    assert_eq!(grpc["tls"]["reality"]["enabled"], json!(true), "{grpc}");
    assert_eq!(grpc["transport"]["permit_without_stream"], json!(false));
    let v2ray = format("v2ray-json").await;
    let outbound = &v2ray[1]["outbounds"][0];
    assert_eq!(
        outbound["settings"]["vnext"][0]["users"][0]["encryption"],
        json!("none")
    );
    assert_eq!(
        outbound["streamSettings"]["grpcSettings"]["multiMode"],
        json!(false)
    );
    assert!(outbound["streamSettings"]["realitySettings"]["publicKey"].is_string());
}

#[tokio::test]
async fn an_expiry_before_the_first_year_is_stored_though_it_cannot_be_shown() {
    let setup = Setup::new().await;
    for (name, expire, status) in [
        ("first", -62_135_596_800, 200),
        ("before", -62_135_596_801, 500),
        ("least", i64::MIN, 500),
    ] {
        let body = format!(
            r#"{{"username": "{name}", "proxies": {{"vless": {{}}}}, "inbounds": {{}}, "expire": {expire}}}"#
        );
        assert_eq!(setup.post("/api/user", &body).await.status, status, "{expire}");
        let target = format!("/api/user/{name}");
        assert_eq!(setup.get(&target).await.status, status, "{expire}");
    }
    for name in ["before", "least"] {
        let repaired = setup.put(&format!("/api/user/{name}"), r#"{"expire": 0}"#).await;
        assert_eq!(repaired.status, 200);
    }
}
