//! The database fails: nothing more is done in the panel, and nothing is taken away unseen.

use std::error::Error;

use marzban_sync_core::account::AccountId;
use marzban_sync_core::error::{StoreError, StoreErrorKind, chain};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::report::{Job, ProblemReason, Report};
use marzban_sync_core::store::{AccountStore, Journal, MemoryStore, MockRunLock, MockStore};
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, get_marzban_system_stats, sync_subscriptions_from_marzban,
    sync_user_status_from_marzban,
};

use crate::faulty::{at_once, lock_lost_after, no_database, over};
use crate::given::{at, day, user};
use crate::scripted::{World, pay, problems};

/// A context whose store does what the mock says, and for the rest what it does in memory.
fn with(mock: MockStore, world: &World) -> Context {
    Context::builder(world.panel.clone(), over(mock, &world.store))
        .clock(world.clock.clone())
        .build()
}

fn is_free(world: &World, job: Job) -> bool {
    at_once(world.store.lock(job, "default")).is_ok()
}

/// Two customers: one extended in the panel, one whose time is over and who used traffic.
fn bot() -> World {
    let world = World::new();
    world.customer(1, "active", at("2025-09-16 00:00:00"));
    world.agreed(1, at("2025-09-16 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-10-16 00:00:00")));
    world.customer(2, "active", at("2025-09-14 00:00:00"));
    world.panel.put(
        "user2",
        PanelUser {
            used_traffic: 500,
            ..user("expired", at("2025-09-14 00:00:00"))
        },
    );
    world
}

/// A customer who ended long ago, in the bot and in the panel.
fn ended() -> World {
    let world = World::synced_just_now();
    world.customer(1, "expired", day(-30));
    world.panel.put("user1", user("expired", day(-30)));
    world
}

#[tokio::test]
async fn a_table_that_is_missing_is_said_before_anything_is_begun() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_verify_schema().times(1).returning(|| {
        Err(StoreError::new(
            StoreErrorKind::Schema,
            "the table vpn_configs is missing",
        ))
    });
    mock.expect_lock().never();

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(
        chain(&error),
        "sync_subscriptions_from_marzban was ended by the database: the table vpn_configs is missing"
    );
    assert_eq!(error.report(), None);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_run_that_cannot_be_noted_is_not_begun_and_frees_its_lock() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_begin_run()
        .times(1)
        .returning(|_, _, _| Err(no_database()));

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(world.panel.calls(), Vec::<String>::new());
    assert!(is_free(&world, Job::SyncSubscriptionsFromMarzban));
}

#[tokio::test]
async fn accounts_that_cannot_be_read_end_the_run_before_the_panel_is_asked() {
    for job in [
        Job::SyncSubscriptionsFromMarzban,
        Job::SyncUserStatusFromMarzban,
        Job::CleanupExpiredMarzbanUsers,
    ] {
        let world = ended();
        let mut mock = MockStore::new();
        mock.expect_page_accounts()
            .times(1)
            .returning(|_, _, _, _| Err(no_database()));

        let error = marzban_sync_core::jobs::run(job, &with(mock, &world))
            .await
            .unwrap_err();

        assert_eq!(error.outcome(), Outcome::Store);
        assert_eq!(world.panel.calls(), Vec::<String>::new());
        assert_eq!(world.outcomes()[1..], [format!("{job} failed")]);
        assert!(is_free(&world, job));
    }
}

#[tokio::test]
async fn a_write_that_fails_ends_the_run_with_its_report_and_frees_the_lock() {
    let world = bot();
    let rows = world.rows();
    let mut mock = MockStore::new();
    mock.expect_apply()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(
        error.source().unwrap().to_string(),
        "the database does not answer"
    );
    assert!(
        matches!(error.report(), Some(Report::SyncSubscriptionsFromMarzban(report)) if report.total == 2)
    );
    assert_eq!(world.rows(), rows);
    assert_eq!(world.outcomes(), ["sync_subscriptions_from_marzban failed"]);
    assert!(is_free(&world, Job::SyncSubscriptionsFromMarzban));
}

