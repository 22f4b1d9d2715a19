//! What must hold before a cleanup deletes anybody, and what it does instead.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use marzban_sync_core::account::{AccountId, UserId};
use marzban_sync_core::error::{StoreError, StoreErrorKind};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::{RunStatus, Stopped};
use marzban_sync_core::policy::CleanupAction;
use marzban_sync_core::report::{Job, KeptBecause};
use marzban_sync_core::store::{AccountStore, Journal, MemoryUser, MemoryVpnConfig, MockStore};
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users as cleanup, sync_subscriptions_from_marzban,
    sync_user_status_from_marzban,
};
use serde_json::json;

use crate::faulty::{at_once, over};
use crate::given::{self, day, now, user};
use crate::scripted::{World, allowed, pay, problems};

const SYNC: Job = Job::SyncSubscriptionsFromMarzban;
const STATUS: Job = Job::SyncUserStatusFromMarzban;

/// One customer who ended long ago, and nine who have access; no job has run yet.
fn bot() -> World {
    let world = World::new();
    gone(&world, 1);
    for id in 2..=10 {
        world.in_line(id, day(5));
    }
    world
}

fn gone(world: &World, id: i64) {
    world.customer(id, "expired", day(-30));
    world.panel.put(&format!("user{id}"), user("expired", day(-30)));
}

/// Whether a cleanup deletes the one that is long gone; if not, it says why.
async fn deletes(world: &World) -> Result<(), String> {
    let report = cleanup(&world.context()).await.unwrap();
    let is_deleted = !world.panel.has("user1");
    assert_eq!(
        (report.cleaned, report.skipped),
        if is_deleted { (1, 0) } else { (0, 1) }
    );
    if is_deleted {
        return Ok(());
    }
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(
        report.skipped_because,
        BTreeMap::from([(KeptBecause::Withheld, 1)])
    );
    Err(report.run.withheld_because.unwrap())
}

fn stopped_for_safety(world: &World, job: Job, at: chrono::DateTime<chrono::Utc>) {
    world.ran(
        job,
        "default",
        at,
        RunStatus::Stopped,
        &json!({"stopped": "safety"}),
    );
}

fn completed(world: &World, job: Job, at: chrono::DateTime<chrono::Utc>) {
    world.ran(job, "default", at, RunStatus::Completed, &json!({}));
}

const SYNC_STOPPED: &str =
    "the last run of a sync job was stopped by a safety limit: look at its report first";
const NO_RECENT_SYNC: &str =
    "no sync job has completed within the last day: run sync-subscriptions-from-marzban first";

#[tokio::test]
async fn nobody_is_deleted_before_a_sync_has_completed_within_the_last_day() {
    assert_eq!(deletes(&bot()).await, Err(NO_RECENT_SYNC.to_owned()));
    for job in [SYNC, STATUS] {
        let world = bot();
        completed(&world, job, now() - TimeDelta::hours(25));
        assert_eq!(deletes(&world).await, Err(NO_RECENT_SYNC.to_owned()));
        completed(&world, job, now() - TimeDelta::hours(23));
        assert_eq!(deletes(&world).await, Ok(()));
    }
}

#[tokio::test]
async fn a_sync_of_another_panel_does_not_count() {
    let world = bot();
    world.ran(SYNC, "de", now(), RunStatus::Completed, &json!({}));
    assert_eq!(deletes(&world).await, Err(NO_RECENT_SYNC.to_owned()));
    completed(&world, SYNC, now());
    world.ran(
        SYNC,
        "de",
        now(),
        RunStatus::Stopped,
        &json!({"stopped": "safety"}),
    );
    assert_eq!(deletes(&world).await, Ok(()));
}

#[tokio::test]
async fn a_sync_that_was_stopped_for_safety_forbids_a_cleanup_until_one_has_passed() {
    for job in [SYNC, STATUS] {
        let world = bot();
        completed(&world, SYNC, now() - TimeDelta::hours(3));
        completed(&world, STATUS, now() - TimeDelta::hours(3));
        stopped_for_safety(&world, job, now() - TimeDelta::hours(2));
        assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()), "{job}");
        completed(&world, job, now() - TimeDelta::hours(1));
        assert_eq!(deletes(&world).await, Ok(()), "{job}");
    }
}

