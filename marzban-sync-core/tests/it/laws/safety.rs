//! The brakes.

use marzban_sync_core::safety::{SafetyLimits, Tally};
use proptest::prelude::*;

fn limits() -> impl Strategy<Value = SafetyLimits> {
    (0_u64..=100, 0_u64..20, 0_u64..=100, 0_u64..20).prop_map(|(change, floor, deletion, least)| {
        let mut limits = SafetyLimits::default();
        (limits.mass_change_percent, limits.mass_change_floor) = (change, floor);
        (limits.deletion_percent, limits.deletion_floor) = (deletion, least);
        limits
    })
}

fn tally() -> impl Strategy<Value = Tally> {
    (1_u64..5_000, 0_u64..5_000, 0_u64..5_000, 0_u64..50, 0_u64..50).prop_map(
        |(total, found, absent, missing, expired_early)| Tally {
            total,
            found: found.min(total),
            absent: absent.min(total),
            missing: missing.min(total),
            expired_early: expired_early.min(total),
        },
    )
}

proptest! {
    #[test]
    fn a_panel_that_shows_nobody_takes_nothing_from_anybody(limits in limits(), tally in tally()) {
        let nobody = Tally { found: 0, absent: tally.absent.max(1), ..tally };
        prop_assert!(limits.check(&nobody).is_some());
    }

    #[test]
    fn who_would_take_more_is_never_stopped_less(limits in limits(), tally in tally(), more in 0_u64..50) {
        let worse = Tally { missing: tally.missing + more, ..tally };
        prop_assert!(limits.check(&tally).is_none() || limits.check(&worse).is_some());
        let worse = Tally { expired_early: tally.expired_early + more, ..tally };
        prop_assert!(limits.check(&tally).is_none() || limits.check(&worse).is_some());
    }

    #[test]
    fn what_passes_is_below_the_floor_or_the_share(limits in limits(), tally in tally()) {
        let taken = tally.missing + tally.expired_early;
        if limits.check(&tally).is_none() {
            let is_share = taken * 100 <= limits.mass_change_percent * tally.total;
            prop_assert!(taken < limits.mass_change_floor || is_share, "{tally:?}");
        }
    }

    #[test]
    fn a_cleanup_deletes_no_more_than_its_floor_or_its_share(limits in limits(), accounts in any::<u32>()) {
        let budget = limits.deletion_budget(accounts.into());
        let share = limits.deletion_percent * u64::from(accounts) / 100;
        prop_assert_eq!(budget, limits.deletion_floor.max(share));
    }

    #[test]
    fn an_operator_lifts_every_brake(limits in limits(), tally in tally(), accounts in any::<u32>()) {
        let mut limits = limits;
        limits.allow_mass_changes = true;
        prop_assert_eq!(limits.check(&tally), None);
        prop_assert_eq!(limits.deletion_budget(accounts.into()), u64::MAX);
    }
}
