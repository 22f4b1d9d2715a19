//! Clearing the link to a panel user that is gone.

use super::trail::entries_of;
use super::{Bot, Fixture, account, days, now, remembered};
use crate::model::account::{Account, AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::agreement::Agreement;
use crate::model::end_date::EndDate;
use crate::model::run::RunId;
use crate::model::trail::Target;
use crate::port::accounts::{AccountStore, DEFAULT_PANEL};
use crate::port::journal::{Journal, Trail};

async fn unlink(store: &dyn AccountStore, account: &Account) -> bool {
    let unlinked = store.unlink(DEFAULT_PANEL, Some(RunId(5)), account, now()).await;
    unlinked.expect("the account is unlinked, or is not")
}

async fn rehearse(store: &dyn AccountStore, account: &Account) -> bool {
    let rehearsed = store.rehearse_unlink(DEFAULT_PANEL, account, now()).await;
    rehearsed.expect("it is tried")
}

/// What a customer does at this very moment.
const PAYMENTS: [fn(&mut Bot); 4] = [
    |bot| bot.subscription(SubscriptionId(1)).end_date = Some(days(40)),
    |bot| bot.subscription(SubscriptionId(1)).end_date = None,
    |bot| bot.subscription(SubscriptionId(1)).status = SubscriptionStatus::Active,
    |bot| {
        bot.add_subscription(UserId(1), "active", Some(days(30)));
    },
];

/// One customer whose subscription and account ended long ago.
fn ended() -> Bot {
    let mut bot = Bot::with_one_account();
    let row = bot.subscription(SubscriptionId(1));
    (row.status, row.end_date) = (SubscriptionStatus::Expired, Some(days(-30)));
    bot
}

/// Unlinking makes the name null and `is_active` false, writes nothing else, and leaves a trail; the row is no account
/// any more.
pub async fn unlinking_clears_the_name_and_the_access(fixture: &dyn Fixture) {
    let mut bot = ended();
    let other = bot.add_user(2);
    bot.add_vpn_config(other, "bob");
    fixture.insert(&bot).await;
    let store = fixture.store();
    let id = AccountId(1);
    let read = account(&*store, id).await;

    assert!(unlink(&*store, &read).await);
    let row = bot.vpn_config(id);
    (row.marzban_user_id, row.is_active, row.updated_at) = (None, Some(false), Some(now()));
    assert_eq!(fixture.rows().await, bot);
    let reloaded = store.reload_accounts(DEFAULT_PANEL, &[id], now()).await;
    assert_eq!(reloaded.expect("accounts are read"), []);
    let trail = entries_of(&*fixture.journal(), 5).await;
    let told: Vec<_> = trail
        .iter()
        .map(|record| {
            (
                record.entry.target,
                record.entry.old.as_deref(),
                record.entry.new.as_deref(),
            )
        })
        .collect();
    let expected = [
        (Target::Username, Some("alice"), None),
        (Target::IsActive, Some("true"), Some("false")),
    ];
    assert_eq!(told, expected);

    assert!(!unlink(&*store, &read).await, "it is done already");
    assert_eq!(fixture.rows().await, bot);
    assert_eq!(entries_of(&*fixture.journal(), 5).await, trail);
}

/// Of its row unlinking minds the name alone: another name is left alone, other stale values do not matter.
pub async fn unlinking_minds_the_name_alone(fixture: &dyn Fixture) {
    let mut bot = ended();
    let id = AccountId(1);
    fixture.insert(&bot).await;
    let store = fixture.store();
    let read = account(&*store, id).await;
    for name in ["alice2", "Alice", "alice ", "a_ice", "%"] {
        bot.vpn_config(id).marzban_user_id = Some(name.to_owned());
        fixture.insert(&bot).await;
        assert!(!unlink(&*store, &read).await, "{name:?}");
        assert_eq!(fixture.rows().await, bot, "{name:?}");
    }
    let row = bot.vpn_config(id);
    row.marzban_user_id = Some("alice".to_owned());
    row.traffic_used = Some(99);
    fixture.insert(&bot).await;
    assert!(unlink(&*store, &read).await);
}

/// An account whose customer has paid since it was read stays linked: its subscription is another, or not as it was.
pub async fn unlinking_after_a_payment_is_refused(fixture: &dyn Fixture) {
    for pay in PAYMENTS {
        let mut bot = ended();
        fixture.insert(&bot).await;
        let store = fixture.store();
        let read = account(&*store, AccountId(1)).await;
        pay(&mut bot);
        fixture.insert(&bot).await;
        assert!(!unlink(&*store, &read).await);
        assert_eq!(fixture.rows().await, bot);
    }
    // There was no subscription, and now there is one.
    let mut bot = Bot::default();
    let user = bot.add_user(7);
    bot.add_vpn_config(user, "first");
    bot.add_vpn_config(user, "second");
    fixture.insert(&bot).await;
    let store = fixture.store();
    let read = account(&*store, AccountId(2)).await;
    let paid = SubscriptionId(77);
    let row = bot.add_subscription(user, "active", Some(days(30)));
    bot.subscription(row).id = paid;
    fixture.insert(&bot).await;
    assert!(!unlink(&*store, &read).await);
}

/// Rehearsing writes nothing, leaves no trail, and forgets nothing.
pub async fn rehearsing_an_unlink_writes_nothing(fixture: &dyn Fixture) {
    let bot = ended();
    fixture.insert(&bot).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    remember(&*journal).await;
    let read = account(&*store, AccountId(1)).await;
    for _ in 0..2 {
        assert!(rehearse(&*store, &read).await);
        assert_eq!(fixture.rows().await, bot);
        assert_eq!(account(&*store, AccountId(1)).await, read);
    }
    assert!(unlink(&*store, &read).await);
    assert_eq!(entries_of(&*fixture.journal(), 5).await.len(), 2);
}

/// Rehearsing says whether the account could be unlinked now: not after a payment, and not by another name.
pub async fn rehearsing_an_unlink_says_whether_it_could_be_done(fixture: &dyn Fixture) {
    let mut bot = ended();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let read = account(&*store, AccountId(1)).await;
    let renamed = Account {
        name: "Alice".to_owned(),
        ..read.clone()
    };
    assert!(!rehearse(&*store, &renamed).await);
    assert!(rehearse(&*store, &read).await);
    bot.subscription(SubscriptionId(1)).end_date = Some(days(40));
    fixture.insert(&bot).await;
    assert!(!rehearse(&*store, &read).await);
}

/// With the last row that names a panel user goes what was remembered of it; while another row of the panel names it, it
/// is still remembered.
pub async fn unlinking_forgets_the_user_unless_another_row_names_it(fixture: &dyn Fixture) {
    let mut bot = ended();
    let other = bot.add_user(2);
    let second = bot.add_vpn_config(other, "alice");
    let elsewhere = bot.add_vpn_config(other, "alice");
    bot.vpn_config(elsewhere).panel = Some("de".to_owned());
    fixture.insert(&bot).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    remember(&*journal).await;
    let accounts = [
        account(&*store, AccountId(1)).await,
        account(&*store, second).await,
    ];
    for (read, is_remembered) in accounts.iter().zip([true, false]) {
        assert!(unlink(&*store, read).await, "{read:?}");
        assert_eq!(
            remembered(&*journal, "alice").await.is_some(),
            is_remembered,
            "{read:?}"
        );
    }
}

/// Remembers something of the user `alice`.
async fn remember(journal: &dyn Journal) {
    let agreement = Agreement {
        end: Some(EndDate::At(days(-30))),
        ..Agreement::default()
    };
    let trail = Trail {
        agreements: vec![("alice".to_owned(), 0, Some(agreement))],
        entries: Vec::new(),
    };
    let recorded = journal.record(DEFAULT_PANEL, None, &trail, now()).await;
    recorded.expect("what is remembered is recorded");
}