#[tokio::test]
async fn a_run_that_counted_nothing_does_not_hide_one_that_was_stopped_for_safety() {
    for (outcome, report) in [
        (RunStatus::Failed, json!({"stopped": "failed"})),
        (RunStatus::Stopped, json!({"stopped": "deadline"})),
        (RunStatus::Stopped, json!({"stopped": "cancelled"})),
    ] {
        let world = bot();
        completed(&world, SYNC, now() - TimeDelta::hours(3));
        stopped_for_safety(&world, SYNC, now() - TimeDelta::hours(2));
        world.ran(SYNC, "default", now() - TimeDelta::hours(1), outcome, &report);
        assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()), "{report}");
    }
}

#[tokio::test]
async fn a_process_that_died_or_still_runs_does_not_hide_it_either() {
    let world = bot();
    completed(&world, SYNC, now() - TimeDelta::hours(3));
    stopped_for_safety(&world, SYNC, now() - TimeDelta::hours(2));
    world.store.begin_run(SYNC, "default", now()).await.unwrap();
    assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()));
    world.store.begin_run(SYNC, "default", now()).await.unwrap();
    assert_eq!(world.outcomes()[2], "sync_subscriptions_from_marzban abandoned");
    assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()));
}

#[tokio::test]
async fn a_run_whose_clock_was_of_the_future_hides_nothing_and_proves_nothing() {
    let future = day(3_650);
    let world = bot();
    completed(&world, SYNC, future);
    assert_eq!(deletes(&world).await, Err(NO_RECENT_SYNC.to_owned()));
    stopped_for_safety(&world, SYNC, now() - TimeDelta::hours(2));
    completed(&world, SYNC, future);
    completed(&world, STATUS, now() - TimeDelta::hours(1));
    assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()));
    completed(&world, SYNC, now());
    assert_eq!(deletes(&world).await, Ok(()));
}

#[tokio::test]
async fn an_operator_who_lifts_the_budget_does_not_lift_what_stopped_a_sync() {
    let world = bot();
    completed(&world, SYNC, now());
    stopped_for_safety(&world, STATUS, now());
    let report = cleanup(&world.builder().answers(allowed()).build())
        .await
        .unwrap();
    assert_eq!((report.cleaned, report.run.stopped), (0, Some(Stopped::Safety)));
}

#[tokio::test]
async fn all_jobs_in_a_row_delete_nobody_after_a_sync_that_a_brake_stopped() {
    let world = bot();
    world.switch(1, false);
    completed(&world, SYNC, now());
    for id in 2..=10 {
        world.panel.remove(&format!("user{id}"));
    }
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!(deletes(&world).await, Err(SYNC_STOPPED.to_owned()));
}

#[tokio::test]
async fn while_a_cleanup_is_blocked_it_writes_nothing_by_the_panels_word() {
    let world = bot();
    world.agreed(1, day(-30));
    world.panel.put("user1", user("active", day(30)));
    stopped_for_safety(&world, SYNC, now());
    let rows = world.rows();
    let report = cleanup(&world.context()).await.unwrap();
    assert_eq!((report.cleaned, report.skipped), (0, 1));
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn a_user_that_another_customers_row_names_is_kept_while_that_one_is_not_over() {
    for (status, end) in [
        ("active", Some(day(25))),
        ("active", None),
        ("expired", Some(day(-2))),
        ("paused", None),
    ] {
        let world = World::synced_just_now();
        gone(&world, 1);
        world.customer(2, status, end);
        world.rename(2, "user1");
        let report = cleanup(&world.context()).await.unwrap();
        assert_eq!((report.cleaned, report.errors), (0, 0), "{status}");
        assert_eq!(
            report.skipped_because,
            BTreeMap::from([(KeptBecause::OtherSubscription, 1)])
        );
        assert!(world.panel.has("user1"), "{status}");
    }
}

#[tokio::test]
async fn a_user_of_two_customers_who_both_are_long_over_is_deleted_and_both_rows_unlinked() {
    let world = World::synced_just_now();
    gone(&world, 1);
    world.customer(2, "expired", day(-40));
    world.rename(2, "user1");
    let report = cleanup(&world.context()).await.unwrap();
    assert_eq!((report.cleaned, report.errors), (2, 0));
    assert_eq!(
        world
            .panel
            .calls()
            .iter()
            .filter(|call| call.starts_with("delete"))
            .count(),
        1
    );
    assert_eq!(
        [1, 2].map(|id| world.config(id)),
        ["null off 100 null", "null off 100 null"]
    );
}

#[tokio::test]
async fn whoever_is_kept_although_the_own_subscription_is_long_over_is_counted_with_the_reason() {
    let world = World::synced_just_now();
    for id in 1..=8 {
        gone(&world, id);
    }
    // The phone ended long ago, the router is paid for.
    world.subscription(11, 1, "active", day(20));
    world.store.insert_vpn_config(MemoryVpnConfig {
        subscription_id: Some(marzban_sync_core::account::SubscriptionId(10)),
        ..world.store.vpn_config(AccountId(1)).unwrap()
    });
    world.subscription(21, 2, "pending", None);
    world.remember(3, |agreement| agreement.latest_end = Some(day(-2)));
    world.store.insert_vpn_config(MemoryVpnConfig {
        updated_at: Some(day(-1)),
        ..world.store.vpn_config(AccountId(4)).unwrap()
    });
    world.panel.put("user5", user("on_hold", day(-30)));
    world.panel.put("user6", user("expired", day(-3)));
    world.agreed(7, day(-30));
    world.panel.put(
        "user7",
        PanelUser {
            created_at: Some(day(-200)),
            ..user("expired", day(-30))
        },
    );
    let context = world.builder().exempt(["user8".to_owned()]).build();

    let report = cleanup(&context).await.unwrap();

    let expected = [
        KeptBecause::OtherSubscription,
        KeptBecause::PendingInvoice,
        KeptBecause::LaterEndSeen,
        KeptBecause::NotRested,
        KeptBecause::InUse,
        KeptBecause::PanelEnd,
        KeptBecause::OtherUser,
        KeptBecause::Exempt,
    ];
    assert_eq!(
        report.skipped_because,
        expected.map(|because| (because, 1)).into()
    );
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 8, 0, 8)
    );
    assert!(world.panel.single_calls().is_empty());
}

