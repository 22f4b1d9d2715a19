//! Several panels in one database.

use super::{Bot, Fixture, account, account_in, days, ids, now};
use crate::model::account::{Account, AccountId, UserId};
use crate::model::agreement::{Agreement, Replaced};
use crate::model::end_date::EndDate;
use crate::model::plan::Change;
use crate::port::accounts::{AccountStore, DEFAULT_PANEL};
use crate::port::journal::Trail;

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

async fn of_panel(store: &dyn AccountStore, panel: &str) -> Vec<Account> {
    let page = store
        .page_accounts(panel, None, 10, now())
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
            store.count_accounts(panel).await.expect("accounts are counted"),
            expected.len() as u64,
            "{panel:?}"
        );
        // Any account of the user leads to those of the panel.
        let reloaded = store.reload_accounts(panel, &[AccountId(1)], now()).await;
        assert_eq!(ids(&reloaded.expect("accounts are read")), expected, "{panel:?}");
    }
}

/// The accounts of every other panel are counted, by its name.
pub async fn accounts_elsewhere_are_counted_by_panel(fixture: &dyn Fixture) {
    let mut bot = in_two_panels();
    let user = bot.add_user(2);
    for (name, panel) in [("two-in-de", "de"), ("one-in-nl", "nl"), ("", "nl")] {
        let id = bot.add_vpn_config(user, name);
        bot.vpn_config(id).panel = Some(panel.to_owned());
    }
    fixture.insert(&bot).await;
    let store = fixture.store();
    for (panel, expected) in [
        (DEFAULT_PANEL, vec![("de", 2), ("nl", 1)]),
        ("de", vec![(DEFAULT_PANEL, 3), ("nl", 1)]),
        ("DE", vec![("de", 2), (DEFAULT_PANEL, 3), ("nl", 1)]),
    ] {
        let counts = store.count_elsewhere(panel).await.expect("accounts are counted");
        let expected = expected
            .into_iter()
            .map(|(panel, count)| (panel.to_owned(), count));
        assert_eq!(counts, expected.collect(), "{panel:?}");
    }
}

/// An account says how many others its customer has in other panels that share its subscription, and whether one of them
/// has access by its row.
pub async fn what_a_customer_has_elsewhere_is_said(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut bot = in_two_panels();
    for (is_active, name, expected) in [
        (Some(true), Some("in-de"), (1, true)),
        (Some(false), Some("in-de"), (1, false)),
        (None, Some("in-de"), (1, false)),
        (Some(true), None, (0, false)),
    ] {
        let row = bot.vpn_config(AccountId(2));
        row.is_active = is_active;
        row.marzban_user_id = name.map(str::to_owned);
        fixture.insert(&bot).await;
        for account in of_panel(&*store, DEFAULT_PANEL).await {
            let elsewhere = (account.elsewhere.accounts, account.elsewhere.is_active);
            assert_eq!(elsewhere, expected, "{is_active:?} {name:?}: {account:?}");
        }
    }
    let mut bot = in_two_panels();
    fixture.insert(&bot).await;
    let elsewhere = account_in(&*store, "de", AccountId(2)).await.elsewhere;
    assert_eq!((elsewhere.accounts, elsewhere.is_active), (3, true));

    // One that has another subscription shares nothing.
    let own = bot.add_subscription(UserId(1), "active", Some(days(5)));
    bot.vpn_config(AccountId(2)).subscription_id = Some(own);
    fixture.insert(&bot).await;
    for account in of_panel(&*store, DEFAULT_PANEL).await {
        assert_eq!(account.elsewhere.accounts, 0, "{account:?}");
    }
}

/// An account says which ends the library wrote into its subscription from other panels, and which statuses it replaced
/// because of them.
pub async fn what_was_written_from_elsewhere_is_said(fixture: &dyn Fixture) {
    fixture.insert(&in_two_panels()).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    let end = EndDate::At(days(10));
    let replaced = Replaced {
        status: "trial".to_owned(),
        end,
    };
    for (revision, expected, replaced) in [(0, vec![end], vec![replaced]), (1, vec![], vec![])] {
        let agreement = Agreement {
            end: Some(end),
            written_end: expected.first().copied(),
            replaced: replaced.first().cloned(),
            ..Agreement::default()
        };
        let trail = Trail {
            agreements: vec![("in-de".to_owned(), revision, Some(agreement))],
            entries: Vec::new(),
        };
        let recorded = journal.record("de", None, &trail, now()).await;
        recorded.expect("what is remembered is recorded");
        for account in of_panel(&*store, DEFAULT_PANEL).await {
            assert_eq!(account.elsewhere.written_ends, expected, "{account:?}");
            assert_eq!(account.elsewhere.replaced, replaced, "{account:?}");
        }
        let own = account_in(&*store, "de", AccountId(2)).await.elsewhere;
        assert_eq!((own.written_ends, own.replaced), (vec![], vec![]));
    }
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
        .apply(DEFAULT_PANEL, None, std::slice::from_ref(&change), now())
        .await;
    assert_eq!(written.expect("changes are applied"), []);
    let unlinked = store.unlink(DEFAULT_PANEL, None, &read, now()).await;
    assert!(!unlinked.expect("nothing is unlinked"));
    assert_eq!(fixture.rows().await, bot);

    let written = store.apply("de", None, &[change], now()).await;
    assert_eq!(written.expect("the change is applied"), [AccountId(1)]);
    let read = of_panel(&*store, "de").await;
    let unlinked = store
        .unlink("de", None, read.first().expect("the account is there"), now())
        .await;
    assert!(unlinked.expect("the account is unlinked"));
}
