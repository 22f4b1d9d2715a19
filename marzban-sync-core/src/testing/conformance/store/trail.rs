//! The trail: every change of a subscription or of the access is an entry, written with the change.

use super::{Bot, Fixture, account, days, is_applied, now};
use crate::model::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use crate::model::end_date::EndDate;
use crate::model::plan::{Change, Reason};
use crate::model::run::RunId;
use crate::model::trail::{Entry, EntryQuery, EntryRecord, EntryState, Target, moment};
use crate::port::accounts::DEFAULT_PANEL;
use crate::port::journal::{Journal, Trail};

pub(super) async fn entries_of(journal: &dyn Journal, run: i64) -> Vec<EntryRecord> {
    let entries = journal.entries(&EntryQuery::Run(RunId(run))).await;
    entries.expect("the trail is read")
}

/// One of a customer, about what was done.
fn entry(user: i64, username: &str, target: Target, old: Option<&str>, new: Option<&str>) -> Entry {
    Entry {
        account: AccountId(user),
        username: username.to_owned(),
        customer: UserId(user),
        telegram_id: Some(7_000_000_000 + user),
        target,
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
        reason: "because".to_owned(),
        state: EntryState::Done,
    }
}

/// A change that ends a subscription with another, at another end, and takes the access.
pub(super) async fn ending(fixture: &dyn Fixture, bot: &mut Bot) -> Change {
    let beside = bot.add_subscription(UserId(1), "trial", Some(days(-3)));
    fixture.insert(bot).await;
    let mut change = Change::of(&account(&*fixture.store(), AccountId(1)).await);
    change.subscription.end_date = Some(EndDate::At(days(-1)));
    change.subscription.status = Some(SubscriptionStatus::Expired);
    change.vpn_config.is_active = Some(false);
    change.vpn_config.traffic_used = Some(9);
    change.vpn_config.last_connected_at = Some(days(-1));
    let others = change.account.other_subscriptions.iter();
    change.also_expired = others.filter(|one| one.id == beside).cloned().collect();
    change.reasons = vec![
        Reason::Shortened,
        Reason::Expired,
        Reason::TrafficReset,
        Reason::Connected,
    ];
    change
}

/// The trail tells of each change that was written what became of the subscriptions and of the access, why, when, and in
/// which run; traffic and the last connection are left out.
pub async fn the_trail_tells_what_was_written_and_why(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    let change = ending(fixture, &mut bot).await;
    assert!(is_applied(&*fixture.store(), Some(RunId(5)), &change).await);

    let entries = entries_of(&*fixture.journal(), 5).await;
    for (before, after) in entries.iter().zip(entries.iter().skip(1)) {
        assert!(before.id < after.id, "{entries:?}");
    }
    for record in &entries {
        assert_eq!(
            (record.run, record.panel.as_str(), record.at),
            (Some(RunId(5)), DEFAULT_PANEL, now())
        );
    }
    let told = |target, old: &str, new: &str, reason: &str| Entry {
        reason: reason.to_owned(),
        ..entry(1, "alice", target, Some(old), Some(new))
    };
    let (first, second) = (SubscriptionId(1), SubscriptionId(2));
    let (old, new) = (moment(days(10)), moment(days(-1)));
    assert_eq!(
        entries.into_iter().map(|record| record.entry).collect::<Vec<_>>(),
        [
            told(Target::EndDate(first), &old, &new, "shortened"),
            told(Target::Status(first), "active", "expired", "expired"),
            told(Target::Status(second), "trial", "expired", "expired"),
            told(Target::IsActive, "true", "false", "expired"),
        ]
    );
}

/// A conflict, of which nothing is written, leaves no trail, and neither does what is not recorded.
pub async fn what_was_not_written_leaves_no_trail(fixture: &dyn Fixture) {
    let mut bot = Bot::with_one_account();
    let mut change = ending(fixture, &mut bot).await;
    bot.subscription(SubscriptionId(1)).end_date = Some(days(40));
    fixture.insert(&bot).await;
    assert!(!is_applied(&*fixture.store(), Some(RunId(5)), &change).await);

    change = change.part(|reason| matches!(reason, Reason::TrafficReset | Reason::Connected));
    assert!(is_applied(&*fixture.store(), Some(RunId(5)), &change).await);
    assert_eq!(entries_of(&*fixture.journal(), 5).await, []);
}

