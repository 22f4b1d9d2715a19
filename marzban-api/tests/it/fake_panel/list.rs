//! `GET /api/users`: filters, order, pages, and a user that breaks its page.

use marzban_api::testing::{FakeStatus, FakeUser};
use serde_json::json;

use super::Setup;

/// Four users in the order of their insertion, each with something to filter or sort by.
async fn four() -> Setup {
    let setup = Setup::new().await;
    let panel = &setup.panel;
    panel.insert_user(
        FakeUser::new("delta_1")
            .expire(1_800_000_000)
            .used_traffic(5)
            .owner(Some("root2")),
    );
    panel.insert_user(
        FakeUser::new("Alpha")
            .data_limit(10)
            .note("VIP کاربر")
            .owner(Some("ali")),
    );
    panel.insert_user(
        FakeUser::new("alpha")
            .status(FakeStatus::Disabled)
            .expire(1_700_000_000),
    );
    panel.insert_user(
        FakeUser::new("bravo")
            .used_traffic(5)
            .data_limit(7)
            .owner(Some("ali")),
    );
    setup
}

#[tokio::test]
async fn pages_follow_the_insertion_and_total_ignores_them() {
    let setup = four().await;
    for (query, names) in [
        ("", vec!["delta_1", "Alpha", "alpha", "bravo"]),
        ("?limit=0", vec!["delta_1", "Alpha", "alpha", "bravo"]),
        ("?limit=-1", vec!["delta_1", "Alpha", "alpha", "bravo"]),
        ("?offset=-1&limit=1", vec!["delta_1"]),
        ("?offset=1&limit=2", vec!["Alpha", "alpha"]),
        ("?offset=3&limit=2", vec!["bravo"]),
        ("?offset=9&limit=2", vec![]),
    ] {
        let reply = setup.get(&format!("/api/users{query}")).await;
        assert_eq!(reply.names(), names, "{query}");
        assert_eq!(reply.json()["total"], 4, "{query}");
    }
}

#[tokio::test]
async fn filters_are_exact_for_names_and_wild_for_search() {
    let setup = four().await;
    for (query, names) in [
        ("username=alpha", vec!["alpha"]),
        (
            "username=bravo&username=Alpha&username=ghost&username=bravo",
            vec!["Alpha", "bravo"],
        ),
        ("username=ghost", vec![]),
        ("username[]=alpha", vec!["delta_1", "Alpha", "alpha", "bravo"]),
        ("search=ALPH", vec!["Alpha", "alpha"]),
        ("search=vip", vec!["Alpha"]),
        ("search=%DA%A9%D8%A7", vec!["Alpha"]),
        ("search=l_h", vec!["Alpha", "alpha"]),
        ("search=d%25_1", vec!["delta_1"]),
        ("search=", vec!["delta_1", "Alpha", "alpha", "bravo"]),
        ("status=disabled", vec!["alpha"]),
        (
            "status=active&search=a&username=bravo&username=alpha",
            vec!["bravo"],
        ),
        ("admin=ali", vec!["Alpha", "bravo"]),
        ("admin=ali&admin=root2", vec!["delta_1", "Alpha", "bravo"]),
        ("admin=admin", vec![]),
    ] {
        let reply = setup.get(&format!("/api/users?{query}")).await;
        assert_eq!(reply.names(), names, "{query}");
        assert_eq!(reply.json()["total"], names.len(), "{query}");
    }
}

