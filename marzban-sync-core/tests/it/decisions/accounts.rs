//! The subscription and the access of one account.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, Elsewhere};
use marzban_sync_core::agreement::{Agreement, Replaced};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed, PanelUser};
use marzban_sync_core::policy::{Answers, PanelBehind, Policy, Trust};
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::{Push, reconcile};

use super::{check, check_answered};
use crate::given::{agreed, at, created, day, found, now, policy, second, subscribed, user};

/// The account whose subscription has this status and end, on which both sides agreed.
fn in_step(status: &str, end: &str) -> Account {
    Account {
        agreement: agreed(at(end)),
        ..subscribed(status, at(end))
    }
}

// What is in line stays as it is.

#[test]
fn an_account_in_line_has_no_decision_but_what_is_remembered() {
    for (status, end) in [
        ("active", Some(day(5))),
        ("trial", Some(day(5))),
        ("active", None),
    ] {
        let says = found("active", end);
        for facet in [Subscriptions, UserStatus] {
            check(subscribed(status, end), says.clone(), facet, "nothing");
        }
        let observed = [Observed {
            account: subscribed(status, end),
            observation: says.clone(),
        }];
        let decide = |observed: &[Observed]| {
            let decisions = reconcile(
                observed,
                Subscriptions,
                Policy::default(),
                &Answers::default(),
                now(),
            );
            decisions.into_iter().next().and_then(|decision| decision.change)
        };
        let change = decide(&observed).expect("the first look is remembered");
        assert!(change.touches_no_row());
        let agreement = change.agreement.clone().expect("what both sides have");
        assert_eq!(
            agreement,
            Agreement {
                latest_end: end,
                ..agreed(end)
            }
        );
        let observed = [Observed {
            account: change.applied(),
            observation: says,
        }];
        assert_eq!(decide(&observed), None);
    }
}

#[test]
fn an_ended_account_in_line_stays_as_it_is() {
    let ended = Account {
        is_active: Some(false),
        ..subscribed("expired", day(-5))
    };
    for status in ["expired", "disabled", "limited"] {
        for facet in [Subscriptions, UserStatus] {
            check(ended.clone(), found(status, day(-5)), facet, "nothing");
        }
    }
}

// The end.

#[test]
fn an_extension_in_the_panel_moves_the_end_later() {
    for account in [
        subscribed("active", at("2025-09-15 00:00:00")),
        in_step("active", "2025-09-15 00:00:00"),
    ] {
        check(
            account,
            found("active", at("2025-09-20 00:00:00")),
            Subscriptions,
            "end_date 2025-09-15 00:00:00 UTC -> 2025-09-20 00:00:00 UTC [Extended]",
        );
    }
}

#[test]
fn a_shortening_in_the_panel_moves_an_agreed_end_earlier_and_is_not_early_while_access_works() {
    check(
        in_step("active", "2025-09-30 00:00:00"),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "end_date 2025-09-30 00:00:00 UTC -> 2025-09-20 00:00:00 UTC [Shortened] (cut)",
    );
}

#[test]
fn a_row_that_is_later_than_the_panel_stays_where_nothing_was_agreed() {
    // A5, A8: the first run over a drifted bot.
    check(
        subscribed("active", at("2025-09-30 00:00:00")),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "! EndsDisagree: the bot has 2025-09-30 00:00:00 UTC, the panel 2025-09-20 00:00:00 UTC: nothing was agreed \
         before, so the later end stands",
    );
    check(
        subscribed("active", None),
        found("active", at("2025-09-20 00:00:00")),
        Subscriptions,
        "! EndsDisagree: the bot has never, the panel 2025-09-20 00:00:00 UTC: nothing was agreed before, so the later \
         end stands",
    );
}

