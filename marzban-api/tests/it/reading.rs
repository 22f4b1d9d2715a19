//! Users, the system and the administrator, as they are asked for and read.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::TryStreamExt;
use marzban_api::ErrorKind;
use marzban_api::model::UserStatus;
use marzban_api::resource::{ListUsers, Listed, NamedUsers};

use crate::wire::{
    Recorded, Reply, Wire, builder, granted, html, internal_error, json, one, system, user, users,
};

/// A panel with these users that fails on every page with one of the `poison` names.
async fn panel(names: Vec<String>, poison: &'static [&'static str]) -> Wire {
    Wire::answering(move |request| {
        if request.is_login() {
            return granted("token");
        }
        let asked = request.usernames();
        let shown: Vec<_> = names
            .iter()
            .filter(|name| asked.is_empty() || asked.contains(name))
            .collect();
        let page: Vec<_> = window(request, &shown);
        if page.iter().any(|name| poison.contains(&name.as_str())) {
            return internal_error();
        }
        users(
            &page.iter().map(|name| user(name)).collect::<Vec<_>>(),
            shown.len(),
        )
    })
    .await
}

fn window<'a>(request: &Recorded, names: &[&'a String]) -> Vec<&'a String> {
    let number = |key: &str| {
        let (_, rest) = request.line.split_once(&format!("{key}="))?;
        rest.split('&').next()?.parse::<usize>().ok()
    };
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    names
        .iter()
        .skip(number("offset").unwrap_or(0))
        .take(limit)
        .copied()
        .collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user_{number:04}")).collect()
}

fn names_of(result: &NamedUsers) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    (
        result.found.keys().map(String::as_str).collect(),
        result.unreadable.keys().map(String::as_str).collect(),
        result.absent.iter().map(String::as_str).collect(),
    )
}

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
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Request, 0));
        assert_eq!(
            wire.client().users().delete(name).await.unwrap_err().kind(),
            ErrorKind::Request
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
async fn usernames_are_repeated_without_brackets() {
    let wire = panel(numbered(3), &[]).await;
    wire.client()
        .users()
        .by_names(&["user_0001", "a@b", "user_0001"])
        .await
        .unwrap();
    assert_eq!(wire.lines(), ["GET /api/users?username=a%40b&username=user_0001"]);
}

#[tokio::test]
async fn no_names_ask_for_nobody_and_not_for_everybody() {
    let wire = panel(numbered(3), &[]).await;
    let result = wire.client().users().by_names::<&str>(&[]).await.unwrap();
    assert_eq!(names_of(&result), (vec![], vec![], vec![]));
    assert_eq!(wire.lines(), [] as [&str; 0]);
}

#[tokio::test]
async fn every_name_is_found_unreadable_or_absent() {
    let answer = r#"{"users":[
        {"username":"alice","status":"active","used_traffic":1},
        {"username":"broken","status":"active","used_traffic":-1},
        {"username":"double","status":"active","used_traffic":1},
        {"username":"double","status":"active","used_traffic":2},
        {"username":"casey","status":"active","used_traffic":1},
        {"username":"stranger","status":"active","used_traffic":1}],"total":6}"#;
    let wire = Wire::script([json(200, answer)]).await;
    let asked = ["alice", "broken", "double", "Casey", "missing"];
    let result = wire.client().users().by_names(&asked).await.unwrap();
    assert_eq!(
        names_of(&result),
        (vec!["alice"], vec!["broken", "double"], vec!["Casey", "missing"])
    );
    assert!(
        result.unreadable["double"]
            .to_string()
            .contains("the answer has this user twice")
    );
}

