//! Which of a customer's subscriptions governs an account.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Bot, Fixture, accounts, days};
use crate::model::account::{AccountId, SubscriptionId};

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

    let governing: Vec<_> = accounts(&*fixture.store(), 100)
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

/// A subscription that begins later than a day from now governs only where no other is open: who has paid in advance has
/// that time too when it begins. One without a beginning has begun.
pub async fn what_has_not_begun_governs_only_alone(fixture: &dyn Fixture) {
    let (soon, later) = (days(1), days(1) + TimeDelta::microseconds(1));
    let running = ("active", Some(days(-25)), Some(days(5)));
    let prepaid = |start_date| ("active", Some(start_date), Some(days(35)));
    for_each_begun(
        fixture,
        &[
            (&[running, prepaid(days(5))], 0),
            (&[prepaid(later), running], 1),
            (&[running, prepaid(soon)], 1),
            (&[running, ("active", None, Some(days(35)))], 1),
            (&[("trial", Some(days(-9)), Some(days(-1))), prepaid(days(5))], 0),
            (
                &[("expired", Some(days(-30)), Some(days(-1))), prepaid(days(5))],
                1,
            ),
            (&[("cancelled", None, None), prepaid(days(5))], 1),
            (&[prepaid(days(5)), ("active", Some(days(40)), Some(days(70)))], 1),
        ],
    )
    .await;
}

/// A `pending` subscription governs only where there is nothing else: an invoice that nobody pays hides no subscription.
pub async fn what_is_pending_governs_only_alone(fixture: &dyn Fixture) {
    for_each(
        fixture,
        &[
            (&[("expired", Some(days(-9))), ("pending", None)], 0),
            (&[("pending", Some(days(30))), ("cancelled", Some(days(-90)))], 1),
            (&[("pending", Some(days(30))), ("frozen", Some(days(-90)))], 1),
            (&[("pending", Some(days(3))), ("pending", None)], 1),
        ],
    )
    .await;
}

/// An account has the subscription that its `subscription_id` names, if that is one of its customer's, and says of each
/// whether an account names it.
pub async fn an_account_has_the_subscription_that_it_names(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let (user, other) = (bot.add_user(1), bot.add_user(2));
    let router = bot.add_subscription(user, "active", Some(days(30)));
    let phone = bot.add_subscription(user, "active", Some(days(95)));
    let old = bot.add_subscription(user, "expired", Some(days(-5)));
    let foreign = bot.add_subscription(other, "active", None);
    let named = [Some(router), None, Some(old), Some(foreign)];
    for (number, id) in (1..).zip(named) {
        let account = bot.add_vpn_config(user, &format!("login{number}"));
        bot.vpn_config(account).subscription_id = id;
    }
    // A row without a name is no account, and names nothing.
    let nameless = bot.add_vpn_config(user, "");
    bot.vpn_config(nameless).subscription_id = Some(phone);
    fixture.insert(&bot).await;

    let read = accounts(&*fixture.store(), 10).await;
    let own = read
        .iter()
        .map(|account| account.subscription.as_ref().map(|one| one.id));
    assert_eq!(own.collect::<Vec<_>>(), [router, phone, old, phone].map(Some));
    for account in &read {
        let ids = account.other_subscriptions.iter().map(|one| one.id);
        let mut all: Vec<_> = ids
            .chain(account.subscription.as_ref().map(|one| one.id))
            .collect();
        all.sort_unstable();
        assert_eq!(all, [router, phone, old], "{account:?}");
        for subscription in account.subscriptions() {
            let is_named = [router, old].contains(&subscription.id);
            assert_eq!(subscription.is_named, is_named, "{subscription:?}");
        }
    }
}

/// The subscriptions of one user with their beginnings, and which of them governs.
type BegunCase<'a> = (
    &'a [(&'a str, Option<DateTime<Utc>>, Option<DateTime<Utc>>)],
    usize,
);

async fn for_each_begun(fixture: &dyn Fixture, cases: &[BegunCase<'_>]) {
    let mut bot = Bot::default();
    let mut expected = Vec::new();
    for (number, (subscriptions, governing)) in (1..).zip(cases) {
        let user = bot.add_user(number);
        bot.add_vpn_config(user, &format!("user{number}"));
        let mut ids = Vec::new();
        for (status, start_date, end_date) in *subscriptions {
            let id = bot.add_subscription(user, status, *end_date);
            bot.subscription(id).start_date = *start_date;
            ids.push(id);
        }
        expected.push(ids.get(*governing).copied());
    }
    fixture.insert(&bot).await;
    let read = accounts(&*fixture.store(), 100).await;
    let governing = read
        .iter()
        .map(|account| account.subscription.as_ref().map(|one| one.id));
    assert_eq!(governing.collect::<Vec<_>>(), expected);
}
