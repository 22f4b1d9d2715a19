//! Compare-and-set: what somebody else changed in the meantime is never overwritten.

use crate::port::accounts::DEFAULT_PANEL;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::{Bot, Fixture, account, accounts, days, now};
use crate::adapter::memory::{MemorySubscription, MemoryVpnConfig};
use crate::model::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::end_date::EndDate;
use crate::model::plan::Change;

/// A VPN config whose name, `is_active`, `traffic_used` or `last_connected_at` is not as it was read is a conflict,
/// of which nothing is written; null differs from every value.
pub async fn a_stale_vpn_config_is_a_conflict(fixture: &dyn Fixture) {
    let edits: [fn(&mut MemoryVpnConfig); 10] = [
        |row| row.marzban_user_id = Some("bob".to_owned()),
        |row| row.marzban_user_id = Some("Alice".to_owned()),
        |row| row.marzban_user_id = None,
        |row| row.is_active = Some(false),
        |row| row.is_active = None,
        |row| row.traffic_used = Some(1_001),
        |row| row.traffic_used = None,
        |row| row.last_connected_at = Some(days(-2) + chrono::TimeDelta::microseconds(1)),
        |row| row.last_connected_at = Some(days(-1)),
        |row| row.last_connected_at = None,
    ];
    let original = Bot::with_one_account();
    for edit in edits {
        fixture.insert(&original).await;
        let changes = one_of_each_kind(fixture).await;
        let mut bot = original.clone();
        edit(bot.vpn_config(AccountId(1)));
        fixture.insert(&bot).await;
        for change in changes {
            assert_conflict(fixture, &bot, &change).await;
        }
    }
}

/// What was null when it was read and is not any more is a conflict.
pub async fn a_null_that_was_filled_is_a_conflict(fixture: &dyn Fixture) {
    let edits: [fn(&mut MemoryVpnConfig); 3] = [
        |row| row.is_active = Some(true),
        |row| row.traffic_used = Some(0),
        |row| row.last_connected_at = Some(now()),
    ];
    let mut original = Bot::with_one_account();
    let row = original.vpn_config(AccountId(1));
    (row.is_active, row.traffic_used, row.last_connected_at) = (None, None, None);
    for edit in edits {
        fixture.insert(&original).await;
        let mut change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
        change.vpn_config.traffic_used = Some(5);
        let mut bot = original.clone();
        edit(bot.vpn_config(AccountId(1)));
        fixture.insert(&bot).await;
        assert_conflict(fixture, &bot, &change).await;
    }
}

/// A subscription whose status or end is not as it was read is a conflict for a change that depends on it: a
/// payment is never overwritten. Traffic alone does not depend on it.
pub async fn a_stale_subscription_is_a_conflict_for_what_depends_on_it(fixture: &dyn Fixture) {
    let edits: [fn(&mut MemorySubscription); 5] = [
        |row| row.end_date = Some(days(40)),
        |row| row.end_date = Some(days(10) + chrono::TimeDelta::microseconds(1)),
        |row| row.end_date = None,
        |row| row.status = SubscriptionStatus::Trial,
        |row| row.status = SubscriptionStatus::Cancelled,
    ];
    for edit in edits {
        let mut bot = Bot::with_one_account();
        fixture.insert(&bot).await;
        let changes = one_of_each_kind(fixture).await;
        edit(bot.subscription(SubscriptionId(1)));
        assert_only_traffic_is_written(fixture, bot, changes).await;
    }
}

/// A subscription that governs no longer, because another does, is a conflict for a change that depends on it.
pub async fn a_new_governing_subscription_is_a_conflict_for_what_depends_on_it(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let changes = one_of_each_kind(fixture).await;
    bot.add_subscription(UserId(1), "active", Some(days(10)));
    assert_only_traffic_is_written(fixture, bot, changes).await;
}