#[tokio::test]
async fn nobody_is_absent_while_somebody_cannot_be_recognised() {
    let wire = Wire::script([users(&[user("alice"), r#"{"username":null}"#.to_owned()], 2)]).await;
    let result = wire
        .client()
        .users()
        .by_names(&["alice", "bobby", "carol"])
        .await
        .unwrap();
    assert_eq!(names_of(&result), (vec!["alice"], vec!["bobby", "carol"], vec![]));
}

#[tokio::test]
async fn a_batch_has_at_most_100_names_and_4_kib() {
    let names = numbered(250);
    let wire = panel(names.clone(), &[]).await;
    let result = wire.client().users().by_names(&names).await.unwrap();
    assert_eq!((result.found.len(), result.absent.len()), (250, 0));
    assert_eq!(
        wire.requests()
            .iter()
            .map(|request| request.usernames().len())
            .collect::<Vec<_>>(),
        [100, 100, 50]
    );

    let long: Vec<_> = (0..60)
        .map(|number| format!("{number:03}{}", "@".repeat(50)))
        .collect();
    let wire = panel(Vec::new(), &[]).await;
    let client = builder(&format!("{}/{}", wire.url, "prefix".repeat(100)))
        .build()
        .unwrap();
    let result = client.users().by_names(&long).await.unwrap();
    assert_eq!(result.absent.len(), 60);
    for line in wire.lines() {
        assert!(line.len() - "GET ".len() <= 4096, "{} bytes", line.len());
    }
    assert!(wire.lines().len() > 1);
}

#[tokio::test]
async fn a_poison_user_is_searched_out_and_everybody_else_is_found() {
    let names = numbered(100);
    let wire = panel(names.clone(), &["user_0041", "user_0077"]).await;
    let result = wire.client().users().by_names(&names).await.unwrap();
    let (found, unreadable, absent) = names_of(&result);
    assert_eq!(
        (found.len(), unreadable, absent.len()),
        (98, vec!["user_0041", "user_0077"], 0)
    );
    let error = &result.unreadable["user_0041"];
    assert_eq!(
        (error.kind(), error.status(), error.attempts()),
        (ErrorKind::Server, Some(500), 3)
    );
    assert!(wire.requests().len() <= 40, "{}", wire.requests().len());
}

#[tokio::test]
async fn a_panel_that_fails_on_everything_is_given_up() {
    let wire = Wire::script(vec![internal_error(); 1000]).await;
    let error = wire.client().users().by_names(&numbered(300)).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Server, Some(500)));
    assert!(wire.requests().len() <= 16 * 3, "{}", wire.requests().len());
}

#[tokio::test]
async fn a_small_batch_of_which_nothing_can_be_read_is_a_panel_that_is_down() {
    for count in 2..=8 {
        let wire = Wire::script(vec![internal_error(); 100]).await;
        let error = wire
            .client()
            .users()
            .by_names(&numbered(count))
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Server, Some(500)),
            "{count} users"
        );
    }
    let wire = panel(numbered(1), &["user_0000"]).await;
    let result = wire.client().users().by_names(&numbered(1)).await.unwrap();
    assert_eq!(result.unreadable.len(), 1, "a single user may well be broken");
}

#[tokio::test]
async fn a_batch_that_fails_otherwise_fails_whole() {
    let wire = Wire::script(vec![html(502); 9]).await;
    let error = wire
        .client()
        .users()
        .by_names(&["alice", "bobby"])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts(), error.operation()),
        (ErrorKind::Server, 3, "users.by_names")
    );
}

#[tokio::test]
async fn an_absence_is_never_taken_from_a_page_of_somebody_else() {
    let wire = Wire::script([html(200)]).await;
    let error = wire
        .client()
        .users()
        .by_names(&["alice", "bobby"])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotPanel);
}

#[tokio::test]
async fn a_stream_reads_every_page_in_a_fixed_order() {
    let wire = panel(numbered(7), &[]).await;
    let listed: Vec<Listed> = wire
        .client()
        .users()
        .stream(ListUsers::new().limit(3))
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = listed.iter().filter_map(Listed::username).collect();
    assert_eq!(names, numbered(7));
    let order = "&sort=created_at%2Cusername";
    assert_eq!(
        wire.lines(),
        [0, 2, 4].map(|offset| format!("GET /api/users?offset={offset}&limit=3{order}"))
    );
}

