//! Rows of several customers that name one panel user.

use super::{Bot, Fixture, account, accounts, days, ids, now, pages};
use crate::model::account::{Account, AccountId, SubscriptionId, UserId};
use crate::port::accounts::DEFAULT_PANEL;

/// Two customers whose rows name the same panel user, each with an account of their own besides, and a third.
fn shared() -> Bot {
    let mut bot = Bot::default();
    for (user, name) in [
        (10, "shared"),
        (20, "own20"),
        (30, "own30"),
        (20, "shared"),
        (10, "own10"),
    ] {
        if bot.users.iter().all(|row| row.id != UserId(user)) {
            let id = bot.add_user(user);
            bot.add_subscription(id, "expired", Some(days(-user)));
            bot.add_subscription(id, "active", Some(days(user)));
        }
        bot.add_vpn_config(UserId(user), name);
    }
    bot.vpn_config(AccountId(4)).updated_at = None;
    bot
}

/// Which accounts share the panel user of an account, and with which subscriptions.
fn sharers(account: &Account) -> Vec<(i64, Vec<i64>)> {
    let subscriptions = |subscriptions: &[crate::model::account::Subscription]| {
        let mut ids: Vec<_> = subscriptions.iter().map(|one| one.id.0).collect();
        ids.sort_unstable();
        ids
    };
    let sharers = account.sharers.iter();
    sharers
        .map(|sharer| (sharer.id.0, subscriptions(&sharer.subscriptions)))
        .collect()
}

/// An account says which accounts of other customers name its panel user, with all subscriptions of those; on a page of
/// its own, and when it alone is read again.
pub async fn accounts_of_others_that_name_the_user_are_sharers(fixture: &dyn Fixture) {
    fixture.insert(&shared()).await;
    let store = fixture.store();
    let expected = |id: i64| match id {
        1 => vec![(4, vec![3, 4])],
        4 => vec![(1, vec![1, 2])],
        _ => vec![],
    };
    let pages = pages(&*store, 1).await;
    assert_eq!(
        pages.iter().map(|page| ids(page)).collect::<Vec<_>>(),
        [vec![1, 5], vec![2, 4], vec![3]]
    );
    for read in pages.iter().flatten() {
        assert_eq!(sharers(read), expected(read.id.0), "{read:?}");
    }
    for id in 1..=5 {
        let reloaded = store
            .reload_accounts(DEFAULT_PANEL, &[AccountId(id)], now())
            .await;
        for read in reloaded.expect("accounts are read") {
            assert_eq!(sharers(&read), expected(read.id.0), "{read:?}");
        }
    }
    let first = account(&*store, AccountId(1)).await;
    let other = first.sharers.first().expect("it is shared");
    assert_eq!(other.updated_at, None);
    let open = other.subscriptions.iter().find(|one| one.id == SubscriptionId(4));
    assert_eq!(
        open.map(|one| (one.status.is_open(), one.end_date)),
        Some((true, Some(days(20))))
    );
    assert_eq!(
        account(&*store, AccountId(4))
            .await
            .sharers
            .first()
            .map(|one| one.updated_at),
        Some(Some(days(-1)))
    );
}

/// A user of another panel, or one whose name is spelled otherwise, is another user; rows of one customer share nothing.
pub async fn sharers_are_of_one_panel_and_one_spelling(fixture: &dyn Fixture) {
    let edits: [fn(&mut Bot); 4] = [
        |bot| bot.vpn_config(AccountId(4)).panel = Some("de".to_owned()),
        |bot| bot.vpn_config(AccountId(4)).marzban_user_id = Some("Shared".to_owned()),
        |bot| bot.vpn_config(AccountId(4)).marzban_user_id = None,
        |bot| bot.vpn_config(AccountId(4)).user_id = UserId(10),
    ];
    for edit in edits {
        let mut bot = shared();
        edit(&mut bot);
        fixture.insert(&bot).await;
        for read in accounts(&*fixture.store(), 10).await {
            assert_eq!(sharers(&read), [], "{read:?}");
        }
    }
    let mut bot = shared();
    bot.vpn_config(AccountId(1)).panel = Some("de".to_owned());
    bot.vpn_config(AccountId(4)).panel = Some("de".to_owned());
    fixture.insert(&bot).await;
    let in_de = fixture.store().page_accounts("de", None, 10, now()).await;
    let in_de = in_de.expect("the page is read").accounts;
    assert_eq!(
        in_de.iter().map(|read| sharers(read).len()).collect::<Vec<_>>(),
        [1, 1]
    );
}
