//! What holds for any two ends, any memory and any word of the operator.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::agreement::{Agreement, Disagreement};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::merge_ends::{Say, is_same};
use marzban_sync_core::plan::Reason;
use marzban_sync_core::policy::{Answer, Policy, Unlimited};
use proptest::prelude::*;

use super::World;
use super::model::{a_say, a_world, an_end};
use crate::given::{agreed, day, policy, user};

/// Nobody says anything.
const SILENCE: Say = Say {
    answer: None,
    allow: false,
};

fn a_policy() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>()).prop_map(|(clears, is_exact)| {
        policy(|policy| {
            if clears {
                policy.unlimited = Unlimited::Clear;
            }
            if is_exact {
                policy.tolerance = TimeDelta::zero();
            }
        })
    })
}

/// What happens between two runs.
#[derive(Clone, Copy, Debug)]
enum Happens {
    BotMoves(Option<DateTime<Utc>>),
    PanelMoves(Option<DateTime<Utc>>),
    TimePasses(i64),
}

impl Happens {
    fn to(self, world: &mut World) {
        match self {
            Self::BotMoves(end) => world.bot_moves(end),
            Self::PanelMoves(end) => world.panel_moves(end),
            Self::TimePasses(days) => world.later(TimeDelta::days(days)),
        }
    }
}

