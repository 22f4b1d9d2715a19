//! Customers who paid, and were deleted or cut off all the same.

use marzban_api::testing::{FakeStatus, Fault};
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::{
    cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use super::{Peer, pay};

/// Guards against a cleanup that looked at any ended subscription, and deleted whoever had one.
#[tokio::test]
async fn a_paying_customer_with_an_old_ended_subscription_is_not_deleted() {
    let peer = Peer::new().await;
    peer.customer(1, "expired", "2025-07-01 00:00:00");
    pay(&peer.store, 2, 1, "active", "2025-09-30 00:00:00");
    // Not even when the panel has not heard of the payment.
    peer.user(1, FakeStatus::Expired, "2025-07-01 00:00:00");
    let report = cleanup_expired_marzban_users(&peer.context()).await.unwrap();
    assert_eq!((report.cleaned, report.total), (0, 0));
    assert!(peer.panel().user("user1").is_some());
}

/// Guards against an answer that ended all subscriptions of a user, also those that it said nothing of.
#[tokio::test]
async fn an_expired_answer_ends_what_is_over_alone() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-09 00:00:00");
    pay(&peer.store, 2, 1, "active", "2025-09-01 00:00:00");
    pay(&peer.store, 3, 1, "pending", "2025-10-30 00:00:00");
    pay(&peer.store, 4, 1, "cancelled", "2025-10-30 00:00:00");
    peer.user(1, FakeStatus::Expired, "2025-09-09 00:00:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.subscription(1), "expired until 2025-09-09 00:00:00");
    assert_eq!(peer.subscription(2), "expired until 2025-09-01 00:00:00");
    assert_eq!(peer.subscription(3), "pending until 2025-10-30 00:00:00");
    assert_eq!(peer.subscription(4), "cancelled until 2025-10-30 00:00:00");
}

/// Guards against a sync that looked at open subscriptions only, and never saw that one was extended in the panel.
#[tokio::test]
async fn an_extension_that_was_made_in_the_panel_comes_back() {
    let peer = Peer::new().await;
    peer.customer(1, "expired", "2025-09-01 00:00:00");
    peer.user(1, FakeStatus::Active, "2025-10-01 00:00:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.subscription(1), "active until 2025-10-01 00:00:00");
    assert_eq!(peer.config(1).is_active, Some(true));
}

/// Guards against a transaction that was open across all requests, and overwrote what was paid meanwhile.
#[tokio::test]
async fn a_payment_that_is_made_while_the_panel_is_asked_is_not_overwritten() {
    let peer = Peer::new().await;
    peer.customer(1, "active", "2025-09-10 00:00:00");
    peer.user(1, FakeStatus::Expired, "2025-09-10 00:00:00");
    let store = peer.store.clone();
    peer.at_list(move || pay(&store, 1, 1, "active", "2025-10-10 00:00:00"));
    let report = sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.subscription(1), "active until 2025-10-10 00:00:00");
    assert_eq!(peer.config(1).is_active, Some(true));
    assert_eq!(
        (report.synced, report.errors),
        (0, 1),
        "it is a conflict, and is said to be"
    );
}

/// Guards against a cleanup that did not look at the panel, and deleted whom an admin had renewed there.
#[tokio::test]
async fn a_user_that_was_renewed_in_the_panel_is_not_deleted() {
    let peer = Peer::new().await;
    peer.customer(1, "expired", "2025-08-01 00:00:00");
    peer.user(1, FakeStatus::Expired, "2025-08-01 00:00:00");
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    peer.user(1, FakeStatus::Active, "2025-10-01 00:00:00");
    let report = cleanup_expired_marzban_users(&peer.context()).await.unwrap();
    assert_eq!((report.cleaned, report.skipped), (0, 1));
    assert!(peer.panel().user("user1").is_some());
    assert_eq!(peer.subscription(1), "active until 2025-10-01 00:00:00");
}

/// Guards against a list that came out empty with 200, after which everybody counted as deleted.
#[tokio::test]
async fn an_empty_list_marks_nobody() {
    let peer = Peer::new().await;
    for id in 1..=12 {
        peer.in_line(id);
    }
    peer.panel().inject(Fault::EmptyList.always());
    let rows = peer.rows();
    let report = sync_user_status_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(peer.rows(), rows);
}

/// Guards against a renewal that was undone by an answer from before it.
#[tokio::test]
async fn a_late_disabled_does_not_undo_a_renewal() {
    let peer = Peer::new().await;
    peer.customer(1, "expired", "2025-09-01 00:00:00");
    peer.user(1, FakeStatus::Disabled, "2025-09-01 00:00:00");
    let store = peer.store.clone();
    peer.at_list(move || pay(&store, 1, 1, "active", "2025-10-10 00:00:00"));
    sync_subscriptions_from_marzban(&peer.context()).await.unwrap();
    assert_eq!(peer.subscription(1), "active until 2025-10-10 00:00:00");
    assert_eq!(peer.config(1).is_active, Some(true));
}

/// Guards against a sync that took users of the panel whom somebody had made by hand for the bot's.
#[tokio::test]
async fn users_that_were_made_by_hand_are_never_touched() {
    let peer = Peer::new().await;
    peer.in_line(1);
    peer.customer(2, "expired", "2025-08-01 00:00:00");
    peer.user(2, FakeStatus::Expired, "2025-08-01 00:00:00");
    peer.user(20, FakeStatus::Expired, "2025-01-01 00:00:00");
    let by_hand = peer.panel().user("user20");
    let context = peer.context();
    sync_subscriptions_from_marzban(&context).await.unwrap();
    sync_user_status_from_marzban(&context).await.unwrap();
    let report = cleanup_expired_marzban_users(&context).await.unwrap();
    assert_eq!(report.cleaned, 1);
    assert_eq!(peer.panel().user("user20"), by_hand);
}
