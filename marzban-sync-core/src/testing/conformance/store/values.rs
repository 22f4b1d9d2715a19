//! Which values survive, and as what.

use crate::port::accounts::DEFAULT_PANEL;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Bot, Fixture, account, accounts, now, written};
use crate::model::account::AccountId;
use crate::model::end_date::EndDate;
use crate::model::plan::Change;

/// A name is any text of up to 255 characters: it is read, compared, and unlinked exactly.
pub async fn any_name_survives(fixture: &dyn Fixture) {
    let long = "я".repeat(255);
    let names = [
        "Ünïcødé-имя-名前-🦀",
        &long,
        "O'Brien",
        "double\"quote",
        "back\\slash\\n",
        "new\nline",
        "100%_%s",
        "$1; -- {}?",
        "{\"a\",NULL}",
        "NULL",
        " padded ",
        "Alice",
        "alice",
    ];
    let mut bot = Bot::default();
    for (number, name) in (1..).zip(names) {
        let user = bot.add_user(number);
        bot.add_vpn_config(user, name);
    }
    fixture.insert(&bot).await;
    let store = fixture.store();

    let read = accounts(&*store, 5).await;
    assert_eq!(
        read.iter()
            .map(|account| account.name.as_str())
            .collect::<Vec<_>>(),
        names
    );

    let changes: Vec<Change> = read
        .iter()
        .map(|account| {
            let mut change = Change::of(account);
            change.vpn_config.traffic_used = Some(2_000);
            change
        })
        .collect();
    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &changes, now())
            .await
            .expect("changes are applied")
            .len(),
        names.len()
    );
    for account in &read {
        let unlinked = store
            .unlink(DEFAULT_PANEL, None, account, now())
            .await
            .expect("the account is unlinked");
        assert!(unlinked, "{:?}", account.name);
    }
}

/// Times survive to the microsecond, as UTC, far away and before the epoch; what is finer is cut off.
pub async fn times_survive_to_the_microsecond(fixture: &dyn Fixture) {
    let times = [
        now(),
        now() + TimeDelta::microseconds(1),
        now() + TimeDelta::milliseconds(500),
        now() + TimeDelta::microseconds(999_999),
        DateTime::UNIX_EPOCH - TimeDelta::microseconds(1),
        DateTime::UNIX_EPOCH,
        DateTime::UNIX_EPOCH + TimeDelta::days(365 * 1_000),
    ];
    fixture.insert(&Bot::with_one_account()).await;
    let store = fixture.store();
    let id = AccountId(1);
    for time in times {
        let before = account(&*store, id).await;
        let mut change = Change::of(&before);
        change.vpn_config.last_connected_at = Some(time + TimeDelta::nanoseconds(999));
        change.subscription.end_date = Some(EndDate::At(time + TimeDelta::nanoseconds(999)));
        let applied = store
            .apply(DEFAULT_PANEL, None, std::slice::from_ref(&change), time)
            .await
            .expect("the change is applied");
        assert_eq!(applied, [id], "{time}");

        let after = account(&*store, id).await;
        assert_eq!(after.last_connected_at, Some(time));
        assert_eq!(
            after.subscription.and_then(|subscription| subscription.end_date),
            Some(time)
        );
        assert_eq!(
            updated_at(&fixture.rows().await),
            [Some(time), Some(time)],
            "`updated_at` too"
        );
    }
}

/// Values that were decided on with finer times than a database keeps are not a conflict for that.
pub async fn what_is_finer_than_a_microsecond_is_no_conflict(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let store = fixture.store();
    let id = AccountId(1);
    let fine = now() + TimeDelta::nanoseconds(123_456_789);
    let mut first = Change::of(&account(&*store, id).await);
    first.vpn_config.last_connected_at = Some(fine);
    first.subscription.end_date = Some(EndDate::At(fine));
    let mut second = Change::of(&first.applied());
    second.vpn_config.is_active = Some(false);

    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &[first], now())
            .await
            .expect("the change is applied"),
        [id]
    );
    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, &[second], now())
            .await
            .expect("the change is applied"),
        [id]
    );
}

/// Traffic of nothing and of the largest number survive, both ways.
pub async fn any_traffic_survives(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let store = fixture.store();
    let id = AccountId(1);
    for traffic in [0, i64::MAX, 0, 1, 5_000_000_000] {
        let mut change = Change::of(&account(&*store, id).await);
        change.vpn_config.traffic_used = Some(traffic);
        assert_eq!(
            store
                .apply(DEFAULT_PANEL, None, &[change], now())
                .await
                .expect("the change is applied"),
            [id]
        );
        assert_eq!(account(&*store, id).await.traffic_used, Some(traffic));
    }
}

/// Columns that are null are none, compare as null, and can be given a value.
pub async fn nulls_are_none_and_can_be_filled(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    let id = AccountId(1);
    let row = bot.vpn_config(id);
    (
        row.is_active,
        row.traffic_used,
        row.last_connected_at,
        row.updated_at,
    ) = (None, None, None, None);
    for row in &mut bot.subscriptions {
        (row.start_date, row.end_date, row.updated_at) = (None, None, None);
    }
    fixture.insert(&bot).await;
    let store = fixture.store();
    assert_eq!(fixture.rows().await, bot, "the fixture keeps nulls");

    let before = account(&*store, id).await;
    assert_eq!(
        (before.is_active, before.traffic_used, before.last_connected_at),
        (None, None, None)
    );
    assert_eq!(
        before
            .subscription
            .as_ref()
            .and_then(|subscription| subscription.end_date),
        None
    );

    let mut change = Change::of(&before);
    change.vpn_config.is_active = Some(true);
    change.vpn_config.traffic_used = Some(0);
    change.vpn_config.last_connected_at = Some(now());
    change.subscription.end_date = Some(EndDate::At(now()));
    assert_eq!(
        store
            .apply(DEFAULT_PANEL, None, std::slice::from_ref(&change), now())
            .await
            .expect("it is applied"),
        [id]
    );
    assert_eq!(account(&*store, id).await, written(&change));
}

fn updated_at(bot: &Bot) -> Vec<Option<DateTime<Utc>>> {
    let vpn_configs = bot.vpn_configs.iter().map(|row| row.updated_at);
    vpn_configs
        .chain(bot.subscriptions.iter().map(|row| row.updated_at))
        .collect()
}