#[tokio::test]
async fn sorting_is_by_bytes_with_null_first_and_ties_by_the_next_key() {
    let setup = four().await;
    for (sort, names) in [
        ("username", ["Alpha", "alpha", "bravo", "delta_1"]),
        ("-username", ["delta_1", "bravo", "alpha", "Alpha"]),
        ("expire", ["Alpha", "bravo", "alpha", "delta_1"]),
        ("-expire", ["delta_1", "alpha", "Alpha", "bravo"]),
        ("data_limit", ["delta_1", "alpha", "bravo", "Alpha"]),
        ("-used_traffic,username", ["bravo", "delta_1", "Alpha", "alpha"]),
        ("created_at,-username", ["delta_1", "bravo", "alpha", "Alpha"]),
    ] {
        assert_eq!(
            setup.get(&format!("/api/users?sort={sort}")).await.names(),
            names,
            "{sort}"
        );
    }
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused_with_the_panels_words() {
    let setup = four().await;
    let integer = "Input should be a valid integer, unable to parse string as an integer";
    let status = "Input should be 'active', 'disabled', 'limited', 'expired' or 'on_hold'";
    for (query, code, detail) in [
        ("limit=x", 422, json!({ "limit": integer })),
        (
            "limit=&offset=1.5",
            422,
            json!({ "limit": integer, "offset": integer }),
        ),
        ("status=bogus", 422, json!({ "status": status })),
        ("status=", 422, json!({ "status": status })),
        ("sort=id", 400, json!("\"id\" is not a valid sort option")),
        (
            "sort=username,-status",
            400,
            json!("\"-status\" is not a valid sort option"),
        ),
        ("sort=", 400, json!("\"\" is not a valid sort option")),
    ] {
        let reply = setup.get(&format!("/api/users?{query}")).await;
        assert_eq!(
            (reply.status, reply.json()),
            (code, json!({ "detail": detail })),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_poison_user_breaks_every_page_that_holds_it_and_no_other() {
    let setup = four().await;
    setup.panel.update_user("alpha", |user| user.poisoned = true);
    setup.get("/api/users").await.assert_internal_error();
    setup
        .get("/api/users?username=bravo&username=alpha")
        .await
        .assert_internal_error();
    setup.get("/api/user/alpha").await.assert_internal_error();
    assert_eq!(
        setup.get("/api/users?limit=2").await.names(),
        ["delta_1", "Alpha"]
    );
    assert_eq!(setup.get("/api/users?offset=3").await.names(), ["bravo"]);
}

#[tokio::test]
async fn a_deletion_between_two_pages_makes_the_second_skip_a_user() {
    let setup = four().await;
    assert_eq!(
        setup.get("/api/users?offset=0&limit=1").await.names(),
        ["delta_1"]
    );
    setup.panel.remove_user("delta_1");
    let second = setup.get("/api/users?offset=1&limit=1").await;
    assert_eq!(second.names(), ["alpha"]);
    assert_eq!(second.json()["total"], 3);
}

#[tokio::test]
async fn users_that_expired_in_the_range_are_listed_and_deleted() {
    let setup = Setup::new().await;
    let (panel, expired) = (&setup.panel, "/api/users/expired");
    let now = panel.state().now.timestamp();
    let of = |name, status, days: i64| FakeUser::new(name).status(status).expire(now - days * 86_400);
    panel.insert_user(of("recent", FakeStatus::Expired, 2));
    panel.insert_user(of("old", FakeStatus::Expired, 40));
    panel.insert_user(of("limited", FakeStatus::Limited, 3).owner(Some("ali")));
    panel.insert_user(of("unreviewed", FakeStatus::Active, 2));
    setup.get(expired).await.assert(200, r#"["recent","limited"]"#);
    setup
        .call_as("ali", "GET", expired)
        .await
        .assert(200, r#"["limited"]"#);
    let all = "expired_after=2020-01-01T00:00:00Z";
    setup
        .get(&format!("{expired}?{all}"))
        .await
        .assert(200, r#"["recent","old","limited"]"#);
    let naive = format!("{expired}?expired_before=2035-01-01T00:00:00");
    setup.get(&naive).await.assert_internal_error();
    setup.get(&format!("{naive}&{all}")).await.assert_internal_error();
    let reply = setup
        .get(&format!("{expired}?expired_before=2020-01-01T00:00:00Z"))
        .await;
    reply.assert(400, r#"{"detail":"Start date must be before end date"}"#);
    setup.delete(expired).await.assert(200, r#"["recent","limited"]"#);
    let nothing = r#"{"detail":"No expired users found in the specified date range"}"#;
    setup.delete(expired).await.assert(404, nothing);
    assert_eq!(setup.get("/api/users").await.names(), ["old", "unreviewed"]);
}

#[tokio::test]
async fn the_system_counts_own_users_but_everybodys_connections() {
    let setup = four().await;
    let now = setup.panel.state().now;
    setup
        .panel
        .update_user("delta_1", |user| user.online_at = Some(now));
    setup.panel.update_system(|system| system.mem_used = 7);
    let system = setup.get("/api/system").await.json();
    let mut keys: Vec<&String> = system.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "cpu_cores",
            "cpu_usage",
            "incoming_bandwidth",
            "incoming_bandwidth_speed",
            "mem_total",
            "mem_used",
            "online_users",
            "outgoing_bandwidth",
            "outgoing_bandwidth_speed",
            "total_user",
            "users_active",
            "users_disabled",
            "users_expired",
            "users_limited",
            "users_on_hold",
            "version"
        ]
    );
    let figures = [
        "version",
        "total_user",
        "users_active",
        "users_disabled",
        "online_users",
        "mem_used",
    ];
    assert_eq!(
        figures.map(|key| &system[key]),
        [
            &json!("0.8.4"),
            &json!(4),
            &json!(3),
            &json!(1),
            &json!(1),
            &json!(7)
        ]
    );
    let own = setup.call_as("ali", "GET", "/api/system").await.json();
    assert_eq!(
        figures.map(|key| &own[key])[1..5],
        [&json!(2), &json!(2), &json!(0), &json!(1)]
    );
}
