//! The rules, case by case, in their order.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::agreement::{Agreement, PanelExtension};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::merge_ends::{Merged, Say};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::policy::{Answer, Policy, Unlimited};

use super::World;
use crate::given::{agreed, at, created, day, now, policy, second, user};

const SILENCE: Say = Say {
    answer: None,
    allow: false,
};
const PANEL: Say = Say {
    answer: Some(Answer::Panel),
    allow: false,
};
const BOT: Say = Say {
    answer: Some(Answer::Bot),
    allow: false,
};
const ALLOWED: Say = Say {
    answer: None,
    allow: true,
};

/// What becomes of the row, the problem after `!`, whether the brakes count it, and what both sides have from now on.
fn words(merged: &Merged) -> String {
    let mut words = Vec::new();
    if let Some((end, reason)) = merged.row {
        words.push(format!("{} {}", reason.as_str(), when(end)));
    }
    if let Some(conflict) = merged.conflict {
        words.push(format!("! {conflict:?}"));
    }
    if merged.is_cut {
        words.push("(cut)".to_owned());
    }
    if words.is_empty() {
        words.push("stays".to_owned());
    }
    let Agreement {
        end,
        previous_end,
        is_ours,
        ..
    } = &merged.agreement;
    if let Some(end) = end {
        words.push(format!("agreed {}", when(*end)));
    }
    if let Some(previous_end) = previous_end {
        words.push(format!("before {}", when(*previous_end)));
    }
    if *is_ours {
        words.push("ours".to_owned());
    }
    words.join(", ")
}

/// An end, as days from the present.
fn when(end: EndDate) -> String {
    let EndDate::At(end) = end else {
        return "never".to_owned();
    };
    let difference = end - now();
    let (days, seconds) = (difference.num_days(), difference.num_seconds() % 86_400);
    match (days, seconds) {
        (days, 0) => format!("{days:+}d"),
        (0, seconds) => format!("{seconds:+}s"),
        (days, seconds) => format!("{days:+}d{seconds:+}s"),
    }
}

#[track_caller]
fn check(world: &World, say: Say, expected: &str) {
    check_by(Policy::default(), world, say, expected);
}

#[track_caller]
fn check_by(policy: Policy, world: &World, say: Say, expected: &str) {
    assert_eq!(words(&world.merged_by(policy, say)), expected);
}

/// The ends of the row and of an active panel user, and what was agreed.
fn ends(
    row: impl Into<Option<DateTime<Utc>>>,
    panel: impl Into<Option<DateTime<Utc>>>,
    agreement: Agreement,
) -> World {
    World::new(row, user("active", panel), agreement)
}

fn nothing() -> Agreement {
    Agreement::default()
}

/// What is remembered once the library has moved the row from one end to another.
fn written(from: DateTime<Utc>, to: DateTime<Utc>) -> Agreement {
    Agreement {
        previous_end: Some(EndDate::At(from)),
        is_ours: true,
        ..agreed(to)
    }
}

// 1. In step.

#[test]
fn equal_ends_are_agreed_on() {
    check(&ends(day(5), day(5), nothing()), SILENCE, "stays, agreed +5d");
    check(&ends(None, None, nothing()), SILENCE, "stays, agreed never");
    check(
        &ends(day(5), day(5), agreed(day(5))),
        SILENCE,
        "stays, agreed +5d",
    );
}

#[test]
fn a_renewal_on_both_sides_is_agreed_on_and_its_beginning_remembered() {
    check(
        &ends(day(35), day(35), agreed(day(5))),
        SILENCE,
        "stays, agreed +35d, before +5d",
    );
    check(
        &ends(day(5), day(5), agreed(day(35))),
        SILENCE,
        "stays, agreed +5d",
    );
}

#[test]
fn a_row_up_to_an_hour_later_is_in_step_and_an_earlier_one_is_not() {
    let panel = day(5);
    for (later, expected) in [
        (2, "stays, agreed +5d"),
        (3_600, "stays, agreed +5d"),
        (3_601, "! EndsDisagree(RowIsLater)"),
        (-1, "extended +5d, agreed +5d, before +4d+86399s, ours"),
    ] {
        let world = ends(panel + TimeDelta::seconds(later), panel, nothing());
        check(&world, SILENCE, expected);
    }
    let exact = policy(|policy| policy.tolerance = TimeDelta::zero());
    check_by(
        exact,
        &ends(panel + TimeDelta::seconds(1), panel, nothing()),
        SILENCE,
        "! EndsDisagree(RowIsLater)",
    );
}

