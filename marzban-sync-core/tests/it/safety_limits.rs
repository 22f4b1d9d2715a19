//! The brakes and the time zones, by their figures.

use chrono::TimeDelta;
use marzban_sync_core::limits::{LimitExceeded, SafetyLimits, Tally};
use marzban_sync_core::zone::{Differences, describe};

/// What a run over so many accounts with something to lose has seen: the change says what is amiss.
fn tally(can_lose: u64, change: impl FnOnce(&mut Tally)) -> Tally {
    let mut tally = Tally {
        total: can_lose,
        can_lose,
        found: can_lose,
        ..Tally::default()
    };
    change(&mut tally);
    tally
}

fn absent(can_lose: u64, absent: u64) -> Tally {
    tally(can_lose, |tally| {
        tally.found = can_lose - absent;
        tally.absent = absent;
        tally.absent_with_access = absent;
    })
}

fn off_early(can_lose: u64, off_early: u64) -> Tally {
    tally(can_lose, |tally| tally.off_early = off_early)
}

fn cuts(can_lose: u64, cuts: u64) -> Tally {
    tally(can_lose, |tally| tally.cuts = cuts)
}

fn stale(can_lose: u64, stale: u64) -> Tally {
    tally(can_lose, |tally| tally.stale = stale)
}

fn limits(change: impl FnOnce(&mut SafetyLimits)) -> SafetyLimits {
    let mut limits = SafetyLimits::default();
    change(&mut limits);
    limits
}

fn check(tally: &Tally) -> Option<LimitExceeded> {
    SafetyLimits::default().check(tally, false)
}

#[track_caller]
fn passes(tally: &Tally) {
    assert_eq!(check(tally), None, "{tally:?}");
}

#[track_caller]
fn is_withheld(tally: &Tally) {
    assert!(check(tally).is_some(), "{tally:?}");
    assert_eq!(
        SafetyLimits::default().check(tally, true),
        None,
        "an operator allows it"
    );
}

#[test]
fn absent_users_and_early_ends_of_access_may_be_a_tenth() {
    for count in [absent, off_early] {
        for (can_lose, most) in [(100, 10), (101, 10), (109, 10), (110, 11), (10_000, 1_000)] {
            passes(&count(can_lose, most));
            is_withheld(&count(can_lose, most + 1));
        }
    }
}

#[test]
fn ends_that_the_panel_alone_moved_earlier_and_stale_users_may_be_a_fiftieth() {
    for count in [cuts, stale] {
        for (can_lose, most) in [(250, 5), (299, 5), (300, 6), (1_000, 20), (10_000, 200)] {
            passes(&count(can_lose, most));
            is_withheld(&count(can_lose, most + 1));
        }
    }
}

#[test]
fn below_five_only_a_half_is_too_many_and_one_never_is() {
    for count in [absent, off_early, cuts, stale] {
        for (can_lose, taken, is_too_many) in [
            (2, 1, false),
            (2, 2, true),
            (3, 2, true),
            (4, 2, true),
            (5, 2, false),
            (5, 3, true),
            (8, 4, true),
            (9, 4, false),
            (10, 4, false),
            (10, 5, true),
            (49, 5, true),
            (100, 4, false),
        ] {
            let tally = count(can_lose, taken);
            assert_eq!(check(&tally).is_some(), is_too_many, "{tally:?}");
        }
    }
    for count in [off_early, cuts, stale] {
        passes(&count(1, 1));
        passes(&count(0, 1));
        is_withheld(&count(0, 2));
    }
}

#[test]
fn the_cases_from_life_are_stopped() {
    // A5: an old backup over all; A6: 66 of 1,000 renewed since, 33 of them past their old end.
    assert_eq!(
        check(&cuts(40, 40)),
        Some(LimitExceeded::Promises {
            cuts: 40,
            can_lose: 40
        })
    );
    assert_eq!(
        check(&cuts(1_000, 66)),
        Some(LimitExceeded::Promises {
            cuts: 66,
            can_lose: 1_000
        })
    );
    is_withheld(&off_early(100, 20));
    // A9: 90 long dead and 10 payers, all of them gone or ended early.
    let payers = |change: fn(&mut Tally)| {
        tally(10, |tally| {
            (tally.total, tally.found) = (100, 100);
            change(tally);
        })
    };
    is_withheld(&payers(|tally| tally.off_early = 10));
    is_withheld(&payers(|tally| tally.cuts = 10));
    is_withheld(&payers(|tally| {
        (tally.found, tally.absent, tally.absent_with_access) = (90, 10, 10);
    }));
    // A10: 4 of 4.
    is_withheld(&off_early(4, 4));
    is_withheld(&cuts(4, 4));
    // A12: another panel of the same naming scheme.
    let stranger = absent(100, 70);
    assert_eq!(
        check(&stranger),
        Some(LimitExceeded::Absent {
            absent: 70,
            can_lose: 100
        })
    );
    // A25: 3 of 100 are no count that is too high; 5.2 keeps their ends.
    passes(&cuts(100, 3));
    // A35: 12 of 101, until enough of them have ended by their own end.
    is_withheld(&off_early(101, 12));
    is_withheld(&off_early(100, 11));
    passes(&off_early(99, 9));
}

