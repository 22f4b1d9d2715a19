//! What the library keeps for itself: the history of runs, and the panel's figures.

use marzban_api::testing::{FakeStatus, FakeUser, Fault};
use marzban_sync_core::jobs;
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::report::{Job, Report};
use serde_json::{Value, json};

use crate::bot::{Bot, epoch, now};

/// The history, the newest run last, without the reports.
async fn history(bot: &Bot) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', job, panel, outcome, started_at AT TIME ZONE 'UTC', finished_at AT TIME ZONE 'UTC')
               FROM marzban_sync_runs ORDER BY id";
    bot.client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

async fn last_report(bot: &Bot) -> Value {
    let sql = "SELECT report FROM marzban_sync_runs ORDER BY id DESC LIMIT 1";
    bot.client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_leaves_a_row_with_its_report() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(3).await;
    bot.panel.remove_user("user2");
    let context = bot
        .context_as("admin", "admin")
        .await
        .panel_name("frankfurt")
        .build();
    for job in Job::ALL {
        let report = jobs::run(job, &context).await.unwrap();
        assert_eq!(last_report(&bot).await, json!(report), "{job}");
    }
    let expected = [
        "sync_subscriptions_from_marzban frankfurt completed 2025-09-10 12:00:00 2025-09-10 12:00:00",
        "sync_user_status_from_marzban frankfurt completed 2025-09-10 12:00:00 2025-09-10 12:00:00",
        "cleanup_expired_marzban_users frankfurt completed 2025-09-10 12:00:00 2025-09-10 12:00:00",
        "get_marzban_system_stats frankfurt completed 2025-09-10 12:00:00 2025-09-10 12:00:00",
    ];
    assert_eq!(history(&bot).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_stopped_or_failed_leaves_a_row_that_says_so() {
    let Some(bot) = Bot::new().await else { return };
    bot.add_in_line(3).await;
    let context = bot.context().await;
    bot.panel.inject(Fault::EmptyList);
    jobs::run(Job::SyncSubscriptionsFromMarzban, &context)
        .await
        .unwrap();
    let report = last_report(&bot).await;
    assert_eq!(
        (&report["stopped"], &report["errors"]),
        (&json!("safety"), &json!(3))
    );

    bot.panel.inject(Fault::HtmlBody(502).always());
    let error = jobs::run(Job::SyncUserStatusFromMarzban, &context)
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Panel);
    let report = last_report(&bot).await;
    assert_eq!(report["stopped"], "failed");
    let why = report["error"].as_str().unwrap();
    assert!(
        why.starts_with("the panel answered none of the questions: ") && why.contains("502"),
        "{why}"
    );

    let error = jobs::run(Job::GetMarzbanSystemStats, &context).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Panel);
    let outcomes: Vec<String> = history(&bot)
        .await
        .iter()
        .filter_map(|run| run.split(' ').nth(2).map(str::to_owned))
        .collect();
    assert_eq!(outcomes, ["stopped", "failed", "failed"]);
    assert_eq!(
        bot.text("SELECT count(*)::text FROM marzban_system_stats").await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_panels_figures_are_stored_in_their_columns() {
    let Some(bot) = Bot::new().await else { return };
    let user = |name: &str, status| {
        FakeUser::new(name)
            .status(status)
            .expire(epoch("2099-01-01 00:00:00"))
    };
    for (name, status) in [
        ("user1", FakeStatus::Active),
        ("user2", FakeStatus::Active),
        ("user3", FakeStatus::Active),
        ("user4", FakeStatus::Disabled),
        ("user5", FakeStatus::Disabled),
        ("user6", FakeStatus::Limited),
    ] {
        bot.panel.insert_user(user(name, status));
    }
    bot.panel.update_system(|system| {
        "0.8.4-test".clone_into(&mut system.version);
        (system.mem_total, system.mem_used) = (8_000_000_000, 3_000_000_000);
        (system.cpu_cores, system.cpu_usage) = (6, 37.5);
        (system.incoming_bandwidth, system.outgoing_bandwidth) = (123_456_789_012, 987_654_321_098);
        (system.incoming_bandwidth_speed, system.outgoing_bandwidth_speed) = (2_222, 3_333);
    });

    let report = jobs::run(Job::GetMarzbanSystemStats, &bot.context().await)
        .await
        .unwrap();
    let Report::GetMarzbanSystemStats(report) = report else {
        panic!("another report: {report:?}")
    };
    assert_eq!(report.timestamp, now());
    let row = bot
        .text("SELECT (to_jsonb(t) - 'id' - 'collected_at')::text FROM marzban_system_stats AS t")
        .await;
    let expected = json!({
        "panel": "default", "version": "0.8.4-test",
        "mem_total": 8_000_000_000_i64, "mem_used": 3_000_000_000_i64, "cpu_cores": 6, "cpu_usage": 37.5,
        "total_user": 6, "online_users": 0, "users_active": 3, "users_on_hold": 0, "users_disabled": 2,
        "users_expired": 0, "users_limited": 1,
        "incoming_bandwidth": 123_456_789_012_i64, "outgoing_bandwidth": 987_654_321_098_i64,
        "incoming_bandwidth_speed": 2_222, "outgoing_bandwidth_speed": 3_333,
    });
    assert_eq!(serde_json::from_str::<Value>(&row).unwrap(), expected);
    let collected = "SELECT (collected_at AT TIME ZONE 'UTC')::text FROM marzban_system_stats";
    assert_eq!(bot.text(collected).await, "2025-09-10 12:00:00");
}