#[test]
fn a_row_two_seconds_later_stays_in_step_when_the_panel_is_extended() {
    check(
        &ends(day(5) + TimeDelta::seconds(2), day(35), agreed(day(5))),
        SILENCE,
        "extended +35d, agreed +35d, before +5d+2s, ours",
    );
}

#[test]
fn two_ends_that_have_passed_are_in_step_while_the_panels_is_not_later() {
    for agreement in [nothing(), agreed(day(-2)), agreed(day(-5))] {
        check(&ends(day(-2), day(-5), agreement), SILENCE, "stays, agreed -5d");
    }
    check(
        &ends(day(-5), day(-2), nothing()),
        SILENCE,
        "extended -2d, agreed -2d, before -5d, ours",
    );
    check(&ends(now(), day(-5), nothing()), SILENCE, "stays, agreed -5d");
    check(
        &ends(second(1), day(-5), nothing()),
        SILENCE,
        "! EndsDisagree(RowIsLater)",
    );
}

#[test]
fn a_panel_rebuilt_from_the_bots_rows_is_in_step_with_its_new_users() {
    // A28: the same ends, another time of creation, an end before it included.
    for end in [day(5), day(-2)] {
        let rebuilt = PanelUser {
            created_at: Some(day(-1)),
            ..user("active", end)
        };
        let merged = World::new(end, rebuilt, agreed(end)).merged(SILENCE);
        assert_eq!((merged.row, merged.conflict), (None, None));
        assert_eq!(merged.agreement.created_at, Some(day(-1)));
    }
}

// 2. The panel says nothing about the end.

#[test]
fn a_user_on_hold_moves_no_end_whatever_its_expire() {
    for expire in [None, Some(day(-100)), Some(now()), Some(day(100))] {
        for row in [None, Some(day(-5)), Some(day(5))] {
            let mut world = World::new(row, user("on_hold", expire), agreed(day(3)));
            let merged = world.run(SILENCE);
            assert_eq!((merged.row, merged.conflict), (None, None), "{row:?} {expire:?}");
            assert!(world.agreement.on_hold && world.agreement.end.is_none());
        }
    }
}

#[test]
fn a_row_without_an_end_gets_the_panels_when_the_time_of_a_held_user_begins() {
    // A27.
    let mut world = World::new(None, user("on_hold", None), nothing());
    world.run(SILENCE);
    world.user = user("active", day(30));
    check(&world, SILENCE, "begun +30d, agreed +30d");
    world.run(SILENCE);
    check(&world, SILENCE, "stays, agreed +30d");
}

#[test]
fn time_that_begins_where_no_end_was_promised_is_a_loss() {
    let mut world = World::new(None, user("active", None), nothing());
    world.run(SILENCE);
    world.user = user("on_hold", None);
    world.run(SILENCE);
    world.run(SILENCE);
    world.user = user("active", day(30));
    check(&world, SILENCE, "shortened +30d, (cut), agreed +30d");
    world.run(SILENCE);
    check(&world, SILENCE, "stays, agreed +30d");
}

#[test]
fn a_row_with_an_end_is_merged_as_ever_when_the_time_of_a_held_user_begins() {
    for (row, expected) in [
        (day(20), "extended +30d, agreed +30d, before +20d, ours"),
        (day(40), "! EndsDisagree(RowIsLater)"),
        (day(30), "stays, agreed +30d"),
    ] {
        let mut world = World::new(row, user("on_hold", None), nothing());
        world.run(SILENCE);
        world.user = user("active", day(30));
        check(&world, SILENCE, expected);
    }
}

#[test]
fn a_time_that_had_begun_before_the_last_look_does_not_begin_again() {
    // The customer was given an unlimited subscription after the user was seen active: the panel's end is no gift.
    for seen in [Some(day(30)), None] {
        let mut world = World::new(day(40), user("on_hold", None), nothing());
        world.run(SILENCE);
        world.user = user("active", seen);
        world.run(SILENCE);
        world.bot_moves(None);
        world.panel_moves(day(30));
        check(&world, SILENCE, "! EndsDisagree(RowIsLater)");
    }
}

