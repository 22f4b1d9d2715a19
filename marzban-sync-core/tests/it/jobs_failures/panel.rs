//! The panel fails: it refuses, it does not answer, it answers in parts.

use std::error::Error;

use marzban_sync_core::error::{PanelError, PanelErrorKind, SyncError, chain};
use marzban_sync_core::observation::{Observation, PanelUser};
use marzban_sync_core::outcome::{Outcome, Stopped};
use marzban_sync_core::panel::MockPanel;
use marzban_sync_core::report::{Job, ProblemReason, Report, SyncSubscriptionsReport};
use marzban_sync_core::store::Journal;
use marzban_sync_core::{
    Context, cleanup_expired_marzban_users, get_marzban_system_stats, sync_subscriptions_from_marzban,
    sync_user_status_from_marzban,
};

use crate::faulty::{at_once, no_panel, refused};
use crate::given::{day, found, user};
use crate::scripted::{World, problems};

/// A bot of so many customers, whose panel users have used traffic.
fn bot(customers: i64) -> World {
    let world = World::new();
    for id in 1..=customers {
        world.customer(id, "active", day(5));
    }
    world
}

fn busy() -> Observation {
    Observation::Found(PanelUser {
        used_traffic: 500,
        ..user("active", day(5))
    })
}

/// A panel without a clock of its own, and without any answer yet.
fn panel() -> MockPanel {
    let mut panel = MockPanel::new();
    panel.expect_last_date().return_const(None);
    panel
}

fn with(panel: MockPanel, world: &World) -> Context {
    Context::builder(panel, world.store.clone())
        .clock(world.clock.clone())
        .build()
}

fn report(error: &SyncError) -> &SyncSubscriptionsReport {
    match error.report() {
        Some(Report::SyncSubscriptionsFromMarzban(report)) => report,
        other => panic!("the report of the run is attached: {other:?}"),
    }
}

fn is_free(world: &World, job: Job) -> bool {
    at_once(world.store.lock(job, "default")).is_ok()
}

