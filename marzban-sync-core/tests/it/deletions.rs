//! Which panel users may be deleted, case by case.

use marzban_sync_core::deletion::Verdict::{self, AlreadyGone, Delete, Keep};
use marzban_sync_core::deletion::{judge, judge_again};
use marzban_sync_core::observation::Observation::{
    self, Absent, Missing, NotPermitted, Unavailable, Unreadable,
};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::report::ProblemReason;

use crate::given::{at, customer, day, found, now, second, subscription, user};

/// Judges the first of a customer's accounts, whose subscriptions all ended before the cutoff, 7 days ago.
#[track_caller]
fn check(says: Observation, siblings: &[Observation], expected: &Verdict) {
    let ended = subscription("expired", day(-30));
    let customer = customer(
        Some(&ended),
        std::iter::once(says).chain(siblings.iter().cloned()),
    );
    assert_eq!(&judge(&customer[0], &customer, day(-7), now()), expected);
}

#[track_caller]
fn check_again(first: &Observation, second: &Observation, expected: &Verdict) {
    assert_eq!(&judge_again(first, second, day(-7), now()), expected);
}

fn problem(reason: ProblemReason) -> Verdict {
    Verdict::Problem(reason, None)
}

#[test]
fn a_user_whose_time_was_over_before_the_cutoff_is_deleted() {
    for status in ["expired", "active", "limited", "disabled"] {
        check(found(status, day(-30)), &[], &Delete);
    }
}

#[test]
fn the_cutoff_is_a_boundary_to_the_second() {
    let cutoff = day(-7);
    check(
        found("expired", cutoff - chrono::TimeDelta::seconds(1)),
        &[],
        &Delete,
    );
    check(found("expired", cutoff), &[], &Keep);
    check(
        found("expired", cutoff + chrono::TimeDelta::seconds(1)),
        &[],
        &Keep,
    );
}

#[test]
fn a_renewed_user_is_kept() {
    check(found("active", day(30)), &[], &Keep);
    check(found("active", None), &[], &Keep);
    check(found("active", second(1)), &[], &Keep);
}

#[test]
fn a_user_that_ended_only_lately_is_kept() {
    check(found("expired", day(-1)), &[], &Keep);
    check(found("active", now()), &[], &Keep);
    check(found("expired", day(30)), &[], &Keep);
}

#[test]
fn a_user_without_an_expire_is_kept_whatever_its_status() {
    for status in ["active", "on_hold", "disabled", "limited", "expired", "melted"] {
        check(found(status, None), &[], &Keep);
    }
}

#[test]
fn a_held_user_is_kept_whatever_its_expire() {
    check(found("on_hold", day(-300)), &[], &Keep);
}

#[test]
fn a_user_of_unknown_status_is_kept() {
    check(found("melted", day(-300)), &[], &Keep);
}

#[test]
fn a_user_that_is_gone_is_unlinked_without_a_deletion() {
    check(Missing, &[], &AlreadyGone);
}

#[test]
fn an_absent_user_waits_for_the_second_look() {
    check(Absent, &[], &Delete);
}

#[test]
fn what_is_not_known_is_never_deleted() {
    check(NotPermitted, &[], &problem(ProblemReason::NotPermitted));
    check(
        Unreadable("bad row".to_owned()),
        &[],
        &Verdict::Problem(ProblemReason::Unreadable, Some("bad row".to_owned())),
    );
    check(
        Unavailable("timed out".to_owned()),
        &[],
        &Verdict::Problem(ProblemReason::Unavailable, Some("timed out".to_owned())),
    );
}

#[test]
fn an_account_is_kept_while_another_of_the_customer_works() {
    for works in [
        found("active", day(1)),
        found("active", None),
        found("on_hold", None),
    ] {
        check(found("expired", day(-30)), std::slice::from_ref(&works), &Keep);
        check(Absent, std::slice::from_ref(&works), &Keep);
        check(
            found("expired", day(-30)),
            &[found("expired", day(-30)), works],
            &Keep,
        );
    }
}

#[test]
fn an_account_is_not_kept_by_another_that_is_long_over_or_not_there() {
    for over in [
        found("expired", day(-30)),
        found("limited", day(-30)),
        Missing,
        NotPermitted,
    ] {
        check(found("expired", day(-30)), &[over], &Delete);
    }
}

#[test]
fn a_second_look_that_agrees_deletes() {
    let over = found("expired", day(-30));
    check_again(&over, &over, &Delete);
    check_again(&Absent, &over, &Delete);
    check_again(&over, &found("limited", day(-8)), &Delete);
}

#[test]
fn a_user_renewed_between_the_looks_is_kept() {
    let over = found("expired", day(-30));
    for second in [
        found("active", day(30)),
        found("active", None),
        found("on_hold", None),
        found("expired", day(-7)),
        found("expired", None),
        found("melted", day(-30)),
    ] {
        check_again(&over, &second, &Keep);
    }
}

#[test]
fn a_user_made_anew_under_the_same_name_is_kept() {
    let made = |text: Option<&str>| {
        Observation::Found(PanelUser {
            created_at: text.map(at),
            ..user("expired", day(-30))
        })
    };
    check_again(
        &made(Some("2025-01-01 00:00:00")),
        &made(Some("2025-01-01 00:00:00.000001")),
        &Keep,
    );
    check_again(&made(Some("2025-01-01 00:00:00")), &made(None), &Keep);
    check_again(&made(None), &made(Some("2025-01-01 00:00:00")), &Keep);
    check_again(&made(None), &made(None), &Delete);
}

#[test]
fn a_user_gone_at_the_second_look_is_unlinked() {
    check_again(&found("expired", day(-30)), &Missing, &AlreadyGone);
    check_again(&Absent, &Missing, &AlreadyGone);
}

#[test]
fn a_second_look_without_an_answer_deletes_nothing() {
    let over = found("expired", day(-30));
    check_again(&over, &Absent, &problem(ProblemReason::Missing));
    check_again(&over, &NotPermitted, &problem(ProblemReason::NotPermitted));
    check_again(
        &over,
        &Unreadable("bad row".to_owned()),
        &Verdict::Problem(ProblemReason::Unreadable, Some("bad row".to_owned())),
    );
    check_again(
        &over,
        &Unavailable("timed out".to_owned()),
        &Verdict::Problem(ProblemReason::Unavailable, Some("timed out".to_owned())),
    );
}

#[test]
fn a_user_who_is_active_in_another_panel_is_kept() {
    let ended = subscription("expired", day(-30));
    for (says, expected) in [
        (found("expired", day(-30)), Keep),
        (Absent, Keep),
        (Missing, AlreadyGone),
    ] {
        let mut customer = customer(Some(&ended), [says]);
        customer[0].account.active_elsewhere = true;
        assert_eq!(judge(&customer[0], &customer, day(-7), now()), expected);
    }
}

#[test]
fn a_user_is_kept_while_another_of_the_customer_ended_only_lately() {
    for status in ["expired", "limited", "disabled"] {
        check(found("expired", day(-30)), &[found(status, day(-1))], &Keep);
        check(found("expired", day(-30)), &[found(status, day(-7))], &Keep);
        check(found("expired", day(-30)), &[found(status, day(-8))], &Delete);
    }
    check(found("expired", day(-30)), &[found("limited", day(9))], &Keep);
    check(found("expired", day(-30)), &[found("disabled", None)], &Delete);
    check(Absent, &[found("expired", day(-1))], &Keep);
}