#[test]
fn who_paid_in_the_bot_alone_keeps_the_end_and_the_panel_is_behind() {
    // A1: the panel's call failed after the payment.
    let paid = || Account {
        agreement: agreed(at("2025-09-05 12:00:00")),
        ..subscribed("active", at("2025-10-15 12:00:00"))
    };
    check(
        paid(),
        found("expired", at("2025-09-05 12:00:00")),
        Subscriptions,
        "is_active true -> false [Expired] ! PanelBehind: the bot has 2025-10-15 12:00:00 UTC, the panel 2025-09-05 \
         12:00:00 UTC: extend the user in the panel; the customer paid and has no access now (early)",
    );
    let works = Account {
        agreement: agreed(day(1)),
        ..paid()
    };
    check(
        works,
        found("active", day(1)),
        Subscriptions,
        "! PanelBehind: the bot has 2025-10-15 12:00:00 UTC, the panel 2025-09-16 12:00:00 UTC: extend the user in the \
         panel",
    );
}

#[test]
fn an_operator_answers_for_all_or_for_names() {
    let given = || subscribed("active", at("2025-09-30 00:00:00"));
    let says = || found("active", at("2025-09-20 00:00:00"));
    let names = |name: &str| Trust::Names([name.to_owned()].into());
    let shortened = "end_date 2025-09-30 00:00:00 UTC -> 2025-09-20 00:00:00 UTC [Shortened] (cut)";
    let unanswered = "! EndsDisagree: the bot has 2025-09-30 00:00:00 UTC, the panel 2025-09-20 00:00:00 UTC: nothing was \
                 agreed before, so the later end stands";
    let behind = "! PanelBehind: the bot has 2025-09-30 00:00:00 UTC, the panel 2025-09-20 00:00:00 UTC: extend the \
                  user in the panel";
    for (trust_panel, trust_bot, expected) in [
        (Trust::Everybody, Trust::Nobody, shortened),
        (names("user1"), Trust::Nobody, shortened),
        (names("USER1"), Trust::Nobody, unanswered),
        (names("user2"), Trust::Nobody, unanswered),
        (Trust::Nobody, Trust::Everybody, behind),
        (Trust::Nobody, names("user1"), behind),
        (Trust::Everybody, Trust::Everybody, behind),
        (Trust::Everybody, names("user2"), shortened),
    ] {
        let answers = Answers {
            trust_panel,
            trust_bot,
            ..Answers::default()
        };
        check_answered(
            Policy::default(),
            &answers,
            given(),
            says(),
            Subscriptions,
            expected,
        );
    }
}

#[test]
fn the_end_is_compared_to_the_second() {
    let given = || Account {
        agreement: agreed(at("2025-09-20 00:00:00")),
        ..subscribed("active", at("2025-09-20 00:00:00.999999"))
    };
    for (panel, expected) in [
        ("2025-09-20 00:00:00", "nothing"),
        (
            "2025-09-20 00:00:01",
            "end_date 2025-09-20 00:00:00.999999 UTC -> 2025-09-20 00:00:01 UTC [Extended]",
        ),
        ("2025-09-19 23:00:00", "nothing"),
        (
            "2025-09-19 22:59:59",
            "end_date 2025-09-20 00:00:00.999999 UTC -> 2025-09-19 22:59:59 UTC [Shortened] (cut)",
        ),
    ] {
        check(given(), found("active", at(panel)), Subscriptions, expected);
    }
}

#[test]
fn an_end_before_a_connection_of_today_cannot_be_one_whichever_job_writes_the_connection() {
    let online = Observation::Found(PanelUser {
        online_at: Some(now()),
        ..user("expired", at("2025-09-01 00:00:00"))
    });
    let first = in_step("active", "2025-09-30 00:00:00");
    let second = Account {
        last_connected_at: Some(now()),
        is_active: Some(false),
        ..first.clone()
    };
    let problem = "! ImplausibleEnd: the bot has 2025-09-30 00:00:00 UTC, the panel 2025-09-01 00:00:00 UTC, which \
                   cannot be an end: correct it in the panel";
    check(
        first,
        online.clone(),
        Subscriptions,
        &format!(
            "is_active true -> false last_connected_at null -> 2025-09-15 12:00:00 UTC [Expired, Connected] {problem} \
             (early)"
        ),
    );
    check(second, online, Subscriptions, problem);
}

// The status.