#[tokio::test]
async fn a_user_deleted_during_a_stream_hides_nobody() {
    // After the first page its first user disappears, and the rest moves up.
    let state = Mutex::new(numbered(7));
    let wire = Wire::answering(move |request| {
        if request.is_login() {
            return granted("token");
        }
        let names = &mut *state.lock().unwrap();
        let all: Vec<_> = names.iter().collect();
        let page: Vec<_> = window(request, &all).into_iter().map(|name| user(name)).collect();
        let reply = users(&page, names.len());
        if names.len() == 7 {
            names.remove(0);
        }
        reply
    })
    .await;
    let listed: Vec<Listed> = wire
        .client()
        .users()
        .stream(ListUsers::new().limit(3))
        .try_collect()
        .await
        .unwrap();
    let names: Vec<_> = listed.iter().filter_map(Listed::username).collect();
    assert_eq!(names, numbered(7));
}

#[tokio::test]
async fn a_stream_passes_over_a_poison_user() {
    let wire = panel(numbered(150), &["user_0123"]).await;
    let listed: Vec<Listed> = wire
        .client()
        .users()
        .stream(ListUsers::new())
        .try_collect()
        .await
        .unwrap();
    let found: BTreeSet<_> = listed.iter().filter_map(Listed::username).collect();
    let unreadable: Vec<_> = listed
        .iter()
        .filter(|listed| matches!(listed, Listed::Unreadable(_)))
        .collect();
    assert_eq!(
        (found.len(), found.contains("user_0123"), unreadable.len()),
        (149, false, 1)
    );
}

#[tokio::test]
async fn a_stream_that_fails_ends() {
    let wire = Wire::script([users(&[user("alice")], 2), html(200)]).await;
    let stream = wire.client().users().stream(ListUsers::new().limit(2));
    let mut stream = std::pin::pin!(stream);
    assert_eq!(
        stream.try_next().await.unwrap().unwrap().username(),
        Some("alice")
    );
    assert_eq!(stream.try_next().await.unwrap_err().kind(), ErrorKind::NotPanel);
    assert!(stream.try_next().await.unwrap().is_none());
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
async fn the_current_administrator_is_read() {
    let body =
        r#"{"username":"Root","is_sudo":true,"telegram_id":7,"discord_webhook":null,"users_usage":1111}"#;
    let wire = Wire::script([json(200, body)]).await;
    let admin = wire.client().admins().current().await.unwrap();
    assert_eq!((admin.username.as_str(), admin.is_sudo), ("Root", true));
    assert_eq!((admin.telegram_id, admin.users_usage), (Some(7), Some(1111)));
    assert_eq!(wire.lines(), ["GET /api/admin"]);
}

#[tokio::test]
async fn one_batch_is_under_way_at_a_time() {
    let wire = Wire::with_logins(
        |_| granted("token"),
        [Reply::Hang(Vec::new()), users(&[user("bobby")], 1)],
    )
    .await;
    let client = wire.client();
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.users().by_names(&["alice"]).await }
    });
    while wire.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = tokio::time::timeout(Duration::from_millis(50), client.users().by_names(&["bobby"])).await;
    assert!(second.is_err(), "the second batch did not wait");
    hanging.abort();
    let result = client.users().by_names(&["bobby"]).await.unwrap();
    assert_eq!(names_of(&result).0, ["bobby"]);
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

#[tokio::test]
async fn a_login_that_fails_is_no_poison_user() {
    let wire = Wire::with_logins(|_| internal_error(), []).await;
    let names = ["alice", "bobby"];
    let error = wire.client().users().by_names(&names).await.unwrap_err();
    assert_eq!(
        (error.operation(), error.kind()),
        ("admins.token", ErrorKind::Server)
    );
    assert_eq!(wire.logins().len(), 3);
    let listed: Result<Vec<Listed>, _> = wire.client().users().stream(ListUsers::new()).try_collect().await;
    assert_eq!(listed.unwrap_err().operation(), "admins.token");
    assert_eq!((wire.logins().len(), wire.requests().len()), (6, 0));
}
