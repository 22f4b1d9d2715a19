//! What is written, and what is not.

use crate::port::accounts::DEFAULT_PANEL;
use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Waker};

use super::{Bot, Fixture, account, accounts, days, is_applied, now, written};
use crate::model::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::end_date::EndDate;
use crate::model::plan::Change;

/// A change writes the columns that it names and their `updated_at`, and nothing else of any row.
pub async fn a_change_writes_what_it_names_and_nothing_else(fixture: &dyn Fixture) {
    let mut bot = three_users();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let (id, subscription) = (AccountId(2), SubscriptionId(2));
    let edits: [Edit; 6] = [
        (
            |change| change.vpn_config.is_active = Some(false),
            |bot| bot.vpn_config(AccountId(2)).is_active = Some(false),
        ),
        (
            |change| change.vpn_config.traffic_used = Some(7),
            |bot| bot.vpn_config(AccountId(2)).traffic_used = Some(7),
        ),
        (
            |change| change.vpn_config.last_connected_at = Some(days(-1)),
            |bot| bot.vpn_config(AccountId(2)).last_connected_at = Some(days(-1)),
        ),
        (
            |change| change.subscription.status = Some(SubscriptionStatus::Expired),
            |bot| bot.subscription(SubscriptionId(2)).status = SubscriptionStatus::Expired,
        ),
        (
            |change| change.subscription.end_date = Some(EndDate::At(days(-3))),
            |bot| bot.subscription(SubscriptionId(2)).end_date = Some(days(-3)),
        ),
        (
            |change| change.subscription.end_date = Some(EndDate::Never),
            |bot| bot.subscription(SubscriptionId(2)).end_date = None,
        ),
    ];
    for (minute, (edit, expect)) in (1..).zip(edits) {
        let at = now() + chrono::TimeDelta::minutes(minute);
        let mut change = Change::of(&account(&*store, id).await);
        edit(&mut change);
        expect(&mut bot);
        if !change.vpn_config.is_empty() {
            bot.vpn_config(id).updated_at = Some(at);
        }
        if !change.subscription.is_empty() {
            bot.subscription(subscription).updated_at = Some(at);
        }
        assert_eq!(
            store
                .apply(DEFAULT_PANEL, None, std::slice::from_ref(&change), at)
                .await
                .expect("it is applied"),
            [id]
        );
        assert_eq!(fixture.rows().await, bot, "after {change}");
    }
}

/// One change writes the VPN config and the subscription together.
pub async fn a_change_writes_both_rows_together(fixture: &dyn Fixture) {
    let mut bot = three_users();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let id = AccountId(2);
    let mut change = Change::of(&account(&*store, id).await);
    change.vpn_config.is_active = Some(false);
    change.vpn_config.traffic_used = Some(7);
    change.subscription.status = Some(SubscriptionStatus::Expired);
    change.subscription.end_date = Some(EndDate::At(days(-3)));

    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, std::slice::from_ref(&change), now())
            .await
            .expect("it is applied"),
        [id]
    );
    assert_eq!(account(&*store, id).await, written(&change));
    let row = bot.vpn_config(id);
    (row.is_active, row.traffic_used, row.updated_at) = (Some(false), Some(7), Some(now()));
    let row = bot.subscription(SubscriptionId(2));
    (row.status, row.end_date, row.updated_at) = (SubscriptionStatus::Expired, Some(days(-3)), Some(now()));
    assert_eq!(fixture.rows().await, bot);
}

/// Further subscriptions of the customer that are over expire together with the account's own.
pub async fn what_is_over_expires_with_it(fixture: &dyn Fixture) {
    let mut bot = three_users();
    let over = [
        bot.add_subscription(UserId(2), "trial", Some(days(-1))),
        bot.add_subscription(UserId(2), "active", Some(days(-9))),
    ];
    bot.add_subscription(UserId(2), "cancelled", Some(days(-9)));
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut change = Change::of(&account(&*store, AccountId(2)).await);
    change.subscription.status = Some(SubscriptionStatus::Expired);
    let others = change.account.other_subscriptions.iter();
    change.also_expired = others.filter(|one| over.contains(&one.id)).cloned().collect();
    assert_eq!(change.also_expired.len(), 2);
    assert!(is_applied(&*store, None, &change).await);
    for id in [SubscriptionId(2)].into_iter().chain(over) {
        let row = bot.subscription(id);
        (row.status, row.updated_at) = (SubscriptionStatus::Expired, Some(now()));
    }
    assert_eq!(fixture.rows().await, bot);
}

/// Nothing to do is done, and writes nothing.
pub async fn no_changes_write_nothing(fixture: &dyn Fixture) {
    let bot = three_users();
    fixture.insert(&bot).await;
    let store = fixture.store();
    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &[], now())
            .await
            .expect("nothing is applied"),
        []
    );
    let empty = Change::of(&account(&*store, AccountId(1)).await);
    store
        .apply(DEFAULT_PANEL, None, &[empty], now())
        .await
        .expect("nothing is applied");
    assert_eq!(fixture.rows().await, bot);
}