#[test]
fn a_subscription_ends_once_its_end_has_passed_and_the_user_does_not_work() {
    check(
        subscribed("active", second(1)),
        found("expired", second(1)),
        Subscriptions,
        "is_active true -> false [Expired] (early)",
    );
    check(
        subscribed("active", now()),
        found("expired", now()),
        Subscriptions,
        "status active -> expired is_active true -> false [Expired]",
    );
    for status in ["limited", "disabled"] {
        let reason = if status == "limited" {
            "Limited"
        } else {
            "Disabled"
        };
        check(
            subscribed("trial", second(-1)),
            found(status, second(-1)),
            Subscriptions,
            &format!("status trial -> expired is_active true -> false [{reason}, Expired]"),
        );
        check(
            subscribed("trial", day(5)),
            found(status, day(5)),
            Subscriptions,
            &format!("is_active true -> false [{reason}]"),
        );
    }
}

#[test]
fn a_panel_that_has_not_yet_reviewed_a_user_ends_nothing_for_a_day() {
    for (age, expected) in [
        (TimeDelta::zero(), "nothing"),
        (TimeDelta::hours(24), "nothing"),
        (
            TimeDelta::seconds(86_401),
            "status active -> expired is_active true -> false [Expired]",
        ),
    ] {
        let end = now() - age;
        check(
            subscribed("active", end),
            found("active", end),
            Subscriptions,
            expected,
        );
    }
}

#[test]
fn an_expiry_before_the_own_end_is_early_and_counts_as_a_cut() {
    check(
        in_step("active", "2025-09-20 00:00:00"),
        found("expired", at("2025-09-14 00:00:00")),
        Subscriptions,
        "status active -> expired end_date 2025-09-20 00:00:00 UTC -> 2025-09-14 00:00:00 UTC is_active true -> \
         false [Expired, Shortened] (early) (cut)",
    );
    check(
        subscribed("active", None),
        found("expired", None),
        Subscriptions,
        "is_active true -> false [Expired] (early)",
    );
}

#[test]
fn a_held_user_with_an_expire_of_an_earlier_period_keeps_working() {
    for (expire, facet) in [
        (day(-100), Subscriptions),
        (now(), UserStatus),
        (day(100), Subscriptions),
    ] {
        check(
            subscribed("active", day(5)),
            found("on_hold", expire),
            facet,
            "nothing",
        );
    }
}

#[test]
fn cancelled_pending_and_unknown_subscriptions_stay_while_access_and_traffic_are_mirrored() {
    for status in ["cancelled", "pending", "grace", "canceled", ""] {
        check(
            subscribed(status, day(5)),
            found("active", day(50)),
            Subscriptions,
            "nothing",
        );
        let early = if status == "cancelled" { "" } else { " (early)" };
        check(
            subscribed(status, day(5)),
            found("expired", day(-5)),
            Subscriptions,
            &format!("is_active true -> false [Expired]{early}"),
        );
    }
}

#[test]
fn an_unknown_status_is_reported_and_changes_neither_status_nor_access() {
    check(
        subscribed("active", day(5)),
        found("melted", day(5)),
        Subscriptions,
        "! UnknownStatus: melted",
    );
    check(
        subscribed("active", at("2025-09-14 00:00:00")),
        found("melted", at("2025-09-14 00:00:00")),
        Subscriptions,
        "! UnknownStatus: melted",
    );
    check(
        subscribed("active", at("2025-09-20 00:00:00")),
        found("melted", at("2025-09-25 00:00:00")),
        Subscriptions,
        "end_date 2025-09-20 00:00:00 UTC -> 2025-09-25 00:00:00 UTC [Extended] ! UnknownStatus: melted",
    );
    let grown = Observation::Found(PanelUser {
        used_traffic: 7,
        ..user("melted", day(-5))
    });
    check(
        subscribed("active", day(5)),
        grown,
        UserStatus,
        "traffic_used 100 -> 7 [TrafficReset] ! UnknownStatus: melted",
    );
}

// What is remembered.

#[track_caller]
fn remembered(account: Account, says: Observation, answers: &Answers) -> Agreement {
    let observed = [Observed {
        account,
        observation: says,
    }];
    let decisions = reconcile(&observed, Subscriptions, Policy::default(), answers, now());
    let change = decisions.into_iter().next().and_then(|decision| decision.change);
    let change = change.expect("something is remembered");
    change.agreement.expect("something is remembered")
}

