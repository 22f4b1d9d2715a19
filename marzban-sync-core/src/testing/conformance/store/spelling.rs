//! Statuses are compared without regard to case, and written back in the spelling found.
//!
//! A bot's ORM may store the names of its enumeration, `ACTIVE`, where another stores its values, `active`.

use super::{Bot, Fixture, account, accounts, days, is_applied, now, written};
use crate::adapter::memory::MemorySubscription;
use crate::model::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::plan::Change;

/// A known word is known in every spelling, also where it decides which subscription governs, and the account says how
/// the bot spells it.
pub async fn words_are_read_without_regard_to_case(fixture: &dyn Fixture) {
    if !fixture.keeps_spelling() {
        return;
    }
    let mut bot = Bot::default();
    let words = ["ACTIVE", "Trial", "eXPIRED", "Cancelled", "PENDING", "FROZEN"];
    for (number, word) in (1..).zip(words) {
        let user = bot.add_user(number);
        bot.add_vpn_config(user, &format!("user{number}"));
        bot.add_subscription(user, word, Some(days(1)));
    }
    let user = bot.add_user(100);
    let last = bot.add_vpn_config(user, "two");
    let open = bot.add_subscription(user, "Active", Some(days(-1)));
    bot.add_subscription(user, "expired", Some(days(300)));
    bot.add_subscription(user, "Pending", None);
    fixture.insert(&bot).await;

    let store = fixture.store();
    let read = accounts(&*store, 10).await;
    for (account, word) in read.iter().zip(words) {
        let subscription = account.subscription.as_ref().expect("every user has one");
        assert_eq!(subscription.status, SubscriptionStatus::from(word));
        assert_eq!(subscription.word, word);
    }
    let governing = account(&*store, last).await.subscription;
    assert_eq!(governing.map(|one| one.id), Some(open));
}

/// A new status is spelled as the row spells the old one.
pub async fn a_status_is_written_in_the_bots_spelling(fixture: &dyn Fixture) {
    if !fixture.keeps_spelling() {
        return;
    }
    for (old, new, expected) in [
        ("ACTIVE", SubscriptionStatus::Expired, "EXPIRED"),
        ("Trial", SubscriptionStatus::Expired, "Expired"),
        ("EXPIRED", SubscriptionStatus::Trial, "TRIAL"),
        ("expired", SubscriptionStatus::Active, "active"),
    ] {
        let mut bot = Bot::with_one_account();
        bot.subscription(SubscriptionId(1)).status = MemorySubscription::spelled(old);
        let beside = bot.add_subscription(UserId(1), "TRIAL", Some(days(-3)));
        bot.subscription(beside).start_date = Some(days(20));
        bot.vpn_config(AccountId(1)).subscription_id = Some(SubscriptionId(1));
        fixture.insert(&bot).await;
        let store = fixture.store();
        let mut change = Change::of(&account(&*store, AccountId(1)).await);
        change.subscription.status = Some(new);
        change.also_expired = change.account.other_subscriptions.to_vec();
        assert!(is_applied(&*store, None, &change).await, "{change}");

        for (id, word) in [(SubscriptionId(1), expected), (beside, "EXPIRED")] {
            let row = bot.subscription(id);
            (row.status, row.updated_at) = (MemorySubscription::spelled(word), Some(now()));
        }
        assert_eq!(fixture.rows().await, bot, "{change}");
        let read = account(&*store, AccountId(1)).await;
        assert_eq!(read.subscription, written(&change).subscription);
    }
}

/// A row that spells its status otherwise by now was written by somebody, and is a conflict.
pub async fn another_spelling_is_a_conflict(fixture: &dyn Fixture) {
    if !fixture.keeps_spelling() {
        return;
    }
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.subscription.status = Some(SubscriptionStatus::Expired);
    bot.subscription(SubscriptionId(1)).status = MemorySubscription::spelled("ACTIVE");
    fixture.insert(&bot).await;
    assert!(!is_applied(&*store, None, &change).await);
    assert_eq!(fixture.rows().await, bot);
}