/// The accounts of one user share a subscription; changes of them in one call are no conflict to each other.
pub async fn accounts_of_one_user_change_in_one_call(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    bot.add_vpn_config(UserId(1), "alice_2");
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut changes: Vec<Change> = accounts(&*store, 10).await.iter().map(Change::of).collect();
    for change in &mut changes {
        change.vpn_config.is_active = Some(false);
    }
    let first = changes.first_mut().expect("there are two accounts");
    first.subscription.status = Some(SubscriptionStatus::Expired);

    let applied: BTreeSet<_> = store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .expect("changes are applied")
        .into_iter()
        .collect();
    assert_eq!(applied, BTreeSet::from([AccountId(1), AccountId(2)]));
    for row in &mut bot.vpn_configs {
        (row.is_active, row.updated_at) = (Some(false), Some(now()));
    }
    let row = bot.subscription(SubscriptionId(1));
    (row.status, row.updated_at) = (SubscriptionStatus::Expired, Some(now()));
    assert_eq!(fixture.rows().await, bot);
}

/// Ten thousand changes are applied in one call, each to its own row.
pub async fn ten_thousand_changes_are_applied_at_once(fixture: &dyn Fixture) {
    const MANY: i64 = 10_000;
    let mut bot = Bot::default();
    for number in 1..=MANY {
        let user = bot.add_user(number);
        bot.add_subscription(user, "active", Some(days(1)));
        bot.add_vpn_config(user, &format!("user{number}"));
    }
    fixture.insert(&bot).await;
    let store = fixture.store();
    let read = accounts(&*store, 1_000).await;
    let changes: Vec<Change> = read
        .iter()
        .map(|account| {
            let mut change = Change::of(account);
            change.vpn_config.traffic_used = Some(1_000_000 + account.id.0);
            change.subscription.end_date = Some(EndDate::At(days(1 + account.id.0)));
            change
        })
        .collect();
    let applied: BTreeSet<_> = store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .expect("changes are applied")
        .into_iter()
        .collect();
    assert_eq!(applied.len(), bot.vpn_configs.len());

    for row in &mut bot.vpn_configs {
        (row.traffic_used, row.updated_at) = (Some(1_000_000 + row.id.0), Some(now()));
    }
    for row in &mut bot.subscriptions {
        (row.end_date, row.updated_at) = (Some(days(1 + row.id.0)), Some(now()));
    }
    assert!(fixture.rows().await == bot, "every row holds its own new values");
}

/// A call that is dropped half way leaves every change written whole or not at all.
pub async fn a_dropped_call_leaves_no_half_change(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    for number in 1..=200 {
        let user = bot.add_user(number);
        bot.add_subscription(user, "active", Some(days(1)));
        bot.add_vpn_config(user, &format!("user{number}"));
    }
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut changes: Vec<Change> = accounts(&*store, 1_000).await.iter().map(Change::of).collect();
    for change in &mut changes {
        change.vpn_config.is_active = Some(false);
        change.subscription.status = Some(SubscriptionStatus::Expired);
    }
    {
        let mut call = pin!(store.apply(DEFAULT_PANEL, None, &changes, now()));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let rows = fixture.rows().await;
    assert_eq!(rows.vpn_configs.len(), 200);
    for (vpn_config, subscription) in rows.vpn_configs.iter().zip(&rows.subscriptions) {
        let written = subscription.status == SubscriptionStatus::Expired;
        assert_eq!(vpn_config.is_active, Some(!written), "account {}", vpn_config.id);
    }
    // The store is of use still, and the same changes end where they would have ended.
    store
        .apply(DEFAULT_PANEL, None, &changes, now())
        .await
        .expect("changes are applied");
    let rows = fixture.rows().await;
    assert!(rows.vpn_configs.iter().all(|row| row.is_active == Some(false)));
    assert!(
        rows.subscriptions
            .iter()
            .all(|row| row.status == SubscriptionStatus::Expired)
    );
}

/// What is done to a change, and what that is expected to do to the rows.
type Edit = (fn(&mut Change), fn(&mut Bot));

/// Three users with an open subscription and an account each, and one with an ended subscription and no account.
fn three_users() -> Bot {
    let mut bot = Bot::default();
    for (id, name) in (1..).zip(["alice", "bob", "carol"]) {
        let user = bot.add_user(id);
        bot.add_subscription(user, "active", Some(days(10)));
        bot.add_vpn_config(user, name);
    }
    let user = bot.add_user(4);
    bot.add_subscription(user, "expired", Some(days(-10)));
    bot
}
