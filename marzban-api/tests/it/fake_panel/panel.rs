//! What is not a user: admins and what they use, nodes, templates, hosts and the core.

use marzban_api::testing::{FakeNodeStatus, FakeUser};
use serde_json::{Value, json};

use super::{Setup, call};

#[tokio::test]
async fn a_missing_target_is_404_before_the_token_is_looked_at() {
    let setup = Setup::new().await;
    for (method, target, detail) in [
        ("PUT", "/api/admin/ghost", "Admin not found"),
        ("DELETE", "/api/admin/ghost", "Admin not found"),
        ("GET", "/api/admin/usage/ghost", "Admin not found"),
        ("POST", "/api/admin/ghost/users/disable", "Admin not found"),
        ("GET", "/api/node/9", "Node not found"),
        ("POST", "/api/node/9/reconnect", "Node not found"),
        ("GET", "/api/user_template/9", "User Template not found"),
    ] {
        let reply = call(&setup.panel, method, target, None, None).await;
        assert_eq!(
            (reply.status, reply.json()),
            (404, json!({ "detail": detail })),
            "{target}"
        );
    }
    let reply = call(&setup.panel, "DELETE", "/api/admin/ali", None, None).await;
    assert_eq!(reply.status, 401);
    let reply = call(&setup.panel, "GET", "/api/node/x", None, None).await;
    assert_eq!(reply.status, 401);
    assert_eq!(setup.get("/api/node/x").await.status, 422);
}

