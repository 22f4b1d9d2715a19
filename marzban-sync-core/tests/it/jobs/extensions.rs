//! The panel behind: reported, and by policy extended to what was paid for.

use chrono::TimeDelta;
use marzban_sync_core::account::UserId;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::outcome::Stopped;
use marzban_sync_core::panel::MockPanel;
use marzban_sync_core::policy::{Answers, PanelBehind, Policy};
use marzban_sync_core::report::ProblemReason;
use marzban_sync_core::store::{Journal, MemoryUser, MockStore};
use marzban_sync_core::trail::EntryState;
use marzban_sync_core::{Context, sync_subscriptions_from_marzban as sync};

use crate::faulty::{at_once, over};
use crate::given::{self, at, day, now, user};
use crate::scripted::{World, allowed, pay, problems, rename};

fn extending() -> Policy {
    given::policy(|policy| policy.panel_behind = PanelBehind::Extend)
}

fn at_once_extending() -> Policy {
    given::policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = TimeDelta::zero();
    })
}

/// So many customers; the first `behind` have paid in the bot, and the panel was not told.
fn behind(customers: i64, behind: i64) -> World {
    let world = World::new();
    for id in 1..=customers {
        world.in_line(id, day(5));
        world.agreed(id, day(5));
        if id <= behind {
            world.subscription(10 * id, id, "active", day(35));
        }
    }
    world
}

fn end_in_panel(world: &World, name: &str) -> String {
    use marzban_sync_core::observation::Observation;
    use marzban_sync_core::panel::Panel;
    match at_once(world.panel.users(&[name.to_owned()])).unwrap().remove(0) {
        Observation::Found(PanelUser { expire, .. }) => expire.unwrap().to_string(),
        other => panic!("{other:?}"),
    }
}

fn extensions(world: &World) -> Vec<String> {
    let mut calls = world.panel.calls();
    calls.retain(|call| call.starts_with("extend"));
    calls
}