#[test]
fn the_latest_end_is_the_latest_that_either_side_ever_had() {
    // A26, A36: a shortened end counts as it was.
    let silence = Answers::default();
    for (row, panel, before, expected) in [
        (Some(day(5)), Some(day(20)), None, Some(day(20))),
        (Some(day(30)), Some(day(20)), None, Some(day(30))),
        (Some(day(30)), Some(day(20)), Some(day(60)), Some(day(60))),
        (None, Some(day(20)), None, Some(day(20))),
        (Some(day(5)), None, Some(day(-5)), Some(day(5))),
        (Some(day(5)), Some(at("1970-01-31 00:00:00")), None, Some(day(5))),
        (
            Some(day(5)),
            Some(at("9999-12-31 23:59:59") + TimeDelta::days(1)),
            None,
            Some(day(5)),
        ),
    ] {
        for status in ["active", "cancelled"] {
            let account = Account {
                agreement: Agreement {
                    latest_end: before,
                    ..Agreement::default()
                },
                ..subscribed(status, row)
            };
            let agreement = remembered(account, found("active", panel), &silence);
            assert_eq!(agreement.latest_end, expected, "{row:?} {panel:?}");
            assert_eq!(agreement.created_at, Some(created()));
        }
    }
}

#[test]
fn a_panel_that_is_trusted_makes_its_end_the_latest() {
    let trusted = Answers {
        trust_panel: Trust::Everybody,
        ..Answers::default()
    };
    for row in [day(200), day(5), day(20)] {
        let account = Account {
            agreement: Agreement {
                latest_end: Some(day(365)),
                ..agreed(day(200))
            },
            ..subscribed("active", row)
        };
        let agreement = remembered(account, found("active", day(20)), &trusted);
        assert_eq!(agreement.latest_end, Some(day(20)), "{row}");
    }
}

/// A user of the name that was created yesterday.
fn another(expire: impl Into<Option<DateTime<Utc>>>) -> Observation {
    Observation::Found(PanelUser {
        created_at: Some(day(-1)),
        ..user("active", expire)
    })
}

#[test]
fn a_paid_end_is_remembered_beside_another_user_of_the_name_too() {
    // Paid in the bot alone, right after the panel user was made anew; a stale save then takes the payment back.
    let account = Account {
        agreement: agreed(day(5)),
        ..subscribed("active", day(95))
    };
    let agreement = remembered(account, another(day(5)), &Answers::default());
    assert_eq!(
        (agreement.latest_end, agreement.created_at),
        (Some(day(95)), Some(created()))
    );
}

#[test]
fn a_subscription_that_the_bot_ended_early_is_reported_beside_any_user_that_works() {
    for (says, reason) in [
        (found("active", day(5)), "PanelAhead"),
        (found("active", None), "PanelAhead"),
        (found("on_hold", None), "PanelAhead"),
        (another(None), "PanelAhead"),
        (another(day(300)), "OtherUser"),
    ] {
        let account = Account {
            agreement: agreed(day(5)),
            ..subscribed("expired", day(5))
        };
        let observed = [Observed {
            account,
            observation: says.clone(),
        }];
        let (policy, answers) = (Policy::default(), Answers::default());
        let decisions = reconcile(&observed, Subscriptions, policy, &answers, now());
        let problem = decisions[0]
            .problem
            .as_ref()
            .map(|(reason, _)| format!("{reason:?}"));
        assert_eq!(problem.as_deref(), Some(reason), "{says:?}");
    }
}

#[test]
fn a_status_that_is_owed_is_not_silent_while_another_user_of_the_name_works() {
    let mut account = Account {
        agreement: agreed(day(5)),
        ..subscribed("expired", day(5))
    };
    account.agreement.replaced = Some(Replaced {
        status: "active".to_owned(),
        end: EndDate::At(day(5)),
    });
    check(
        account,
        another(None),
        Subscriptions,
        "! PanelAhead: the subscription is expired before its own end, 2025-09-20 12:00:00 \
         UTC, and the user works: open it in the bot, or disable the user",
    );
}

