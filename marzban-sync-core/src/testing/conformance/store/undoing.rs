//! Putting the old values of a run back.

use super::trail::{ending, entries_of};
use super::{Bot, Fixture, account, days, is_applied, remembered};
use crate::adapter::memory::MemorySubscription;
use crate::model::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::agreement::{Agreement, Replaced};
use crate::model::end_date::EndDate;
use crate::model::plan::Change;
use crate::model::run::RunId;
use crate::model::trail::{EntryRecord, UNDONE};
use crate::port::accounts::DEFAULT_PANEL;

/// Undoes entries of the run 5 two days from now, and returns the ids of those that were undone.
async fn undo(fixture: &dyn Fixture, entries: &[EntryRecord]) -> Vec<i64> {
    let undone = fixture
        .store()
        .undo(DEFAULT_PANEL, RunId(5), entries, days(2))
        .await;
    let mut undone = undone.expect("the changes are undone");
    undone.sort_unstable();
    undone
}

/// Applies a change that ends a subscription in the run 5, and gives the rows before it and its entries.
async fn ended(fixture: &dyn Fixture) -> (Bot, Vec<EntryRecord>) {
    let mut bot = Bot::with_one_account();
    if fixture.keeps_spelling() {
        bot.subscription(SubscriptionId(1)).status = MemorySubscription::spelled("ACTIVE");
    }
    let mut change = ending(fixture, &mut bot).await;
    change.vpn_config.traffic_used = None;
    change.vpn_config.last_connected_at = None;
    assert!(is_applied(&*fixture.store(), Some(RunId(5)), &change).await);
    let entries = entries_of(&*fixture.journal(), 5).await;
    assert_eq!(entries.len(), 4);
    (bot, entries)
}

/// Undoing puts every old value back, a status in the very spelling that it had, marks the rows as written, and leaves
/// a trail of its own that says so.
pub async fn undoing_puts_the_old_values_back(fixture: &dyn Fixture) {
    let (mut bot, entries) = ended(fixture).await;
    let all: Vec<i64> = entries.iter().map(|record| record.id).collect();
    assert_eq!(undo(fixture, &entries).await, all);
    bot.vpn_config(AccountId(1)).updated_at = Some(days(2));
    for id in [1, 2] {
        bot.subscription(SubscriptionId(id)).updated_at = Some(days(2));
    }
    assert_eq!(fixture.rows().await, bot);

    let trail = entries_of(&*fixture.journal(), 5).await;
    let (before, after) = trail.split_at(entries.len());
    assert_eq!(before, entries);
    assert_eq!(after.len(), entries.len());
    for (undone, record) in after.iter().zip(&entries) {
        assert_eq!(undone.at, days(2));
        assert_eq!(
            (&undone.entry.old, &undone.entry.new),
            (&record.entry.new, &record.entry.old)
        );
        assert_eq!(
            (undone.entry.target, undone.entry.reason.as_str()),
            (record.entry.target, UNDONE)
        );
    }
}

/// What is done to the rows, and which entry that keeps from being undone.
type Edit = (fn(&mut Bot), usize);

/// What somebody has changed since keeps what it has now: a payment, a block, a row that names another user.
pub async fn undoing_leaves_what_has_changed_since(fixture: &dyn Fixture) {
    let edits: [Edit; 5] = [
        (
            |bot| bot.subscription(SubscriptionId(1)).end_date = Some(days(40)),
            0,
        ),
        (
            |bot| bot.subscription(SubscriptionId(1)).status = "cancelled".into(),
            1,
        ),
        (
            |bot| bot.subscription(SubscriptionId(2)).status = "trial".into(),
            2,
        ),
        (|bot| bot.vpn_config(AccountId(1)).is_active = Some(true), 3),
        (|bot| bot.vpn_config(AccountId(1)).marzban_user_id = None, 3),
    ];
    for (edit, left) in edits {
        let (_, entries) = ended(fixture).await;
        let mut bot = fixture.rows().await;
        edit(&mut bot);
        fixture.insert(&bot).await;
        let kept = entries.get(left).expect("there are four");
        assert_eq!(undo(fixture, std::slice::from_ref(kept)).await, [0; 0]);
        assert_eq!(fixture.rows().await, bot);
        let others: Vec<i64> = entries
            .iter()
            .map(|record| record.id)
            .filter(|id| *id != kept.id)
            .collect();
        assert_eq!(undo(fixture, &entries).await, others);
        let forgotten = fixture.journal().prune_history(DEFAULT_PANEL, days(9)).await;
        forgotten.expect("the history is shortened");
    }
}

/// A value that a run changed twice goes back, the latest entry first, to what it was before the run.
pub async fn undoing_goes_back_step_by_step(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    for day in [20, 30] {
        let mut change = Change::of(&account(&*store, AccountId(1)).await);
        change.subscription.end_date = Some(EndDate::At(days(day)));
        assert!(is_applied(&*store, Some(RunId(5)), &change).await);
    }
    let mut entries = entries_of(&*fixture.journal(), 5).await;
    entries.reverse();
    assert_eq!(undo(fixture, &entries).await.len(), 2);
    bot.subscription(SubscriptionId(1)).updated_at = Some(days(2));
    assert_eq!(fixture.rows().await, bot);
}

/// What is undone already is not undone again, and leaves no further trail.
pub async fn undoing_again_changes_nothing(fixture: &dyn Fixture) {
    let (_, entries) = ended(fixture).await;
    undo(fixture, &entries).await;
    let (rows, trail) = (fixture.rows().await, entries_of(&*fixture.journal(), 5).await);
    assert_eq!(undo(fixture, &entries).await, [0; 0]);
    assert_eq!(fixture.rows().await, rows);
    assert_eq!(entries_of(&*fixture.journal(), 5).await, trail);
}

/// Undoing forgets the end before the last extension, so that the row's old end is not taken for a stale save, and what
/// the library would have done about the value it had written; all else is still remembered.
pub async fn undoing_forgets_the_previous_end(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.subscription.end_date = Some(EndDate::At(days(40)));
    let agreement = Agreement {
        end: Some(EndDate::At(days(40))),
        created_at: Some(days(-100)),
        ..Agreement::default()
    };
    change.agreement = Some(Agreement {
        previous_end: Some(EndDate::At(days(10))),
        is_ours: true,
        replaced: Some(Replaced {
            status: SubscriptionStatus::Trial.to_string(),
            end: EndDate::At(days(10)),
        }),
        ..agreement.clone()
    });
    assert!(is_applied(&*store, Some(RunId(5)), &change).await);
    let entries = entries_of(&*fixture.journal(), 5).await;
    assert_eq!(undo(fixture, &entries).await.len(), 1);
    let kept = remembered(&*journal, "alice")
        .await
        .map(|one| (one.revision, one.agreement));
    assert_eq!(kept, Some((2, agreement)));
    assert_eq!(
        fixture.rows().await.subscription(SubscriptionId(1)).user_id,
        UserId(1)
    );
}
