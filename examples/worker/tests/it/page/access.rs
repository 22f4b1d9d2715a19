//! Who is let in, and whose forms count.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::browser::Browser;
use super::{Board, LOGIN, past_run, place, site};

#[tokio::test(flavor = "multi_thread")]
async fn only_who_logs_in_sees_the_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    for refused in [
        board.url("/marzban"),
        board.url_with_login((LOGIN.0, "guess"), "/marzban"),
    ] {
        browser.open(&refused).await;
        assert_eq!(browser.status().await, 401, "{refused}");
        assert_eq!(browser.text("h1").await, "");
    }
    browser.complaints().await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    assert_eq!(browser.status().await, 200);
    assert_eq!(browser.text("h1").await, "Marzban panels");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_work_without_https_on_a_name_that_is_not_this_machines() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    let host = format!("board.test:{}", board.port());
    browser
        .open(&format!("http://{}:{}@{host}/marzban", LOGIN.0, LOGIN.1))
        .await;
    browser.open(&format!("http://{host}/marzban")).await;
    browser.follow(".jobs button").await;
    assert_eq!(browser.status().await, 200, "{}", browser.text("body").await);
    assert_eq!(browser.text("#notice .state").await, "•queued");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_somebody_else_is_refused() {
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    let job = "get_marzban_system_stats";
    for (origin, job, panel, expected) in [
        ("cross-site", job, "default", StatusCode::FORBIDDEN),
        ("same-site", job, "default", StatusCode::FORBIDDEN),
        (
            "same-origin",
            "reboot",
            "default",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        ("same-origin", job, "nowhere", StatusCode::UNPROCESSABLE_ENTITY),
        ("same-origin", job, "default", StatusCode::SEE_OTHER),
    ] {
        let answer = board.post(origin, &[("job", job), ("for", panel)]).await;
        assert_eq!(answer.status(), expected, "{origin} {job} {panel}");
        let is_queued = place(&answer).starts_with("task=");
        assert_eq!(is_queued, expected == StatusCode::SEE_OTHER, "{}", place(&answer));
    }
    assert_eq!(site.text("SELECT count(*)::text FROM apalis.jobs").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_only_while_it_is_the_one_that_was_seen() {
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    let job = "sync_user_status_from_marzban";
    let seen = past_run(
        &site,
        job,
        "default",
        30,
        "stopped",
        r#"{"stopped": "safety", "withheld": 12}"#,
    )
    .await;
    let apply = async |run: &str, confirm: &[(&str, &str)]| {
        let fields = [&[("job", job), ("for", "default"), ("apply", run)], confirm].concat();
        place(&board.post("same-origin", &fields).await)
    };
    let confirmed = &[("confirm", "1")];
    let id = seen.0.to_string();
    assert_eq!(apply(&id, &[]).await, "notice=unconfirmed");
    assert_eq!(apply("999", confirmed).await, "notice=changed");
    // A run that was cancelled later hides neither the plan nor who may apply it.
    past_run(
        &site,
        job,
        "default",
        20,
        "stopped",
        r#"{"stopped": "cancelled"}"#,
    )
    .await;
    assert!(apply(&id, confirmed).await.starts_with("task="));
    past_run(&site, job, "default", 10, "completed", r#"{"errors": 0}"#).await;
    assert_eq!(apply(&id, confirmed).await, "notice=changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_said_in_the_same_style() {
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    assert_eq!(board.get("/marzban").await.status(), StatusCode::OK);
    drop(site.database);
    let page = board.get("/marzban").await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    strict(page.headers());
    let text = page.text().await.unwrap();
    assert!(
        text.contains("The database does not answer") && text.contains("/marzban/style.css"),
        "{text}"
    );
    let style = board.get("/marzban/style.css").await;
    assert_eq!(style.status(), StatusCode::OK);
    strict(style.headers());
}

/// Nothing of another origin, no scripts, and no frame around it.
fn strict(headers: &HeaderMap) {
    let value = |name: &str| headers[name].to_str().unwrap().to_owned();
    let policy = value("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(
        policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(value("x-content-type-options"), "nosniff");
}
