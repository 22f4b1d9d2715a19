//! How accounts are paged through and read again.

use super::{Bot, Fixture, account, accounts, days, ids, now, pages};
use crate::model::account::{AccountId, UserId};
use crate::port::accounts::{Cursor, DEFAULT_PANEL, Page};
use crate::port::error::StoreErrorKind;

/// A store without accounts has one page, which is empty and the last.
pub async fn nothing_is_one_empty_page(fixture: &dyn Fixture) {
    let store = fixture.store();
    let page = store.page_accounts(DEFAULT_PANEL, None, 10, now()).await;
    let empty = Page {
        accounts: Vec::new(),
        next: None,
    };
    assert_eq!(page.expect("the page is read"), empty);
    let count = store.count_accounts(DEFAULT_PANEL).await;
    assert_eq!(count.expect("accounts are counted"), 0);
    for ids in [&[][..], &[AccountId(1)]] {
        let accounts = store.reload_accounts(DEFAULT_PANEL, ids, now()).await;
        assert_eq!(accounts.expect("accounts are read"), []);
    }
}

/// A page of no users could never move on, and is refused as `Invalid`.
pub async fn a_page_of_no_users_is_refused(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let error = fixture
        .store()
        .page_accounts(DEFAULT_PANEL, None, 0, now())
        .await
        .expect_err("the page is refused");
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}

/// The count is the number of accounts that the pages hold.
pub async fn the_count_is_what_the_pages_hold(fixture: &dyn Fixture) {
    let mut bot = interleaved();
    let user = bot.add_user(60);
    bot.add_vpn_config(user, "without a subscription");
    fixture.insert(&bot).await;
    let store = fixture.store();
    let count = store.count_accounts(DEFAULT_PANEL).await;
    assert_eq!(count.expect("accounts are counted"), 9);
    assert_eq!(accounts(&*store, 2).await.len(), 9);
}

/// Pages of any size together hold every account once, in one order: users by their lowest account, the accounts
/// of a user by id.
pub async fn pages_of_every_size_are_ordered_complete_and_without_repeats(fixture: &dyn Fixture) {
    fixture.insert(&interleaved()).await;
    let store = fixture.store();
    for limit in 1..=USERS + 1 {
        let all = accounts(&*store, limit).await;
        assert_eq!(ids(&all), INTERLEAVED, "pages of {limit}");
    }
}

/// A page holds as many users as was asked for, with all their accounts, and only the last holds fewer; none is
/// empty.
pub async fn a_page_holds_whole_users(fixture: &dyn Fixture) {
    fixture.insert(&interleaved()).await;
    let store = fixture.store();
    let users_of = |page: &Vec<crate::model::account::Account>| {
        let mut users: Vec<UserId> = page.iter().map(|account| account.user_id).collect();
        users.dedup();
        users.len()
    };
    for (limit, expected) in [
        (1, vec![1, 1, 1, 1, 1]),
        (2, vec![2, 2, 1]),
        (3, vec![3, 2]),
        (5, vec![5]),
        (9, vec![5]),
    ] {
        let pages = pages(&*store, limit).await;
        assert_eq!(
            pages.iter().map(users_of).collect::<Vec<_>>(),
            expected,
            "pages of {limit}"
        );
    }
}

/// A cursor is the lowest account of the last user of its page.
pub async fn the_cursor_is_the_lowest_account_of_the_last_user(fixture: &dyn Fixture) {
    fixture.insert(&interleaved()).await;
    let store = fixture.store();
    for (limit, accounts, lowest) in [(1, vec![1, 4, 6], 1), (2, vec![1, 4, 6, 2], 2)] {
        let page = store.page_accounts(DEFAULT_PANEL, None, limit, now()).await;
        let page = page.expect("the page is read");
        assert_eq!(ids(&page.accounts), accounts);
        assert_eq!(page.next, Some(Cursor(AccountId(lowest))), "a page of {limit}");
    }
}

