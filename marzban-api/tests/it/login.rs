//! The token: how it is requested, kept and replaced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use marzban_api::{Detail, ErrorKind, RetryPolicy};

use crate::wire::{Reply, Wire, granted, html, internal_error, json, one, raw, refused, system};

fn wrong_password() -> Reply {
    json(401, r#"{"detail":"Incorrect username or password"}"#)
}

#[tokio::test]
async fn the_login_is_a_form_and_the_token_is_used_again() {
    let wire = Wire::script([system(), system()]).await;
    let client = wire.client();
    client.system().stats().await.unwrap();
    client.clone().system().stats().await.unwrap();

    let [login] = &wire.logins()[..] else {
        panic!("{:?}", wire.logins())
    };
    assert_eq!(
        login.body,
        "grant_type=password&username=admin&password=pass-w0rd%26%3D"
    );
    assert_eq!(
        login.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(login.header("authorization"), None);
    assert_eq!(wire.lines(), ["GET /api/system", "GET /api/system"]);
    for request in wire.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer token"));
    }
}

#[tokio::test]
async fn twenty_refused_tokens_make_one_login() {
    const TASKS: usize = 20;
    let logins = AtomicUsize::new(0);
    let wire = Wire::answering(move |request| {
        if request.is_login() {
            return granted(&format!("token-{}", logins.fetch_add(1, Ordering::SeqCst)));
        }
        match request.header("authorization") {
            Some("Bearer token-0") if request.line == "GET /api/system" => system(),
            Some("Bearer token-1") => one("alice"),
            _ => refused(),
        }
    })
    .await;
    let client = wire.client();
    client.system().stats().await.unwrap();
    let users =
        join_all((0..TASKS).map(|_| async { client.users().get("alice").await.unwrap().username })).await;
    assert_eq!(users, vec!["alice"; TASKS]);
    assert_eq!(wire.logins().len(), 2);
}

#[tokio::test]
async fn after_a_refused_token_the_very_same_request_is_repeated() {
    let query = marzban_api::resource::ListUsers::new()
        .limit(5)
        .search("a&b")
        .admins(["x y"]);
    let wire = Wire::with_logins(
        |login| granted(&format!("token-{login}")),
        [refused(), json(200, r#"{"users":[],"total":0}"#)],
    )
    .await;
    wire.client().users().list(&query).await.unwrap();
    assert_eq!(wire.lines(), ["GET /api/users?limit=5&search=a%26b&admin=x+y"; 2]);
    let tokens: Vec<_> = wire
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);
}

#[tokio::test]
async fn a_token_that_is_refused_for_ever_is_an_error_after_one_replacement() {
    let wire = Wire::script(vec![refused(); 9]).await;
    let error = wire.client().system().stats().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!((error.status(), error.attempts()), (Some(401), 2));
    assert_eq!((wire.requests().len(), wire.logins().len()), (2, 2));
}

#[tokio::test]
async fn a_token_refused_in_the_second_of_its_making_is_replaced_in_the_next() {
    let wire = Wire::script([refused(), system()]).await;
    let retry = RetryPolicy {
        max_delay: Duration::from_millis(80),
        ..RetryPolicy::default()
    };
    let client = wire.builder().retry(retry).build().unwrap();
    let started = std::time::Instant::now();
    client.system().stats().await.unwrap();
    // The rest of the second is cut to the policy's longest delay.
    assert!(
        started.elapsed() >= Duration::from_millis(80),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(wire.logins().len(), 2);
}

#[tokio::test]
async fn a_rejected_login_is_not_retried() {
    let wire = Wire::with_logins(|_| wrong_password(), []).await;
    let error = wire.client().admins().current().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation(), error.attempts()),
        (ErrorKind::Unauthorized, "admins.token", 1)
    );
    assert_eq!(
        error.detail(),
        Some(&Detail::Message("Incorrect username or password".to_owned()))
    );
    assert_eq!((wire.logins().len(), wire.requests().len()), (1, 0));
}

#[tokio::test]
async fn those_who_wait_for_a_refused_login_share_its_refusal() {
    let wire = Wire::with_logins(|_| wrong_password(), []).await;
    let client = wire.client();
    let kinds = join_all((0..20).map(|_| async { client.system().stats().await.unwrap_err().kind() })).await;
    assert_eq!(kinds, [ErrorKind::Unauthorized; 20]);
    assert_eq!(wire.logins().len(), 1);
}

#[tokio::test]
async fn a_login_that_meets_a_failing_panel_is_tried_again() {
    let wire = Wire::with_logins(
        |login| match login {
            0 => internal_error(),
            1 => html(502),
            _ => granted("token"),
        },
        [system()],
    )
    .await;
    wire.client().system().stats().await.unwrap();
    assert_eq!(wire.logins().len(), 3);
}

#[tokio::test]
async fn a_foreign_login_page_is_not_the_panel() {
    for reply in [html(200), html(401), html(404)] {
        let wire = Wire::with_logins(move |_| reply.clone(), []).await;
        let error = wire.client().system().stats().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        assert_eq!(wire.logins().len(), 1);
    }
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end() {
    // The first token lives for a second, of which the last tenth is not used.
    let jwt = |exp: u32| {
        format!(
            "e30.{}.s",
            URL_SAFE_NO_PAD.encode(format!(r#"{{"iat":1000,"exp":{exp}}}"#))
        )
    };
    let (short, long) = (jwt(1001), jwt(87_400));
    let expected = [
        format!("Bearer {short}"),
        format!("Bearer {long}"),
        format!("Bearer {long}"),
    ];
    let wire = Wire::with_logins(
        move |login| granted([&short, &long][login]),
        [system(), system(), system()],
    )
    .await;
    let client = wire.client();
    client.system().stats().await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(901)).await;
    tokio::time::resume();
    client.system().stats().await.unwrap();
    client.system().stats().await.unwrap();
    let used: Vec<_> = wire
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(used, expected);
}

#[tokio::test]
async fn the_token_never_follows_a_redirect() {
    let elsewhere = Wire::script([system()]).await;
    let redirect = raw(307, &format!("location: {}/api/system\r\n", elsewhere.url), "");
    let wire = Wire::script([Reply::Keep(redirect)]).await;
    let error = wire.client().system().stats().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::UnexpectedResponse, Some(307))
    );
    assert_eq!(elsewhere.lines(), [] as [&str; 0]);
}
