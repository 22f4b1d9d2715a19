//! The brakes, by their figures.

use marzban_sync_core::safety::{SafetyLimits, Tally, Withheld};

/// A run of which every account was found, and so many would lose something.
fn tally(total: u64, missing: u64, expired_early: u64) -> Tally {
    Tally {
        total,
        found: total - missing,
        absent: missing,
        missing,
        expired_early,
    }
}

fn limits(change: impl FnOnce(&mut SafetyLimits)) -> SafetyLimits {
    let mut limits = SafetyLimits::default();
    change(&mut limits);
    limits
}

#[track_caller]
fn passes(total: u64, missing: u64, expired_early: u64) {
    assert_eq!(
        SafetyLimits::default().check(&tally(total, missing, expired_early)),
        None
    );
}

#[track_caller]
fn is_withheld(total: u64, missing: u64, expired_early: u64) {
    assert_eq!(
        SafetyLimits::default().check(&tally(total, missing, expired_early)),
        Some(Withheld::MassChange {
            missing,
            expired_early,
            total,
            percent: 10
        })
    );
}

#[test]
fn ten_percent_exactly_is_fine_and_one_more_is_not() {
    passes(100, 10, 0);
    is_withheld(100, 11, 0);
    passes(100, 0, 10);
    is_withheld(100, 0, 11);
    passes(10_000, 1_000, 0);
    is_withheld(10_000, 1_001, 0);
    is_withheld(109, 11, 0);
    passes(110, 11, 0);
}

#[test]
fn missing_and_early_count_together() {
    passes(100, 5, 5);
    is_withheld(100, 5, 6);
    is_withheld(100, 6, 5);
}

#[test]
fn fewer_than_five_are_never_withheld() {
    passes(5, 4, 0);
    passes(4, 0, 4);
    passes(1, 0, 1);
    passes(10, 2, 2);
    is_withheld(10, 5, 0);
    is_withheld(49, 5, 0);
    passes(50, 5, 0);
}

#[test]
fn a_run_without_accounts_passes() {
    passes(0, 0, 0);
}

#[test]
fn figures_at_the_end_of_the_range_do_not_overflow() {
    let vast = Tally {
        total: u64::MAX,
        found: 1,
        absent: 1,
        missing: u64::MAX / 5,
        expired_early: 0,
    };
    assert_eq!(
        SafetyLimits::default().check(&vast),
        Some(Withheld::MassChange {
            missing: u64::MAX / 5,
            expired_early: 0,
            total: u64::MAX,
            percent: 10
        })
    );
    assert_eq!(SafetyLimits::default().deletion_budget(u64::MAX), u64::MAX / 5);
}

#[test]
fn a_panel_that_returns_nobody_is_not_believed_however_few_were_asked_for() {
    for total in [1, 4, 10_000] {
        let tally = Tally {
            total,
            absent: total,
            ..Tally::default()
        };
        assert_eq!(
            SafetyLimits::default().check(&tally),
            Some(Withheld::NoUserReturned { total })
        );
    }
}

#[test]
fn one_user_returned_is_enough_to_believe_a_small_absence() {
    let tally = Tally {
        total: 4,
        found: 1,
        absent: 3,
        missing: 3,
        expired_early: 0,
    };
    assert_eq!(SafetyLimits::default().check(&tally), None);
}

#[test]
fn users_of_others_and_outages_are_no_absence() {
    let tally = Tally {
        total: 100,
        ..Tally::default()
    };
    assert_eq!(SafetyLimits::default().check(&tally), None);
}

#[test]
fn an_operator_overrides_every_brake() {
    let limits = limits(|limits| limits.allow_mass_changes = true);
    assert_eq!(limits.check(&tally(100, 100, 0)), None);
    assert_eq!(
        limits.check(&Tally {
            total: 9,
            absent: 9,
            ..Tally::default()
        }),
        None
    );
    assert_eq!(limits.deletion_budget(0), u64::MAX);
}

#[test]
fn limits_are_the_owners_choice() {
    let strict = limits(|limits| {
        limits.mass_change_percent = 0;
        limits.mass_change_floor = 0;
    });
    assert_eq!(strict.check(&tally(100, 0, 0)), None);
    assert_eq!(
        strict.check(&tally(100, 1, 0)),
        Some(Withheld::MassChange {
            missing: 1,
            expired_early: 0,
            total: 100,
            percent: 0
        })
    );
    let lax = limits(|limits| limits.mass_change_percent = 100);
    assert_eq!(lax.check(&tally(100, 99, 1)), None);
}

#[test]
fn a_cleanup_may_delete_a_fifth_and_always_ten() {
    let budget = |accounts| SafetyLimits::default().deletion_budget(accounts);
    assert_eq!(
        [0, 1, 50, 54, 55, 100, 10_000].map(budget),
        [10, 10, 10, 10, 11, 20, 2_000]
    );
    let none = limits(|limits| {
        limits.deletion_percent = 0;
        limits.deletion_floor = 0;
    });
    assert_eq!(none.deletion_budget(10_000), 0);
}

#[test]
fn the_reasons_give_their_figures() {
    let lines = [
        Withheld::NoUserReturned { total: 17 },
        Withheld::MassChange {
            missing: 12,
            expired_early: 3,
            total: 100,
            percent: 10,
        },
        Withheld::DeletionBudget { budget: 10 },
    ]
    .map(|withheld| withheld.to_string());
    assert_eq!(
        lines,
        [
            "the panel returned none of the 17 users; is it the right panel?",
            "12 of 100 accounts would be marked missing and 3 expired before their own end, more than 10 %",
            "one cleanup may delete 10 panel users",
        ]
    );
}