#[test]
fn a_user_without_an_expire_keeps_the_rows_end_unless_the_policy_clears_it() {
    let clear = policy(|policy| policy.unlimited = Unlimited::Clear);
    for agreement in [nothing(), agreed(day(5))] {
        let world = ends(day(5), None, agreement);
        assert_eq!(world.merged(SILENCE).row, None);
        assert_eq!(world.merged(SILENCE).conflict, None);
        assert_eq!(
            world.merged_by(clear, SILENCE).row.map(|(end, _)| end),
            Some(EndDate::Never)
        );
    }
    check_by(
        clear,
        &ends(day(5), None, agreed(day(5))),
        SILENCE,
        "unlimited never, agreed never, before +5d",
    );
}

#[test]
fn a_user_without_an_expire_that_works_after_the_end_is_ahead() {
    check(&ends(day(-5), None, nothing()), SILENCE, "! PanelAhead");
    check(
        &ends(now(), None, agreed(None)),
        SILENCE,
        "! PanelAhead, agreed never",
    );
    check(&ends(second(1), None, nothing()), SILENCE, "stays");
    for status in ["disabled", "limited", "expired", "melted"] {
        check(
            &World::new(day(-5), user(status, None), nothing()),
            SILENCE,
            "stays",
        );
    }
}

#[test]
fn an_end_that_cannot_be_one_moves_nothing_whoever_is_trusted() {
    // A3, A26.
    let created_today = |expire| PanelUser {
        created_at: Some(now()),
        ..user("expired", expire)
    };
    let ends = [
        (user("expired", at("1969-12-01 00:00:00")), None),
        (user("expired", at("1970-01-31 00:00:00")), None),
        (user("expired", at("2019-12-31 23:59:59")), None),
        (user("expired", created() - TimeDelta::seconds(2)), None),
        (created_today(day(-1)), None),
        (user("expired", day(-5)), Some(day(-3))),
        (user("expired", day(-200)), Some(now())),
    ];
    for (user, last_connected_at) in ends {
        for agreement in [nothing(), agreed(day(31)), agreed(user.expire)] {
            let world = World {
                last_connected_at,
                ..World::new(day(31), user.clone(), agreement)
            };
            for say in [SILENCE, PANEL, BOT, ALLOWED] {
                let merged = world.merged(say);
                // Another user of the name is not the agreed one, but its end cannot be one either.
                assert_eq!(
                    format!("{:?}", merged.conflict),
                    "Some(ImplausibleEnd)",
                    "{world:?}"
                );
                assert_eq!((merged.row, &merged.agreement), (None, &world.agreement));
            }
        }
    }
}

#[test]
fn an_end_at_the_edge_of_what_can_be_one_counts() {
    for (user, last_connected_at) in [
        (user("expired", created() - TimeDelta::seconds(1)), None),
        (user("expired", day(-5)), Some(day(-4))),
        (
            PanelUser {
                created_at: None,
                ..user("expired", at("2020-01-01 00:00:00"))
            },
            None,
        ),
    ] {
        let world = World {
            last_connected_at,
            ..World::new(day(31), user, nothing())
        };
        check(&world, SILENCE, "! EndsDisagree(RowIsLater)");
    }
    let last = World::new(day(31), user("active", at("9999-12-31 23:59:59")), nothing());
    assert!(last.merged(SILENCE).row.is_some());
    let beyond = World::new(
        day(31),
        user("active", at("9999-12-31 23:59:59") + TimeDelta::seconds(1)),
        nothing(),
    );
    check(&beyond, SILENCE, "! ImplausibleEnd");
}

// 3. Another user.

#[test]
fn another_user_of_the_same_name_moves_nothing_unless_the_panel_is_trusted() {
    // A12, A37.
    for (later, is_other) in [(-3, true), (-2, false), (0, false), (2, false), (3, true)] {
        let other = PanelUser {
            created_at: Some(created() + TimeDelta::seconds(later)),
            ..user("active", day(35))
        };
        let world = World::new(day(5), other, agreed(day(5)));
        let expected = if is_other {
            "! OtherUser, agreed +5d"
        } else {
            "extended +35d, agreed +35d, before +5d, ours"
        };
        check(&world, SILENCE, expected);
        check(&world, ALLOWED, expected);
        check(&world, BOT, expected);
        check(&world, PANEL, "extended +35d, agreed +35d, before +5d, ours");
    }
    let other = PanelUser {
        created_at: Some(day(-1)),
        ..user("active", day(2))
    };
    let mut world = World::new(day(5), other, written(day(1), day(5)));
    check(&world, SILENCE, "! OtherUser, agreed +5d, before +1d, ours");
    check(&world, PANEL, "shortened +2d, (cut), agreed +2d");
    world.run(PANEL);
    assert_eq!(world.agreement.created_at, Some(day(-1)));
}