#[test]
fn of_another_user_of_the_name_nothing_is_remembered() {
    let other = another(day(300));
    let account = Account {
        agreement: Agreement {
            latest_end: Some(day(5)),
            ..agreed(day(5))
        },
        ..subscribed("active", day(5))
    };
    let observed = [Observed {
        account,
        observation: other,
    }];
    let decisions = reconcile(
        &observed,
        Subscriptions,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].change, None);
    assert!(decisions[0].problem.is_some());
}

// Extending the panel.

fn push(account: Account, says: Observation, policy: Policy) -> Option<Push> {
    let observed = [Observed {
        account,
        observation: says,
    }];
    let decisions = reconcile(&observed, Subscriptions, policy, &Answers::default(), now());
    decisions.into_iter().next().and_then(|decision| decision.push)
}

/// Paid until 30 days ahead; the panel is behind since so many hours.
fn behind(hours: i64) -> Account {
    let mut account = Account {
        agreement: agreed(day(-1)),
        ..subscribed("active", day(30))
    };
    account.agreement.open = Some(marzban_sync_core::agreement::Disagreement {
        row_end: EndDate::At(day(30)),
        panel_end: EndDate::At(day(-1)),
        since: now() - TimeDelta::hours(hours),
    });
    account
}

#[test]
fn a_panel_that_has_been_behind_for_a_day_is_extended_where_the_policy_says_so() {
    let extend = policy(|policy| policy.panel_behind = PanelBehind::Extend);
    let at_once = policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = TimeDelta::zero();
    });
    let expected = Some(Push {
        from: day(-1),
        to: day(30),
        created_at: Some(created()),
    });
    for status in ["active", "limited", "expired"] {
        let says = || found(status, day(-1));
        assert_eq!(push(behind(24), says(), extend), expected, "{status}");
        assert_eq!(push(behind(23), says(), extend), None);
        assert_eq!(push(behind(240), says(), Policy::default()), None);
        let fresh = Account {
            agreement: agreed(day(-1)),
            ..behind(0)
        };
        assert_eq!(push(fresh.clone(), says(), extend), None);
        assert_eq!(push(fresh, says(), at_once), expected);
    }
}

#[test]
fn a_panel_user_is_never_extended_to_what_was_not_paid_for_it_alone() {
    let extend = policy(|policy| {
        policy.panel_behind = PanelBehind::Extend;
        policy.extend_after = TimeDelta::zero();
    });
    let expired = || found("expired", day(-1));
    let with = |change: &dyn Fn(&mut Account)| {
        let mut account = behind(240);
        change(&mut account);
        account
    };
    let unlimited = with(&|account| account.subscription = subscribed("active", None).subscription);
    let ended = with(&|account| account.subscription = subscribed("expired", day(30)).subscription);
    let not_agreed = with(&|account| account.agreement.end = Some(EndDate::At(day(-2))));
    let other = with(&|account| account.agreement.created_at = Some(day(-300)));
    let shared = with(&|account| account.sharers = super::sharers::paying().into());
    let from_elsewhere = with(&|account| {
        account.elsewhere = Elsewhere {
            accounts: 1,
            is_active: false,
            written_ends: vec![EndDate::At(day(30))],
            replaced: Vec::new(),
            agreed_ends: Vec::new(),
        };
    });
    let prepaid = with(&|account| {
        if let Some(subscription) = &mut account.subscription {
            subscription.start_date = Some(day(20));
        }
    });
    for account in [
        unlimited,
        ended,
        not_agreed,
        other,
        shared,
        from_elsewhere,
        prepaid,
    ] {
        assert_eq!(push(account.clone(), expired(), extend), None, "{account:?}");
    }
    let spelled = Observation::Found(PanelUser {
        spelling: Some("USER1".to_owned()),
        ..user("expired", day(-1))
    });
    for says in [
        spelled,
        found("disabled", day(-1)),
        found("on_hold", day(-1)),
        found("active", None),
        found("melted", day(-1)),
        found("expired", day(-2)),
        Observation::NotFound,
    ] {
        assert_eq!(push(behind(240), says.clone(), extend), None, "{says:?}");
    }
}