#[test]
fn absent_users_without_access_are_no_loss() {
    let long_gone = tally(100, |tally| {
        (tally.total, tally.absent, tally.absent_with_access) = (300, 200, 4);
    });
    passes(&long_gone);
}

#[test]
fn a_panel_that_returns_nobody_is_not_believed_however_few_were_asked_for() {
    for total in [1, 4, 10_000] {
        let nobody = Tally {
            total,
            absent: total,
            ..Tally::default()
        };
        assert_eq!(check(&nobody), Some(LimitExceeded::NoUserReturned { total }));
        assert_eq!(SafetyLimits::default().check(&nobody, true), None);
    }
    passes(&absent(4, 1));
    passes(&Tally::default());
}

#[test]
fn users_of_others_and_outages_are_no_absence() {
    passes(&tally(100, |tally| tally.found = 0));
}

#[test]
fn a_clock_more_than_an_hour_off_stops_everything_that_depends_on_the_time() {
    // A11.
    let hours = |seconds| {
        tally(100, |tally| {
            tally.clock_difference = Some(TimeDelta::seconds(seconds));
        })
    };
    for seconds in [0, 3_600, -3_600] {
        passes(&hours(seconds));
    }
    for seconds in [3_601, -3_601, 365 * 86_400] {
        let difference = TimeDelta::seconds(seconds);
        for allow in [false, true] {
            assert_eq!(
                SafetyLimits::default().check(&hours(seconds), allow),
                Some(LimitExceeded::Clocks { difference }),
                "nobody can allow a wrong clock"
            );
        }
    }
    assert_eq!(
        check(&stale(40, 40)),
        Some(LimitExceeded::StaleUsers {
            stale: 40,
            can_lose: 40
        })
    );
}

#[test]
fn what_stops_everything_is_told_before_what_stops_the_losses() {
    let all = Tally {
        total: 100,
        can_lose: 100,
        found: 0,
        absent: 100,
        absent_with_access: 100,
        off_early: 100,
        cuts: 100,
        stale: 100,
        clock_difference: Some(TimeDelta::hours(2)),
    };
    let is_total = |tally: &Tally| check(tally).expect("too many").is_total();
    assert!(matches!(check(&all), Some(LimitExceeded::Clocks { .. })));
    let mut next = Tally {
        clock_difference: None,
        ..all
    };
    assert!(matches!(check(&next), Some(LimitExceeded::NoUserReturned { .. })) && is_total(&next));
    next.found = 1;
    assert!(matches!(check(&next), Some(LimitExceeded::StaleUsers { .. })) && is_total(&next));
    next.stale = 0;
    assert!(matches!(check(&next), Some(LimitExceeded::Absent { .. })) && is_total(&next));
    next.absent_with_access = 0;
    assert!(matches!(check(&next), Some(LimitExceeded::OffEarly { .. })) && !is_total(&next));
    next.off_early = 0;
    assert!(matches!(check(&next), Some(LimitExceeded::Promises { .. })) && !is_total(&next));
    next.cuts = 0;
    assert_eq!(check(&next), None);
}

#[test]
fn figures_at_the_end_of_the_range_do_not_overflow() {
    let vast = tally(u64::MAX, |tally| tally.off_early = u64::MAX / 5);
    assert!(check(&vast).is_some());
    assert!(check(&tally(u64::MAX, |tally| tally.cuts = u64::MAX)).is_some());
    assert_eq!(SafetyLimits::default().deletion_budget(u64::MAX), u64::MAX / 5);
}

#[test]
fn limits_are_the_owners_choice() {
    let strict = limits(|limits| (limits.promise_percent, limits.floor) = (0, 1));
    assert_eq!(strict.check(&cuts(100, 0), false), None);
    assert!(strict.check(&cuts(100, 1), false).is_some());
    let lax = limits(|limits| (limits.promise_percent, limits.floor) = (100, 1_000));
    assert_eq!(lax.check(&cuts(100, 49), false), None);
    assert!(
        lax.check(&cuts(100, 50), false).is_some(),
        "a half is always too many"
    );
    let clock = limits(|limits| limits.clock_difference = TimeDelta::hours(3));
    let tally = tally(9, |tally| tally.clock_difference = Some(TimeDelta::hours(2)));
    assert_eq!(clock.check(&tally, false), None);
}

