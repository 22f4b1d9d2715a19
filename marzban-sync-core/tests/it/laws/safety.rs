//! The brakes.

use chrono::TimeDelta;
use marzban_sync_core::limits::{LimitExceeded, SafetyLimits, Tally};
use proptest::prelude::*;

fn limits() -> impl Strategy<Value = SafetyLimits> {
    let percents = (0_u64..=100, 0_u64..=100, 0_u64..=100, 0_u64..=100);
    (percents, 0_u64..20, 0_u64..=100, 0_u64..20).prop_map(|(percents, floor, deletion, least)| {
        let mut limits = SafetyLimits::default();
        (
            limits.absent_percent,
            limits.off_early_percent,
            limits.promise_percent,
            limits.stale_percent,
        ) = percents;
        limits.floor = floor;
        (limits.deletion_percent, limits.deletion_floor) = (deletion, least);
        limits
    })
}

fn tally() -> impl Strategy<Value = Tally> {
    let counts = (0_u64..50, 0_u64..50, 0_u64..50, 0_u64..50);
    let clock = proptest::option::of((-90_i64..90).prop_map(TimeDelta::minutes));
    (1_u64..5_000, 0_u64..5_000, counts, clock).prop_map(
        |(total, can_lose, (absent, off_early, cuts, stale), clock_difference)| Tally {
            total,
            can_lose: can_lose.min(total),
            found: total.saturating_sub(absent),
            absent: absent.min(total),
            absent_with_access: absent.min(total),
            off_early: off_early.min(total),
            cuts: cuts.min(total),
            stale: stale.min(total),
            clock_difference,
        },
    )
}

proptest! {
    #[test]
    fn a_panel_that_shows_nobody_takes_nothing_from_anybody(limits in limits(), tally in tally()) {
        let nobody = Tally { found: 0, absent: tally.absent.max(1), ..tally };
        prop_assert!(limits.check(&nobody, false).is_some_and(|withheld| withheld.is_total()));
    }

    #[test]
    fn who_would_take_more_is_never_stopped_less(limits in limits(), tally in tally(), more in 0_u64..50) {
        let worse = [
            Tally { absent_with_access: tally.absent_with_access + more, ..tally },
            Tally { off_early: tally.off_early + more, ..tally },
            Tally { cuts: tally.cuts + more, ..tally },
            Tally { stale: tally.stale + more, ..tally },
        ];
        if limits.check(&tally, false).is_some() {
            for worse in worse {
                prop_assert!(limits.check(&worse, false).is_some(), "{worse:?}");
            }
        }
    }

    #[test]
    fn the_fewer_can_lose_the_sooner_it_stops(limits in limits(), tally in tally(), fewer in 0_u64..5_000) {
        let fewer = Tally { can_lose: tally.can_lose.saturating_sub(fewer), ..tally };
        prop_assert!(limits.check(&tally, false).is_none() || limits.check(&fewer, false).is_some());
    }

    #[test]
    fn what_passes_is_below_the_share_and_below_a_half(limits in limits(), tally in tally()) {
        if limits.check(&tally, false).is_some() {
            return Ok(());
        }
        for (count, percent) in [
            (tally.absent_with_access, limits.absent_percent),
            (tally.off_early, limits.off_early_percent),
            (tally.cuts, limits.promise_percent),
            (tally.stale, limits.stale_percent),
        ] {
            let is_share = count * 100 <= percent * tally.can_lose;
            prop_assert!(count < limits.floor || is_share, "{tally:?}");
            prop_assert!(count < 2 || count * 2 < tally.can_lose, "{tally:?}");
        }
    }

    #[test]
    fn an_operator_allows_everything_but_a_wrong_clock(limits in limits(), tally in tally()) {
        let is_clock = tally.clock_difference.is_some_and(|difference| difference.abs() > limits.clock_difference);
        let withheld = limits.check(&tally, true);
        prop_assert_eq!(matches!(withheld, Some(LimitExceeded::Clocks { .. })), is_clock);
        prop_assert_eq!(withheld.is_some(), is_clock);
    }

    #[test]
    fn a_cleanup_deletes_its_floor_or_its_share_and_never_more_than_half(limits in limits(), accounts in any::<u32>()) {
        let budget = limits.deletion_budget(accounts.into());
        let share = limits.deletion_percent * u64::from(accounts) / 100;
        prop_assert_eq!(budget, limits.deletion_floor.max(share.min(u64::from(accounts) / 2)));
    }
}
