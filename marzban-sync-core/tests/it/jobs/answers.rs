//! What an operator says of disagreements, for named users or for all, with a dry run first.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::sync_subscriptions_from_marzban as sync;

use crate::given::{day, user};
use crate::scripted::{World, plan};

/// A bot that drifted before its first run: the rows of the first two are later than the panel's.
fn drifted() -> World {
    let world = World::new();
    for id in 1..=100 {
        world.in_line(id, day(20));
    }
    for id in 1..=2 {
        world
            .panel
            .put(&format!("user{id}"), user("active", day(10 + id)));
    }
    world
}

fn names(names: &[&str]) -> Trust {
    Trust::Names(
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
    )
}

fn panel_is_right(trust_panel: Trust) -> Answers {
    Answers {
        trust_panel,
        ..Answers::default()
    }
}

fn bot_is_right(trust_bot: Trust) -> Answers {
    Answers {
        trust_bot,
        ..Answers::default()
    }
}

#[tokio::test]
async fn a_disagreement_is_reported_in_every_run_until_somebody_answers() {
    let world = drifted();
    for _ in 0..3 {
        let report = sync(&world.context()).await.unwrap();
        assert_eq!((report.synced, report.errors), (98, 2));
        assert_eq!(report.run.reasons[&ProblemReason::EndsDisagree], 2);
        world.clock.advance(TimeDelta::hours(2));
    }
    assert!(world.row(1).starts_with(&format!("active until {}", day(20))));
}

#[tokio::test]
async fn the_panel_is_right_for_named_users_alone_and_a_dry_run_shows_it_first() {
    let world = drifted();
    sync(&world.context()).await.unwrap();
    let rows = world.rows();
    let answers = panel_is_right(names(&["user1"]));

    let dry = world.builder().answers(answers.clone()).dry_run(true).build();
    let shown = sync(&dry).await.unwrap();
    assert_eq!(
        plan(&shown.run),
        [format!(
            "1001 (\"user1\"): end_date {} -> {} [Shortened]",
            day(20),
            day(11)
        )]
    );
    assert_eq!(world.rows(), rows);

    let report = sync(&world.builder().answers(answers).build()).await.unwrap();
    assert_eq!((report.synced, report.errors), (99, 1));
    assert!(world.row(1).starts_with(&format!("active until {}", day(11))));
    assert!(world.row(2).starts_with(&format!("active until {}", day(20))));
    assert_eq!(world.agreement("user1").latest_end, Some(day(11)));
}

#[tokio::test]
async fn the_panel_is_right_for_all_only_as_far_as_the_brakes_let_it() {
    let world = drifted();
    for id in 1..=50 {
        world.panel.put(&format!("user{id}"), user("active", day(10)));
    }
    sync(&world.context()).await.unwrap();
    let answers = panel_is_right(Trust::Everybody);
    let report = sync(&world.builder().answers(answers.clone()).build())
        .await
        .unwrap();
    assert_eq!((report.run.stopped, report.errors), (Some(Stopped::Safety), 50));
    assert!(world.row(50).starts_with(&format!("active until {}", day(20))));

    let allowed = Answers {
        allow_mass_changes: true,
        ..answers
    };
    let report = sync(&world.builder().answers(allowed).build()).await.unwrap();
    assert_eq!((report.synced, report.run.stopped), (100, None));
    assert!(world.row(50).starts_with(&format!("active until {}", day(10))));
}

#[tokio::test]
async fn the_bot_is_right_and_from_then_on_the_panel_is_behind() {
    for trust in [names(&["user1", "user2"]), Trust::Everybody] {
        let world = drifted();
        sync(&world.context()).await.unwrap();
        let rows = world.rows();

        let dry = world
            .builder()
            .answers(bot_is_right(trust.clone()))
            .dry_run(true)
            .build();
        let agreement = world.agreement("user1");
        sync(&dry).await.unwrap();
        assert_eq!(world.agreement("user1"), agreement, "a dry run remembers nothing");

        let report = sync(&world.builder().answers(bot_is_right(trust)).build())
            .await
            .unwrap();
        assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 2);
        assert_eq!(world.agreement("user1").end, Some(EndDate::At(day(11))));
        let report = sync(&world.context()).await.unwrap();
        assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 2);
        assert_eq!(world.rows(), rows);
    }
}