#[tokio::test]
async fn a_bot_that_touches_its_rows_daily_is_cleaned_up_once_the_library_has_seen_it_over_for_a_week() {
    let world = World::new();
    world.customer(1, "active", day(-1));
    world.panel.put("user1", user("expired", day(-1)));
    for id in 2..=5 {
        world.in_line(id, day(100));
    }
    for days in 0..=8 {
        world.clock.set(day(days));
        sync_subscriptions_from_marzban(&world.context()).await.unwrap();
        let cleaned = cleanup(&world.context()).await.unwrap().cleaned;
        assert_eq!(cleaned, u64::from(days == 7), "{days}");
        let config = world.store.vpn_config(AccountId(1)).unwrap();
        world.store.insert_vpn_config(MemoryVpnConfig {
            updated_at: Some(day(days)),
            ..config
        });
        if days < 7 {
            pay(&world.store, 10, 1, "expired", day(-1));
        }
    }
}

#[tokio::test]
async fn one_row_that_cannot_be_unlinked_stops_no_other_and_is_found_before_its_user_is_deleted() {
    for kind in [StoreErrorKind::Invalid, StoreErrorKind::Contended] {
        let world = World::synced_just_now();
        for id in 1..=3 {
            gone(&world, id);
        }
        for id in 4..=20 {
            world.in_line(id, day(5));
        }
        let mut mock = MockStore::new();
        let store = world.store.clone();
        mock.expect_rehearse_unlink()
            .returning(move |panel, account, now| {
                if account.id == AccountId(2) {
                    return Err(StoreError::new(kind, "marzban_user_id is NOT NULL"));
                }
                at_once(store.rehearse_unlink(panel, account, now))
            });
        let context = Context::builder(world.panel.clone(), over(mock, &world.store))
            .clock(world.clock.clone())
            .build();

        let report = cleanup(&context).await.unwrap();

        assert_eq!(
            (report.cleaned, report.skipped, report.errors, report.total),
            (2, 0, 1, 3)
        );
        assert_eq!(
            problems(&report.run),
            [
                "1002 user2 Rejected: the row cannot be unlinked, so nothing was deleted: marzban_user_id is NOT NULL"
            ]
        );
        assert!(world.panel.has("user2"));
        assert_eq!(
            world.panel.single_calls(),
            [
                "user user1",
                "user user1",
                "delete user1",
                "user user3",
                "user user3",
                "delete user3"
            ]
        );
    }
}

#[tokio::test]
async fn one_row_that_is_refused_after_the_deletion_stops_no_other() {
    let world = World::synced_just_now();
    for id in 1..=2 {
        gone(&world, id);
    }
    for id in 4..=20 {
        world.in_line(id, day(5));
    }
    let mut mock = MockStore::new();
    mock.expect_unlink()
        .times(1)
        .returning(|_, _, _, _| Err(StoreError::new(StoreErrorKind::Contended, "the row is locked")));
    let context = Context::builder(world.panel.clone(), over(mock, &world.store))
        .clock(world.clock.clone())
        .build();
    let report = cleanup(&context).await.unwrap();
    assert_eq!((report.cleaned, report.errors), (1, 1));
    assert_eq!(
        problems(&report.run),
        ["1001 user1 Rejected: the panel user is gone, but its row was not written: the row is locked"]
    );
    assert_eq!(cleanup(&world.context()).await.unwrap().cleaned, 1);
}

