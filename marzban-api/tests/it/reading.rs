//! Reads of one user, one page, the system and the admin.

use marzban_api::ErrorKind;
use marzban_api::model::UserStatus;
use marzban_api::resource::ListUsers;

use crate::wire::{Reply, Wire, json, one, system};

#[tokio::test]
async fn a_name_cannot_reach_another_route() {
    for (name, path) in [
        ("../admins?x=", "/api/user/..%2Fadmins%3Fx%3D"),
        ("a@b", "/api/user/a%40b"),
        ("alice\n", "/api/user/alice%0A"),
        ("%2e%2e", "/api/user/%252e%252e"),
    ] {
        let wire = Wire::script([one("alice")]).await;
        wire.client().users().get(name).await.unwrap();
        assert_eq!(wire.lines(), [format!("GET {path}")]);
    }
}

#[tokio::test]
async fn a_name_that_no_path_can_carry_is_never_sent() {
    let wire = Wire::script([]).await;
    for name in ["", ".", ".."] {
        let error = wire.client().users().get(name).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::InvalidInput, 0));
        assert_eq!(
            wire.client().users().delete(name).await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    assert_eq!((wire.requests().len(), wire.logins().len()), (0, 0));
}

#[tokio::test]
async fn one_user_that_cannot_be_read_does_not_fail_the_page() {
    let page = r#"{"users":[
        {"username":"alice","status":"active","used_traffic":1},
        {"username":"broken","status":"active","used_traffic":1,"expire":1763000000000},
        {"username":17,"status":"active"},
        {"username":"bobby","status":"active","used_traffic":2}],"total":4}"#;
    let page = Wire::script([json(200, page)])
        .await
        .client()
        .users()
        .list(&ListUsers::new())
        .await
        .unwrap();
    let names: Vec<_> = page.users.iter().map(|user| user.username.as_str()).collect();
    let unreadable: Vec<_> = page
        .unreadable
        .iter()
        .map(|user| user.username.as_deref())
        .collect();
    assert_eq!(
        (names, unreadable, page.total),
        (vec!["alice", "bobby"], vec![Some("broken"), None], 4)
    );
    let cause = std::error::Error::source(&page.unreadable[0].error)
        .unwrap()
        .to_string();
    assert!(
        cause.starts_with("at `expire`: 1763000000000 is outside the years 1 to 9999"),
        "{cause}"
    );
}

#[tokio::test]
async fn a_page_that_is_no_page_is_an_error() {
    for body in [
        r#"{"users":null,"total":0}"#,
        r#"{"users":[]}"#,
        "[]",
        r#"{"users":[],"total":-1}"#,
    ] {
        let wire = Wire::script([json(200, body)]).await;
        assert_eq!(
            wire.client()
                .users()
                .list(&ListUsers::new())
                .await
                .unwrap_err()
                .kind(),
            ErrorKind::Decode
        );
    }
}

#[tokio::test]
async fn a_user_without_owner_is_read() {
    let body =
        r#"{"username":"alice","status":"active","used_traffic":5,"admin":null,"links":null,"proxies":null}"#;
    let user = Wire::script([json(200, body)])
        .await
        .client()
        .users()
        .get("alice")
        .await
        .unwrap();
    assert_eq!((user.admin, user.used_traffic, user.links.len()), (None, 5, 0));
}

#[tokio::test]
async fn an_unknown_status_is_kept() {
    let page = r#"{"users":[{"username":"alice","status":"paused","used_traffic":0},
        {"username":"bobby","status":"on_hold","used_traffic":0}],"total":2}"#;
    let page = Wire::script([json(200, page)])
        .await
        .client()
        .users()
        .list(&ListUsers::new())
        .await
        .unwrap();
    let statuses: Vec<_> = page.users.into_iter().map(|user| user.status).collect();
    assert_eq!(
        statuses,
        [UserStatus::Unknown("paused".to_owned()), UserStatus::OnHold]
    );
}

#[tokio::test]
async fn the_system_of_an_old_panel_lacks_what_it_did_not_count() {
    let old = r#"{"version":"0.4.1","mem_total":4096,"mem_used":1024,"cpu_cores":2,"cpu_usage":3,"total_user":61,
        "users_active":52,"incoming_bandwidth":1,"outgoing_bandwidth":2,"incoming_bandwidth_speed":3,
        "outgoing_bandwidth_speed":4}"#;
    let wire = Wire::script([json(200, old), system()]).await;
    let client = wire.client();
    let stats = client.system().stats().await.unwrap();
    assert_eq!(
        (stats.version.as_str(), stats.total_user, stats.users_active),
        ("0.4.1", 61, 52)
    );
    assert_eq!(
        (stats.online_users, stats.users_on_hold, stats.users_limited),
        (None, None, None)
    );
    let stats = client.system().stats().await.unwrap();
    assert_eq!(
        (stats.mem_total, stats.mem_used, stats.cpu_cores),
        (4096, 1024, 2)
    );
    assert_eq!(
        (stats.online_users, stats.users_on_hold, stats.users_disabled),
        (Some(8), Some(4), Some(2))
    );
    assert_eq!((stats.users_expired, stats.users_limited), (Some(2), Some(1)));
    assert_eq!(
        (stats.incoming_bandwidth, stats.outgoing_bandwidth),
        (30_868_917, 92_606_752)
    );
    assert_eq!(
        (stats.incoming_bandwidth_speed, stats.outgoing_bandwidth_speed),
        (466, 467)
    );
    assert!((stats.cpu_usage - 27.8).abs() < f64::EPSILON);
}

#[tokio::test]
async fn the_current_admin_is_fetched() {
    let body =
        r#"{"username":"Root","is_sudo":true,"telegram_id":7,"discord_webhook":null,"users_usage":1111}"#;
    let wire = Wire::script([json(200, body)]).await;
    let admin = wire.client().admins().current().await.unwrap();
    assert_eq!((admin.username.as_str(), admin.is_sudo), ("Root", true));
    assert_eq!((admin.telegram_id, admin.users_usage), (Some(7), Some(1111)));
    assert_eq!(wire.lines(), ["GET /api/admin"]);
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    // `{"username":"alice","status":"active","used_traffic":7}`
    let body =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x2d\x4e\x2d\xca\x4b\xcc\x4d\x55\xb2\x52\x4a\
        \xcc\xc9\x4c\x4e\x55\xd2\x51\x2a\x2e\x49\x2c\x29\x2d\x06\x09\x24\x97\x64\x96\x81\x44\x80\x8a\x52\
        \xe2\x4b\x8a\x12\xd3\xd2\x32\x93\x95\xac\xcc\x6b\x01\x91\x68\x3c\xf6\x37\x00\x00\x00";
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let wire = Wire::script([Reply::Keep([head.as_bytes(), body].concat())]).await;
    assert_eq!(wire.client().users().get("alice").await.unwrap().used_traffic, 7);
}
