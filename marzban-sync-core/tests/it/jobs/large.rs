//! More of something than a report names: everything is counted, and what is left out is said.

use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::report::{MAX_PROBLEMS, ProblemReason};
use marzban_sync_core::{sync_subscriptions_from_marzban, sync_user_status_from_marzban};

use crate::given::{day, user};
use crate::scripted::{World, allowed};

const ACCOUNTS: i64 = 10_500;

#[tokio::test]
async fn more_is_withheld_than_a_report_names_and_all_of_it_is_counted() {
    let world = World::new();
    for id in 1..=ACCOUNTS {
        world.customer(id, "active", day(5));
        world.panel.put(&format!("user{id}"), user("disabled", day(5)));
    }
    world.panel.put("user1", user("expired", day(5)));
    let mut limits = marzban_sync_core::limits::SafetyLimits::default();
    limits.floor = 1;
    limits.off_early_percent = 0;

    let report = sync_subscriptions_from_marzban(&world.builder().limits(limits).build())
        .await
        .unwrap();

    let run = &report.run;
    assert_eq!(run.stopped, Some(Stopped::Safety));
    assert_eq!((report.synced, report.errors, report.total), (0, 10_500, 10_500));
    assert_eq!((run.withheld, run.plan.len()), (10_500, 1_000));
    assert_eq!((run.problems.len(), run.problems_left_out), (MAX_PROBLEMS, 9_500));
    assert!(
        run.problems
            .iter()
            .all(|problem| problem.reason == ProblemReason::Withheld)
    );
    assert_eq!(world.config(ACCOUNTS), "user10500 on 100 null");
}

#[tokio::test]
async fn of_more_absent_users_than_a_run_can_ask_for_the_rest_stays_as_it_is() {
    let world = World::new();
    for id in 1..=ACCOUNTS {
        world.customer(id, "active", day(5));
    }
    world.in_line(ACCOUNTS + 1, day(5));
    let report = sync_user_status_from_marzban(&world.builder().answers(allowed()).build())
        .await
        .unwrap();

    let asked = world.panel.single_calls().len();
    assert_eq!((asked, report.missing), (10_000, 10_000));
    assert_eq!(
        (report.updated, report.errors, report.total),
        (10_000, 500, 10_501)
    );
    assert!(
        report
            .run
            .problems
            .iter()
            .all(|problem| problem.reason == ProblemReason::Missing)
    );
    let inactive = world
        .store
        .vpn_configs()
        .into_iter()
        .filter(|config| config.is_active == Some(false));
    assert_eq!(inactive.count(), 10_000);
}