/// What is recorded beside the rows, as deletions and extensions of panel users are, is kept as it is.
pub async fn recorded_entries_are_kept_as_they_are(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let old = moment(days(1) + chrono::TimeDelta::microseconds(7));
    let intended = Entry {
        state: EntryState::Intended,
        ..entry(1, "Ünïcødé'\"", Target::PanelUser, Some("exists"), None)
    };
    let nobody = Entry {
        telegram_id: None,
        reason: String::new(),
        ..entry(2, "bob", Target::Username, Some("bob"), None)
    };
    let entries = vec![
        intended.clone(),
        Entry {
            state: EntryState::Done,
            ..intended
        },
        entry(1, "alice", Target::PanelExpire, Some(&old), None),
        nobody,
        entry(
            3,
            "carol",
            Target::Status(SubscriptionId(77)),
            Some("Frozen"),
            Some(""),
        ),
        entry(3, "carol", Target::EndDate(SubscriptionId(78)), None, Some(&old)),
        entry(3, "carol", Target::IsActive, None, Some("true")),
    ];
    let trail = Trail {
        agreements: Vec::new(),
        entries: entries.clone(),
    };
    journal
        .record("de", Some(RunId(6)), &trail, days(2))
        .await
        .expect("the trail is recorded");
    let read = entries_of(&*journal, 6).await;
    assert!(
        read.iter()
            .all(|record| record.panel == "de" && record.at == days(2)),
        "{read:?}"
    );
    assert_eq!(
        read.into_iter().map(|record| record.entry).collect::<Vec<_>>(),
        entries
    );

    let last = Trail {
        agreements: Vec::new(),
        entries: entries.into_iter().take(1).collect(),
    };
    journal
        .record("de", None, &last, days(3))
        .await
        .expect("the trail is recorded");
    let name = "Ünïcødé'\"".to_owned();
    let latest = journal.entries(&EntryQuery::Customer { name, limit: 1 }).await;
    let latest = latest.expect("the trail is read");
    assert_eq!(
        latest
            .iter()
            .map(|record| (record.run, record.at))
            .collect::<Vec<_>>(),
        [(None, days(3))]
    );
}

/// The entries of a run are read the earliest first, those of a customer the latest first and not more than were asked
/// for; a customer is found by telegram id and by username, of whatever panel.
pub async fn entries_are_read_by_run_and_by_customer(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    for (run, panel, user, username) in [
        (1, DEFAULT_PANEL, 1, "alice"),
        (1, DEFAULT_PANEL, 2, "bob"),
        (2, "de", 1, "alice-de"),
        (2, "de", 3, "7000000001"),
        (2, "de", 3, "Alice"),
    ] {
        let entries = vec![entry(
            user,
            username,
            Target::IsActive,
            Some("true"),
            Some("false"),
        )];
        let trail = Trail {
            agreements: Vec::new(),
            entries,
        };
        let recorded = journal.record(panel, Some(RunId(run)), &trail, days(run)).await;
        recorded.expect("the trail is recorded");
    }
    let names = async |query| {
        let entries = journal.entries(&query).await.expect("the trail is read");
        entries
            .into_iter()
            .map(|record| record.entry.username)
            .collect::<Vec<_>>()
    };
    let of = |name: &str, limit| EntryQuery::Customer {
        name: name.to_owned(),
        limit,
    };
    assert_eq!(names(EntryQuery::Run(RunId(1))).await, ["alice", "bob"]);
    assert_eq!(
        names(EntryQuery::Run(RunId(2))).await,
        ["alice-de", "7000000001", "Alice"]
    );
    assert_eq!(names(EntryQuery::Run(RunId(3))).await, [""; 0]);
    assert_eq!(
        names(of("7000000001", 10)).await,
        ["7000000001", "alice-de", "alice"]
    );
    assert_eq!(names(of("7000000001", 2)).await, ["7000000001", "alice-de"]);
    assert_eq!(names(of("alice", 10)).await, ["alice"]);
    assert_eq!(names(of("+7000000001", 10)).await, [""; 0]);
    assert_eq!(names(of("%", 10)).await, [""; 0]);
}

/// Entries of a panel that were written before a moment are forgotten with the rest of its history, and counted.
pub async fn old_entries_are_forgotten(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    for (panel, day) in [("main", -11), ("main", -10), ("main", -9), ("second", -11)] {
        let entries = vec![entry(1, "alice", Target::IsActive, Some("true"), Some("false"))];
        let trail = Trail {
            agreements: Vec::new(),
            entries,
        };
        let recorded = journal.record(panel, Some(RunId(1)), &trail, days(day)).await;
        recorded.expect("the trail is recorded");
    }
    for expected in [1, 0] {
        let forgotten = journal.prune_history("main", days(-10)).await;
        assert_eq!(forgotten.expect("the history is shortened"), expected);
        let kept = entries_of(&*journal, 1).await;
        let kept: Vec<_> = kept
            .iter()
            .map(|record| (record.panel.as_str(), record.at))
            .collect();
        assert_eq!(
            kept,
            [("main", days(-10)), ("main", days(-9)), ("second", days(-11))]
        );
    }
}