/// Rows that are inserted while pages are read repeat and hide nothing that was there before.
pub async fn rows_inserted_meanwhile_repeat_and_hide_nothing(fixture: &dyn Fixture) {
    let mut bot = interleaved();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut seen = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = store
            .page_accounts(DEFAULT_PANEL, after, 1, now())
            .await
            .expect("the page is read");
        seen.extend(ids(&page.accounts));
        after = page.next;
        if after.is_none() {
            break;
        }
        if round < 3 {
            // An account of a user that was passed already, and one of a new user.
            let new_user = bot.add_user(100 + round);
            bot.add_vpn_config(new_user, &format!("new{round}"));
            bot.add_vpn_config(UserId(3), &format!("again{round}"));
            fixture.insert(&bot).await;
        }
    }
    let mut before: Vec<i64> = seen
        .iter()
        .copied()
        .filter(|id| INTERLEAVED.contains(id))
        .collect();
    assert_eq!(before, INTERLEAVED);
    before.clone_from(&seen);
    before.sort_unstable();
    before.dedup();
    assert_eq!(before.len(), seen.len(), "no account is read twice: {seen:?}");
    for row in bot
        .vpn_configs
        .iter()
        .filter(|row| !INTERLEAVED.contains(&row.id.0))
    {
        let is_ahead = row.user_id != UserId(3);
        assert_eq!(
            seen.contains(&row.id.0),
            is_ahead,
            "account {} of user {}",
            row.id,
            row.user_id
        );
    }
}

/// A reload reads all accounts of the users of the given accounts, each once, in the order of the pages.
pub async fn a_reload_reads_whole_users_in_order(fixture: &dyn Fixture) {
    fixture.insert(&interleaved()).await;
    let store = fixture.store();
    let reload = async |wanted: &[i64]| {
        let wanted: Vec<_> = wanted.iter().copied().map(AccountId).collect();
        ids(&store
            .reload_accounts(DEFAULT_PANEL, &wanted, now())
            .await
            .expect("accounts are read"))
    };
    assert_eq!(reload(&[6]).await, [1, 4, 6]);
    assert_eq!(reload(&[8, 4, 999, 1, 4]).await, [1, 4, 6, 5, 8]);
    let every = ids(&accounts(&*store, 100).await);
    assert_eq!(reload(&every).await, INTERLEAVED);
}

/// A reload gives the values of now, not those of an earlier read.
pub async fn a_reload_gives_current_values(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let id = AccountId(1);
    let first = account(&*store, id).await;

    let row = bot.vpn_config(id);
    row.marzban_user_id = Some("alice2".to_owned());
    row.is_active = Some(false);
    row.traffic_used = Some(5);
    row.last_connected_at = None;
    let user = row.user_id;
    let newest = bot.add_subscription(user, "active", None);
    fixture.insert(&bot).await;

    let second = account(&*store, id).await;
    assert_eq!(first.name, "alice");
    assert_eq!(second.name, "alice2");
    assert_eq!(
        (second.is_active, second.traffic_used, second.last_connected_at),
        (Some(false), Some(5), None)
    );
    assert_eq!(
        second.subscription.map(|subscription| subscription.id),
        Some(newest)
    );
}

/// How many users [`interleaved`] has.
const USERS: u32 = 5;
/// The accounts of [`interleaved`] in the order of the pages.
const INTERLEAVED: [i64; 8] = [1, 4, 6, 2, 3, 5, 8, 7];

/// Five users whose accounts and ids are in no order; the first row of user 40 has no name, and so counts nowhere.
fn interleaved() -> Bot {
    let mut bot = Bot::default();
    for user in [50, 40, 30, 20, 3] {
        let user = bot.add_user(user);
        bot.add_subscription(user, "active", Some(days(user.0)));
        bot.add_subscription(user, "expired", Some(days(-user.0)));
    }
    for (number, user) in (1..).zip([3, 50, 30, 3, 20, 3, 40, 20]) {
        bot.add_vpn_config(UserId(user), &format!("name{number}"));
    }
    bot
}