#[tokio::test]
async fn an_edit_of_an_admin_promotes_but_never_demotes_and_null_changes_nothing() {
    let setup = Setup::new().await;
    let reply = setup
        .put("/api/admin/ali", r#"{"is_sudo":true,"telegram_id":42}"#)
        .await;
    assert_eq!(
        reply.json(),
        json!({ "username": "ali", "is_sudo": true, "telegram_id": 42, "discord_webhook": null, "users_usage": 0 })
    );
    let token = super::log_in(&setup.panel, "ali", "ali").await;
    let body = r#"{"is_sudo":false,"telegram_id":null,"discord_webhook":null}"#;
    let reply = call(&setup.panel, "PUT", "/api/admin/ali", Some(&token), Some(body)).await;
    assert_eq!(
        (&reply.json()["is_sudo"], &reply.json()["telegram_id"]),
        (&json!(true), &json!(42))
    );
    setup.delete("/api/admin/ali").await.assert(
        403,
        r#"{"detail":"You're not allowed to delete sudoer accounts. Use marzban-cli instead."}"#,
    );
}

#[tokio::test]
async fn traffic_counts_for_the_user_its_owner_and_the_hour() {
    let setup = Setup::new().await;
    setup.panel.insert_user(FakeUser::new("alice").owner(Some("ali")));
    setup.panel.add_traffic("alice", 700);
    setup.panel.add_traffic("alice", 77);
    setup.get("/api/admin/usage/ali").await.assert(200, "777");
    let usage = |bytes: i64| {
        json!({ "username": "alice", "usages": [
            { "node_id": null, "node_name": "Master", "used_traffic": bytes },
        ] })
    };
    let target = "/api/user/alice/usage";
    assert_eq!(setup.get(target).await.json(), usage(777));
    assert_eq!(
        setup.get(&format!("{target}?start=2026-11-22")).await.json(),
        usage(777)
    );
    // Traffic is booked under the start of its hour, which is out of this range.
    let within_the_hour = format!("{target}?start=2026-11-22T20:30:00Z");
    assert_eq!(setup.get(&within_the_hour).await.json(), usage(0));
    setup
        .get(&format!("{target}?start=yesterday"))
        .await
        .assert(400, r#"{"detail":"Invalid date range or format"}"#);
    setup.post("/api/user/alice/reset", "").await;
    assert_eq!(setup.get(target).await.json(), usage(0));
    assert_eq!(
        setup.get("/api/user/alice").await.json()["lifetime_used_traffic"],
        777
    );
    setup.post("/api/admin/usage/reset/ali", "").await;
    setup.get("/api/admin/usage/ali").await.assert(200, "0");
}

#[tokio::test]
async fn users_of_an_admin_are_switched_off_and_on_and_one_that_never_started_is_held_again() {
    let setup = Setup::new().await;
    let owned = |name: &str| FakeUser::new(name).owner(Some("ali"));
    setup.panel.insert_user(owned("active"));
    setup.panel.insert_user(owned("held").on_hold(60));
    setup.panel.insert_user(FakeUser::new("other"));
    let statuses = || {
        let state = setup.panel.state();
        state
            .users
            .iter()
            .map(|user| user.status.as_str())
            .collect::<Vec<_>>()
    };
    setup.post("/api/admin/ali/users/disable", "").await;
    assert_eq!(statuses(), ["disabled", "disabled", "active"]);
    setup.post("/api/admin/ali/users/activate", "").await;
    assert_eq!(statuses(), ["active", "on_hold", "active"]);
}

#[tokio::test]
async fn a_node_is_connecting_until_the_next_request_finds_it_unreachable() {
    let setup = Setup::new().await;
    let body = r#"{"name":"de","address":"192.0.2.1","usage_coefficient":2.5,"add_as_new_host":true}"#;
    let created = setup.post("/api/node", body).await.json();
    assert_eq!(
        (&created["status"], &created["usage_coefficient"]),
        (&json!("connecting"), &json!(1.0))
    );
    let shown = setup.get("/api/node/1").await.json();
    assert_eq!(
        (&shown["status"], &shown["message"]),
        (&json!("error"), &json!("[Errno 111] Connection refused"))
    );
    setup.panel.update_node(1, |node| node.is_reachable = true);
    setup.post("/api/node/1/reconnect", "").await;
    assert_eq!(setup.get("/api/node/1").await.json()["xray_version"], "1.8.24");
    setup.put("/api/node/1", r#"{"status":"disabled"}"#).await;
    assert_eq!(setup.panel.state().nodes[0].status, FakeNodeStatus::Disabled);
    let hosts = setup.get("/api/hosts").await.json();
    assert_eq!(
        hosts["VMess TCP"][1]["remark"],
        "de ({USERNAME}) [{PROTOCOL} - {TRANSPORT}]"
    );
    setup.delete("/api/node/1").await.assert(200, "{}");
}

#[tokio::test]
async fn a_protocol_is_off_while_the_configuration_has_no_inbound_for_it() {
    let setup = Setup::new().await;
    let mut config = setup.get("/api/core/config").await.json();
    let inbounds = config["inbounds"].as_array_mut().expect("inbounds");
    inbounds.retain(|inbound| inbound["protocol"] != "trojan");
    let reply = setup.put("/api/core/config", &config.to_string()).await;
    assert_eq!(reply.json(), config);
    assert_eq!(setup.get("/api/inbounds").await.json().get("trojan"), None);
    let body = r#"{"username":"alice","proxies":{"trojan":{}},"inbounds":{}}"#;
    setup.post("/api/user", body).await.assert(
        400,
        r#"{"detail":"Protocol ProxyTypes.Trojan is disabled on your server"}"#,
    );
}

#[tokio::test]
async fn hosts_are_replaced_by_tag_and_appear_in_the_links() {
    let setup = Setup::new().await;
    let body = r#"{"VLESS GRPC REALITY":[
        {"remark":"{USERNAME} {DAYS_LEFT} {UNKNOWN}","address":"a.example.com","port":443,"mux_enable":null},
        {"remark":"off","address":"b.example.com","is_disabled":true}
    ]}"#;
    let hosts = setup.put("/api/hosts", body).await.json();
    assert_eq!(hosts["VLESS GRPC REALITY"][0]["mux_enable"], Value::Bool(false));
    assert_eq!(hosts["VMess TCP"].as_array().map(Vec::len), Some(1));
    setup.panel.insert_user(FakeUser::new("alice"));
    let links = setup.get("/api/user/alice").await.json()["links"].take();
    assert_eq!(links.as_array().map(Vec::len), Some(2), "the second host is off");
    let link = links[1].as_str().expect("a link");
    assert!(link.contains("@a.example.com:443?"), "{link}");
    assert!(link.ends_with("#alice%20%E2%88%9E%20%7BUNKNOWN%7D"), "{link}");
}

#[tokio::test]
async fn a_template_keeps_what_null_leaves_and_needs_a_name_of_its_own() {
    let setup = Setup::new().await;
    let body = r#"{"name":"month","data_limit":5,"username_prefix":"vip_","inbounds":{"vless":["VLESS TCP REALITY","?"]}}"#;
    let template = json!({
        "name": "month", "data_limit": 5, "expire_duration": 0, "username_prefix": "vip_", "username_suffix": null,
        "inbounds": { "vless": ["VLESS TCP REALITY"] }, "id": 1,
    });
    assert_eq!(setup.post("/api/user_template", body).await.json(), template);
    let reply = setup
        .put("/api/user_template/1", r#"{"data_limit":null,"inbounds":{}}"#)
        .await;
    assert_eq!(reply.json(), template);
    assert_eq!(setup.post("/api/user_template", "{}").await.status, 409);
    let reply = setup
        .post("/api/user_template", r#"{"name":"x","username_suffix":""}"#)
        .await;
    reply.assert(
        422,
        r#"{"detail":{"username_suffix":"String should have at least 1 character"}}"#,
    );
    setup.delete("/api/user_template/1").await.assert(200, "null");
}