#[tokio::test]
async fn by_default_it_is_only_reported_with_the_customers_who_have_no_access() {
    let world = behind(10, 1);
    world.panel.put("user1", user("expired", day(5)));
    world.clock.set(day(6));
    for id in 2..=10 {
        world.subscription(10 * id, id, "active", day(60));
        world.agreed(id, day(60));
        world.panel.put(&format!("user{id}"), user("active", day(60)));
    }
    for _ in 0..2 {
        let report = sync(&world.context()).await.unwrap();
        assert_eq!(
            problems(&report.run),
            [format!(
                "1001 user1 PanelBehind: the bot has {}, the panel {}: extend the user in the panel; the customer \
                 paid and has no access now",
                EndDate::At(day(35)),
                EndDate::At(day(5))
            )]
        );
        world.clock.advance(TimeDelta::days(2));
    }
    assert_eq!(extensions(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_panel_that_has_been_behind_for_a_day_is_extended_once() {
    let world = behind(10, 1);
    let context = world.builder().policy(extending()).build();
    for hours in [0, 2, 23] {
        world.clock.set(now() + TimeDelta::hours(hours));
        let report = sync(&context).await.unwrap();
        assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 1, "{hours}");
        assert_eq!(extensions(&world), Vec::<String>::new(), "{hours}");
    }
    world.clock.set(now() + TimeDelta::hours(24));

    let report = sync(&context).await.unwrap();

    assert_eq!((report.synced, report.errors, report.total), (10, 0, 10));
    assert_eq!(report.run.extended_in_panel, 1);
    assert_eq!(extensions(&world), [format!("extend user1 {}", day(35))]);
    assert_eq!(end_in_panel(&world, "user1"), day(35).to_string());
    assert_eq!(world.agreement("user1").end, Some(EndDate::At(day(35))));
    assert_eq!(
        world.trail(),
        ["user1 panel.expire 2025-09-20T12:00:00.000000Z -> 2025-10-20T12:00:00.000000Z: panel_behind"]
    );
    let states: Vec<EntryState> = world
        .store
        .recorded_entries()
        .iter()
        .map(|record| record.entry.state)
        .collect();
    assert_eq!(states, [EntryState::Intended, EntryState::Done]);
    assert_eq!(report.run.changed.len(), 1);
    assert_eq!(report.run.changed[0].what, "expire");

    let report = sync(&context).await.unwrap();
    assert_eq!((report.synced, extensions(&world).len()), (10, 1));
}

#[tokio::test]
async fn a_dry_run_extends_nobody_and_says_whom_it_would() {
    let world = behind(10, 1);
    let context = world.builder().policy(at_once_extending()).dry_run(true).build();
    let report = sync(&context).await.unwrap();
    assert_eq!((report.synced, report.run.extended_in_panel), (10, 1));
    assert_eq!(
        report.run.changed[0].to.as_deref(),
        Some("2025-10-20T12:00:00.000000Z")
    );
    assert_eq!(extensions(&world), Vec::<String>::new());
    assert!(world.store.recorded_entries().is_empty());
}

#[tokio::test]
async fn more_than_a_tenth_at_once_are_withheld_unless_the_operator_allows_it() {
    let world = behind(49, 5);
    let context = world.builder().policy(at_once_extending()).build();
    let report = sync(&context).await.unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(
        report.run.withheld_because.as_deref(),
        Some("5 of 49 panel users would be extended at once")
    );
    assert_eq!((report.errors, report.run.withheld), (5, 5));
    assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 5);
    assert_eq!(extensions(&world), Vec::<String>::new());

    let context = world
        .builder()
        .policy(at_once_extending())
        .answers(allowed())
        .build();
    let report = sync(&context).await.unwrap();
    assert_eq!(
        (report.synced, report.run.stopped, extensions(&world).len()),
        (49, None, 5)
    );
}

#[tokio::test]
async fn a_tenth_may_be_extended() {
    let world = behind(50, 5);
    let report = sync(&world.builder().policy(at_once_extending()).build())
        .await
        .unwrap();
    assert_eq!((report.synced, report.run.extended_in_panel), (50, 5));
}

#[tokio::test]
async fn a_user_that_has_changed_since_is_left_alone() {
    for (call, change) in [
        ("extend user1", "the panel"),
        ("extend user1", "another user"),
        ("extend user1", "on hold"),
        ("users ", "the row"),
        ("users ", "a sharer"),
    ] {
        let world = behind(10, 1);
        // A customer without a row yet that names the user.
        world.customer(90, "cancelled", day(-1));
        world.rename(90, "");
        let (panel, store) = (world.panel.clone(), world.store.clone());
        world.panel.at_call(call, move || match change {
            "the panel" => panel.put("user1", user("active", day(6))),
            "the row" => pay(&store, 10, 1, "active", day(40)),
            "on hold" => panel.put("user1", user("on_hold", day(5))),
            "a sharer" => rename(&store, 90, "user1"),
            _ => panel.put(
                "user1",
                PanelUser {
                    created_at: Some(at("2025-09-15 11:00:00")),
                    ..user("active", day(5))
                },
            ),
        });
        let report = sync(&world.builder().policy(at_once_extending()).build())
            .await
            .unwrap();
        assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 1, "{change}");
        assert_ne!(end_in_panel(&world, "user1"), day(35).to_string(), "{change}");
        assert_eq!(report.run.extended_in_panel, 0, "{change}");
    }
}

#[tokio::test]
async fn disabled_and_shared_users_are_never_extended_nor_is_anybody_to_no_end() {
    let world = behind(10, 3);
    world.panel.put("user1", user("disabled", day(5)));
    world.store.insert_user(MemoryUser {
        id: UserId(90),
        telegram_id: Some(1090),
    });
    world.account(90, 90);
    world.rename(90, "user2");
    world.subscription(30, 3, "active", None);
    let report = sync(&world.builder().policy(at_once_extending()).build())
        .await
        .unwrap();
    assert_eq!(extensions(&world), Vec::<String>::new());
    assert_eq!(report.run.extended_in_panel, 0);
    assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 2);
    assert_eq!(report.run.reasons[&ProblemReason::SharedUser], 1);
}

