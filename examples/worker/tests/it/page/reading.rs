//! What can be read on the page, by whom, and on what.

use serde_json::{Value, json};
use thirtyfour::Key;

use super::browser::Browser;
use super::{Board, LOGIN, past_run, past_stats, site};
use crate::stage::Stage;

/// A name that a customer might choose to do harm, and words of a panel that are no better.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

fn long_name() -> String {
    format!("user17_{}", "x".repeat(120))
}

/// What a run that withheld twelve changes left behind.
fn withheld_report() -> String {
    let change = |number: u32, name: &str| {
        json!({
            "account": {"id": number, "user_id": number, "telegram_id": 7_000_000 + number, "name": name,
                "is_active": true, "traffic_used": 1, "last_connected_at": null, "active_elsewhere": false,
                "subscription": {"id": 1, "status": "active", "end_date": "2026-12-01T00:00:00Z"}},
            "vpn_config": {"is_active": false},
            "subscription": {"status": "expired"},
            "reasons": ["missing"],
        })
    };
    let mut plan = vec![change(1, HOSTILE), change(2, &long_name())];
    plan.extend((3..=12).map(|number| change(number, &format!("user{number}"))));
    let because =
        "12 of 100 accounts would be marked missing and 0 expired before their own end, more than 10 %";
    json!({"updated": 0, "missing": 12, "errors": 12, "total": 100, "stopped": "safety", "withheld": 12,
        "withheld_because": because, "problems": [], "plan": plan})
    .to_string()
}

/// A board whose history has everything that the page can tell of.
async fn full_site(site: &Stage) -> Board {
    let status = "sync_user_status_from_marzban";
    past_run(
        site,
        status,
        "de-1",
        90,
        "completed",
        r#"{"updated": 3, "missing": 1, "errors": 0, "total": 99}"#,
    )
    .await;
    past_run(site, status, "de-1", 20, "stopped", &withheld_report()).await;
    let problems = json!({"synced": 97, "errors": 3, "total": 100, "problems": [
        {"telegram_id": 7_000_017, "name": "user17", "reason": "missing"},
        {"telegram_id": null, "name": HOSTILE, "reason": "unavailable", "detail": "timed out after 30 s"},
        {"telegram_id": 7_000_018, "name": long_name(), "reason": "rejected", "detail": HOSTILE},
    ]})
    .to_string();
    past_run(
        site,
        "sync_subscriptions_from_marzban",
        "de-1",
        35,
        "completed",
        &problems,
    )
    .await;
    past_run(
        site,
        "cleanup_expired_marzban_users",
        "de-1",
        30_000,
        "failed",
        r#"{"error": "the panel refused the login: 401 Unauthorized"}"#,
    )
    .await;
    for panel in ["de-1", "nl-2"] {
        past_run(
            site,
            "get_marzban_system_stats",
            panel,
            7,
            "completed",
            r#"{"stats": {"total_user": 1000, "users_active": 800, "online_users": 212}}"#,
        )
        .await;
    }
    past_run(
        site,
        "sync_subscriptions_from_marzban",
        "nl-2",
        1,
        "running",
        "null",
    )
    .await;
    past_run(site, status, "nl-2", 200, "abandoned", "null").await;
    past_stats(site, "de-1", 31).await;
    Board::start(site, &["--panel", "de-1", "--panel", "nl-2"]).await
}

/// The texts whose contrast is less than 4.5, each with its colours.
const FAINT: &str = r"(() => {
    const rgb = text => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour.length == 3 || colour[3] == 1) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
        const style = getComputedStyle(element);
        const colour = element.closest('svg') ? style.fill : style.color;
        const [a, b] = [light(rgb(colour)), light(ground(element))].sort((a, b) => b - a);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) faint.push(`${texts.currentNode.data}: ${colour} ${contrast.toFixed(2)}`);
    }
    return faint;
})()";

