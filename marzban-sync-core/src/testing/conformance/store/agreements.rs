//! What is remembered of panel users.

use super::{Bot, Fixture, account, days, is_applied, key, now, remembered, written};
use crate::model::account::AccountId;
use crate::model::agreement::{Agreement, Disagreement, PanelExtension, Replaced};
use crate::model::end_date::EndDate;
use crate::model::plan::Change;
use crate::port::accounts::DEFAULT_PANEL;
use crate::port::journal::{Journal, Trail};

/// One with something in every field.
fn full() -> Agreement {
    Agreement {
        end: Some(EndDate::At(days(10))),
        previous_end: Some(EndDate::Never),
        is_ours: true,
        written_end: Some(EndDate::At(days(9))),
        latest_end: Some(days(400)),
        created_at: Some(days(-500) + chrono::TimeDelta::microseconds(7)),
        on_hold: true,
        was_endless: true,
        replaced: Some(Replaced {
            status: "Ünïcødé \"trial\"".to_owned(),
            end: EndDate::At(days(1)),
        }),
        reopened_end: Some(EndDate::At(days(8))),
        over_since: Some(days(-1)),
        own_write_at: Some(days(-2)),
        open: Some(Disagreement {
            row_end: EndDate::Never,
            panel_end: EndDate::At(days(3)),
            since: days(-3),
        }),
        extension: Some(PanelExtension {
            at: days(-4),
            from: days(-5),
            to: days(6),
        }),
        is_missing: true,
    }
}

/// One that both sides had this end.
fn of_end(day: i64) -> Agreement {
    Agreement {
        end: Some(EndDate::At(days(day))),
        ..Agreement::default()
    }
}

/// Records an agreement, or that there is none, as replacing this revision.
async fn record(
    journal: &dyn Journal,
    panel: &str,
    username: &str,
    revision: i64,
    agreement: Option<Agreement>,
) {
    let trail = Trail {
        agreements: vec![(username.to_owned(), revision, agreement)],
        entries: Vec::new(),
    };
    let recorded = journal.record(panel, None, &trail, now()).await;
    recorded.expect("what is remembered is recorded");
}

/// An account says all that was recorded of its panel user. So does a question for several users; one without a record
/// is left out of the answer.
pub async fn what_is_remembered_is_read_with_the_account(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    let read = account(&*store, AccountId(1)).await;
    assert_eq!((read.revision, read.agreement), (0, Agreement::default()));

    record(&*journal, "de", "alice", 0, Some(of_end(1))).await;
    record(&*journal, DEFAULT_PANEL, "Alice", 0, Some(of_end(2))).await;
    let read = account(&*store, AccountId(1)).await;
    assert_eq!((read.revision, read.agreement), (0, Agreement::default()));

    record(&*journal, DEFAULT_PANEL, "alice", 0, Some(full())).await;
    let read = account(&*store, AccountId(1)).await;
    assert_eq!((read.revision, read.agreement), (1, full()));
    let asked = [
        ("de", "alice"),
        (DEFAULT_PANEL, "bob"),
        (DEFAULT_PANEL, "alice"),
        ("nl", "alice"),
    ];
    let found = journal
        .agreements(&asked.map(|(panel, username)| key(panel, username)))
        .await;
    let mut found: Vec<_> = found
        .expect("what is remembered is read")
        .into_iter()
        .map(|one| (one.user.panel, one.user.username, one.revision, one.agreement))
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [("de", of_end(1)), (DEFAULT_PANEL, full())];
    assert_eq!(
        found,
        expected.map(|(panel, agreement)| (panel.to_owned(), "alice".to_owned(), 1, agreement))
    );
}

/// A change carries what is to be remembered, which is written with it and counts as the next revision.
pub async fn an_agreement_is_written_with_its_change(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    for (revision, day) in (1..).zip([20, 30, 40]) {
        let mut change = Change::of(&account(&*store, AccountId(1)).await);
        change.subscription.end_date = Some(EndDate::At(days(day)));
        change.agreement = Some(of_end(day));
        assert!(is_applied(&*store, None, &change).await, "{change}");
        let read = account(&*store, AccountId(1)).await;
        assert_eq!((read.revision, read.agreement.clone()), (revision, of_end(day)));
        assert_eq!(read.subscription, written(&change).subscription);
    }
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.vpn_config.traffic_used = Some(9);
    assert!(is_applied(&*store, None, &change).await);
    let kept = remembered(&*journal, "alice")
        .await
        .map(|one| (one.revision, one.agreement));
    assert_eq!(
        kept,
        Some((3, of_end(40))),
        "a change without one keeps what is remembered"
    );
}

