use std::sync::Arc;

use super::*;
use crate::model::account::{Elsewhere, Subscription, SubscriptionId, UserId};
use crate::model::agreement::Agreement;
use crate::model::end_date::EndDate;

fn change(id: i64, user: i64) -> Change {
    Change::of(&Account {
        id: AccountId(id),
        user_id: UserId(user),
        telegram_id: None,
        name: format!("user{id}"),
        is_active: None,
        traffic_used: None,
        last_connected_at: None,
        updated_at: None,
        subscription: Some(Subscription::new(SubscriptionId(user), "active", None)),
        other_subscriptions: Arc::default(),
        elsewhere: Elsewhere::default(),
        sharers: Arc::default(),
        agreement: Agreement::default(),
        revision: 0,
    })
}

#[track_caller]
fn check(changes: &[Change], size: usize, expected: &[&[usize]]) {
    let places: Vec<Vec<usize>> = chunks(changes, size)
        .into_iter()
        .map(|chunk| chunk.into_iter().map(|(place, _)| place).collect())
        .collect();
    assert_eq!(places, expected);
}

#[test]
fn no_change_is_no_chunk() {
    check(&[], 2, &[]);
}

#[test]
fn a_chunk_ends_when_it_is_full() {
    let changes: Vec<Change> = (1..=5).map(|id| change(id, id)).collect();
    check(&changes, 2, &[&[0, 1], &[2, 3], &[4]]);
}

#[test]
fn the_accounts_of_a_customer_stay_together_wherever_they_stand() {
    let changes = [
        change(1, 1),
        change(2, 2),
        change(3, 3),
        change(4, 1),
        change(5, 1),
    ];
    check(&changes, 2, &[&[0, 3, 4], &[1, 2]]);
}

#[test]
fn a_change_wants_the_rows_that_it_depends_on_and_no_others() {
    let (mut traffic, mut end, mut memory) = (change(1, 1), change(2, 2), change(3, 3));
    traffic.vpn_config.traffic_used = Some(1);
    end.subscription.end_date = Some(EndDate::Never);
    end.also_expired = vec![Subscription::new(SubscriptionId(9), "trial", None)];
    memory.agreement = Some(Agreement::default());
    let changes = [traffic, end, memory];
    let placed: Vec<Placed<'_>> = changes.iter().enumerate().collect();
    let wanted = wanted(&placed);
    assert_eq!(wanted.accounts, [1, 2]);
    assert_eq!(wanted.subscriptions, [(Some(2), 2), (Some(2), 9)]);
    assert_eq!(wanted.usernames, ["user3"]);
}
