//! What an account is, and which subscription governs it.

use crate::store::DEFAULT_PANEL;
use chrono::{DateTime, Utc};

use super::{Bot, Fixture, account, accounts, days, ids};
use crate::account::{Account, AccountId, Subscription, SubscriptionId, SubscriptionStatus, UserId};
use crate::store::Scope;

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

    assert_eq!(ids(&accounts(&*store, Scope::All, 10).await), [named.0, blank.0]);
    assert_eq!(
        store
            .count_accounts(DEFAULT_PANEL, Scope::All)
            .await
            .expect("accounts are counted"),
        2
    );
    let reloaded = store
        .reload_accounts(DEFAULT_PANEL, Scope::All, &[unnamed, null])
        .await
        .expect("accounts are read");
    assert_eq!(
        ids(&reloaded),
        [named.0, blank.0],
        "they belong to a user that has accounts"
    );
}

/// An account is its row, with the telegram id of its user and the user's governing subscription.
pub async fn an_account_carries_its_row_its_user_and_its_subscription(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let _other = bot.add_user(4);
    let user = bot.add_user(9);
    let subscription = bot.add_subscription(user, "trial", Some(days(3)));
    let id = bot.add_vpn_config(user, "alice");
    fixture.insert(&bot).await;

    let expected = Account {
        id,
        user_id: UserId(9),
        telegram_id: Some(7_000_000_009),
        name: "alice".to_owned(),
        is_active: Some(true),
        traffic_used: Some(1_000),
        last_connected_at: Some(days(-2)),
        active_elsewhere: false,
        subscription: Some(Subscription {
            id: subscription,
            status: SubscriptionStatus::Trial,
            end_date: Some(days(3)),
        }),
    };
    assert_eq!(accounts(&*fixture.store(), Scope::All, 1).await, [expected]);
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

/// An `active` or `trial` subscription governs before any other, however late that one ends.
pub async fn an_open_subscription_governs_before_a_later_ended_one(fixture: &dyn Fixture) {
    for_each(
        fixture,
        &[
            (&[("active", Some(days(1))), ("expired", Some(days(300)))], 0),
            (&[("expired", Some(days(300))), ("trial", Some(days(1)))], 1),
            (&[("active", Some(days(-5))), ("cancelled", None)], 0),
            (
                &[("pending", None), ("trial", Some(days(-5))), ("frozen", None)],
                1,
            ),
        ],
    )
    .await;
}

/// `active` and `trial` are one class: among them the latest end governs.
pub async fn active_and_trial_are_one_class(fixture: &dyn Fixture) {
    for_each(
        fixture,
        &[
            (&[("active", Some(days(1))), ("trial", Some(days(2)))], 1),
            (&[("trial", Some(days(1))), ("active", Some(days(2)))], 1),
            (&[("trial", None), ("active", Some(days(2)))], 0),
        ],
    )
    .await;
}

/// Among those of one class the latest end governs, and none is the latest of all.
pub async fn the_latest_end_governs_and_none_is_the_latest(fixture: &dyn Fixture) {
    for_each(
        fixture,
        &[
            (&[("active", Some(days(5))), ("active", Some(days(4)))], 0),
            (&[("active", None), ("active", Some(days(400)))], 0),
            (
                &[
                    ("expired", Some(days(-9))),
                    ("cancelled", Some(days(-8))),
                    ("pending", Some(days(-10))),
                ],
                1,
            ),
            (&[("expired", None), ("expired", Some(days(1)))], 0),
        ],
    )
    .await;
}

/// Where class and end are the same, the highest id governs.
pub async fn the_highest_id_breaks_a_tie(fixture: &dyn Fixture) {
    for_each(
        fixture,
        &[
            (&[("active", Some(days(5))), ("trial", Some(days(5)))], 1),
            (
                &[("active", None), ("active", None), ("active", Some(days(5)))],
                1,
            ),
            (&[("expired", Some(days(5))), ("cancelled", Some(days(5)))], 1),
        ],
    )
    .await;
}

/// The subscriptions of one user, and which of them governs.
type Case<'a> = (&'a [(&'a str, Option<DateTime<Utc>>)], usize);

async fn for_each(fixture: &dyn Fixture, cases: &[Case<'_>]) {
    let mut bot = Bot::default();
    let mut expected: Vec<(AccountId, SubscriptionId)> = Vec::new();
    for (number, (subscriptions, governing)) in (1..).zip(cases) {
        let user = bot.add_user(number);
        let account = bot.add_vpn_config(user, &format!("user{number}"));
        let ids: Vec<_> = subscriptions
            .iter()
            .map(|(status, end)| bot.add_subscription(user, status, *end))
            .collect();
        expected.push((
            account,
            *ids.get(*governing)
                .expect("the case names one of its subscriptions"),
        ));
    }
    fixture.insert(&bot).await;

    let governing: Vec<_> = accounts(&*fixture.store(), Scope::All, 100)
        .await
        .into_iter()
        .map(|account| {
            (
                account.id,
                account.subscription.expect("every user has subscriptions").id,
            )
        })
        .collect();
    assert_eq!(governing, expected);
}
