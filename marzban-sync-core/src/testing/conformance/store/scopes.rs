//! Which accounts are in which scope.

use crate::store::DEFAULT_PANEL;
use chrono::TimeDelta;

use super::{Bot, Fixture, accounts, days, ids, now};
use crate::store::Scope;

/// `All` is every account, whatever its subscription, or none.
pub async fn scope_all_is_every_account(fixture: &dyn Fixture) {
    let expected = of_every_status(fixture).await;
    let all: Vec<_> = expected.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids(&accounts(&*fixture.store(), Scope::All, 3).await), all);
}

/// `Subscribed` is every account whose governing subscription is `active`, `trial` or `expired`, whenever it ends.
pub async fn scope_subscribed_is_active_trial_and_expired(fixture: &dyn Fixture) {
    let mut expected = of_every_status(fixture).await;
    expected.retain(|(_, status)| matches!(*status, Some("active" | "trial" | "expired")));
    let subscribed: Vec<_> = expected.iter().map(|(id, _)| *id).collect();
    assert_eq!(
        ids(&accounts(&*fixture.store(), Scope::Subscribed, 3).await),
        subscribed
    );
}

/// `Subscribed` looks at the governing subscription alone.
pub async fn scope_subscribed_looks_at_the_governing_subscription(fixture: &dyn Fixture) {
    let mut bot = Bot::default();
    let cancelled_later = bot.add_user(1);
    bot.add_vpn_config(cancelled_later, "cancelled later");
    bot.add_subscription(cancelled_later, "expired", Some(days(-9)));
    bot.add_subscription(cancelled_later, "cancelled", Some(days(-1)));
    let open = bot.add_user(2);
    let subscribed = bot.add_vpn_config(open, "open");
    bot.add_subscription(open, "active", Some(days(-9)));
    bot.add_subscription(open, "cancelled", Some(days(-1)));
    fixture.insert(&bot).await;

    assert_eq!(
        ids(&accounts(&*fixture.store(), Scope::Subscribed, 10).await),
        [subscribed.0]
    );
}

/// `Ended` is every account of a user all of whose subscriptions are `expired` or `cancelled` and ended before the
/// moment. One that ended exactly then, never ends, is open, pending or of an unknown status keeps them all out,
/// and so does having no subscription at all.
pub async fn scope_ended_is_all_subscriptions_over_before_the_moment(fixture: &dyn Fixture) {
    let before = days(-7);
    let (just, long) = (before - TimeDelta::microseconds(1), days(-100));
    let mut bot = Bot::default();
    let mut expected = Vec::new();
    let cases: [(bool, &[_]); 12] = [
        (true, &[("expired", Some(long))]),
        (true, &[("cancelled", Some(just))]),
        (
            true,
            &[
                ("expired", Some(just)),
                ("cancelled", Some(long)),
                ("expired", Some(long)),
            ],
        ),
        (false, &[("expired", Some(before))]),
        (false, &[("expired", Some(now()))]),
        (false, &[("expired", None)]),
        (false, &[("active", Some(long))]),
        (false, &[("expired", Some(long)), ("trial", Some(long))]),
        (false, &[("expired", Some(long)), ("pending", Some(long))]),
        (false, &[("frozen", Some(long)), ("expired", Some(just))]),
        (false, &[("expired", Some(long)), ("cancelled", Some(days(-6)))]),
        (false, &[]),
    ];
    for (number, (ended, subscriptions)) in (1..).zip(cases) {
        let user = bot.add_user(number);
        for (status, end) in subscriptions {
            bot.add_subscription(user, status, *end);
        }
        let accounts = [0, 1].map(|part| bot.add_vpn_config(user, &format!("user{number}_{part}")).0);
        expected.extend(accounts.into_iter().filter(|_| ended));
    }
    fixture.insert(&bot).await;

    assert_eq!(
        ids(&accounts(&*fixture.store(), Scope::Ended { before }, 2).await),
        expected
    );
}

/// The count of a scope is the number of accounts that its pages hold.
pub async fn the_count_is_what_the_pages_hold(fixture: &dyn Fixture) {
    of_every_status(fixture).await;
    let store = fixture.store();
    for (scope, expected) in [
        (Scope::All, 16),
        (Scope::Subscribed, 6),
        (Scope::Ended { before: now() }, 4),
    ] {
        assert_eq!(
            store
                .count_accounts(DEFAULT_PANEL, scope)
                .await
                .expect("accounts are counted"),
            expected,
            "{scope:?}"
        );
        assert_eq!(
            accounts(&*store, scope, 2).await.len() as u64,
            expected,
            "{scope:?}"
        );
    }
}

/// A reload leaves out the accounts that are not in the scope, or are so no longer.
pub async fn a_reload_keeps_to_the_scope(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let ids_of = [bot.vpn_configs.first().expect("the account is there").id];
    let read = async |scope| {
        store
            .reload_accounts(DEFAULT_PANEL, scope, &ids_of)
            .await
            .expect("accounts are read")
            .len()
    };
    assert_eq!(read(Scope::Subscribed).await, 1);
    assert_eq!(read(Scope::Ended { before: now() }).await, 0);

    for row in &mut bot.subscriptions {
        row.status = "cancelled".into();
        row.end_date = Some(days(-1));
    }
    fixture.insert(&bot).await;
    assert_eq!(read(Scope::Subscribed).await, 0);
    assert_eq!(read(Scope::Ended { before: now() }).await, 1);
    assert_eq!(read(Scope::Ended { before: days(-1) }).await, 0);
    assert_eq!(read(Scope::All).await, 1);
}

/// Two users for each status and for none, with one account each; one of the two ended yesterday.
async fn of_every_status(fixture: &dyn Fixture) -> Vec<(i64, Option<&'static str>)> {
    let statuses = [
        Some("active"),
        Some("trial"),
        Some("expired"),
        Some("cancelled"),
        Some("pending"),
        Some("frozen"),
        None,
    ];
    let mut bot = Bot::default();
    let mut expected = Vec::new();
    for (number, status) in (1..).zip(statuses.into_iter().flat_map(|status| [status, status])) {
        let user = bot.add_user(number);
        if let Some(status) = status {
            bot.add_subscription(user, status, Some(days(if number % 2 == 0 { -1 } else { -100 })));
        }
        expected.push((bot.add_vpn_config(user, &format!("user{number}")).0, status));
    }
    // A capital letter makes another status: it is data of the bot, not a spelling of ours.
    for (number, status) in (100..).zip(["Active", "EXPIRED"]) {
        let user = bot.add_user(number);
        bot.add_subscription(user, status, Some(days(-100)));
        expected.push((bot.add_vpn_config(user, &format!("user{number}")).0, Some(status)));
    }
    fixture.insert(&bot).await;
    expected
}
