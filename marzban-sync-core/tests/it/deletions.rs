//! Which panel users may be deleted, condition by condition.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId, Elsewhere, Sharer, Subscription, SubscriptionId};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::deletion::DeletionDecision::{self, AlreadyGone, Delete, Keep};
use marzban_sync_core::deletion::{
    confirm_deletion, is_candidate, is_recent_enough, kept_by_rows, plan_deletion,
};
use marzban_sync_core::observation::Observation::{
    self, NotFound, NotListed, NotPermitted, Unavailable, Unreadable,
};
use marzban_sync_core::observation::{Observed, PanelUser};
use marzban_sync_core::report::KeptBecause::{self, *};
use marzban_sync_core::report::ProblemReason;

use crate::given::{account, agreed, at, created, customer, day, found, now, second, subscription, user};

/// Seven days ago.
fn cutoff() -> DateTime<Utc> {
    day(-7)
}

/// An account that ended 30 days ago, and that nothing keeps.
fn ended() -> Account {
    Account {
        is_active: Some(false),
        subscription: Some(subscription("expired", day(-30))),
        agreement: Agreement {
            latest_end: Some(day(-30)),
            ..agreed(day(-30))
        },
        ..account(1)
    }
}

/// Judges the first of a customer's accounts, whose subscriptions all ended 30 days ago.
#[track_caller]
fn check(says: Observation, siblings: &[Observation], expected: &DeletionDecision) {
    let customer = customer(
        Some(&subscription("expired", day(-30))),
        std::iter::once(says).chain(siblings.iter().cloned()),
    );
    assert_eq!(&plan_deletion(&customer[0], &customer, cutoff(), now()), expected);
}

#[track_caller]
fn check_account(account: Account, says: Observation, expected: &DeletionDecision) {
    let customer = [Observed {
        account,
        observation: says,
    }];
    assert_eq!(&plan_deletion(&customer[0], &customer, cutoff(), now()), expected);
    assert_eq!(
        &confirm_deletion(
            &customer[0].account,
            &customer[0].observation,
            &customer[0].observation,
            cutoff(),
            now()
        ),
        expected,
        "the second look says the same"
    );
}

#[track_caller]
fn check_rows(account: &Account, expected: Option<KeptBecause>) {
    assert_eq!(kept_by_rows(account, cutoff(), now()), expected);
}

#[track_caller]
fn check_again(first: &Observation, second: &Observation, expected: &DeletionDecision) {
    assert_eq!(
        &confirm_deletion(&ended(), first, second, cutoff(), now()),
        expected
    );
}

fn problem(reason: ProblemReason) -> DeletionDecision {
    DeletionDecision::Problem(reason, None)
}

fn numbered(id: i64, status: &str, end: impl Into<Option<DateTime<Utc>>>) -> Subscription {
    Subscription {
        id: SubscriptionId(id),
        ..subscription(status, end)
    }
}

#[test]
fn a_cleanup_looks_at_accounts_whose_own_subscription_ended_before_the_cutoff() {
    for (status, end, expected) in [
        ("expired", Some(day(-30)), true),
        ("cancelled", Some(day(-30)), true),
        ("expired", Some(cutoff() - TimeDelta::seconds(1)), true),
        ("expired", Some(cutoff()), false),
        ("expired", Some(day(5)), false),
        ("expired", None, false),
        ("active", Some(day(-30)), false),
        ("trial", Some(day(-30)), false),
        ("pending", Some(day(-30)), false),
        ("grace", Some(day(-30)), false),
    ] {
        let account = Account {
            subscription: Some(subscription(status, end)),
            ..account(1)
        };
        assert_eq!(is_candidate(&account, cutoff()), expected, "{status} {end:?}");
    }
    assert!(!is_candidate(&account(1), cutoff()));
}

// 1. The bot's rows.

#[test]
fn every_subscription_of_the_customer_must_have_ended_before_the_cutoff() {
    for (status, end, expected) in [
        ("expired", Some(day(-30)), None),
        ("cancelled", Some(day(-8)), None),
        ("expired", Some(cutoff()), Some(OtherSubscription)),
        ("cancelled", Some(day(-1)), Some(OtherSubscription)),
        ("expired", None, Some(OtherSubscription)),
        ("active", Some(day(-30)), Some(OtherSubscription)),
        ("active", Some(day(30)), Some(OtherSubscription)),
        ("trial", Some(day(-30)), Some(OtherSubscription)),
        ("grace", Some(day(-30)), Some(OtherSubscription)),
    ] {
        let other = numbered(11, status, end);
        let own = Account {
            other_subscriptions: [other.clone()].into(),
            ..ended()
        };
        check_rows(&own, expected);
        // A4: and of every other customer whose row names the user.
        let shared = Account {
            sharers: [sharing(&[numbered(12, "expired", day(-30)), other])].into(),
            ..ended()
        };
        check_rows(&shared, expected);
    }
}