#[tokio::test]
async fn the_next_run_makes_good_what_a_failed_one_left() {
    let world = bot();
    let mut mock = MockStore::new();
    let store = world.store.clone();
    mock.expect_apply()
        .times(1)
        .returning(move |panel, run, changes, now| at_once(store.apply(panel, run, changes, now)));
    mock.expect_apply()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));
    let context = with(mock, &world);
    let error = sync_subscriptions_from_marzban(&context).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(
        [1, 2].map(|id| world.row(id)),
        [
            "active until 2025-10-16 00:00:00 UTC; user1 on 100 null",
            "active until 2025-09-14 00:00:00 UTC; user2 on 500 null",
        ]
    );

    let report = sync_subscriptions_from_marzban(&context).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (2, 0, 2));
    assert_eq!(
        world.row(2),
        "expired until 2025-09-14 00:00:00 UTC; user2 off 500 null"
    );
}

#[tokio::test]
async fn a_lock_that_is_lost_takes_nothing_away() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_lock()
        .times(1)
        .returning(|_, _| Ok(lock_lost_after(0)));

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(
        error.source().unwrap().to_string(),
        "the lock of this run was lost"
    );
    assert_eq!(
        [1, 2].map(|id| world.row(id)),
        [
            "active until 2025-10-16 00:00:00 UTC; user1 on 100 null",
            "active until 2025-09-14 00:00:00 UTC; user2 on 500 null",
        ]
    );
    let Some(Report::SyncSubscriptionsFromMarzban(report)) = error.report() else {
        panic!("the report of the run is attached");
    };
    assert_eq!((report.synced, report.errors, report.run.withheld), (1, 1, 1));
}

#[tokio::test]
async fn a_lock_that_is_lost_deletes_nobody_further() {
    let world = ended();
    world.customer(2, "expired", day(-30));
    world.panel.put("user2", user("expired", day(-30)));
    let mut mock = MockStore::new();
    mock.expect_lock()
        .times(1)
        .returning(|_, _| Ok(lock_lost_after(2)));

    let error = cleanup_expired_marzban_users(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(
        world.panel.single_calls(),
        ["user user1", "user user1", "delete user1"]
    );
    assert_eq!(world.config(1), "null off 100 null");
    assert_eq!(world.config(2), "user2 on 100 null");
}

#[tokio::test]
async fn a_cleanup_that_cannot_read_the_database_again_deletes_nobody() {
    let world = ended();
    let mut mock = MockStore::new();
    mock.expect_reload_accounts()
        .times(1)
        .returning(|_, _, _| Err(no_database()));

    let error = cleanup_expired_marzban_users(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(world.panel.single_calls(), Vec::<String>::new());
    assert!(world.panel.has("user1"));
    assert!(is_free(&world, Job::CleanupExpiredMarzbanUsers));
}

#[tokio::test]
async fn a_row_that_could_not_be_written_after_a_deletion_is_written_by_the_next_cleanup() {
    let world = ended();
    let mut mock = MockStore::new();
    mock.expect_unlink()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));
    let context = with(mock, &world);

    let error = cleanup_expired_marzban_users(&context).await.unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert!(!world.panel.has("user1"));
    assert_eq!(world.config(1), "user1 on 100 null");

    let report = cleanup_expired_marzban_users(&context).await.unwrap();

    assert_eq!((report.cleaned, report.errors, report.total), (1, 0, 1));
    assert_eq!(world.config(1), "null off 100 null");
    assert_eq!(
        world.panel.single_calls(),
        ["user user1", "user user1", "delete user1", "user user1"]
    );
}

#[tokio::test]
async fn a_row_that_changes_twice_is_a_conflict_and_is_never_overwritten() {
    let world = World::new();
    world.customer(1, "active", at("2025-09-16 00:00:00"));
    world.agreed(1, at("2025-09-16 00:00:00"));
    world
        .panel
        .put("user1", user("active", at("2025-10-16 00:00:00")));
    let mut mock = MockStore::new();
    for days in [20, 25] {
        let store = world.store.clone();
        mock.expect_apply()
            .times(1)
            .returning(move |panel, run, changes, now| {
                pay(&store, 10, 1, "active", day(days));
                at_once(store.apply(panel, run, changes, now))
            });
    }
    mock.expect_apply().never();

    let report = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap();

    assert_eq!(
        world.row(1),
        "active until 2025-10-10 12:00:00 UTC; user1 on 100 null"
    );
    assert_eq!((report.synced, report.errors), (0, 1));
    assert_eq!(problems(&report.run), ["1001 user1 Conflict"]);
}