fn a_story() -> impl Strategy<Value = Vec<(Happens, usize)>> {
    let happens = prop_oneof![
        an_end().prop_map(Happens::BotMoves),
        an_end().prop_map(Happens::PanelMoves),
        (1_i64..9).prop_map(Happens::TimePasses),
    ];
    proptest::collection::vec((happens, 1_usize..4), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_second_merge_changes_neither_the_row_nor_what_is_remembered(
        world in a_world(),
        say in a_say(),
        policy in a_policy(),
    ) {
        let first = world.merged_by(policy, say);
        let mut world = world;
        world.write_row(&first);
        world.agreement.clone_from(&first.agreement);
        let second = world.merged_by(policy, say);
        prop_assert_eq!(second.row, None);
        prop_assert_eq!(second.agreement, first.agreement);
    }

    #[test]
    fn the_row_gets_the_panels_end_or_none(world in a_world(), say in a_say(), policy in a_policy()) {
        let merged = world.merged_by(policy, say);
        let Some((end, reason)) = merged.row else {
            prop_assert_eq!(merged.agreement.written_end, world.agreement.written_end);
            return Ok(());
        };
        prop_assert_eq!(end, world.panel());
        prop_assert_eq!(merged.agreement.written_end, Some(end));
        prop_assert_eq!(merged.agreement.end, Some(end));
        prop_assert_eq!(merged.conflict, None);
        match reason {
            Reason::Extended => prop_assert!(end > world.row),
            Reason::Shortened => prop_assert!(end < world.row && merged.is_cut),
            Reason::Unlimited => prop_assert_eq!(end, EndDate::Never),
            Reason::Begun => prop_assert!(world.row == EndDate::Never && world.agreement.on_hold),
            other => prop_assert!(false, "{other:?} moves no end"),
        }
    }

    #[test]
    fn a_crash_between_the_row_and_what_is_remembered_is_a_repeat_or_a_report(
        world in a_world(),
        say in a_say(),
        says_it_again in any::<bool>(),
    ) {
        let mut whole = world.clone();
        whole.run(say);
        let mut crashed = world.clone();
        crashed.write_row(&world.merged(say));
        // That the bot is right is nowhere written, so it has to be said again.
        let is_lost = says_it_again || say.answer == Some(Answer::Bot);
        let merged = crashed.run(if is_lost { say } else { SILENCE });
        prop_assert!(crashed.row == whole.row || merged.conflict.is_some(), "{crashed:?} and not {whole:?}");
        prop_assert!(crashed.row >= whole.row, "lost: {crashed:?} and not {whole:?}");
    }

    #[test]
    fn what_is_remembered_lags_and_does_no_harm(
        world in a_world(),
        story in a_story(),
    ) {
        // The agreement of the last run is lost; whatever follows, no end gets earlier than with it, without a report.
        let (mut kept, mut lost) = (world.clone(), world);
        let merged = kept.run(SILENCE);
        lost.write_row(&merged);
        let Some((next, _)) = story.first() else { return Ok(()) };
        for world in [&mut kept, &mut lost] {
            next.to(world);
        }
        let stale = lost.agreement.end;
        let goes_back = stale.is_some_and(|end| is_same(lost.row, end, TimeDelta::hours(1)))
            || (lost.agreement.on_hold && lost.row == EndDate::Never);
        if goes_back {
            // To the very end that was agreed before: with the memory of that alone, it is no move of the bot's.
            return Ok(());
        }
        kept.run(SILENCE);
        let merged = lost.run(SILENCE);
        prop_assert!(lost.row >= kept.row || merged.conflict.is_some(), "{lost:?} and not {kept:?}");
    }

    #[test]
    fn an_end_that_the_bot_moved_later_than_the_agreed_one_never_moves_earlier_by_itself(
        world in a_world(),
        allow in any::<bool>(),
        runs in 1_usize..4,
    ) {
        let tolerance = Policy::default().tolerance;
        let paid = world.agreement.end.is_some_and(|agreed| {
            world.row > agreed && !is_same(world.row, agreed, tolerance)
        });
        if !paid {
            return Ok(());
        }
        let before = world.row;
        let mut world = world;
        for _ in 0..runs {
            world.run(Say { answer: None, allow });
        }
        prop_assert!(world.row >= before, "{world:?}");
    }

    #[test]
    fn an_end_moves_earlier_only_while_the_row_still_has_the_agreed_one_or_the_operator_says_so(
        world in a_world(),
        say in a_say(),
    ) {
        let merged = world.merged(say);
        if !matches!(merged.row, Some((_, Reason::Shortened))) {
            return Ok(());
        }
        let end = if world.agreement.was_endless { Some(EndDate::Never) } else { world.agreement.end };
        let agreed = end.is_some_and(|end| is_same(world.row, end, Policy::default().tolerance));
        let went_back = world.agreement.previous_end.is_some_and(|before| world.panel() <= before);
        let is_open = world.agreement.has_open(world.row, world.panel());
        let by_itself = agreed && !went_back && (!is_open || say.allow) && say.answer.is_none();
        prop_assert!(by_itself || say.answer == Some(Answer::Panel), "{world:?}");
    }

    #[test]
    fn a_pair_that_was_left_open_is_never_shortened_however_often_the_job_runs(
        world in a_world(),
        runs in 1_usize..5,
    ) {
        let mut world = world;
        world.agreement.on_hold = false;
        world.agreement.open = Some(Disagreement {
            row_end: world.row,
            panel_end: world.panel(),
            since: world.now,
        });
        let before = world.row;
        for _ in 0..runs {
            let merged = world.run(SILENCE);
            prop_assert!(world.row >= before, "{merged:?}");
        }
    }

    #[test]
    fn the_result_never_depends_on_how_often_a_job_ran_meanwhile(world in a_world(), story in a_story()) {
        let mut once = world.clone();
        let mut often = world;
        once.run(SILENCE);
        often.run(SILENCE);
        for (happens, runs) in story {
            happens.to(&mut once);
            happens.to(&mut often);
            let last = once.run(SILENCE);
            for _ in 0..runs {
                often.run(SILENCE);
            }
            prop_assert_eq!(often.row, once.row);
            prop_assert_eq!(&often.agreement, &once.agreement);
            prop_assert_eq!(often.merged(SILENCE).conflict, once.merged(SILENCE).conflict, "after {:?}", last);
        }
    }

    #[test]
    fn a_panel_that_goes_back_behind_an_extension_takes_nothing(
        first in 1_i64..40,
        more in 1_i64..40,
        back in 0_i64..40,
        who_extends in 0..3,
        allow in any::<bool>(),
        runs in 1_usize..4,
    ) {
        let (old, new) = (day(first), day(first + more));
        let mut world = World::new(old, user("active", old), Agreement::default());
        world.run(SILENCE);
        if who_extends != 0 {
            world.panel_moves(new);
        }
        if who_extends != 1 {
            world.bot_moves(new);
        }
        world.run(SILENCE);
        if who_extends == 0 {
            // The panel follows later, as an administrator or the bot's queue does it.
            world.panel_moves(new);
            world.run(SILENCE);
        }
        prop_assert_eq!(world.row, EndDate::At(new));
        world.panel_moves(old - TimeDelta::days(back.min(first)));
        for _ in 0..runs {
            let merged = world.run(Say { answer: None, allow });
            prop_assert_eq!(world.row, EndDate::At(new));
            prop_assert!(merged.conflict.is_some() && merged.is_cut, "{merged:?}");
        }
    }

    #[test]
    fn a_row_that_goes_back_behind_what_the_library_wrote_gets_it_again_once(
        first in 1_i64..40,
        more in 1_i64..40,
        runs in 1_usize..4,
    ) {
        let (old, new) = (day(first), day(first + more));
        let mut world = World::new(old, user("active", new), agreed(old));
        world.run(SILENCE);
        prop_assert_eq!(world.row, EndDate::At(new));
        for _ in 0..runs {
            world.run(SILENCE);
        }
        world.bot_moves(old);
        prop_assert_eq!(world.run(SILENCE).row, Some((EndDate::At(new), Reason::Extended)));
        world.bot_moves(old);
        for _ in 0..runs {
            let merged = world.run(SILENCE);
            prop_assert!(merged.row.is_none() && merged.conflict.is_some());
            prop_assert_eq!(world.row, EndDate::At(old));
        }
    }
}
