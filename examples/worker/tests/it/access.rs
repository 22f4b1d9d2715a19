//! Who may see the board and use it.

use reqwest::{Method, RequestBuilder, StatusCode};

use crate::stage::Stage;

const LOGIN: (&str, &str) = ("operator", "hunter2-hunter2");
const TOKEN: &str = "token-of-a-program";

/// Everything that the board has: its page and files, its interface, its stream of logs, both ways to ask for a run.
const PLACES: [(&str, &str); 9] = [
    ("GET", "/"),
    ("GET", "/no/such/page"),
    ("GET", "/api/v1/overview"),
    ("GET", "/api/v1/queues"),
    ("GET", "/api/v1/queues/marzban/tasks"),
    ("GET", "/api/v1/events"),
    ("PUT", "/api/v1/queues/marzban/tasks"),
    ("GET", "/metrics"),
    ("POST", "/api/jobs"),
];

fn request(address: &str, (method, path): (&str, &str)) -> RequestBuilder {
    let request =
        reqwest::Client::new().request(Method::try_from(method).unwrap(), format!("{address}{path}"));
    match method {
        "GET" => request,
        _ => request.json(&serde_json::json!({"job": "get-marzban-system-stats"})),
    }
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_asks_for_credentials_and_takes_either_kind() {
    let Some(mut stage) = Stage::new(&["default"]).await else {
        return;
    };
    stage.set("MARZBAN_BOARD_USERNAME", LOGIN.0);
    stage.set("MARZBAN_BOARD_PASSWORD", LOGIN.1);
    stage.set("MARZBAN_BOARD_TOKEN", TOKEN);
    let board = stage.start_board(&[]);
    let address = board.address().await;
    for place in PLACES {
        let request = || request(&address, place);
        let refused = request().send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{place:?}");
        assert!(
            refused.headers()["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Basic realm=")
        );
        assert_eq!(refused.headers()["x-frame-options"], "DENY");
        assert_eq!(
            status(request().basic_auth(LOGIN.0, Some("wrong"))).await,
            401,
            "{place:?}"
        );
        assert_eq!(
            status(request().basic_auth("wrong", Some(LOGIN.1))).await,
            401,
            "{place:?}"
        );
        assert_eq!(status(request().bearer_auth("wrong")).await, 401, "{place:?}");
        let expected = if place.1 == "/api/jobs" { 202 } else { 200 };
        assert_eq!(
            status(request().basic_auth(LOGIN.0, Some(LOGIN.1))).await,
            expected,
            "{place:?}"
        );
        assert_eq!(status(request().bearer_auth(TOKEN)).await, expected, "{place:?}");
    }
    assert_eq!(
        stage.text("SELECT count(*)::text FROM apalis.jobs").await,
        "4",
        "refused requests did nothing"
    );
    assert_eq!(
        status(request(&address, ("GET", "/health"))).await,
        200,
        "a load balancer has no login"
    );
    let log = board.log();
    assert!(!log.contains(LOGIN.1) && !log.contains(TOKEN), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_other_sites_and_names_of_other_machines_are_refused() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let board = stage.start_board(&[]);
    let address = board.address().await;
    let post = || request(&address, ("POST", "/api/jobs"));
    assert_eq!(
        status(post().header("origin", "https://evil.example.com")).await,
        403
    );
    assert_eq!(status(post().header("sec-fetch-site", "cross-site")).await, 403);
    assert_eq!(status(post().header("host", "evil.example.com")).await, 403);
    assert_eq!(status(post().header("sec-fetch-site", "same-origin")).await, 202);
    assert_eq!(status(post().header("origin", &address)).await, 202);
    assert_eq!(stage.text("SELECT count(*)::text FROM apalis.jobs").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_board_comes_with_its_files() {
    let Some(stage) = Stage::new(&["default"]).await else {
        return;
    };
    let mut board = stage.start_board(&[]);
    let address = board.address().await;
    let page = reqwest::get(&address).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        page.text().await.unwrap().contains("<script"),
        "the page loads its program"
    );

    // An open stream of logs does not keep the process from ending.
    let logs = reqwest::get(format!("{address}/api/v1/events")).await.unwrap();
    assert_eq!(logs.headers()["content-type"], "text/event-stream");
    board.signal("TERM");
    assert_eq!(board.ended().await, Some(0), "{}", board.log());
    drop(logs);
}