#[tokio::test]
async fn a_row_that_somebody_holds_locked_is_a_conflict_and_the_others_are_written() {
    let world = bot();
    let mut mock = MockStore::new();
    let without_user1 = |store: MemoryStore| {
        move |panel: &str, run, changes: &[marzban_sync_core::plan::Change], now| {
            let others: Vec<_> = changes
                .iter()
                .filter(|change| change.account.id != AccountId(1))
                .cloned()
                .collect();
            at_once(store.apply(panel, run, &others, now))
        }
    };
    mock.expect_apply().returning(without_user1(world.store.clone()));

    let report = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap();

    assert_eq!((report.synced, report.errors), (1, 1));
    assert_eq!(problems(&report.run), ["1001 user1 Conflict"]);
    assert_eq!(
        world.row(2),
        "expired until 2025-09-14 00:00:00 UTC; user2 off 500 null"
    );
}

#[tokio::test]
async fn an_end_that_cannot_be_noted_is_an_error_with_the_report() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_finish_run()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));

    let error = sync_user_status_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert!(matches!(error.report(), Some(Report::SyncUserStatusFromMarzban(report)) if report.updated == 1));
    assert_eq!(world.outcomes(), ["sync_user_status_from_marzban running"]);
    assert!(is_free(&world, Job::SyncUserStatusFromMarzban));
}

#[tokio::test]
async fn the_first_failure_counts_when_its_note_fails_too() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_apply().times(1).returning(|_, _, _, _| {
        Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "the database refused a statement",
        ))
    });
    mock.expect_finish_run()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    assert_eq!(
        error.source().unwrap().to_string(),
        "the database refused a statement"
    );
    assert!(is_free(&world, Job::SyncSubscriptionsFromMarzban));
}

#[tokio::test]
async fn a_lock_that_is_not_released_in_order_is_no_error_of_the_run() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_lock().times(1).returning(|_, _| {
        let mut lock = MockRunLock::new();
        lock.expect_verify().returning(|| Ok(()));
        lock.expect_release().times(1).returning(|| Err(no_database()));
        Ok(Box::new(lock))
    });

    let report = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap();

    assert_eq!((report.synced, report.errors), (2, 0));
    assert_eq!(world.outcomes(), ["sync_subscriptions_from_marzban completed"]);
}

#[tokio::test]
async fn figures_that_cannot_be_stored_are_an_error() {
    let world = World::new();
    let mut mock = MockStore::new();
    mock.expect_record_system_stats()
        .times(1)
        .returning(|_, _, _| Err(no_database()));

    let error = get_marzban_system_stats(&with(mock, &world)).await.unwrap_err();

    assert_eq!(error.outcome(), Outcome::Store);
    assert_eq!(world.outcomes(), ["get_marzban_system_stats failed"]);
}

#[tokio::test]
async fn what_a_failed_database_did_not_take_is_no_success_in_the_report() {
    let world = bot();
    let mut mock = MockStore::new();
    mock.expect_apply().returning(|_, _, _, _| Err(no_database()));

    let error = sync_subscriptions_from_marzban(&with(mock, &world))
        .await
        .unwrap_err();

    let Some(Report::SyncSubscriptionsFromMarzban(report)) = error.report() else {
        panic!("a report of subscriptions: {error:?}");
    };
    assert_eq!(report.synced + report.errors, report.total);
    assert!(report.errors > 0);
    assert!(
        report
            .run
            .problems
            .iter()
            .any(|problem| problem.reason == ProblemReason::Withheld)
    );
}

#[tokio::test]
async fn a_row_that_the_database_refuses_does_not_count_as_updated() {
    let world = World::new();
    for id in 1..=3 {
        world.customer(id, "active", day(5));
        let busy = PanelUser {
            used_traffic: 500,
            ..user("active", day(5))
        };
        world.panel.put(&format!("user{id}"), busy);
    }
    let mut mock = MockStore::new();
    let store = world.store.clone();
    mock.expect_apply().returning(move |panel, run, changes, now| {
        if changes.iter().any(|change| change.account.id == AccountId(2)) {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                "a check of the bot's forbids it",
            ));
        }
        at_once(store.apply(panel, run, changes, now))
    });

    let report = sync_user_status_from_marzban(&with(mock, &world)).await.unwrap();

    assert_eq!((report.updated, report.errors, report.total), (2, 1, 3));
    assert_eq!(
        problems(&report.run),
        ["1002 user2 Rejected: a check of the bot's forbids it"]
    );
}
