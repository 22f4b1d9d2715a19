//! Reading, creating, editing, resetting and deleting one user.

use std::time::Duration;

use marzban_api::testing::{FakeNextPlan, FakeProtocol, FakeStatus, FakeUser};
use serde_json::{Value, json};

use super::{Setup, at, call, log_in};

const NOW: i64 = 1_795_381_182;

/// The name of a user that was created with these fields beside its name, and the answer.
async fn create(setup: &Setup, fields: &str) -> super::Reply {
    setup
        .post(
            "/api/user",
            &format!(r#"{{"username": "alice", "inbounds": {{}}, {fields}}}"#),
        )
        .await
}

#[tokio::test]
async fn a_user_has_22_keys_which_are_always_all_present() {
    let setup = Setup::new().await;
    setup
        .panel
        .insert_user(FakeUser::new("alice").owner(Some("root2")));
    let mut user = setup.get("/api/user/alice").await.json();
    assert_eq!(
        setup.get("/api/users").await.json()["users"][0]
            .as_object()
            .unwrap()
            .len(),
        22
    );
    let fields = user.as_object_mut().unwrap();
    let links = fields.remove("links").unwrap();
    assert_eq!(links.as_array().unwrap().len(), 2);
    assert!(links[0].as_str().unwrap().starts_with("vless://"), "{links}");
    let url = fields.remove("subscription_url").unwrap();
    assert!(url.as_str().unwrap().starts_with("/sub/"), "{url}");
    let id = fields["proxies"]["vless"]["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 36);
    assert_eq!(
        user,
        json!({
            "proxies": { "vless": { "id": null, "flow": "" } },
            "expire": null,
            "data_limit": null,
            "data_limit_reset_strategy": "no_reset",
            "inbounds": { "vless": ["VLESS TCP REALITY", "VLESS GRPC REALITY"] },
            "note": null,
            "sub_updated_at": null,
            "sub_last_user_agent": null,
            "online_at": null,
            "on_hold_expire_duration": null,
            "on_hold_timeout": null,
            "auto_delete_in_days": null,
            "next_plan": null,
            "username": "alice",
            "status": "active",
            "used_traffic": 0,
            "lifetime_used_traffic": 0,
            "created_at": "2026-11-22T20:59:42",
            "excluded_inbounds": { "vless": [] },
            "admin": {
                "username": "root2", "is_sudo": true, "telegram_id": null, "discord_webhook": null,
                "users_usage": 0
            },
        })
    );
}

#[tokio::test]
async fn links_change_with_a_read_and_the_subscription_url_with_the_second_and_nothing_else_does() {
    let setup = Setup::new().await;
    setup
        .panel
        .insert_user(FakeUser::new("alice").protocols([FakeProtocol::Vless, FakeProtocol::Trojan]));
    let mut first = setup.get("/api/user/alice").await.json();
    setup.panel.advance(Duration::from_secs(1));
    let mut second = setup.get("/api/user/alice").await.json();
    for key in ["links", "subscription_url"] {
        assert_ne!(first[key].take(), second[key].take(), "{key}");
    }
    assert_eq!(first, second);
}

#[tokio::test]
async fn times_are_naive_with_six_digits_of_fraction_or_none() {
    let setup = Setup::new().await;
    for (time, shown) in [
        ("2026-11-19T20:13:36Z", "2026-11-19T20:13:36"),
        ("2026-11-19T20:13:36.25Z", "2026-11-19T20:13:36.250000"),
    ] {
        setup
            .panel
            .insert_user(FakeUser::new("alice").online_at(at(time)));
        assert_eq!(setup.get("/api/user/alice").await.json()["online_at"], shown);
    }
}

#[tokio::test]
async fn names_are_case_sensitive_and_percent_decoded() {
    let setup = Setup::new().await;
    setup.panel.insert_user(FakeUser::new("user-1.x@mail"));
    assert_eq!(
        setup.get("/api/user/user-1.x%40mail").await.json()["username"],
        "user-1.x@mail"
    );
    setup
        .get("/api/user/USER-1.x@mail")
        .await
        .assert(404, r#"{"detail":"User not found"}"#);
}

#[tokio::test]
async fn a_created_user_belongs_to_its_creator_unless_that_is_the_environments_admin() {
    let setup = Setup::new().await;
    assert_eq!(
        create(&setup, r#""proxies": {"vless": {}}"#).await.json()["admin"],
        Value::Null
    );
    let token = log_in(&setup.panel, "ali", "ali").await;
    let body = r#"{"username": "bob", "proxies": {"vmess": {}}, "inbounds": {}}"#;
    let bob = call(&setup.panel, "POST", "/api/user", Some(&token), Some(body))
        .await
        .json();
    assert_eq!(
        (
            bob["admin"]["username"].as_str(),
            bob["links"].as_array().unwrap().len()
        ),
        (Some("ali"), 2)
    );
    assert_eq!(setup.panel.user("bob").unwrap().owner.as_deref(), Some("ali"));
}

#[tokio::test]
async fn zero_means_unlimited_and_is_answered_as_null() {
    let setup = Setup::new().await;
    let user = create(
        &setup,
        r#""proxies": {"vless": {}}, "expire": 0, "data_limit": 0"#,
    )
    .await
    .json();
    assert_eq!(
        (&user["expire"], &user["data_limit"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn omitted_inbounds_give_none_and_empty_ones_give_all() {
    let setup = Setup::new().await;
    let none = setup
        .post("/api/user", r#"{"username": "none", "proxies": {"vless": {}}}"#)
        .await
        .json();
    assert_eq!(none["inbounds"], json!({ "vless": [] }));
    assert_eq!(none["links"], json!([]));
    assert_eq!(
        none["excluded_inbounds"],
        json!({ "vless": ["VLESS TCP REALITY", "VLESS GRPC REALITY"] })
    );
    let all = create(&setup, r#""proxies": {"vless": {}}, "inbounds": {"vless": []}"#)
        .await
        .json();
    assert_eq!(all["excluded_inbounds"], json!({ "vless": [] }));
}

#[tokio::test]
async fn an_expiry_in_milliseconds_is_stored_though_it_answers_500_and_can_be_repaired() {
    let setup = Setup::new().await;
    create(&setup, r#""proxies": {"vless": {}}, "expire": 1795381182000"#)
        .await
        .assert_internal_error();
    assert_eq!(setup.panel.user("alice").unwrap().expire, Some(1_795_381_182_000));
    setup.get("/api/users").await.assert_internal_error();
    let repaired = setup.put("/api/user/alice", r#"{"expire": 1795467582}"#).await;
    assert_eq!(
        (repaired.status, &repaired.json()["expire"]),
        (200, &json!(1_795_467_582))
    );
}

#[tokio::test]
async fn omitted_proxies_store_a_user_that_breaks_the_list_and_can_be_deleted() {
    let setup = Setup::new().await;
    let token = log_in(&setup.panel, "root2", "root2").await;
    let body = r#"{"username": "alice", "inbounds": {}}"#;
    call(&setup.panel, "POST", "/api/user", Some(&token), Some(body))
        .await
        .assert_internal_error();
    setup.get("/api/users").await.assert_internal_error();
    setup
        .delete("/api/user/alice")
        .await
        .assert(200, r#"{"detail":"User successfully deleted"}"#);
    assert_eq!(setup.get("/api/users").await.names(), [""; 0]);
}

#[tokio::test]
async fn a_body_is_refused_field_by_field_with_the_panels_words() {
    let setup = Setup::new().await;
    let name = "Value error, Username only can be 3 to 32 characters and contain a-z, 0-9, and underscores in between.";
    for (body, detail) in [
        (r#"{"username": "x", "#, json!({ "18": "JSON decode error" })),
        (
            "[]",
            json!({ "body": "Input should be a valid dictionary or object to extract fields from" }),
        ),
        (
            r#"{"username": "a.b", "proxies": {"vless": {}}}"#,
            json!({ "username": name }),
        ),
        (
            r#"{"proxies": {"vless": {}}}"#,
            json!({ "username": "Field required" }),
        ),
        (
            r#"{"username": "alice", "proxies": {"vless": {}}, "status": "on_hold"}"#,
            json!({ "status": "Value error, User cannot be on hold without a valid on_hold_expire_duration." }),
        ),
        (
            r#"{"username": "alice", "proxies": {"vless": {}}, "status": "on_hold",
                "on_hold_expire_duration": 5, "expire": 7}"#,
            json!({ "status": "Value error, User cannot be on hold with specified expire." }),
        ),
        (
            r#"{"username": "a", "proxies": {}, "data_limit": -1, "status": "bogus", "expire": "x"}"#,
            json!({
                "proxies": "Value error, Each user needs at least one proxy",
                "expire": "Input should be a valid integer, unable to parse string as an integer",
                "data_limit": "Input should be greater than or equal to 0",
                "username": name,
                "status": "Input should be 'active' or 'on_hold'",
            }),
        ),
    ] {
        let reply = setup.post("/api/user", body).await;
        assert_eq!(
            (reply.status, reply.json()),
            (422, json!({ "detail": detail })),
            "{body}"
        );
    }
    assert_eq!(setup.panel.state().users, []);
}

#[tokio::test]
async fn a_taken_name_and_a_plan_without_a_limit_are_the_same_conflict() {
    let setup = Setup::new().await;
    let conflict = r#"{"detail":"User already exists"}"#;
    create(&setup, r#""proxies": {"vless": {}}, "next_plan": {"expire": 5}"#)
        .await
        .assert(409, conflict);
    assert_eq!(create(&setup, r#""proxies": {"vless": {}}"#).await.status, 200);
    create(&setup, r#""proxies": {"vless": {}}"#)
        .await
        .assert(409, conflict);
    let other_case = r#"{"username": "ALICE", "proxies": {"vless": {}}, "inbounds": {}}"#;
    assert_eq!(setup.post("/api/user", other_case).await.status, 200);
}

#[tokio::test]
async fn an_edit_keeps_what_it_omits_except_for_the_next_plan() {
    let setup = Setup::new().await;
    let plan = FakeNextPlan {
        data_limit: 1,
        expire: None,
        add_remaining_traffic: true,
        fire_on_either: true,
    };
    let alice = FakeUser::new("alice")
        .expire(NOW + 9)
        .data_limit(7)
        .note("kept")
        .next_plan(plan);
    setup.panel.insert_user(alice.clone());
    setup.panel.advance(Duration::from_secs(5));
    let reply = setup
        .put(
            "/api/user/alice",
            r#"{"expire": null, "data_limit": null, "note": null}"#,
        )
        .await;
    assert_eq!((reply.status, &reply.json()["next_plan"]), (200, &Value::Null));
    let edited = setup.panel.user("alice").unwrap();
    assert_eq!(
        (edited.expire, edited.data_limit, edited.note),
        (alice.expire, alice.data_limit, alice.note)
    );
    assert_eq!(
        (edited.next_plan, edited.edit_at),
        (None, Some(at("2026-11-22T20:59:47Z")))
    );
}

#[tokio::test]
async fn limits_move_the_state_at_once_where_the_panel_does_so() {
    use FakeStatus::{Active, Disabled, Expired, Limited};
    let setup = Setup::new().await;
    for (status, body, after) in [
        (Limited, json!({ "data_limit": 4_096 }), Active),
        (Active, json!({ "data_limit": 100 }), Limited),
        (
            Disabled,
            json!({ "data_limit": 100, "expire": NOW - 1 }),
            Disabled,
        ),
        (Expired, json!({ "expire": NOW + 1 }), Active),
        (Expired, json!({ "data_limit": 0 }), Expired),
        (Active, json!({ "expire": NOW }), Expired),
        (Limited, json!({ "expire": NOW + 1 }), Limited),
        (Expired, json!({ "status": "active" }), Active),
        (Active, json!({ "status": "disabled" }), Disabled),
    ] {
        setup
            .panel
            .insert_user(FakeUser::new("alice").status(status).used_traffic(2_048));
        let reply = setup.put("/api/user/alice", &body.to_string()).await;
        assert_eq!(
            (reply.status, reply.json()["status"].as_str()),
            (200, Some(after.as_str())),
            "{status} {body}"
        );
    }
    let reply = setup.put("/api/user/alice", r#"{"status": "limited"}"#).await;
    reply.assert(
        422,
        r#"{"detail":{"status":"Input should be 'active', 'disabled' or 'on_hold'"}}"#,
    );
    setup
        .put("/api/user/ghost", r#"{"expire": "x"}"#)
        .await
        .assert(404, r#"{"detail":"User not found"}"#);
    setup
        .put("/api/user/alice", r#"{"proxies": null}"#)
        .await
        .assert_internal_error();
}

#[tokio::test]
async fn an_edit_of_the_proxies_replaces_the_set_and_renews_what_it_does_not_repeat() {
    let setup = Setup::new().await;
    setup
        .panel
        .insert_user(FakeUser::new("alice").protocols([FakeProtocol::Vless, FakeProtocol::Vmess]));
    let before = setup.get("/api/user/alice").await.json();
    let body = json!({
        "proxies": { "vless": { "id": before["proxies"]["vless"]["id"] }, "vmess": {} },
        "inbounds": { "vmess": [] },
    });
    let after = setup.put("/api/user/alice", &body.to_string()).await.json();
    assert_eq!(after["proxies"]["vless"], before["proxies"]["vless"]);
    assert_ne!(after["proxies"]["vmess"], before["proxies"]["vmess"]);
    assert_eq!(
        after["inbounds"],
        json!({ "vmess": [], "vless": before["inbounds"]["vless"] })
    );
}

#[tokio::test]
async fn a_reset_keeps_the_lifetime_and_makes_all_but_the_expired_active() {
    let setup = Setup::new().await;
    for status in FakeStatus::ALL {
        setup
            .panel
            .insert_user(FakeUser::new("alice").status(status).used_traffic(2_048));
        let reply = call(
            &setup.panel,
            "POST",
            "/api/user/alice/reset",
            Some(&setup.token),
            None,
        )
        .await;
        let after = if status == FakeStatus::Expired {
            "expired"
        } else {
            "active"
        };
        let user = reply.json();
        let figures = ["status", "used_traffic", "lifetime_used_traffic"].map(|key| user[key].clone());
        assert_eq!(
            (reply.status, figures),
            (200, [json!(after), json!(0), json!(2_048)]),
            "{status}"
        );
    }
}

#[tokio::test]
async fn the_deletion_of_an_ownerless_user_answers_500_although_it_is_done() {
    let setup = Setup::new().await;
    setup.panel.insert_user(FakeUser::new("owned").owner(Some("ali")));
    setup.panel.insert_user(FakeUser::new("ownerless"));
    setup
        .delete("/api/user/owned")
        .await
        .assert(200, r#"{"detail":"User successfully deleted"}"#);
    setup
        .delete("/api/user/owned")
        .await
        .assert(404, r#"{"detail":"User not found"}"#);
    setup.delete("/api/user/ownerless").await.assert_internal_error();
    setup
        .get("/api/user/ownerless")
        .await
        .assert(404, r#"{"detail":"User not found"}"#);
}