/// What has the focus, and whether that is seen.
const FOCUS: &str = r"(() => {
    const e = document.activeElement;
    if (!e || e == document.body) return null;
    const name = e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText.split('\n')[0];
    const seen = getComputedStyle(e).outlineStyle != 'none' && e.getBoundingClientRect().top >= 0;
    return `${e.tagName.toLowerCase()} ${name.trim()}${seen ? '' : ' (unseen)'}`;
})()";

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read_in_light_and_dark_on_wide_screens_and_phones() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = full_site(&site).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    let mut grounds = Vec::new();
    for (width, colours) in [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")] {
        browser.screen(width, 800, colours).await;
        browser.open(&board.url("/marzban")).await;
        browser.picture(&format!("{width}-{colours}")).await;
        browser
            .value("document.querySelectorAll('details').forEach(details => details.open = true)")
            .await;
        let shown = format!("{width} {colours}");
        assert_eq!(browser.value(FAINT).await, json!([]), "{shown}");
        let overflow = "document.documentElement.scrollWidth - window.innerWidth";
        assert!(browser.value(overflow).await.as_i64().unwrap() <= 0, "{shown}");
        grounds.push(
            browser
                .value("getComputedStyle(document.body).backgroundColor")
                .await,
        );
    }
    assert_ne!(grounds[0], grounds[1], "dark is not light");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_details_of_others_stay_text() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = full_site(&site).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    assert_eq!(browser.count("img, script, iframe, object").await, 0);
    let shown = "[...document.querySelectorAll('bdi')].filter(e => e.textContent == '<img src=x onerror=alert(1)>').length";
    assert_eq!(browser.value(shown).await, json!(3));
    for query in [
        "panel=%3Cimg+src%3Dx%3E",
        "task=%27%22%3E%3Cimg%3E",
        "notice=%3Cimg%3E&range=%22",
        "panel=a&panel=b",
    ] {
        browser.open(&board.url(&format!("/marzban?{query}"))).await;
        assert_eq!(browser.status().await, 200, "{query}");
        assert_eq!(browser.count("img").await, 0, "{query}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_show_the_figures_of_a_panel_and_a_range_with_their_gaps() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = full_site(&site).await;
    browser
        .open(&board.url_with_login(LOGIN, "/marzban?panel=de-1"))
        .await;
    let lines = r#"[...document.querySelectorAll('.drawing polyline[stroke-width="2"]')]"#;
    for (range, words) in [("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days")] {
        browser
            .follow(&format!(
                r#"a[href*="range={range}"]:not([href*="live"])[href$="statistics"]"#
            ))
            .await;
        assert_eq!(browser.text("[aria-current]").await, words);
        assert_eq!(browser.count(".drawing svg").await, 3);
        let drawn = format!("Math.max(...{lines}.map(line => line.getBBox().width)) > 50");
        assert_eq!(browser.value(&drawn).await, json!(true), "{range}");
        let texts = browser.count(".chart:first-child text").await;
        assert!((7..=16).contains(&texts), "{range}: {texts}");
    }
    browser.open(&board.url("/marzban?panel=de-1&range=24h")).await;
    let pieces = format!("{lines}.length");
    assert_eq!(
        browser.value(&pieces).await,
        json!(18),
        "three hours without figures are a gap in each of nine lines"
    );
    browser.open(&board.url("/marzban?panel=nl-2")).await;
    assert!(
        browser
            .text("main")
            .await
            .contains("Nothing was collected in the last 24 hours.")
    );
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_reached_by_keyboard_and_the_focus_is_seen() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = full_site(&site).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    browser.press(Key::Tab).await;
    assert_eq!(browser.value(FOCUS).await, json!("a Skip to the content"));
    browser.press(Key::Enter).await;
    assert_eq!(browser.value("document.activeElement.id").await, json!("content"));

    browser.open(&board.url("/marzban")).await;
    let mut stops = Vec::new();
    for _ in 0..60 {
        browser.press(Key::Tab).await;
        match browser.value(FOCUS).await {
            Value::String(stop) => stops.push(stop),
            _ => break,
        }
    }
    assert!(stops.iter().all(|stop| !stop.ends_with("(unseen)")), "{stops:?}");
    let mut rest = stops.iter();
    for expected in [
        "a Skip to the content",
        "a Refresh",
        "a Queue board",
        "div First changes: Sync user status on de-1",
        "input I have looked at it.",
        "button Apply on purpose: Sync user status, de-1",
        "summary de-1",
        "button Run now: Sync subscriptions, de-1",
        "summary Sync subscriptions: the first 3 accounts with problems",
        "button Run now: Collect statistics, nl-2",
        "select Panel",
        "button Show",
        "a 24 hours",
    ] {
        assert!(
            rest.any(|stop| stop.starts_with(expected)),
            "{expected}: {stops:?}"
        );
    }

    browser
        .value(r#"document.querySelector('[aria-label="Run now: Sync subscriptions, de-1"]').focus()"#)
        .await;
    browser.leave(browser.press(Key::Enter)).await;
    assert_eq!(
        browser.text("#notice").await,
        "Sync subscriptions on de-1: •queued"
    );
    browser.end().await;
}

/// Roles and names, and how many there are of each.
const TOLD: [(&str, &str, usize); 14] = [
    ("banner", "", 1),
    ("main", "", 1),
    ("navigation", "Page", 1),
    ("navigation", "Time of the charts", 1),
    ("status", "", 1),
    ("region", "Waiting for an operator", 1),
    ("region", "Panels", 1),
    ("heading", "Marzban panels", 1),
    ("table", "Jobs of de-1", 1),
    ("columnheader", "Last good run", 2),
    ("rowheader", "Sync subscriptions", 2),
    ("button", "Run now: Clean up expired users, nl-2", 1),
    ("button", "Apply on purpose: Sync user status, de-1", 1),
    ("combobox", "Panel", 1),
];

/// Role, name and description of everything that a screen reader is told of.
async fn accessible(browser: &Browser) -> Vec<(String, String, String)> {
    let tree = browser.devtools("Accessibility.getFullAXTree", json!({})).await;
    let nodes = tree["nodes"].as_array().unwrap().iter();
    nodes
        .filter(|node| node["ignored"] != json!(true))
        .map(|node| {
            let text = |name: &str| node[name]["value"].as_str().unwrap_or_default().to_owned();
            (text("role"), text("name"), text("description"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_reader_is_told_what_everything_is() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = full_site(&site).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    assert_eq!(browser.value("document.documentElement.lang").await, json!("en"));
    let twice = "(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size })()";
    assert_eq!(browser.value(twice).await, json!(0), "ids are unique");

    for width in [1280, 360] {
        browser.screen(width, 800, "light").await;
        let nodes = accessible(&browser).await;
        let count = |role: &str, name: &str| {
            nodes
                .iter()
                .filter(|node| node.0 == role && node.1 == name)
                .count()
        };
        for (role, name, expected) in TOLD {
            assert_eq!(
                count(role, name),
                expected,
                "{width}: {role} {name:?}: {nodes:#?}"
            );
        }
        let picture = nodes
            .iter()
            .find(|node| node.1 == "Users by status" && node.0.starts_with("im"));
        let (_, _, description) = picture.unwrap_or_else(|| panic!("{nodes:#?}"));
        assert!(description.contains("active: 800 at the end"), "{description}");
        for (role, name, _) in &nodes {
            let must_be_named = [
                "button", "link", "checkbox", "combobox", "image", "heading", "table",
            ];
            assert!(
                !must_be_named.contains(&role.as_str()) || !name.is_empty(),
                "{width}: a {role} without a name"
            );
        }
    }
    let levels = "[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))";
    let levels = browser.value(levels).await;
    let levels: Vec<i64> = levels
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert!(
        levels[0] == 1 && levels.windows(2).all(|pair| pair[1] <= pair[0] + 1),
        "{levels:?}"
    );
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_board_and_one_of_fifty_panels_and_ten_thousand_runs_are_shown_at_once() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let names: Vec<String> = (1..=50).map(|number| format!("panel-{number}")).collect();
    let arguments: Vec<&str> = names.iter().flat_map(|name| ["--panel", name]).collect();
    let empty = Board::start(&site, &[]).await;
    let board = Board::start(&site, &arguments).await;
    browser.screen(1280, 800, "light").await;
    browser.open(&empty.url_with_login(LOGIN, "/marzban")).await;
    assert_eq!(browser.count(".jobs tbody tr").await, 4);
    assert!(browser.text("main").await.contains("nothing has run yet"));
    browser.picture("empty").await;
    drop(empty);

    site.client.batch_execute(
        "INSERT INTO marzban_sync_runs (job, panel, started_at, finished_at, outcome, report)
         SELECT job, 'panel-' || panel, now() - n * interval '15 minutes' - interval '1 minute', now() - n * interval '15 minutes',
             CASE WHEN panel = 7 AND n = 0 THEN 'failed' ELSE 'completed' END,
             jsonb_build_object('synced', 190, 'errors', CASE WHEN panel % 20 = 9 THEN 100 ELSE 0 END, 'total', 190, 'problems', (SELECT jsonb_agg(jsonb_build_object(
                 'telegram_id', p, 'name', 'user' || p, 'reason', 'unavailable', 'detail', 'timed out after 30 s'))
                 FROM generate_series(1, 100) AS p))
         FROM generate_series(1, 50) AS panel, generate_series(0, 49) AS n, unnest(ARRAY[
             'sync_subscriptions_from_marzban', 'sync_user_status_from_marzban', 'cleanup_expired_marzban_users',
             'get_marzban_system_stats']) AS job",
    )
    .await
    .unwrap();
    past_stats(&site, "panel-1", 31).await;
    browser
        .open(&board.url_with_login(LOGIN, "/marzban?range=30d"))
        .await;
    let took = "performance.getEntriesByType('navigation')[0].responseEnd";
    let took = browser.value(took).await.as_f64().unwrap();
    assert!(took < 5_000.0, "{took} ms");
    assert_eq!(browser.count(".panel").await, 50);
    browser.picture("fifty-panels").await;
    browser.screen(360, 800, "light").await;
    assert!(
        browser
            .value("document.documentElement.scrollWidth")
            .await
            .as_i64()
            .unwrap()
            <= 360
    );
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_refreshes_itself_only_when_asked_to() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let Some(site) = site().await else { return };
    let board = Board::start(&site, &[]).await;
    browser.open(&board.url_with_login(LOGIN, "/marzban")).await;
    assert!(!browser.text(".top").await.contains("Refreshes itself"));
    browser.follow(r#"a[href*="live=1"]"#).await;
    assert!(
        browser
            .text(".top")
            .await
            .contains("Refreshes itself every 30 seconds.")
    );
    browser
        .follow(r#"a[href$="range=24h"]:not([aria-current])"#)
        .await;
    assert!(!browser.text(".top").await.contains("Refreshes itself"));
    browser.end().await;
}
