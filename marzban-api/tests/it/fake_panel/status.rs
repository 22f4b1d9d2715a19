//! The review job: when users change their state without a request.

use std::time::Duration;

use marzban_api::testing::{FakeNextPlan, FakeStatus, FakeUser};

use super::{Setup, at};

const NOW: i64 = 1_795_381_182;

async fn reviewed(user: FakeUser) -> FakeUser {
    let setup = Setup::new().await;
    setup.panel.insert_user(user.clone());
    setup.panel.review();
    setup.panel.user(&user.username).expect("a review deletes nobody")
}

#[tokio::test]
async fn an_active_user_is_limited_at_its_limit_and_expired_at_its_second() {
    for (user, status) in [
        (
            FakeUser::new("alice").data_limit(10).used_traffic(9),
            FakeStatus::Active,
        ),
        (
            FakeUser::new("alice").data_limit(10).used_traffic(10),
            FakeStatus::Limited,
        ),
        (FakeUser::new("alice").expire(NOW + 1), FakeStatus::Active),
        (FakeUser::new("alice").expire(NOW), FakeStatus::Expired),
        (
            FakeUser::new("alice").expire(NOW).data_limit(10).used_traffic(10),
            FakeStatus::Limited,
        ),
    ] {
        assert_eq!(reviewed(user.clone()).await.status, status, "{user:?}");
    }
}

#[tokio::test]
async fn states_other_than_active_and_on_hold_are_never_reviewed() {
    for status in [FakeStatus::Limited, FakeStatus::Expired, FakeStatus::Disabled] {
        let user = FakeUser::new("alice")
            .status(status)
            .expire(NOW - 1)
            .data_limit(10);
        assert_eq!(reviewed(user).await.status, status);
    }
}

#[tokio::test]
async fn a_held_user_starts_with_a_connection_after_its_creation_or_last_edit() {
    let setup = Setup::new().await;
    let panel = &setup.panel;
    panel.insert_user(
        FakeUser::new("alice")
            .on_hold(86_400)
            .online_at(at("2026-11-22T20:59:41Z")),
    );
    panel.review();
    assert_eq!(panel.user("alice").unwrap().status, FakeStatus::OnHold);
    panel.advance(Duration::from_secs(8));
    panel.update_user("alice", |user| user.online_at = Some(at("2026-11-22T20:59:50Z")));
    panel.review();
    let alice = panel.user("alice").unwrap();
    assert_eq!(
        (alice.status, alice.expire),
        (FakeStatus::Active, Some(NOW + 8 + 86_400))
    );
    assert_eq!(
        (alice.on_hold_expire_duration, alice.on_hold_timeout),
        (None, None)
    );
}

#[tokio::test]
async fn an_edit_makes_a_held_user_wait_for_a_new_connection() {
    let setup = Setup::new().await;
    setup.panel.insert_user(FakeUser::new("alice").on_hold(86_400));
    setup.panel.advance(Duration::from_mins(1));
    assert_eq!(setup.put("/api/user/alice", r#"{"note": "x"}"#).await.status, 200);
    setup
        .panel
        .update_user("alice", |user| user.online_at = Some(at("2026-11-22T21:00:00Z")));
    setup.panel.review();
    assert_eq!(setup.panel.user("alice").unwrap().status, FakeStatus::OnHold);
}

#[tokio::test]
async fn a_held_user_starts_at_its_timeout_without_a_connection() {
    let mut user = FakeUser::new("alice").on_hold(259_200);
    user.on_hold_timeout = Some(at("2026-11-22T20:59:42Z"));
    let alice = reviewed(user).await;
    assert_eq!(
        (alice.status, alice.expire),
        (FakeStatus::Active, Some(NOW + 259_200))
    );
}

#[tokio::test]
async fn a_next_plan_fires_instead_of_the_limit_and_adds_the_remainder_when_told_not_to() {
    let plan = FakeNextPlan {
        data_limit: 5_000,
        expire: Some(NOW + 9),
        add_remaining_traffic: false,
        fire_on_either: true,
    };
    let user = FakeUser::new("alice")
        .data_limit(1_000)
        .used_traffic(1_500)
        .expire(NOW + 99)
        .next_plan(plan);
    let alice = reviewed(user.clone()).await;
    assert_eq!((alice.status, alice.next_plan), (FakeStatus::Active, None));
    assert_eq!((alice.data_limit, alice.expire), (Some(4_500), Some(NOW + 9)));
    assert_eq!((alice.used_traffic, alice.earlier_traffic), (0, 1_500));
    let both = FakeNextPlan {
        fire_on_either: false,
        ..plan
    };
    assert_eq!(reviewed(user.next_plan(both)).await.status, FakeStatus::Limited);
}
