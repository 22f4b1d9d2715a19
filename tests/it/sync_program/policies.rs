//! Policies and limits from the environment, each in what it does.

use marzban_api::testing::{FakePanel, FakeStatus};
use serde_json::{Value, json};

use super::bots::{AnyBot, user};
use super::{Sync, date, day};

const SUBSCRIPTIONS: &str = "sync-subscriptions-from-marzban";
const STATUS: &str = "sync-user-status-from-marzban";
const CLEANUP: &str = "cleanup-expired-marzban-users";

/// Runs a job to a good end.
#[track_caller]
fn report(sync: &Sync, job: &str) -> Value {
    let ended = sync.run(&[job]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.report()
}

/// A customer whose time was over a month ago.
async fn add_over(bot: &AnyBot, panel: &FakePanel) {
    bot.add(20, "olga", "expired", -30, false).await;
    panel.insert_user(user("olga", -30).status(FakeStatus::Expired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_disables_or_spares_whom_it_is_told_to() {
    for (bot, panel, sync) in AnyBot::each().await {
        bot.add_in_line(&panel).await;
        add_over(&bot, &panel).await;
        report(&sync, SUBSCRIPTIONS);
        let sync = sync.with("MARZBAN_SYNC_EXEMPT", "anna, olga");
        let spared = report(&sync, CLEANUP);
        assert_eq!(
            (&spared["cleaned"], &spared["skipped_because"]),
            (&json!(0), &json!({"exempt": 1}))
        );

        let sync = sync
            .without("MARZBAN_SYNC_EXEMPT")
            .with("MARZBAN_SYNC_CLEANUP_AFTER", "60d");
        assert_eq!(
            report(&sync, CLEANUP)["total"],
            json!(0),
            "it ended less than 60 days ago"
        );

        let sync = sync
            .without("MARZBAN_SYNC_CLEANUP_AFTER")
            .with("MARZBAN_SYNC_CLEANUP", "DISABLE");
        assert_eq!(report(&sync, CLEANUP)["cleaned"], json!(1));
        assert_eq!(panel.user("olga").unwrap().status, FakeStatus::Disabled);
        assert_eq!(bot.row("olga").await, format!("olga expired {} 0", date(-30)));

        let sync = sync.without("MARZBAN_SYNC_CLEANUP");
        assert_eq!(report(&sync, CLEANUP)["cleaned"], json!(1));
        assert!(panel.user("olga").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_as_high_as_it_is_set() {
    for (bot, panel, sync) in AnyBot::each().await {
        for id in 1..=20 {
            let name = format!("user{id}");
            bot.add(id, &name, "active", 9, true).await;
            if id > 6 {
                panel.insert_user(user(&name, 9));
            }
        }
        let stopped = sync.run(&[STATUS]);
        assert_eq!(
            (stopped.code, &stopped.report()["stopped"]),
            (Some(1), &json!("safety"))
        );
        let sync = sync
            .with("MARZBAN_SYNC_MAX_ABSENT", "50")
            .with("MARZBAN_SYNC_MAX_OFF_EARLY", "50%");
        assert_eq!(report(&sync, STATUS)["updated"], json!(6));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_panel_says_is_taken_as_the_policy_has_it() {
    for (bot, panel, sync) in AnyBot::each().await {
        bot.add_in_line(&panel).await;
        bot.add(11, "endless", "active", 9, true).await;
        bot.add(12, "renewed", "expired", -2, false).await;
        bot.add(13, "blocked", "active", 9, false).await;
        panel.insert_user(user("endless", 9).expire(None));
        panel.insert_user(user("renewed", 5));
        panel.insert_user(user("blocked", 9));
        let sync = sync
            .with("MARZBAN_SYNC_UNLIMITED", "clear")
            .with("MARZBAN_SYNC_REACTIVATE", "never")
            .with("MARZBAN_SYNC_ACCESS", "only-off");
        report(&sync, SUBSCRIPTIONS);
        assert_eq!(bot.row("endless").await, "endless active 1");
        assert_eq!(bot.row("renewed").await, format!("renewed expired {} 0", date(5)));
        assert_eq!(bot.row("blocked").await, format!("blocked active {} 0", date(9)));

        let sync = sync
            .with("MARZBAN_SYNC_REACTIVATE", "7d")
            .with("MARZBAN_SYNC_ACCESS", "mirror");
        report(&sync, SUBSCRIPTIONS);
        assert_eq!(bot.row("renewed").await, format!("renewed expired {} 1", date(5)));
        assert_eq!(bot.row("blocked").await, format!("blocked active {} 1", date(9)));

        let sync = sync.without("MARZBAN_SYNC_REACTIVATE");
        report(&sync, SUBSCRIPTIONS);
        assert_eq!(bot.row("renewed").await, format!("renewed active {} 1", date(5)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_is_behind_is_extended_only_where_the_policy_says_so() {
    for (bot, panel, sync) in AnyBot::each().await {
        bot.add_in_line(&panel).await;
        bot.add(11, "anna", "active", 9, true).await;
        panel.insert_user(user("anna", 9));
        report(&sync, SUBSCRIPTIONS);
        let paid = day(40).format("%Y-%m-%d %H:%M:%S");
        bot.sql(&format!(
            "UPDATE subscriptions SET end_date = '{paid}' WHERE id = 11"
        ))
        .await;

        assert_eq!(
            report(&sync, SUBSCRIPTIONS)["reasons"],
            json!({"panel_behind": 1})
        );
        assert_eq!(panel.user("anna").unwrap().expire, Some(day(9).timestamp()));
        let sync = sync.with("MARZBAN_SYNC_PANEL_BEHIND", "extend");
        report(&sync, SUBSCRIPTIONS);
        assert_eq!(
            panel.user("anna").unwrap().expire,
            Some(day(9).timestamp()),
            "not before a day"
        );
        let sync = sync.with("MARZBAN_SYNC_EXTEND_AFTER", "0s");
        assert_eq!(report(&sync, SUBSCRIPTIONS)["extended_in_panel"], json!(1));
        assert_eq!(panel.user("anna").unwrap().expire, Some(day(40).timestamp()));
        assert_eq!(report(&sync, SUBSCRIPTIONS)["errors"], json!(0));
    }
}