/// The first subscription of a user that had none is a conflict for a change that depends on there being none.
pub async fn a_first_subscription_is_a_conflict_for_what_depends_on_none(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    bot.subscriptions.clear();
    fixture.insert(&bot).await;
    let mut change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
    change.vpn_config.is_active = Some(false);
    bot.add_subscription(UserId(1), "active", Some(days(10)));
    fixture.insert(&bot).await;
    assert_conflict(fixture, &bot, &change).await;
}

/// A subscription that is to expire together with the account's own, and is not as it was read, is a conflict for the
/// whole change.
pub async fn a_stale_subscription_that_expires_with_it_is_a_conflict(fixture: &dyn Fixture) {
    let edits: [fn(&mut MemorySubscription); 4] = [
        |row| row.end_date = Some(days(9)),
        |row| row.end_date = None,
        |row| row.status = SubscriptionStatus::Cancelled,
        |row| row.user_id = UserId(2),
    ];
    for edit in edits {
        let mut bot = Bot::with_one_account();
        bot.add_user(2);
        let over = bot.add_subscription(UserId(1), "trial", Some(days(-1)));
        bot.vpn_config(AccountId(1)).subscription_id = Some(SubscriptionId(1));
        fixture.insert(&bot).await;
        let mut change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
        change.subscription.status = Some(SubscriptionStatus::Expired);
        change.also_expired = change.account.other_subscriptions.to_vec();
        edit(bot.subscription(over));
        fixture.insert(&bot).await;
        assert_conflict(fixture, &bot, &change).await;
    }
}

/// A change that depends on there being no subscription is written while there is none.
pub async fn a_change_without_a_subscription_is_written(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    bot.subscriptions.clear();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.vpn_config.is_active = Some(false);
    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .expect("the change is applied"),
        [AccountId(1)]
    );
    let row = bot.vpn_config(AccountId(1));
    (row.is_active, row.updated_at) = (Some(false), Some(now()));
    assert_eq!(fixture.rows().await, bot);
}

/// Another subscription of the user that does not come to govern is no conflict.
pub async fn a_subscription_that_does_not_govern_is_no_conflict(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.subscription.end_date = Some(EndDate::At(days(20)));
    bot.add_subscription(UserId(1), "expired", Some(days(300)));
    bot.add_subscription(UserId(1), "active", Some(days(9)));
    fixture.insert(&bot).await;

    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &[change], now())
            .await
            .expect("the change is applied"),
        [AccountId(1)]
    );
    let row = bot.subscription(SubscriptionId(1));
    (row.end_date, row.updated_at) = (Some(days(20)), Some(now()));
    assert_eq!(fixture.rows().await, bot);
}

/// A conflict does not hinder the other changes of the call.
pub async fn a_conflict_does_not_hinder_the_others(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    for number in 1..=5 {
        let user = bot.add_user(number);
        bot.add_subscription(user, "active", Some(days(10)));
        bot.add_vpn_config(user, &format!("user{number}"));
    }
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut changes: Vec<Change> = accounts(&*store, 10).await.iter().map(Change::of).collect();
    for change in &mut changes {
        change.vpn_config.traffic_used = Some(9);
        change.subscription.status = Some(SubscriptionStatus::Expired);
    }
    bot.vpn_config(AccountId(2)).traffic_used = Some(1_001);
    bot.subscription(SubscriptionId(4)).end_date = Some(days(40));
    fixture.insert(&bot).await;

    let mut applied = store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .expect("changes are applied");
    applied.sort_unstable();
    assert_eq!(applied, [1, 3, 5].map(AccountId));
    for id in [1, 3, 5] {
        let row = bot.vpn_config(AccountId(id));
        (row.traffic_used, row.updated_at) = (Some(9), Some(now()));
        let row = bot.subscription(SubscriptionId(id));
        (row.status, row.updated_at) = (SubscriptionStatus::Expired, Some(now()));
    }
    assert_eq!(fixture.rows().await, bot);
}

/// A change that is applied again finds its values stale, and is a conflict.
pub async fn a_change_is_applied_once(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let store = fixture.store();
    for change in one_of_each_kind(fixture).await {
        let mut change = change;
        change.account = account(&*store, AccountId(1)).await;
        let change = [change];
        assert_eq!(
            store
                .apply(DEFAULT_PANEL, None, &change, now())
                .await
                .expect("the change is applied"),
            [AccountId(1)]
        );
        let [change] = change;
        assert_conflict(fixture, &fixture.rows().await, &change).await;
    }
}