fn sharing(subscriptions: &[Subscription]) -> Sharer {
    Sharer {
        id: AccountId(90),
        updated_at: None,
        subscriptions: subscriptions.into(),
    }
}

#[test]
fn of_a_customer_without_a_subscription_nothing_says_that_it_is_over() {
    check_rows(&account(1), Some(OtherSubscription));
    let shared = Account {
        sharers: [sharing(&[])].into(),
        ..ended()
    };
    check_rows(&shared, Some(OtherSubscription));
    check_account(account(1), found("expired", day(-30)), &Keep(OtherSubscription));
}

#[test]
fn an_invoice_keeps_the_user_for_thirty_days_after_it_was_last_touched() {
    // A33.
    for (updated_at, expected) in [
        (None, Some(PendingInvoice)),
        (Some(now()), Some(PendingInvoice)),
        (Some(day(-30) + TimeDelta::seconds(1)), Some(PendingInvoice)),
        (Some(day(-30)), None),
        (Some(day(-300)), None),
    ] {
        for end in [None, Some(day(-40)), Some(day(30))] {
            let mut invoice = numbered(11, "pending", end);
            invoice.updated_at = updated_at;
            let own = Account {
                other_subscriptions: [invoice.clone()].into(),
                ..ended()
            };
            check_rows(&own, expected);
            let shared = Account {
                sharers: [sharing(&[numbered(12, "expired", day(-30)), invoice])].into(),
                ..ended()
            };
            check_rows(&shared, expected);
        }
    }
}

#[test]
fn a_later_end_that_one_side_had_while_the_library_looked_keeps_the_user() {
    // A6, A26: a shortened end counts as it was.
    for (latest_end, expected) in [
        (None, None),
        (Some(day(-30)), None),
        (Some(cutoff() - TimeDelta::seconds(1)), None),
        (Some(cutoff()), Some(LaterEndSeen)),
        (Some(day(-3)), Some(LaterEndSeen)),
        (Some(day(200)), Some(LaterEndSeen)),
    ] {
        let mut account = ended();
        account.agreement.latest_end = latest_end;
        check_rows(&account, expected);
    }
}

#[test]
fn a_customer_who_is_active_in_another_panel_keeps_the_user() {
    for (is_active, expected) in [(true, Some(ActiveElsewhere)), (false, None)] {
        let account = Account {
            elsewhere: Elsewhere {
                accounts: 1,
                is_active,
                written_ends: Vec::new(),
                replaced: Vec::new(),
                agreed_ends: Vec::new(),
            },
            ..ended()
        };
        check_rows(&account, expected);
    }
}

// 2. The panel's word.

#[test]
fn a_user_whose_time_was_over_before_the_cutoff_is_deleted() {
    for status in ["expired", "limited", "disabled"] {
        check(found(status, day(-30)), &[], &Delete);
        check_account(ended(), found(status, day(-30)), &Delete);
    }
}

#[test]
fn a_user_that_the_panel_calls_active_or_on_hold_or_by_an_unknown_word_is_kept() {
    // A11: a clock that is a year ahead calls everybody over.
    for status in ["active", "on_hold", "melted"] {
        for expire in [Some(day(-200)), Some(day(30)), None] {
            check_account(ended(), found(status, expire), &Keep(InUse));
        }
    }
}

#[test]
fn a_user_whose_end_is_absent_or_ahead_or_of_the_last_days_is_kept() {
    for expire in [None, Some(cutoff()), Some(day(-1)), Some(now()), Some(day(30))] {
        for status in ["expired", "limited", "disabled"] {
            check_account(ended(), found(status, expire), &Keep(PanelEnd));
        }
    }
    check_account(
        ended(),
        found("expired", cutoff() - TimeDelta::seconds(1)),
        &Delete,
    );
}

#[test]
fn a_user_whose_end_cannot_be_one_is_kept_unless_the_row_has_it_too() {
    // A3; and a rebuilt panel has users that are younger than their ends.
    for expire in [
        at("1970-01-31 00:00:00"),
        at("2019-01-01 00:00:00"),
        created() - TimeDelta::days(1),
    ] {
        check_account(ended(), found("expired", expire), &Keep(PanelEnd));
        let same = Account {
            subscription: Some(subscription("expired", expire)),
            ..ended()
        };
        check_account(same, found("expired", expire), &Delete);
    }
    let connected = |last: DateTime<Utc>| Account {
        last_connected_at: Some(last),
        ..ended()
    };
    check_account(connected(day(-18)), found("expired", day(-20)), &Keep(PanelEnd));
    check_account(connected(day(-19)), found("expired", day(-20)), &Delete);
    check_account(connected(day(-3)), found("expired", day(-30)), &Delete);
}