/// What another run has remembered since is not overwritten: the change is a conflict as a whole. One that carries
/// nothing to remember does not mind.
pub async fn an_agreement_that_another_wrote_is_a_conflict(fixture: &dyn Fixture) {
    let bot = Bot::with_one_account();
    for (known, another) in [(None, of_end(1)), (Some(of_end(1)), of_end(2))] {
        fixture.insert(&bot).await;
        let (store, journal) = (fixture.store(), fixture.journal());
        let earlier = remembered(&*journal, "alice").await.map_or(0, |one| one.revision);
        record(&*journal, DEFAULT_PANEL, "alice", earlier, None).await;
        if known.is_some() {
            record(&*journal, DEFAULT_PANEL, "alice", 0, known).await;
        }
        let read = account(&*store, AccountId(1)).await;
        record(
            &*journal,
            DEFAULT_PANEL,
            "alice",
            read.revision,
            Some(another.clone()),
        )
        .await;

        let mut change = Change::of(&read);
        change.subscription.end_date = Some(EndDate::At(days(40)));
        change.agreement = Some(of_end(40));
        assert!(!is_applied(&*store, None, &change).await, "{change}");
        assert_eq!(fixture.rows().await, bot);
        let kept = remembered(&*journal, "alice")
            .await
            .map(|one| (one.revision, one.agreement));
        assert_eq!(kept, Some((read.revision + 1, another)));

        change.agreement = None;
        assert!(is_applied(&*store, None, &change).await, "{change}");
    }
}

/// Where already that is remembered which a change carries, as another account of the same user brought it, there is no
/// conflict, and the revision stays.
pub async fn an_agreement_that_is_there_already_is_no_conflict(fixture: &dyn Fixture) {
    fixture.insert(&Bot::with_one_account()).await;
    let (store, journal) = (fixture.store(), fixture.journal());
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.subscription.end_date = Some(EndDate::At(days(40)));
    change.agreement = Some(of_end(40));
    record(&*journal, DEFAULT_PANEL, "alice", 0, Some(of_end(40))).await;
    assert!(is_applied(&*store, None, &change).await);
    let read = account(&*store, AccountId(1)).await;
    assert_eq!((read.revision, read.agreement), (1, of_end(40)));
    assert_eq!(read.subscription.and_then(|one| one.end_date), Some(days(40)));
}

/// A change that only remembers touches no row of the bot, not even `updated_at`.
pub async fn an_agreement_alone_touches_no_row(fixture: &dyn Fixture) {
    let bot = Bot::with_one_account();
    fixture.insert(&bot).await;
    let store = fixture.store();
    let mut change = Change::of(&account(&*store, AccountId(1)).await);
    change.agreement = Some(of_end(10));
    assert!(is_applied(&*store, None, &change).await);
    assert_eq!(fixture.rows().await, bot);
    assert_eq!(account(&*store, AccountId(1)).await.agreement, of_end(10));
}

/// An agreement is recorded where its revision is the one that is there, and left alone otherwise; one of revision 0 where
/// there is none. None forgets.
pub async fn recording_minds_the_revision(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let kept = async || {
        remembered(&*journal, "alice")
            .await
            .map(|one| (one.revision, one.agreement))
    };
    record(&*journal, DEFAULT_PANEL, "alice", 3, Some(of_end(3))).await;
    assert_eq!(kept().await, None, "there is no such revision");
    record(&*journal, DEFAULT_PANEL, "alice", 0, Some(of_end(1))).await;
    record(&*journal, DEFAULT_PANEL, "alice", 0, Some(of_end(2))).await;
    assert_eq!(kept().await, Some((1, of_end(1))));
    record(&*journal, DEFAULT_PANEL, "alice", 1, Some(of_end(2))).await;
    record(&*journal, DEFAULT_PANEL, "alice", 1, Some(of_end(3))).await;
    assert_eq!(kept().await, Some((2, of_end(2))));
    record(&*journal, "de", "alice", 2, None).await;
    assert_eq!(kept().await, Some((2, of_end(2))));
    record(&*journal, DEFAULT_PANEL, "alice", 2, None).await;
    assert_eq!(kept().await, None);
}