/// Of two calls at once with the same change one is applied and one is a conflict.
pub async fn of_two_at_once_one_wins(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let (store, other) = (fixture.store(), fixture.store());
    for round in 0..20 {
        let mut change = Change::of(&account(&*store, AccountId(1)).await);
        change.vpn_config.traffic_used = Some(2_000 + round);
        change.subscription.end_date = Some(EndDate::At(days(20 + round)));
        let change = [change];
        let mut one = pin!(store.apply(DEFAULT_PANEL, None, &change, now()));
        let mut two = pin!(other.apply(DEFAULT_PANEL, None, &change, now()));
        let (mut first, mut second) = (None, None);
        poll_fn(|context| {
            if first.is_none()
                && let Poll::Ready(applied) = one.as_mut().poll(context)
            {
                first = Some(applied);
            }
            if second.is_none()
                && let Poll::Ready(applied) = two.as_mut().poll(context)
            {
                second = Some(applied);
            }
            if first.is_some() && second.is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let applied =
            [first, second].map(|applied| applied.expect("both have ended").expect("neither fails").len());
        assert_eq!(applied.iter().sum::<usize>(), 1, "round {round}: {applied:?}");
    }
}

/// A change of an account that is not there is a conflict.
pub async fn a_row_that_is_gone_is_a_conflict(fixture: &dyn Fixture) {
    let bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let mut gone = account(&*fixture.store(), AccountId(1)).await;
    gone.id = AccountId(77);
    let mut change = Change::of(&gone);
    change.vpn_config.traffic_used = Some(9);
    assert_conflict(fixture, &bot, &change).await;
}

/// A change of the subscription of an account that has none has no row to go to, and is a conflict as a whole.
pub async fn a_change_of_no_subscription_is_a_conflict(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    bot.subscriptions.clear();
    fixture.insert(&bot).await;
    let mut change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
    change.vpn_config.is_active = Some(false);
    change.subscription.status = Some(SubscriptionStatus::Expired);
    assert_conflict(fixture, &bot, &change).await;
}

/// A change of traffic alone, and three that depend on the subscription.
async fn one_of_each_kind(fixture: &dyn Fixture) -> Vec<Change> {
    let change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
    let [mut traffic, mut access, mut status, mut end_date] = [(); 4].map(|()| change.clone());
    traffic.vpn_config.traffic_used = Some(2_000);
    access.vpn_config.is_active = Some(false);
    status.subscription.status = Some(SubscriptionStatus::Expired);
    end_date.subscription.end_date = Some(EndDate::Never);
    vec![traffic, access, status, end_date]
}

async fn assert_only_traffic_is_written(fixture: &dyn Fixture, mut bot: Bot, changes: Vec<Change>) {
    fixture.insert(&bot).await;
    let (traffic, dependent) = changes.split_first().expect("a change of each kind");
    for change in dependent {
        assert_conflict(fixture, &bot, change).await;
    }
    let applied = fixture
        .store()
        .apply(DEFAULT_PANEL, None, std::slice::from_ref(traffic), now())
        .await
        .expect("the change is applied");
    assert_eq!(applied, [AccountId(1)]);
    let row = bot.vpn_config(AccountId(1));
    (row.traffic_used, row.updated_at) = (Some(2_000), Some(now()));
    assert_eq!(fixture.rows().await, bot);
}

/// The change is a conflict, and all rows stay as they are.
async fn assert_conflict(fixture: &dyn Fixture, rows: &Bot, change: &Change) {
    let applied = fixture
        .store()
        .apply(DEFAULT_PANEL, None, std::slice::from_ref(change), now())
        .await
        .expect("a conflict is no error");
    assert_eq!(applied, [], "{change}");
    assert_eq!(fixture.rows().await, *rows, "{change}");
}