#[test]
fn a_user_that_the_panel_spells_in_another_case_is_kept() {
    let spelled = Observation::Found(PanelUser {
        spelling: Some("ANNA".to_owned()),
        ..user("expired", day(-30))
    });
    check_account(ended(), spelled.clone(), &Keep(OtherSpelling));
    check_again(&found("expired", day(-30)), &spelled, &Keep(OtherSpelling));
}

#[test]
fn a_user_that_was_created_at_another_moment_than_agreed_is_kept() {
    let made = |seconds| {
        Observation::Found(PanelUser {
            created_at: Some(created() + TimeDelta::seconds(seconds)),
            ..user("expired", day(-30))
        })
    };
    for (seconds, expected) in [
        (-3, Keep(OtherUser)),
        (-2, Delete),
        (0, Delete),
        (2, Delete),
        (3, Keep(OtherUser)),
    ] {
        check_account(ended(), made(seconds), &expected);
    }
    let unknown = Account {
        agreement: Agreement::default(),
        ..ended()
    };
    check_account(unknown, made(300), &Delete);
}

// 3. At rest.

#[test]
fn rows_that_were_written_lately_keep_the_user() {
    for (updated_at, expected) in [
        (None, None),
        (Some(day(-30)), None),
        (Some(cutoff() - TimeDelta::seconds(1)), None),
        (Some(cutoff()), Some(NotRested)),
        (Some(now()), Some(NotRested)),
    ] {
        let config = Account {
            updated_at,
            ..ended()
        };
        let mut own = ended();
        own.subscription.as_mut().expect("a subscription").updated_at = updated_at;
        let touched = Subscription {
            updated_at,
            ..numbered(11, "cancelled", day(-30))
        };
        let other = Account {
            other_subscriptions: [touched.clone()].into(),
            ..ended()
        };
        let shared = Account {
            sharers: [sharing(&[touched])].into(),
            ..ended()
        };
        let shared_config = Account {
            sharers: [Sharer {
                updated_at,
                ..sharing(&[numbered(12, "expired", day(-30))])
            }]
            .into(),
            ..ended()
        };
        for account in [config, own, other, shared, shared_config] {
            check_rows(&account, expected);
        }
    }
}

#[test]
fn an_account_that_the_library_has_seen_over_for_a_week_rests_whatever_the_bot_touches() {
    // A34.
    for (over_since, expected) in [
        (None, Some(NotRested)),
        (Some(now()), Some(NotRested)),
        (Some(cutoff() + TimeDelta::seconds(1)), Some(NotRested)),
        (Some(cutoff()), None),
        (Some(day(-20)), None),
    ] {
        let mut account = Account {
            updated_at: Some(day(-1)),
            ..ended()
        };
        account.subscription.as_mut().expect("a subscription").updated_at = Some(now());
        account.agreement.over_since = over_since;
        check_rows(&account, expected);
    }
}

#[test]
fn a_write_of_the_librarys_own_is_not_taken_for_one_of_the_bots() {
    for (after, expected) in [
        (-2_000, Some(NotRested)),
        (-1_000, None),
        (0, None),
        (1, None),
        (60_000, None),
        (60_001, Some(NotRested)),
    ] {
        let written = now() - TimeDelta::hours(2);
        let mut account = ended();
        account.agreement.own_write_at = Some(written);
        account.updated_at = Some(written + TimeDelta::milliseconds(after));
        check_rows(&account, expected);
        // Of the subscription itself the library writes nothing while it is over.
        account.updated_at = None;
        account.subscription.as_mut().expect("a subscription").updated_at = Some(written);
        check_rows(&account, Some(NotRested));
    }
}

// What else the panel says.

#[test]
fn a_user_that_is_gone_is_unlinked_without_a_deletion() {
    check(NotFound, &[], &AlreadyGone);
    check_account(ended(), NotFound, &AlreadyGone);
}

#[test]
fn an_absent_user_waits_for_the_second_look() {
    check(NotListed, &[], &Delete);
}

