//! Who is let in, and whose forms count.

use reqwest::StatusCode;
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};

use crate::browser::Browser;
use crate::site::{LOGIN, Running, Site};

#[tokio::test(flavor = "multi_thread")]
async fn only_who_logs_in_sees_the_page() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = Site::new().await else { return };
    let board = site.start("board", &[]);
    for refused in [
        board.url("/marzban"),
        board.url_with_login("operator:guess", "/marzban"),
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
    let Some(site) = Site::new().await else { return };
    let board = site.start("board", &[]);
    let host = format!("board.test:{}", board.port());
    browser.open(&format!("http://{LOGIN}@{host}/marzban")).await;
    browser.open(&format!("http://{host}/marzban")).await;
    browser.follow(".jobs button").await;
    assert_eq!(browser.status().await, 200, "{}", browser.text("body").await);
    assert_eq!(browser.text("#notice .state").await, "•queued");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_somebody_else_is_refused() {
    let Some(site) = Site::new().await else { return };
    let board = site.start("board", &[]);
    let (cookie, token) = secret(&board).await;
    let other = token.chars().rev().collect::<String>();
    let job = "get_marzban_system_stats";
    let ours = [&cookie, &token, job, "default", "same-origin"];
    let with = |place: usize, value| {
        let mut parts = ours;
        parts[place] = value;
        parts
    };
    for (parts, expected) in [
        (with(0, ""), StatusCode::FORBIDDEN),
        (with(1, ""), StatusCode::FORBIDDEN),
        (with(1, &other), StatusCode::FORBIDDEN),
        (with(4, "cross-site"), StatusCode::FORBIDDEN),
        (with(2, "reboot"), StatusCode::UNPROCESSABLE_ENTITY),
        (with(3, "nowhere"), StatusCode::UNPROCESSABLE_ENTITY),
        (ours, StatusCode::SEE_OTHER),
    ] {
        let [cookie, token, job, panel, origin] = parts;
        let fields = [("token", token), ("job", job), ("for", panel)];
        let answer = post(&board, cookie, origin, &fields).await;
        assert_eq!(answer.status(), expected, "{parts:?}");
        let location = answer
            .headers()
            .get(LOCATION)
            .map(|value| value.to_str().unwrap());
        assert_eq!(location.is_some(), expected == StatusCode::SEE_OTHER);
        assert!(
            location.is_none_or(|location| location.starts_with("/marzban?range=24h&task=")),
            "{location:?}"
        );
    }
    let queued: i64 = site
        .client
        .query_one("SELECT count(*) FROM apalis.jobs", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(queued, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_applied_only_while_it_is_the_one_that_was_seen() {
    let Some(site) = Site::new().await else { return };
    let board = site.start("board", &[]);
    let job = "sync_user_status_from_marzban";
    let seen = site
        .run(
            job,
            "default",
            30,
            "stopped",
            r#"{"stopped": "safety", "withheld": 12}"#,
        )
        .await;
    let (cookie, token) = secret(&board).await;
    let apply = async |run: &str, confirm: &[(&str, &str)]| {
        let fields = [
            &[
                ("token", token.as_str()),
                ("job", job),
                ("for", "default"),
                ("apply", run),
            ],
            confirm,
        ]
        .concat();
        let answer = post(&board, &cookie, "same-origin", &fields).await;
        let location = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        let query = location
            .trim_end_matches("#notice")
            .trim_start_matches("/marzban?range=24h&");
        query
            .split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .unwrap()
    };
    let confirmed = &[("confirm", "1")];
    let notice = |word: &str| ("notice".to_owned(), word.to_owned());
    let id = seen.0.to_string();
    assert_eq!(apply(&id, &[]).await, notice("unconfirmed"));
    assert_eq!(apply("999", confirmed).await, notice("changed"));
    // A run that was cancelled later hides neither the plan nor who may apply it.
    site.run(job, "default", 20, "stopped", r#"{"stopped": "cancelled"}"#)
        .await;
    assert_eq!(apply(&id, confirmed).await.0, "task");
    site.run(job, "default", 10, "completed", r#"{"errors": 0}"#)
        .await;
    assert_eq!(apply(&id, confirmed).await, notice("changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_said_in_the_same_style() {
    let Some(site) = Site::new().await else { return };
    let board = site.start("board", &[]);
    assert_eq!(get(&board, "/marzban").await.status(), StatusCode::OK);
    drop(site.database);
    let page = get(&board, "/marzban").await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    strict(page.headers());
    let text = page.text().await.unwrap();
    assert!(
        text.contains("The database does not answer") && text.contains("/marzban/style.css"),
        "{text}"
    );
    let style = get(&board, "/marzban/style.css").await;
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

/// The page's secret, as a cookie and as a field.
async fn secret(board: &Running) -> (String, String) {
    let page = get(board, "/marzban").await;
    let cookie = page.headers()[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    (pair.to_owned(), pair.split_once('=').unwrap().1.to_owned())
}

async fn get(board: &Running, path: &str) -> reqwest::Response {
    let (username, password) = LOGIN.split_once(':').unwrap();
    let request = reqwest::Client::new().get(board.url(path));
    request.basic_auth(username, Some(password)).send().await.unwrap()
}

async fn post(board: &Running, cookie: &str, site: &str, fields: &[(&str, &str)]) -> reqwest::Response {
    let (username, password) = LOGIN.split_once(':').unwrap();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    client
        .post(board.url("/marzban/run"))
        .basic_auth(username, Some(password))
        .header(COOKIE, cookie)
        .header("sec-fetch-site", site)
        .form(fields)
        .send()
        .await
        .unwrap()
}