#[tokio::test]
async fn the_panel_is_asked_after_the_last_write_before_a_deletion() {
    // The database is slow, and meanwhile an administrator renews the user.
    for slow in ["the rehearsal", "the intent"] {
        let world = World::synced_just_now();
        gone(&world, 1);
        let mut mock = MockStore::new();
        let (store, panel) = (world.store.clone(), world.panel.clone());
        if slow == "the rehearsal" {
            mock.expect_rehearse_unlink()
                .returning(move |name, account, now| {
                    panel.put("user1", user("active", day(30)));
                    at_once(store.rehearse_unlink(name, account, now))
                });
        } else {
            mock.expect_record().returning(move |name, run, trail, now| {
                panel.put("user1", user("active", day(30)));
                at_once(store.record(name, run, trail, now))
            });
        }
        let context = Context::builder(world.panel.clone(), over(mock, &world.store))
            .clock(world.clock.clone())
            .build();
        let report = cleanup(&context).await.unwrap();
        assert_eq!((report.cleaned, report.skipped), (0, 1), "{slow}");
        assert!(world.panel.has("user1"), "{slow}");
    }
}

#[tokio::test]
async fn a_user_that_a_list_lacked_and_that_is_there_by_itself_is_deleted() {
    let world = World::synced_just_now();
    gone(&world, 1);
    world.in_line(2, day(5));
    gone(&world, 3);
    world.panel.hide("user1");
    let report = cleanup(&world.context()).await.unwrap();
    assert_eq!(report.cleaned, 2);
    assert_eq!(
        world.panel.single_calls(),
        [
            "user user1",
            "user user1",
            "delete user1",
            "user user3",
            "user user3",
            "delete user3"
        ]
    );
}

#[tokio::test]
async fn by_policy_users_are_disabled_and_stay_linked_and_are_not_counted_again() {
    let world = World::synced_just_now();
    gone(&world, 1);
    world.in_line(2, day(5));
    let policy = given::policy(|policy| policy.cleanup = CleanupAction::Disable);
    let mut mock = MockStore::new();
    // A row that cannot be unlinked is no reason, as it stays linked.
    mock.expect_rehearse_unlink().returning(|_, _, _| {
        Err(StoreError::new(
            StoreErrorKind::Invalid,
            "marzban_user_id is NOT NULL",
        ))
    });
    let context = Context::builder(world.panel.clone(), over(mock, &world.store))
        .clock(world.clock.clone())
        .policy(policy)
        .build();

    let report = cleanup(&context).await.unwrap();

    assert_eq!((report.cleaned, report.errors, report.total), (1, 0, 1));
    assert_eq!(
        world.panel.single_calls(),
        ["user user1", "user user1", "disable user1"]
    );
    assert_eq!(
        world.row(1),
        format!("expired until {}; user1 off 100 null", day(-30))
    );
    assert_eq!(
        world.trail(),
        [
            "user1 panel.user exists -> disabled: cleaned",
            "user1 vpn_configs.is_active true -> false: disabled",
        ]
    );

    world.clock.advance(TimeDelta::hours(1));
    let report = cleanup(&context).await.unwrap();
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 0, 0, 0)
    );
    assert_eq!(world.panel.single_calls().len(), 3);
}

#[tokio::test]
async fn a_cleanup_deletes_up_to_its_budget_and_goes_on_next_time() {
    let world = World::synced_just_now();
    for id in 1..=10 {
        gone(&world, id);
    }
    for id in 11..=20 {
        world.in_line(id, day(5));
    }
    let mut left = 10;
    for cleaned in [4, 3, 2, 1] {
        world.synced();
        let report = cleanup(&world.context()).await.unwrap();
        assert_eq!(
            report.cleaned, cleaned,
            "a fifth of those that are left, and at least two"
        );
        left -= cleaned;
        assert_eq!(
            report
                .skipped_because
                .get(&KeptBecause::Withheld)
                .copied()
                .unwrap_or_default(),
            left
        );
    }
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_customer_who_has_nothing_but_a_shared_user_protects_it() {
    let world = World::synced_just_now();
    gone(&world, 1);
    world.store.insert_user(MemoryUser {
        id: UserId(9),
        telegram_id: None,
    });
    world.account(9, 9);
    world.rename(9, "user1");
    assert_eq!(cleanup(&world.context()).await.unwrap().cleaned, 0);
    assert!(world.panel.has("user1"));
}