#[tokio::test]
async fn a_refused_login_ends_the_run_after_one_question() {
    let world = bot(300);
    let rows = world.rows();
    let mut panel = panel();
    panel.expect_users().times(1).returning(|_| Err(refused()));

    let error = sync_subscriptions_from_marzban(&with(panel, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(
        chain(&error),
        "sync_subscriptions_from_marzban was ended by the panel: the panel refuses the login"
    );
    let report = report(&error);
    assert_eq!((report.synced, report.errors, report.total), (0, 300, 300));
    assert_eq!(report.run.unreached, 300);
    assert_eq!(report.run.stopped, Some(Stopped::Failed));
    assert_eq!(world.rows(), rows);
    assert_eq!(world.outcomes(), ["sync_subscriptions_from_marzban failed"]);
    let history = world.store.recorded_runs().remove(0).report.unwrap();
    assert_eq!(history["error"], "the panel refuses the login");
    assert_eq!(history["job"], "sync_subscriptions_from_marzban");
    assert!(is_free(&world, Job::SyncSubscriptionsFromMarzban));
}

#[tokio::test]
async fn a_panel_that_does_not_answer_three_times_in_a_row_is_given_up() {
    let world = bot(1_000);
    let rows = world.rows();
    let mut panel = panel();
    panel.expect_users().times(3).returning(|_| Err(no_panel()));

    let error = sync_subscriptions_from_marzban(&with(panel, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(error.source().unwrap().to_string(), "the panel does not answer");
    let report = report(&error);
    assert_eq!((report.synced, report.errors, report.total), (0, 1_000, 1_000));
    assert_eq!((report.run.unreached, report.run.problems.len()), (800, 200));
    assert_eq!(world.rows(), rows);
    assert!(is_free(&world, Job::SyncSubscriptionsFromMarzban));
}

#[tokio::test]
async fn one_batch_without_an_answer_is_an_error_of_its_accounts_alone() {
    let world = bot(250);
    let mut panel = panel();
    let answer = |names: &[String]| Ok(vec![busy(); names.len()]);
    panel.expect_users().times(1).returning(answer);
    panel.expect_users().times(1).returning(|_| Err(no_panel()));
    panel.expect_users().times(1).returning(answer);

    let report = sync_subscriptions_from_marzban(&with(panel, &world))
        .await
        .unwrap();

    assert_eq!((report.synced, report.errors, report.total), (150, 100, 250));
    assert_eq!(report.run.stopped, None);
    assert!(
        report
            .run
            .problems
            .iter()
            .all(|problem| problem.reason == ProblemReason::Unavailable)
    );
    assert_eq!(
        problems(&report.run)[0],
        "1101 user101 Unavailable: the panel does not answer: timed out"
    );
    let traffic: Vec<Option<i64>> = [100, 101, 200, 201]
        .iter()
        .map(|id| world.store.vpn_configs()[id - 1].traffic_used)
        .collect();
    assert_eq!(traffic, [Some(500), Some(100), Some(100), Some(500)]);
}

#[tokio::test]
async fn failures_with_answers_between_them_are_not_in_a_row() {
    let world = bot(500);
    let mut panel = panel();
    for _ in 0..2 {
        panel.expect_users().times(1).returning(|_| Err(no_panel()));
        panel
            .expect_users()
            .times(1)
            .returning(|names| Ok(vec![busy(); names.len()]));
    }
    panel.expect_users().times(1).returning(|_| Err(no_panel()));

    let report = sync_subscriptions_from_marzban(&with(panel, &world))
        .await
        .unwrap();

    assert_eq!((report.synced, report.errors, report.total), (200, 300, 500));
}

#[tokio::test]
async fn a_panel_that_answered_nothing_is_a_failure_and_not_a_run_with_errors() {
    let world = bot(3);
    let mut panel = panel();
    panel.expect_users().times(1).returning(|_| Err(no_panel()));

    let error = sync_user_status_from_marzban(&with(panel, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(
        error.source().unwrap().to_string(),
        "the panel answered none of the questions"
    );
    assert_eq!(world.outcomes(), ["sync_user_status_from_marzban failed"]);
}

#[tokio::test]
async fn an_answer_that_is_too_short_is_no_absence() {
    let world = bot(3);
    let rows = world.rows();
    let mut panel = panel();
    panel
        .expect_users()
        .times(1)
        .returning(|_| Ok(vec![found("active", day(5))]));

    let report = sync_user_status_from_marzban(&with(panel, &world)).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 0, 2, 3)
    );
    assert_eq!(
        problems(&report.run),
        [
            "1002 user2 Unavailable: the answer is too short",
            "1003 user3 Unavailable: the answer is too short",
        ]
    );
    assert_eq!(world.rows(), rows);
}

#[tokio::test]
async fn a_panel_that_fails_among_the_confirmations_marks_nobody() {
    let world = bot(30);
    let mut panel = panel();
    panel.expect_users().times(1).returning(|names| {
        let mut answer = vec![found("active", day(5)); names.len()];
        answer[0] = Observation::NotListed;
        answer[1] = Observation::NotListed;
        Ok(answer)
    });
    panel
        .expect_user()
        .times(1)
        .returning(|_| Ok(Observation::NotFound));
    panel.expect_user().times(1).returning(|_| Err(refused()));
    let rows = world.rows();

    let error = sync_user_status_from_marzban(&with(panel, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(world.rows(), rows);
    let Some(Report::SyncUserStatusFromMarzban(report)) = error.report() else {
        panic!("the report of the run is attached");
    };
    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (0, 1, 2, 30)
    );
    assert_eq!(report.run.withheld, 2);
}

#[tokio::test]
async fn a_confirmation_without_an_answer_is_an_error_of_its_account_alone() {
    let world = bot(30);
    let mut panel = panel();
    panel.expect_users().times(1).returning(|names| {
        let mut answer = vec![found("active", day(5)); names.len()];
        answer[0] = Observation::NotListed;
        answer[1] = Observation::NotListed;
        Ok(answer)
    });
    panel.expect_user().times(1).returning(|_| Err(no_panel()));
    panel
        .expect_user()
        .times(1)
        .returning(|_| Ok(Observation::NotFound));

    let report = sync_user_status_from_marzban(&with(panel, &world)).await.unwrap();

    assert_eq!(
        (report.updated, report.missing, report.errors, report.total),
        (1, 1, 1, 30)
    );
    assert_eq!(world.config(1), "user1 on 100 null");
    assert_eq!(world.config(2), "user2 off 100 null");
}

/// A bot of two customers who ended long ago, and a panel that agrees; it has no answer to a deletion yet.
fn ended() -> (World, MockPanel) {
    let world = World::synced_just_now();
    for id in 1..=2 {
        world.customer(id, "expired", day(-30));
    }
    let mut panel = panel();
    panel
        .expect_users()
        .returning(|names| Ok(vec![found("expired", day(-30)); names.len()]));
    panel.expect_user().returning(|_| Ok(found("expired", day(-30))));
    (world, panel)
}

#[tokio::test]
async fn an_unclear_deletion_leaves_the_row_and_the_next_user_is_deleted() {
    let (world, mut panel) = ended();
    panel.expect_delete_user().times(1).returning(|_| {
        Err(PanelError::new(
            PanelErrorKind::Unclear,
            "it is not known whether the user was deleted",
        ))
    });
    panel.expect_delete_user().times(1).returning(|_| Ok(()));

    let report = cleanup_expired_marzban_users(&with(panel, &world)).await.unwrap();

    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (1, 0, 1, 2)
    );
    assert_eq!(
        problems(&report.run),
        ["1001 user1 NotDeleted: it is not known whether the user was deleted"]
    );
    assert_eq!(world.config(1), "user1 on 100 null");
    assert_eq!(world.config(2), "null off 100 null");
}

#[tokio::test]
async fn a_refused_deletion_ends_the_cleanup() {
    let (world, mut panel) = ended();
    panel.expect_delete_user().times(1).returning(|_| Err(refused()));
    let rows = world.rows();

    let error = cleanup_expired_marzban_users(&with(panel, &world))
        .await
        .unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(world.rows(), rows);
    let Some(Report::CleanupExpiredMarzbanUsers(report)) = error.report() else {
        panic!("the report of the run is attached");
    };
    assert_eq!(
        (report.cleaned, report.skipped, report.errors, report.total),
        (0, 0, 2, 2)
    );
    assert_eq!(world.outcomes()[1..], ["cleanup_expired_marzban_users failed"]);
}

#[tokio::test]
async fn figures_that_the_panel_does_not_give_are_not_stored() {
    let world = World::new();
    let mut panel = panel();
    panel.expect_system_stats().times(1).returning(|| Err(no_panel()));

    let error = get_marzban_system_stats(&with(panel, &world)).await.unwrap_err();

    assert_eq!(error.outcome(), Outcome::Panel);
    assert_eq!(
        chain(&error),
        "get_marzban_system_stats was ended by the panel: the panel does not answer: timed out"
    );
    assert_eq!(error.report(), None);
    assert_eq!(world.store.recorded_system_stats(), vec![]);
    assert_eq!(world.outcomes(), ["get_marzban_system_stats failed"]);
    assert_eq!(
        world.store.recorded_runs()[0].report,
        Some(serde_json::json!({"error": "the panel does not answer: timed out"}))
    );
    assert!(is_free(&world, Job::GetMarzbanSystemStats));
}
