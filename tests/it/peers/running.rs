//! Runs that failed, met each other, or were repeated for ever.

use std::sync::{Arc, Mutex};

use marzban_api::testing::FakeStatus;
use marzban_api::{Client, SecretString};
use marzban_sync_core::account::AccountId;
use marzban_sync_core::event::Event;
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::plan::Reason;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::Journal;
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use super::Peer;
use crate::bot::epoch;

/// Guards against a client that was closed after the first run, whereupon every later one synced nobody.
#[tokio::test]
async fn the_second_run_of_a_process_syncs_everybody_again() {
    let peer = Peer::new().await;
    peer.in_line(1);
    peer.in_line(2);
    let context = peer.context();
    for bytes in [200, 300, 400] {
        peer.panel()
            .update_user("user2", |user| user.used_traffic = bytes);
        let report = sync_subscriptions_from_marzban(&context).await.unwrap();
        assert_eq!((report.synced, report.errors, report.total), (2, 0, 2));
        assert_eq!(peer.config(2).traffic_used, Some(bytes));
    }
}

/// Guards against a deletion that was repeated every week, because the user was gone already, or because the panel says
/// 500 to a deletion that it has made.
#[tokio::test]
async fn a_user_that_is_gone_or_deleted_with_an_error_is_cleaned_once() {
    let peer = Peer::new().await;
    peer.in_line(1);
    for id in [2, 3] {
        peer.customer(id, "expired", "2025-08-01 00:00:00");
    }
    peer.user(3, FakeStatus::Expired, "2025-08-01 00:00:00");
    peer.panel().update_user("user3", |user| user.owner = None);
    let context = peer.context();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    let report = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!((report.cleaned, report.errors, report.total), (2, 0, 2));
    peer.panel().clear_requests();
    let report = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!(report.total, 0);
    assert_eq!(peer.panel().requests().len(), 0);
}

/// Guards against one commit after all deletions, before which a crash parted the panel from the database.
#[tokio::test]
async fn each_row_is_written_right_after_its_deletion() {
    let peer = Peer::new().await;
    for id in 1..=3 {
        peer.customer(id, "expired", "2025-08-01 00:00:00");
        peer.user(id, FakeStatus::Expired, "2025-08-01 00:00:00");
    }
    // So many that the budget allows three deletions.
    (4..=16).for_each(|id| peer.in_line(id));
    let written: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (store, seen) = (peer.store.clone(), Arc::clone(&written));
    peer.panel().on_request(move |_, request| {
        let rows = store.vpn_configs();
        if request.method == "DELETE" {
            let unlinked = rows.iter().filter(|row| row.marzban_user_id.is_none());
            seen.lock().unwrap().push(unlinked.count());
        }
        async {}
    });
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    cleanup_expired_marzban_users(&peer.context()).await.unwrap();
    assert_eq!(*written.lock().unwrap(), [0, 1, 2]);
}

/// Guards against two tasks that wrote the same rows in opposite directions, every half hour.
#[tokio::test]
async fn the_jobs_do_not_fight_over_a_row() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-30 00:00:00");
    peer.user(1, FakeStatus::Limited, "2025-09-30 00:00:00");
    peer.customer(2, "expired", "2025-09-01 00:00:00");
    peer.user(2, FakeStatus::Active, "2025-10-30 00:00:00");
    peer.customer(3, "active", "2025-09-30 00:00:00");
    let context = peer.context();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    sync_user_status_from_marzban(&context).await.unwrap();
    let rows = peer.rows();
    for _ in 0..2 {
        sync_user_status_from_marzban(&context).await.unwrap();
        assert_eq!(peer.rows(), rows);
        sync_subscriptions_from_marzban(&context).await.unwrap();
        assert_eq!(peer.rows(), rows);
    }
}

/// Guards against a token whose end was guessed, after which everything failed, and a refused login that was repeated.
#[tokio::test]
async fn a_dead_token_is_renewed_once_and_a_refused_login_is_not_repeated() {
    let peer = Peer::new().await;
    peer.in_line(1);
    let context = peer.context();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    peer.panel().revoke_tokens();
    let report = sync_subscriptions_from_marzban(&context).await.unwrap();
    assert_eq!((report.synced, report.errors), (1, 0));
    assert_eq!(peer.panel().count("POST", "/api/admin/token"), 2);

    peer.panel().clear_requests();
    let client = Client::builder(&peer.panel().url()).credentials("admin", SecretString::from("wrong"));
    let context = Context::new(MarzbanPanel::new(client.build().unwrap()), peer.store.clone());
    let error = sync_subscriptions_from_marzban(&context).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(peer.panel().count("POST", "/api/admin/token"), 1);
}

/// Guards against two workers, or a slow run and the next, that did the same work at once.
#[tokio::test]
async fn a_run_does_not_begin_while_another_is_under_way() {
    let peer = Peer::new().await;
    peer.in_line(1);
    let held = peer
        .store
        .lock(Job::SyncSubscriptionsFromMarzban, "default")
        .await
        .unwrap();
    let error = sync_subscriptions_from_marzban(&peer.context())
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::AlreadyRunning);
    assert_eq!(peer.panel().requests().len(), 0);
    held.release().await.unwrap();
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
}

/// Guards against a mark that was set before the thing was done, and a notice that never came again after a renewal: a
/// change is told once it is written, and a renewal and a reset are told like any other.
#[tokio::test]
async fn an_observer_is_told_of_what_is_written_and_of_renewals_and_resets_too() {
    let peer = Peer::new().await;
    peer.in_line(1);
    peer.panel().update_user("user1", |user| {
        user.used_traffic = 1;
        user.expire = Some(epoch("2025-10-30 00:00:00"));
    });
    let told: Arc<Mutex<Vec<Reason>>> = Arc::default();
    let (store, heard) = (peer.store.clone(), Arc::clone(&told));
    let observer = move |event: Event<'_>| {
        if let Event::Applied(change) = event {
            let row = store.vpn_config(AccountId(1)).unwrap();
            assert_eq!(row.traffic_used, change.applied().traffic_used, "it is written");
            heard.lock().unwrap().extend(&change.reasons);
        }
    };
    let context = peer.builder().observer(observer).build();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    let mut told = told.lock().unwrap().clone();
    told.sort();
    assert_eq!(
        told,
        [Reason::Extended, Reason::TrafficReset],
        "each of them once"
    );
}
