//! Runs that are asked for on the page.

use super::browser::Browser;
use super::{Board, LOGIN, site};

const STATUS: &str = r#"button[aria-label="Run now: Sync user status, default"]"#;
const STATE: &str = "document.querySelector('#notice .state')?.innerText";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_from_queued_to_done() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    site.insert_customers(0, "default", 1..=5).await;
    let board = Board::start(&site, &[]).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    browser.follow(STATUS).await;
    assert_eq!(
        browser.text("#notice").await,
        "Sync user status on default: •queued"
    );
    assert_eq!(
        browser.text(".glance").await.replace('\n', " "),
        "Queue queued 1 running 0 failed today 0"
    );
    assert_eq!(browser.text(".waiting").await, "queued");
    browser.picture("queued").await;

    let _worker = site.start_worker(&[]);
    browser.reload_until(&format!("{STATE} == '✓done'")).await;
    let row = browser.text(".jobs tbody tr:nth-child(2)").await;
    for words in ["completed", "0 missing", "0 errors", "5 total", "fresh"] {
        assert!(row.contains(words), "{words}: {row}");
    }
    assert_eq!(browser.text(".waiting").await, "");
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // The charts of what a run has just collected: each line is one point.
    browser
        .follow(r#"button[aria-label="Run now: Collect statistics, default"]"#)
        .await;
    browser.reload_until(&format!("{STATE} == '✓done'")).await;
    assert_eq!(browser.count(".drawing circle").await, 9);
    assert_eq!(browser.text(".legend li").await, "active\n5");

    // The pages of the queue, which are none of ours, are at peace too.
    browser.open(&board.url("/")).await;
    browser
        .wait_until("document.body.innerText.includes('marzban')")
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.picture("queue-board").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withheld_plan_is_shown_and_applied_on_purpose() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    site.insert_customers(0, "default", 1..=40).await;
    for number in 1..=15 {
        site.panels[0].remove_user(&format!("user{number}"));
    }
    let active = async || -> i64 {
        let query = "SELECT count(*) FROM vpn_configs WHERE is_active";
        site.client.query_one(query, &[]).await.unwrap().get(0)
    };
    let board = Board::start(&site, &[]).await;
    let _worker = site.start_worker(&[]);
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    browser.follow(STATUS).await;
    browser.reload_until(&format!("{STATE} == '✓done'")).await;
    assert_eq!(browser.text(".plan h3").await, "Sync user status on default");
    let because = browser.text(".because").await;
    assert!(
        because.starts_with("15 of 40 users with something to lose are absent"),
        "{because}"
    );
    assert_eq!(browser.count(".plan tbody tr").await, 15);
    let first = browser.text(".plan tbody tr").await;
    for words in ["user1", "1000001", "on → off", "the panel does not have the user"] {
        assert!(first.contains(words), "{words}: {first}");
    }
    assert_eq!(active().await, 40, "nothing is applied yet");

    browser.click(".plan button").await;
    assert!(
        browser.count(".plan input:invalid").await == 1,
        "the browser wants the box ticked"
    );
    // Without the browser's help the server says it.
    browser
        .value("document.querySelector('.plan input[required]').required = false")
        .await;
    browser.follow(".plan button").await;
    let notice = browser.text("#notice").await;
    assert!(notice.contains("tick the box first"), "{notice}");
    assert_eq!(active().await, 40);

    browser.click(".plan input[type=checkbox]").await;
    browser.follow(".plan button").await;
    browser.reload_until(&format!("{STATE} == '✓done'")).await;
    assert_eq!(browser.count(".plan").await, 0, "{}", browser.text("body").await);
    assert_eq!(active().await, 25);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}