#[tokio::test]
async fn a_run_that_a_brake_stopped_extends_nobody() {
    let world = behind(40, 1);
    for id in 2..=40 {
        world.panel.put(&format!("user{id}"), user("active", day(1)));
    }
    let report = sync(&world.builder().policy(at_once_extending()).build())
        .await
        .unwrap();
    assert_eq!(report.run.stopped, Some(Stopped::Safety));
    assert_eq!(extensions(&world), Vec::<String>::new());
    assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 1);
}

#[tokio::test]
async fn a_run_that_ended_before_reports_whom_it_did_not_extend() {
    for (customers, call, extended) in [(150, "users ", 0), (10, "extend ", 1)] {
        let world = behind(customers, 3);
        let cancellation = world.cancellation.clone();
        world.panel.at_call(call, move || cancellation.cancel());
        let report = sync(&world.builder().policy(at_once_extending()).build())
            .await
            .unwrap();
        assert_eq!(report.run.stopped, Some(Stopped::Cancelled), "{call}");
        assert_eq!(extensions(&world).len() as u64, extended, "{call}");
        assert_eq!(report.run.extended_in_panel, extended, "{call}");
        assert_eq!(
            report.run.reasons[&ProblemReason::PanelBehind],
            3 - extended,
            "{call}"
        );
    }
}

#[tokio::test]
async fn a_crash_between_the_intent_and_the_extension_is_made_good_by_the_next_run() {
    for was_sent in [false, true] {
        let world = behind(10, 1);
        let mut mock = MockStore::new();
        let store = world.store.clone();
        let panel = world.panel.clone();
        // The process dies after the intent, or after the request: the last write does not happen.
        let mut writes = 0;
        mock.expect_record().returning(move |name, run, trail, now| {
            writes += 1;
            let dies = StoreError::new(StoreErrorKind::Unavailable, "the process died");
            match writes {
                1 => {
                    at_once(store.record(name, run, trail, now))?;
                    if was_sent { Ok(()) } else { Err(dies) }
                }
                2 if was_sent => Err(dies),
                _ => at_once(store.record(name, run, trail, now)),
            }
        });
        let dying = Context::builder(panel, over(mock, &world.store))
            .clock(world.clock.clone())
            .policy(at_once_extending())
            .build();
        sync(&dying).await.unwrap_err();
        assert_eq!(extensions(&world).len(), usize::from(was_sent));

        let context = world.builder().policy(at_once_extending()).build();
        let report = sync(&context).await.unwrap();
        assert_eq!((report.synced, report.errors), (10, 0), "{was_sent}");
        assert_eq!(end_in_panel(&world, "user1"), day(35).to_string());
        assert_eq!(extensions(&world).len(), 1, "{was_sent}");
        assert_eq!(world.agreement("user1").end, Some(EndDate::At(day(35))));
    }
}

#[tokio::test]
async fn a_payment_that_the_bots_own_queue_adds_once_more_is_no_second_month() {
    for died in [false, true] {
        let world = behind(10, 1);
        let context = world.builder().policy(at_once_extending()).build();
        sync(&context).await.unwrap();
        if died {
            // The run died right after the request.
            world.remember(1, |agreement| {
                agreement.end = Some(EndDate::At(day(5)));
                agreement.previous_end = None;
            });
            sync(&context).await.unwrap();
        }
        // The bot's own "+30 days" comes late.
        world.panel.put("user1", user("active", day(65)));
        for _ in 0..3 {
            let report = sync(&context).await.unwrap();
            assert_eq!(report.run.reasons[&ProblemReason::EndsDisagree], 1);
            assert!(world.row(1).starts_with(&format!("active until {}", day(35))));
            world.clock.advance(TimeDelta::days(3));
            for id in 2..=10 {
                world.subscription(10 * id, id, "active", day(60));
                world.panel.put(&format!("user{id}"), user("active", day(60)));
            }
        }
        // Also when the week of suspicion is over: the pair is open until somebody answers.
        world.clock.set(day(20));
        let report = sync(&context).await.unwrap();
        assert_eq!(report.run.reasons[&ProblemReason::EndsDisagree], 1);
        assert!(world.row(1).starts_with(&format!("active until {}", day(35))));
    }
}

