//! Several panels in one database.

use super::{Bot, Fixture, account, days, ids, now};
use crate::account::{Account, AccountId};
use crate::plan::Change;
use crate::store::{DEFAULT_PANEL, Scope, Store};

/// One user, active, with an account in the default panel by null, by an empty text and by its name, and one in `de`.
fn in_two_panels() -> Bot {
    let mut bot = Bot::default();
    let user = bot.add_user(1);
    bot.add_subscription(user, "active", Some(days(10)));
    for (name, panel) in [
        ("by-null", None),
        ("in-de", Some("de")),
        ("by-nothing", Some("")),
        ("by-name", Some(DEFAULT_PANEL)),
    ] {
        let id = bot.add_vpn_config(user, name);
        bot.vpn_config(id).panel = panel.map(str::to_owned);
    }
    bot
}

async fn of_panel(store: &dyn Store, panel: &str) -> Vec<Account> {
    let page = store
        .page_accounts(panel, Scope::All, None, 10)
        .await
        .expect("the page is read");
    page.accounts
}

/// A count, a page and a reload are of the accounts of the panel alone, whose name minds the case; a row without a
/// panel belongs to the default one.
pub async fn a_call_sees_the_accounts_of_its_panel_alone(fixture: &dyn Fixture) {
    fixture.insert(&in_two_panels()).await;
    let store = fixture.store();
    for (panel, expected) in [
        (DEFAULT_PANEL, vec![1, 3, 4]),
        ("de", vec![2]),
        ("DE", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(ids(&of_panel(&*store, panel).await), expected, "{panel:?}");
        assert_eq!(
            store
                .count_accounts(panel, Scope::All)
                .await
                .expect("accounts are counted"),
            expected.len() as u64,
            "{panel:?}"
        );
        // Any account of the user leads to those of the panel.
        let reloaded = store
            .reload_accounts(panel, Scope::Subscribed, &[AccountId(1)])
            .await;
        assert_eq!(ids(&reloaded.expect("accounts are read")), expected, "{panel:?}");
    }
}

/// An account says whether its user has another one in another panel, whose row is active and has a name.
pub async fn a_user_active_in_another_panel_is_said_to_be(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut bot = in_two_panels();
    for (is_active, name, expected) in [
        (Some(true), Some("in-de"), true),
        (Some(false), Some("in-de"), false),
        (None, Some("in-de"), false),
        (Some(true), None, false),
    ] {
        let row = bot.vpn_config(AccountId(2));
        row.is_active = is_active;
        row.marzban_user_id = name.map(str::to_owned);
        fixture.insert(&bot).await;
        for account in of_panel(&*store, DEFAULT_PANEL).await {
            assert_eq!(
                account.active_elsewhere, expected,
                "{is_active:?} {name:?}: {account:?}"
            );
        }
    }
    let mut bot = in_two_panels();
    fixture.insert(&bot).await;
    assert!(
        of_panel(&*store, "de")
            .await
            .iter()
            .all(|account| account.active_elsewhere)
    );
    for id in [1, 3, 4] {
        bot.vpn_config(AccountId(id)).is_active = Some(false);
    }
    fixture.insert(&bot).await;
    assert!(
        of_panel(&*store, "de")
            .await
            .iter()
            .all(|account| !account.active_elsewhere)
    );
}

/// A row that names another panel by now is neither written nor unlinked: what was decided was of another user.
pub async fn an_account_that_moved_to_another_panel_is_a_conflict(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let read = account(&*store, AccountId(1)).await;
    bot.vpn_config(AccountId(1)).panel = Some("de".to_owned());
    fixture.insert(&bot).await;

    let mut change = Change::of(&read);
    change.vpn_config.traffic_used = Some(7);
    let written = store
        .apply(DEFAULT_PANEL, std::slice::from_ref(&change), now())
        .await;
    assert_eq!(written.expect("changes are applied"), []);
    let unlinked = store.unlink(DEFAULT_PANEL, &read, now()).await;
    assert!(!unlinked.expect("nothing is unlinked"));
    assert_eq!(fixture.rows().await, bot);

    let written = store.apply("de", &[change], now()).await;
    assert_eq!(written.expect("the change is applied"), [AccountId(1)]);
    let read = of_panel(&*store, "de").await;
    let unlinked = store
        .unlink("de", read.first().expect("the account is there"), now())
        .await;
    assert!(unlinked.expect("the account is unlinked"));
}
