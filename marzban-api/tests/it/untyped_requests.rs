//! Requests to endpoints without a typed method.

use marzban_api::{ErrorKind, Method};
use serde_json::{Value, json};

use crate::wire::{Reply, Wire, html, internal_error, json as answer, refused};

#[tokio::test]
async fn a_request_of_ones_own_is_sent_as_every_other_one() {
    let wire = Wire::script([internal_error(), refused(), answer(200, r#"{"total":3}"#)]).await;
    let client = wire.builder().build().unwrap();
    let value: Value = client
        .request(Method::GET, "/api/users")
        .query("username", "a@b")
        .query("username", "c d")
        .send_json()
        .await
        .unwrap();
    assert_eq!(value, json!({"total": 3}));
    assert_eq!(
        wire.lines(),
        vec!["GET /api/users?username=a%40b&username=c+d"; 3]
    );
    assert_eq!(wire.logins().len(), 2);
    assert_eq!(wire.requests()[2].header("authorization"), Some("Bearer token"));
}

#[tokio::test]
async fn an_untyped_change_is_sent_once_and_may_be_indeterminate() {
    let wire = Wire::script([
        answer(200, "[]"),
        internal_error(),
        answer(409, r#"{"detail":"there"}"#),
    ])
    .await;
    let client = wire.client();
    let change = || {
        client
            .request(Method::POST, "/api/user")
            .json(&json!({"username": "a"}))
    };
    let (status, body) = change().send().await.unwrap();
    assert_eq!((status.as_u16(), &body[..]), (200, &b"[]"[..]));
    let request = &wire.requests()[0];
    assert_eq!(request.body, r#"{"username":"a"}"#);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(
        change().send_json::<Value>().await.unwrap_err().kind(),
        ErrorKind::Indeterminate
    );
    assert_eq!(
        change().send_json::<Value>().await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(wire.lines(), vec!["POST /api/user"; 3]);
}

#[tokio::test]
async fn an_untyped_change_whose_success_cannot_be_decoded_is_indeterminate() {
    for (method, kind) in [
        (Method::GET, ErrorKind::Decode),
        (Method::POST, ErrorKind::Indeterminate),
    ] {
        let wire = Wire::script([answer(200, "[]")]).await;
        let client = wire.client();
        let request = client.request(method.clone(), "/api/user");
        let error = request.send_json::<u64>().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{method}");
        assert_eq!(wire.lines().len(), 1);
    }
}

#[tokio::test]
async fn a_request_of_ones_own_never_leaves_the_panel() {
    let wire = Wire::script([]).await;
    let client = wire.client();
    for path in [
        "http://elsewhere.example/api",
        "//elsewhere.example/api",
        "@elsewhere.example/",
        "/api/../../other",
        "/api/%2e%2e/other",
        "/api/users?limit=1",
        "",
    ] {
        let error = client
            .request(Method::GET, path)
            .query("a", "b")
            .send_json::<Value>()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::InvalidInput, 0),
            "{path}"
        );
    }
    assert!(wire.lines().is_empty() && wire.logins().is_empty());
}

#[tokio::test]
async fn the_prefix_of_the_panel_stays_in_front_of_a_path_of_ones_own() {
    let wire = Wire::script([answer(200, "{}")]).await;
    let client = crate::wire::builder(&format!("{}/prefix/", wire.url))
        .build()
        .unwrap();
    client
        .request(Method::GET, "/api/user/a%2Fb")
        .send()
        .await
        .unwrap();
    assert_eq!(wire.lines(), ["GET /prefix/api/user/a%2Fb"]);
}

#[tokio::test]
async fn what_is_no_json_is_not_sent_and_a_page_is_not_the_panels() {
    let wire = Wire::script([html(200)]).await;
    let client = wire.client();
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = client
        .request(Method::POST, "/api/user")
        .json(&no_json)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(wire.lines().is_empty());
    let error = client
        .request(Method::GET, "/")
        .send_json::<Value>()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
}

#[tokio::test]
async fn names_in_a_path_of_ones_own_are_shown_nowhere() {
    let wire = Wire::script([
        Reply::Close(Vec::new()),
        answer(404, r#"{"detail":"User not found"}"#),
    ])
    .await;
    let client = wire.client();
    let request = client
        .request(Method::GET, "/api/user/s3cr3t")
        .query("token", "s3cr3t");
    assert!(!format!("{request:?}").contains("s3cr3t"));
    let error = request.send_json::<Value>().await.unwrap_err();
    assert!(error.is_user_not_found());
    assert!(!format!("{error} {error:?}").contains("s3cr3t"));
    assert!(error.to_string().contains("GET /{path}"), "{error}");
}