#[test]
fn a_user_whose_creation_is_not_known_is_the_same_one() {
    let unknown = PanelUser {
        created_at: None,
        ..user("active", day(35))
    };
    let world = World::new(day(5), unknown, agreed(day(5)));
    check(&world, SILENCE, "extended +35d, agreed +35d, before +5d, ours");
    assert_eq!(world.merged(SILENCE).agreement.created_at, Some(created()));
}

// 4. One side still has what was agreed.

#[test]
fn what_the_panel_alone_moved_the_row_gets() {
    check(
        &ends(day(5), day(35), agreed(day(5))),
        SILENCE,
        "extended +35d, agreed +35d, before +5d, ours",
    );
    check(
        &ends(day(35), day(5), agreed(day(35))),
        SILENCE,
        "shortened +5d, (cut), agreed +5d",
    );
    check(
        &ends(None, day(5), agreed(None)),
        SILENCE,
        "shortened +5d, (cut), agreed +5d",
    );
}

#[test]
fn what_the_row_alone_moved_stays_and_the_panel_is_behind_or_ahead() {
    // A1, A2, A18.
    for say in [SILENCE, BOT, ALLOWED] {
        check(
            &ends(day(30), day(-10), agreed(day(-10))),
            say,
            "! PanelBehind, agreed -10d",
        );
        check(
            &ends(None, day(5), agreed(day(5))),
            say,
            "! PanelBehind, agreed +5d",
        );
        check(
            &ends(now(), day(200), agreed(day(200))),
            say,
            "! PanelAhead, agreed +200d",
        );
    }
    check(
        &ends(day(30), day(-10), agreed(day(-10))),
        PANEL,
        "shortened -10d, (cut), agreed -10d",
    );
    check(
        &ends(now(), day(200), agreed(day(200))),
        PANEL,
        "extended +200d, agreed +200d, before +0d, ours",
    );
}

#[test]
fn a_panel_restored_from_before_an_extension_takes_no_paid_month() {
    // A6, A25: renewed on both sides, or written by the library, and then back.
    let both = Agreement {
        previous_end: Some(EndDate::At(day(5))),
        ..agreed(day(35))
    };
    for agreement in [both, written(day(5), day(35))] {
        for back in [day(5), day(4), day(-2)] {
            let world = ends(day(35), back, agreement.clone());
            let kept = words(&world.merged(SILENCE));
            assert!(
                kept.starts_with("! EndsDisagree(PanelWentBack), (cut), agreed +35d"),
                "{kept}"
            );
            assert_eq!(words(&world.merged(ALLOWED)), kept);
            assert!(world.merged(PANEL).row.is_some());
            assert_eq!(world.merged(BOT).row, None);
        }
        let between = ends(day(35), day(6), agreement);
        assert!(
            between.merged(SILENCE).row.is_some(),
            "an administrator may shorten a renewal"
        );
    }
}

#[test]
fn a_stale_save_of_the_bots_gets_the_end_back_once() {
    // A29.
    let mut world = ends(day(5), day(35), written(day(5), day(35)));
    check(&world, SILENCE, "extended +35d, agreed +35d, before +5d");
    world.run(SILENCE);
    world.bot_moves(day(5));
    check(&world, SILENCE, "! PanelAhead, agreed +35d, before +5d");
}

#[test]
fn a_row_that_goes_back_to_another_end_is_the_bots_word() {
    check(
        &ends(day(4), day(35), written(day(5), day(35))),
        SILENCE,
        "! PanelAhead, agreed +35d, before +5d, ours",
    );
    let both = Agreement {
        previous_end: Some(EndDate::At(day(5))),
        ..agreed(day(35))
    };
    check(
        &ends(day(5), day(35), both),
        SILENCE,
        "! PanelAhead, agreed +35d, before +5d",
    );
}

#[test]
fn a_shortening_that_a_run_withheld_waits_for_an_answer() {
    // A7.
    let mut world = ends(day(35), day(5), agreed(day(35)));
    world.agreement.open = Some(marzban_sync_core::agreement::Disagreement {
        row_end: EndDate::At(day(35)),
        panel_end: EndDate::At(day(5)),
        since: day(-1),
    });
    check(&world, SILENCE, "! Withheld, (cut), agreed +35d");
    check(&world, ALLOWED, "shortened +5d, (cut), agreed +5d");
    check(&world, PANEL, "shortened +5d, (cut), agreed +5d");
    check(&world, BOT, "! PanelBehind, agreed +5d");
    world.later(TimeDelta::days(34));
    check(&world, SILENCE, "! Withheld, (cut), agreed +35d");
    world.later(TimeDelta::days(1));
    check(&world, SILENCE, "stays, agreed +5d");
}