#[test]
fn at_most_a_tenth_of_the_panel_users_is_extended_at_once_and_four_always_may_be() {
    let limits = SafetyLimits::default();
    for (extensions, total, is_too_many) in [
        (4, 4, false),
        (5, 50, false),
        (5, 49, true),
        (6, 50, true),
        (10, 100, false),
        (11, 100, true),
    ] {
        let withheld = limits.check_extensions(extensions, total, false);
        assert_eq!(withheld.is_some(), is_too_many, "{extensions} of {total}");
        assert_eq!(limits.check_extensions(extensions, total, true), None);
    }
}

#[test]
fn a_cleanup_may_delete_a_fifth_and_at_most_a_half_and_always_two() {
    let budget = |accounts| SafetyLimits::default().deletion_budget(accounts);
    assert_eq!(
        [0, 1, 2, 5, 10, 14, 15, 50, 100, 10_000].map(budget),
        [2, 2, 2, 2, 2, 2, 3, 10, 20, 2_000]
    );
    let all = limits(|limits| limits.deletion_percent = 100);
    assert_eq!(
        [3, 4, 10, 101].map(|accounts| all.deletion_budget(accounts)),
        [2, 2, 5, 50]
    );
    let none = limits(|limits| (limits.deletion_percent, limits.deletion_floor) = (0, 0));
    assert_eq!(none.deletion_budget(10_000), 0);
}

#[test]
fn the_reasons_give_their_figures() {
    let lines = [
        LimitExceeded::NoUserReturned { total: 17 },
        LimitExceeded::Clocks {
            difference: TimeDelta::minutes(-90),
        },
        LimitExceeded::StaleUsers {
            stale: 9,
            can_lose: 100,
        },
        LimitExceeded::Absent {
            absent: 12,
            can_lose: 100,
        },
        LimitExceeded::OffEarly {
            off_early: 12,
            can_lose: 100,
        },
        LimitExceeded::Promises { cuts: 3, can_lose: 4 },
        LimitExceeded::DeletionBudget { budget: 10 },
    ]
    .map(|withheld| withheld.to_string());
    assert_eq!(
        lines,
        [
            "the panel returned none of the 17 users; is it the right panel?",
            "the clocks disagree: the panel's is 90 minutes behind this machine's; set both by NTP",
            "the clocks disagree: 9 of 100 users are active more than a day past their expire",
            "12 of 100 users with something to lose are absent from the panel; is it the right panel?",
            "access of 12 of 100 accounts would go off before their own end",
            "the panel alone moved 3 of 4 ends earlier; is it restored from a backup?",
            "one cleanup may delete 10 panel users",
        ]
    );
}

// Time zones.

fn zone(differences: &[(i64, u64)]) -> Option<TimeDelta> {
    let mut counted = Differences::default();
    for (minutes, count) in differences {
        (0..*count).for_each(|_| counted.note(TimeDelta::minutes(*minutes)));
    }
    counted.zone()
}

#[test]
fn one_constant_difference_on_most_ends_is_a_time_zone() {
    // A8.
    for minutes in [180, -180, 210, 345, -15, 840] {
        let expected = Some(TimeDelta::minutes(minutes));
        assert_eq!(zone(&[(minutes, 40)]), expected);
        assert_eq!(zone(&[(minutes, 5)]), expected);
        assert_eq!(zone(&[(minutes, 8), (43_200, 2)]), expected, "80 %");
        assert_eq!(zone(&[(minutes, 4)]), None, "fewer than 5");
        assert_eq!(zone(&[(minutes, 7), (43_200, 2)]), None, "less than 80 %");
    }
    for minutes in [0, 7, 14, 16, 841, 855, 1_440, -1_440, 43_200] {
        assert_eq!(zone(&[(minutes, 40)]), None, "{minutes} minutes");
    }
    assert_eq!(zone(&[(180, 20), (-180, 20)]), None);
    assert_eq!(zone(&[]), None);
    let mut by_seconds = Differences::default();
    (0..40).for_each(|_| by_seconds.note(TimeDelta::seconds(180 * 60 + 1)));
    assert_eq!(by_seconds.zone(), None);
}

#[test]
fn a_report_names_the_difference_and_the_remedy() {
    for (minutes, sign) in [(180, "+03:00"), (-210, "-03:30")] {
        let text = describe(TimeDelta::minutes(minutes));
        assert!(
            text.starts_with(&format!("the bot's ends are {sign} off")),
            "{text}"
        );
        assert!(text.contains("`zone`"), "{text}");
    }
}
