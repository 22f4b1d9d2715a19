//! What an account is.

use super::{Bot, Fixture, account, accounts, days, ids, now};
use crate::model::account::{Account, Elsewhere, Subscription, SubscriptionStatus, UserId};
use crate::model::agreement::Agreement;
use crate::port::accounts::DEFAULT_PANEL;

/// Rows of `vpn_configs` whose name is null or empty are never seen.
pub async fn only_rows_with_a_name_are_accounts(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let user = bot.add_user(1);
    let named = bot.add_vpn_config(user, "alice");
    let unnamed = bot.add_vpn_config(user, "");
    let null = bot.add_vpn_config(user, "to be null");
    bot.vpn_config(null).marzban_user_id = None;
    let blank = bot.add_vpn_config(user, " ");
    fixture.insert(&bot).await;
    let store = fixture.store();

    assert_eq!(ids(&accounts(&*store, 10).await), [named.0, blank.0]);
    assert_eq!(
        store
            .count_accounts(DEFAULT_PANEL)
            .await
            .expect("accounts are counted"),
        2
    );
    let reloaded = store
        .reload_accounts(DEFAULT_PANEL, &[unnamed, null], now())
        .await
        .expect("accounts are read");
    assert_eq!(
        ids(&reloaded),
        [named.0, blank.0],
        "they belong to a user that has accounts"
    );
}

/// An account is its row, with the telegram id of its customer and all that the customer has bought.
pub async fn an_account_carries_its_row_its_user_and_its_subscriptions(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let _other = bot.add_user(4);
    let user = bot.add_user(9);
    let old = bot.add_subscription(user, "cancelled", None);
    let subscription = bot.add_subscription(user, "trial", Some(days(3)));
    let id = bot.add_vpn_config(user, "alice");
    bot.subscription(old).updated_at = None;
    fixture.insert(&bot).await;

    let governing = Subscription {
        id: subscription,
        status: SubscriptionStatus::Trial,
        word: "trial".to_owned(),
        start_date: Some(days(-90)),
        end_date: Some(days(3)),
        updated_at: Some(days(-30)),
        is_named: false,
    };
    let ended = Subscription {
        updated_at: None,
        start_date: Some(days(-90)),
        ..Subscription::new(old, "cancelled", None)
    };
    let expected = Account {
        id,
        user_id: UserId(9),
        telegram_id: Some(7_000_000_009),
        name: "alice".to_owned(),
        is_active: Some(true),
        traffic_used: Some(1_000),
        last_connected_at: Some(days(-2)),
        updated_at: Some(days(-1)),
        subscription: Some(governing),
        other_subscriptions: [ended].into(),
        elsewhere: Elsewhere::default(),
        sharers: [].into(),
        agreement: Agreement::default(),
        revision: 0,
    };
    assert_eq!(accounts(&*fixture.store(), 1).await, [expected]);
}

/// Every account is read, whatever its subscription is, or if there is none; a word that means nothing to the library is
/// kept as it is.
pub async fn every_account_is_read_whatever_its_subscription(fixture: &dyn Fixture) {
    let words = ["active", "trial", "expired", "cancelled", "pending", "frozen"];
    let mut bot = Bot::default();
    for (number, word) in (1..).zip(words.into_iter().chain([""])) {
        let user = bot.add_user(number);
        bot.add_vpn_config(user, &format!("user{number}"));
        if !word.is_empty() {
            bot.add_subscription(user, word, Some(days(-100)));
        }
    }
    fixture.insert(&bot).await;
    let read: Vec<Option<SubscriptionStatus>> = accounts(&*fixture.store(), 3)
        .await
        .into_iter()
        .map(|account| account.subscription.map(|subscription| subscription.status))
        .collect();
    let expected = words.map(|word| Some(SubscriptionStatus::from(word)));
    assert_eq!(read, expected.into_iter().chain([None]).collect::<Vec<_>>());
}

/// A user without a subscription has accounts without one; another user's is never taken for theirs.
pub async fn a_user_without_a_subscription_has_none(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let (without, with) = (bot.add_user(1), bot.add_user(2));
    let id = bot.add_vpn_config(without, "alice");
    bot.add_vpn_config(with, "bob");
    bot.add_subscription(with, "active", None);
    fixture.insert(&bot).await;

    assert_eq!(account(&*fixture.store(), id).await.subscription, None);
}