#[test]
fn another_shortening_than_the_withheld_one_is_a_new_word() {
    let mut world = ends(day(35), day(5), agreed(day(35)));
    world.agreement.open = Some(marzban_sync_core::agreement::Disagreement {
        row_end: EndDate::At(day(35)),
        panel_end: EndDate::At(day(6)),
        since: day(-1),
    });
    check(&world, SILENCE, "shortened +5d, (cut), agreed +5d");
}

#[test]
fn with_the_bot_trusted_a_shortening_is_not_taken_and_the_panel_is_behind() {
    let mut world = ends(day(35), day(5), agreed(day(35)));
    check(&world, BOT, "! PanelBehind, agreed +5d");
    world.run(BOT);
    for say in [SILENCE, BOT, ALLOWED] {
        check(&world, say, "! PanelBehind, agreed +5d");
    }
}

#[test]
fn a_panel_that_rises_again_by_what_the_library_gave_it_disagrees() {
    // A31: the bot's own "+30 days" came after the library's.
    let given = |days: i64| Agreement {
        previous_end: Some(EndDate::At(day(2))),
        extension: Some(PanelExtension {
            at: now() - TimeDelta::days(days),
            from: day(2),
            to: day(32),
        }),
        ..agreed(day(32))
    };
    let mut world = ends(day(32), day(62), given(7));
    check(
        &world,
        SILENCE,
        "! EndsDisagree(GivenTwice), agreed +32d, before +2d",
    );
    check(&world, PANEL, "extended +62d, agreed +62d, before +32d, ours");
    check(&world, BOT, "! PanelAhead, agreed +62d, before +32d");
    world.run(SILENCE);
    world.later(TimeDelta::days(20));
    check(
        &world,
        SILENCE,
        "! EndsDisagree(GivenTwice), agreed +32d, before +2d",
    );
    for (panel, days) in [(day(50), 7), (day(62), 8)] {
        let world = ends(day(32), panel, given(days));
        assert!(world.merged(SILENCE).row.is_some(), "{panel}, {days} days later");
    }
    let paid = ends(day(62), day(62), given(1));
    check(&paid, SILENCE, "stays, agreed +62d, before +32d");
}

// 5. Neither has it, or nothing was agreed.

#[test]
fn of_two_ends_without_an_agreement_the_later_stands() {
    check(
        &ends(day(5), day(35), nothing()),
        SILENCE,
        "extended +35d, agreed +35d, before +5d, ours",
    );
    check(
        &ends(day(35), day(5), nothing()),
        SILENCE,
        "! EndsDisagree(RowIsLater)",
    );
    check(
        &ends(day(35), day(5), nothing()),
        PANEL,
        "shortened +5d, (cut), agreed +5d",
    );
    check(
        &ends(day(35), day(5), nothing()),
        BOT,
        "! PanelBehind, agreed +5d",
    );
    check(
        &ends(None, day(5), nothing()),
        SILENCE,
        "! EndsDisagree(RowIsLater)",
    );
}

#[test]
fn of_two_ends_that_both_moved_the_later_stands() {
    check(
        &ends(day(20), day(35), agreed(day(5))),
        SILENCE,
        "extended +35d, agreed +35d, before +20d, ours",
    );
    check(
        &ends(day(35), day(20), agreed(day(5))),
        SILENCE,
        "! EndsDisagree(RowIsLater), agreed +5d",
    );
    check(
        &ends(day(3), day(4), agreed(day(5))),
        SILENCE,
        "extended +4d, agreed +4d, before +3d, ours",
    );
}

#[test]
fn an_open_pair_keeps_its_beginning_and_another_one_begins_anew() {
    let mut world = ends(day(30), day(-10), agreed(day(-10)));
    world.run(SILENCE);
    world.later(TimeDelta::hours(25));
    world.run(SILENCE);
    assert_eq!(world.agreement.open.map(|open| open.since), Some(now()));
    world.bot_moves(day(60));
    world.run(SILENCE);
    assert_eq!(world.agreement.open.map(|open| open.since), Some(world.now));
}
