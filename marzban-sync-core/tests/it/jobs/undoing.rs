//! Putting back what a run changed.

use chrono::TimeDelta;
use marzban_sync_core::error::StoreErrorKind;
use marzban_sync_core::jobs::{Undone, undo};
use marzban_sync_core::report::Job;
use marzban_sync_core::run::RunId;
use marzban_sync_core::store::{Journal, MockStore};
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, sync_subscriptions_from_marzban, sync_user_status_from_marzban,
};

use crate::faulty::{no_database, over};
use crate::given::{day, user};
use crate::scripted::{World, pay};

fn last_run(world: &World) -> RunId {
    world.store.recorded_runs().last().unwrap().id
}

/// What a plan of undoing shows, a line for each value.
fn lines(undone: &Undone) -> Vec<String> {
    let line = |record: &marzban_sync_core::trail::EntryRecord| {
        let entry = &record.entry;
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        format!(
            "{} {} -> {}",
            entry.target.column(),
            shown(&entry.new),
            shown(&entry.old)
        )
    };
    undone.plan.iter().map(line).collect()
}

/// One who was shortened and lost access, one who was extended and reactivated, and many others; the run is over.
async fn changed() -> (World, Vec<String>) {
    let world = World::new();
    for id in 10..=60 {
        world.in_line(id, day(50));
    }
    world.in_line(1, day(5));
    world.agreed(1, day(5));
    world.panel.put("user1", user("limited", day(3)));
    world.customer(2, "expired", day(-1));
    world.agreed(2, day(-1));
    world.panel.put("user2", user("active", day(29)));
    let before = [1, 2].map(|id| world.row(id)).to_vec();
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    assert_ne!([1, 2].map(|id| world.row(id)).to_vec(), before);
    (world, before)
}

#[tokio::test]
async fn the_old_values_are_put_back_and_a_dry_run_shows_them_first() {
    let (world, before) = changed().await;
    let run = last_run(&world);
    let rows = world.rows();

    let dry = undo(&world.builder().dry_run(true).build(), run).await.unwrap();
    assert_eq!((dry.dry_run, dry.undone, dry.kept), (true, 4, 0));
    assert_eq!(world.rows(), rows);

    let undone = undo(&world.context(), run).await.unwrap();
    assert_eq!((undone.undone, undone.kept), (4, 0));
    assert_eq!(lines(&undone), lines(&dry));
    assert_eq!([1, 2].map(|id| world.row(id)).to_vec(), before);
    let trail = world.trail();
    assert!(
        trail.contains(&"user2 subscriptions.status active -> expired: undone".to_owned()),
        "{trail:?}"
    );

    let again = undo(&world.context(), run).await.unwrap();
    assert_eq!((again.undone, again.kept), (0, 4));
}

#[tokio::test]
async fn a_value_that_has_changed_since_is_kept() {
    let (world, before) = changed().await;
    pay(&world.store, 10, 1, "active", day(90));
    let undone = undo(&world.context(), last_run(&world)).await.unwrap();
    assert_eq!((undone.undone, undone.kept), (3, 1));
    assert_eq!(
        world.row(1),
        format!("active until {}; user1 on 100 null", day(90))
    );
    assert_eq!(world.row(2), before[1]);
}

#[tokio::test]
async fn a_sync_after_an_undoing_does_not_bring_it_back_by_itself() {
    let (world, before) = changed().await;
    undo(&world.context(), last_run(&world)).await.unwrap();
    world.clock.advance(TimeDelta::hours(2));
    sync_subscriptions_from_marzban(&world.context()).await.unwrap();
    let ends = |row: &str| row.split(';').next().unwrap().to_owned();
    assert_eq!(
        [1, 2].map(|id| ends(&world.row(id))).to_vec(),
        before.iter().map(|row| ends(row)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_missing_user_is_put_back_too() {
    let world = World::new();
    for id in 1..=20 {
        world.in_line(id, day(5));
    }
    world.panel.remove("user1");
    sync_user_status_from_marzban(&world.context()).await.unwrap();
    assert_eq!(world.config(1), "user1 off 100 null");
    let undone = undo(&world.context(), last_run(&world)).await.unwrap();
    assert_eq!(lines(&undone), ["vpn_configs.is_active false -> true"]);
    assert_eq!(world.config(1), "user1 on 100 null");
}

#[tokio::test]
async fn deletions_are_shown_and_not_undone() {
    let world = World::synced_just_now();
    world.customer(1, "expired", day(-30));
    world.panel.put("user1", user("expired", day(-30)));
    cleanup_expired_marzban_users(&world.context()).await.unwrap();
    let undone = undo(&world.context(), last_run(&world)).await.unwrap();
    assert_eq!((undone.undone, undone.plan.len()), (0, 0));
    let shown: Vec<&str> = undone
        .not_undone
        .iter()
        .map(|record| record.entry.target.column())
        .collect();
    assert_eq!(shown, ["panel.user", "vpn_configs.marzban_user_id"]);
    assert_eq!(world.config(1), "null off 100 null");
}

#[tokio::test]
async fn nothing_is_undone_while_a_job_of_the_panel_runs() {
    for job in [
        Job::SyncSubscriptionsFromMarzban,
        Job::SyncUserStatusFromMarzban,
        Job::CleanupExpiredMarzbanUsers,
    ] {
        let (world, _) = changed().await;
        let rows = world.rows();
        let lock = world.store.lock(job, "default").await.unwrap();
        let error = undo(&world.context(), last_run(&world)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
        assert_eq!(world.rows(), rows);
        lock.release().await.unwrap();
        assert_eq!(
            undo(&world.context(), last_run(&world)).await.unwrap().undone,
            4,
            "all locks were freed"
        );
    }
}

#[tokio::test]
async fn a_run_without_a_trail_and_one_of_another_panel_are_refused() {
    let (world, _) = changed().await;
    let error = undo(&world.context(), RunId(77)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().starts_with("run 77 has no trail"), "{error}");
    let elsewhere = world.builder().panel_name("de").build();
    let error = undo(&elsewhere, last_run(&world)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(
        error.to_string().contains("is of the panel \"default\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_that_fails_leaves_the_locks_free() {
    let (world, _) = changed().await;
    let rows = world.rows();
    let mut mock = MockStore::new();
    mock.expect_undo()
        .times(1)
        .returning(|_, _, _, _| Err(no_database()));
    let context = Context::builder(world.panel.clone(), over(mock, &world.store))
        .clock(world.clock.clone())
        .build();
    let error = undo(&context, last_run(&world)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(world.rows(), rows);
    assert_eq!(undo(&context, last_run(&world)).await.unwrap().undone, 4);
}