#[tokio::test]
async fn an_extension_of_which_nothing_is_known_is_a_problem_and_is_tried_again() {
    let world = behind(3, 1);
    let mut panel = MockPanel::new();
    panel.expect_last_date().return_const(None);
    let inner = world.panel.clone();
    panel.expect_users().returning(move |names| {
        use marzban_sync_core::panel::Panel;
        at_once(inner.users(names))
    });
    panel.expect_extend_user().times(1).returning(|_, _, _| {
        Err(PanelError::new(
            PanelErrorKind::Unclear,
            "it is not known whether the user was extended",
        ))
    });
    let context = Context::builder(panel, world.store.clone())
        .clock(world.clock.clone())
        .policy(at_once_extending())
        .build();
    let report = sync(&context).await.unwrap();
    assert_eq!((report.synced, report.errors), (2, 1));
    let detail = report.run.problems[0].detail.clone().unwrap();
    assert!(
        detail.ends_with("it was not extended: it is not known whether the user was extended"),
        "{detail}"
    );

    let report = sync(&world.builder().policy(at_once_extending()).build())
        .await
        .unwrap();
    assert_eq!((report.synced, report.run.extended_in_panel), (3, 1));
}

#[tokio::test]
async fn an_answer_that_the_bot_is_right_lets_the_panel_be_extended() {
    let world = World::new();
    for id in 1..=10 {
        world.in_line(id, day(20));
    }
    world.panel.put("user1", user("active", day(10)));
    let answers = Answers {
        trust_bot: marzban_sync_core::policy::Trust::Everybody,
        ..Answers::default()
    };
    let report = sync(
        &world
            .builder()
            .policy(at_once_extending())
            .answers(answers)
            .build(),
    )
    .await
    .unwrap();
    assert_eq!((report.synced, report.run.extended_in_panel), (10, 1));
    assert_eq!(end_in_panel(&world, "user1"), day(20).to_string());
}

#[tokio::test]
async fn a_dry_run_of_an_answer_says_whom_it_would_extend() {
    let world = World::new();
    for id in 1..=10 {
        world.in_line(id, day(20));
    }
    world.panel.put("user1", user("active", day(10)));
    let answers = Answers {
        trust_bot: marzban_sync_core::policy::Trust::Everybody,
        ..Answers::default()
    };
    let context = world
        .builder()
        .policy(at_once_extending())
        .answers(answers)
        .dry_run(true)
        .build();
    let report = sync(&context).await.unwrap();
    assert_eq!((report.synced, report.run.extended_in_panel), (10, 1));
    assert_eq!(problems(&report.run), Vec::<String>::new());
    assert_eq!(extensions(&world), Vec::<String>::new());
}

#[tokio::test]
async fn users_that_the_panel_does_not_let_be_changed_stop_no_other() {
    let world = behind(50, 4);
    let mut panel = MockPanel::new();
    panel.expect_last_date().return_const(None);
    let inner = world.panel.clone();
    panel.expect_users().returning(move |names| {
        use marzban_sync_core::panel::Panel;
        at_once(inner.users(names))
    });
    let inner = world.panel.clone();
    panel
        .expect_extend_user()
        .times(4)
        .returning(move |name, expected, end| {
            use marzban_sync_core::panel::Panel;
            if name == "user1" {
                return at_once(inner.extend_user(name, expected, end));
            }
            Err(PanelError::new(
                PanelErrorKind::Invalid,
                "not permitted to change a user",
            ))
        });
    let context = Context::builder(panel, world.store.clone())
        .clock(world.clock.clone())
        .policy(at_once_extending())
        .build();
    let report = sync(&context).await.unwrap();
    assert_eq!((report.synced, report.errors, report.run.stopped), (47, 3, None));
    assert_eq!(report.run.reasons[&ProblemReason::PanelBehind], 3);
    assert_eq!(report.run.extended_in_panel, 1);
    assert_eq!(end_in_panel(&world, "user1"), day(35).to_string());
}
