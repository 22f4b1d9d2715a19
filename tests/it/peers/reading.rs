//! Answers of the panel that were read wrongly.

use chrono::TimeDelta;
use marzban_api::testing::{FakeStatus, FakeUser, Fault};
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::policy::{Policy, Unlimited};
use marzban_sync_core::sync_subscriptions_from_marzban;

use super::{Peer, panel_user};
use crate::bot::{at, now};

/// Guards against a last connection that was the moment of the sync.
#[tokio::test]
async fn the_last_connection_is_the_panels_and_never_the_present() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-30 00:00:00");
    peer.customer(2, "active", "2025-09-30 00:00:00");
    let online = panel_user(1, FakeStatus::Active, "2025-09-30 00:00:00");
    let seen = Some(at("2025-09-08 07:06:05.000004"));
    peer.panel().insert_user(online.online_at(seen));
    peer.user(2, FakeStatus::Active, "2025-09-30 00:00:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.config(1).last_connected_at, seen);
    assert_eq!(peer.config(2).last_connected_at, None);
}

/// Guards against a held user that could not be decoded, and was asked for three times in vain.
#[tokio::test]
async fn a_held_user_is_read_at_once_and_keeps_its_access() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-01 00:00:00");
    let held = FakeUser::new("user1").on_hold(TimeDelta::days(30).num_seconds());
    peer.panel().insert_user(held.used_traffic(100));
    let report = sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!((report.synced, report.errors), (1, 0));
    assert_eq!(peer.subscription(1), "active until 2025-09-01 00:00:00");
    assert_eq!(peer.config(1).is_active, Some(true));
    assert_eq!(peer.panel().count("GET", "/api/users"), 1);
}

/// Guards against traffic of 0 that was not written, and an end that was taken away and not noticed.
#[tokio::test]
async fn a_reset_and_an_end_that_was_taken_away_are_noticed() {
    let peer = Peer::new().await;
    peer.in_line(1);
    peer.panel().update_user("user1", |user| {
        user.used_traffic = 0;
        user.expire = None;
    });
    let mut policy = Policy::default();
    policy.unlimited = Unlimited::Clear;
    let context = peer.builder().policy(policy).build();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!(peer.config(1).traffic_used, Some(0));
    assert_eq!(peer.subscription(1), "active until -");
}

/// Guards against local time in columns of UTC, by which access ended hours too early or too late.
#[tokio::test]
async fn an_end_is_a_moment_of_utc_to_the_second() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-01 00:00:00");
    let user = panel_user(1, FakeStatus::Active, "2025-09-01 00:00:00");
    peer.panel().insert_user(user.expire(1_757_894_400));
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.subscription(1), "active until 2025-09-15 00:00:00");

    let on = |moment: &str| {
        peer.clock.set(at(moment));
        peer.panel().set_now(at(moment));
        peer.panel().review();
    };
    on("2025-09-14 23:59:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.config(1).is_active, Some(true));
    on("2025-09-15 00:00:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.config(1).is_active, Some(false));
}

/// Guards against a renewal that was reported and never made, because the panel spoke otherwise than was thought: a
/// report counts what was written, and an answer that is not understood is an error.
#[tokio::test]
async fn an_answer_that_is_not_understood_is_no_success() {
    let peer = Peer::new().await;
    peer.in_line(1);
    peer.panel().inject(Fault::HtmlBody(200).always());
    let rows = peer.rows();
    let error = sync_subscriptions_from_marzban(&peer.context())
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Panel);
    let report = error
        .report()
        .map(|report| serde_json::to_value(report).unwrap())
        .unwrap();
    assert_eq!(
        (&report["synced"], &report["changes"]),
        (&0.into(), &serde_json::json!({}))
    );
    assert_eq!(peer.rows(), rows);
    assert_eq!(peer.store.recorded_runs()[0].started_at, now());
}
