use super::*;
use crate::account::{Subscription, SubscriptionId, UserId};

fn change(id: i64, user: i64, patches: bool) -> Change {
    let mut change = Change::of(&Account {
        id: AccountId(id),
        user_id: UserId(user),
        telegram_id: None,
        name: format!("user-{id}"),
        is_active: None,
        traffic_used: None,
        last_connected_at: None,
        active_elsewhere: false,
        subscription: Some(Subscription {
            id: SubscriptionId(user),
            status: SubscriptionStatus::Active,
            end_date: None,
        }),
    });
    if patches {
        change.subscription.end_date = Some(EndDate::Never);
    }
    change
}

#[track_caller]
fn check(changes: &[Change], size: usize, expected: &[&[i64]]) {
    let ids: Vec<Vec<i64>> = chunks(changes, size)
        .into_iter()
        .map(|chunk| chunk.iter().map(|change| change.account.id.0).collect())
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn no_change_is_no_chunk() {
    check(&[], 2, &[]);
}

#[test]
fn a_chunk_ends_when_it_is_full() {
    let changes: Vec<Change> = (1..=5).map(|id| change(id, id, true)).collect();
    check(&changes, 2, &[&[1, 2], &[3, 4], &[5]]);
}

#[test]
fn the_accounts_of_a_user_stay_together() {
    let changes = [
        change(1, 1, true),
        change(2, 2, true),
        change(3, 2, false),
        change(4, 3, true),
    ];
    check(&changes, 2, &[&[1, 2, 3], &[4]]);
}

#[test]
fn an_account_occurs_once_in_a_chunk() {
    check(
        &[change(1, 1, false), change(1, 1, false), change(2, 2, false)],
        9,
        &[&[1], &[1, 2]],
    );
}

#[test]
fn a_subscription_is_patched_once_in_a_chunk() {
    check(
        &[change(1, 1, true), change(2, 1, false), change(3, 1, true)],
        9,
        &[&[1, 2], &[3]],
    );
}