#[test]
fn what_is_not_known_is_never_deleted() {
    for (says, reason, detail) in [
        (NotPermitted, ProblemReason::NotPermitted, None),
        (
            Unreadable("bad row".to_owned()),
            ProblemReason::Unreadable,
            Some("bad row".to_owned()),
        ),
        (
            Unavailable("timed out".to_owned()),
            ProblemReason::Unavailable,
            Some("timed out".to_owned()),
        ),
    ] {
        check_account(ended(), says, &DeletionDecision::Problem(reason, detail));
    }
}

#[test]
fn an_account_is_kept_while_another_of_the_customer_works_or_ended_lately() {
    for other in [
        found("active", day(1)),
        found("active", None),
        found("on_hold", None),
        found("expired", day(-1)),
        found("limited", cutoff()),
        found("limited", day(9)),
    ] {
        for says in [found("expired", day(-30)), NotListed, NotFound] {
            check(says.clone(), std::slice::from_ref(&other), &Keep(OtherAccount));
            check(
                says,
                &[found("expired", day(-30)), other.clone()],
                &Keep(OtherAccount),
            );
        }
    }
}

#[test]
fn an_account_is_not_kept_by_another_that_is_long_over_or_not_there() {
    for over in [
        found("expired", day(-30)),
        found("limited", day(-8)),
        found("disabled", None),
        NotFound,
        NotPermitted,
    ] {
        check(found("expired", day(-30)), &[over], &Delete);
    }
}

#[test]
fn what_the_rows_say_counts_before_what_the_panel_says() {
    let paying = Account {
        other_subscriptions: [numbered(11, "active", day(30))].into(),
        ..ended()
    };
    for says in [found("expired", day(-30)), NotFound, NotListed, NotPermitted] {
        check_account(paying.clone(), says, &Keep(OtherSubscription));
    }
}

// The second look.

#[test]
fn a_second_look_that_agrees_deletes() {
    let over = found("expired", day(-30));
    check_again(&over, &over, &Delete);
    check_again(&NotListed, &over, &Delete);
    check_again(&over, &found("limited", day(-8)), &Delete);
}

#[test]
fn a_user_renewed_between_the_looks_is_kept() {
    // A22.
    let over = found("expired", day(-30));
    for (second, because) in [
        (found("active", day(30)), InUse),
        (found("active", None), InUse),
        (found("on_hold", None), InUse),
        (found("melted", day(-30)), InUse),
        (found("expired", cutoff()), PanelEnd),
        (found("expired", None), PanelEnd),
    ] {
        check_again(&over, &second, &Keep(because));
    }
}

#[test]
fn a_customer_who_pays_between_the_looks_keeps_the_user() {
    let over = found("expired", day(-30));
    let paid = Account {
        subscription: Some(subscription("active", day(30))),
        ..ended()
    };
    let gone = Account {
        subscription: None,
        ..ended()
    };
    for account in [paid, gone] {
        let decision = confirm_deletion(&account, &over, &over, cutoff(), now());
        assert_eq!(decision, Keep(OtherSubscription));
    }
}

#[test]
fn a_user_made_anew_under_the_same_name_between_the_looks_is_kept() {
    let made = |text: Option<&str>| {
        Observation::Found(PanelUser {
            created_at: text.map(at),
            ..user("expired", day(-30))
        })
    };
    let (first, later) = (Some("2025-01-01 00:00:00"), Some("2025-01-01 00:00:00.000001"));
    check_again(&made(first), &made(later), &Keep(OtherUser));
    check_again(&made(first), &made(None), &Keep(OtherUser));
    check_again(&made(None), &made(first), &Keep(OtherUser));
    check_again(&made(None), &made(None), &Delete);
}

#[test]
fn a_user_gone_at_the_second_look_is_unlinked() {
    check_again(&found("expired", day(-30)), &NotFound, &AlreadyGone);
    check_again(&NotListed, &NotFound, &AlreadyGone);
}

#[test]
fn a_second_look_without_an_answer_deletes_nothing() {
    let over = found("expired", day(-30));
    check_again(&over, &NotListed, &problem(ProblemReason::Missing));
    check_again(&over, &NotPermitted, &problem(ProblemReason::NotPermitted));
    check_again(
        &over,
        &Unreadable("bad row".to_owned()),
        &DeletionDecision::Problem(ProblemReason::Unreadable, Some("bad row".to_owned())),
    );
    check_again(
        &over,
        &Unavailable("timed out".to_owned()),
        &DeletionDecision::Problem(ProblemReason::Unavailable, Some("timed out".to_owned())),
    );
}

#[test]
fn a_second_look_counts_for_a_minute() {
    assert!(is_recent_enough(now(), second(60)));
    assert!(!is_recent_enough(now(), second(61)));
}
