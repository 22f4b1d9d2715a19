//! The whole table at once.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use marzban_sync_core::account::Account;
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::Observed;
use marzban_sync_core::plan::Change;
use marzban_sync_core::policy::{Answers, Policy};
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::{Facet, reconcile};
use marzban_sync_core::report::ProblemReason;

use crate::given::{account, agreed, contrary, day, found, now, subscription};

/// What both sides agreed on before.
#[derive(Clone, Copy)]
enum Agreed {
    Nothing,
    OnRow,
    OnPanel,
}

impl Agreed {
    fn agreement(self, row: DateTime<Utc>, panel: Option<DateTime<Utc>>) -> Agreement {
        match self {
            Self::Nothing => Agreement::default(),
            Self::OnRow => agreed(row),
            Self::OnPanel => agreed(panel),
        }
    }
}

/// The statuses that a sync of subscriptions may change.
const SYNCED: [&str; 3] = ["trial", "active", "expired"];

/// Those that it never changes; none is an account without a subscription.
const IGNORED: [Option<&str>; 4] = [Some("cancelled"), Some("pending"), Some("grace"), None];

/// The decision table: a row for each status and `expire` of the panel, and columns for each subscription, first with an
/// end 5 days ahead, then with one that passed 2 days ago. The panel's ends are 5 days ago, now, and 20 days ahead.
///
/// `x` the status becomes expired, `a` active; `d` the end follows `expire`, `u` it is cleared; `.` nothing. Then access,
/// and the problem with the end ahead and with the end passed.
fn table(facet: Facet, policy: Policy, before: Agreed) -> String {
    let mut table = String::from(
        "\n                 ahead: trial active expired  over: trial active expired  others  access     problems\n",
    );
    for status in ["active", "on_hold", "disabled", "limited", "expired", "melted"] {
        for (word, expire) in [
            ("none", None),
            ("past", Some(day(-5))),
            ("now", Some(now())),
            ("future", Some(day(20))),
        ] {
            let mut accesses = Vec::new();
            let mut decide = |subscribed: Option<&str>, end: DateTime<Utc>| {
                let observed = [Observed {
                    account: Account {
                        is_active: None,
                        subscription: subscribed.map(|status| subscription(status, end)),
                        agreement: before.agreement(end, expire),
                        ..account(1)
                    },
                    observation: found(status, expire),
                }];
                let mut decisions = reconcile(&observed, facet, policy, &Answers::default(), now());
                let decision = decisions.pop();
                let change = decision.as_ref().and_then(|decision| decision.change.clone());
                let problem = decision.and_then(|decision| decision.problem);
                accesses.push(change.as_ref().and_then(|change| change.vpn_config.is_active));
                (cell(change.as_ref()), problem.map(|(reason, _)| reason))
            };
            let [ahead, over] = [day(5), day(-2)].map(|end| SYNCED.map(|status| decide(Some(status), end)));
            let mut others: Vec<(String, Option<ProblemReason>)> = [day(5), day(-2)]
                .into_iter()
                .flat_map(|end| IGNORED.map(|status| (status, end)))
                .map(|(status, end)| decide(status, end))
                .collect();
            others.dedup();
            assert_eq!(others.len(), 1, "{status} {word}: {others:?}");
            let line = format!(
                "{status:>8} {word:<6} |       {:<6}{:<7}{:<14}{:<6}{:<7}{:<9}{:<8}{:<11}{} / {}",
                ahead[0].0,
                ahead[1].0,
                ahead[2].0,
                over[0].0,
                over[1].0,
                over[2].0,
                others[0].0,
                access(accesses),
                problem(&ahead),
                problem(&over),
            );
            writeln!(table, "{}", line.trim_end()).expect("a string grows");
        }
    }
    table
}

fn cell(change: Option<&Change>) -> String {
    let patch = change
        .map(|change| &change.subscription)
        .filter(|patch| !patch.is_empty());
    let Some(patch) = patch else { return ".".to_owned() };
    let status = patch.status.as_ref().map_or("", |status| match status.as_str() {
        "expired" => "x",
        "active" => "a",
        other => panic!("a sync never makes a subscription {other}"),
    });
    let end_date = patch.end_date.map_or("", |end_date| match end_date {
        EndDate::At(_) => "d",
        EndDate::Never => "u",
    });
    format!("{status}{end_date}")
}

/// Access is the panel's word alone, so it is the same in the whole row.
fn access(mut accesses: Vec<Option<bool>>) -> &'static str {
    accesses.dedup();
    match accesses[..] {
        [Some(true)] => "on",
        [Some(false)] => "off",
        [None] => "unchanged",
        _ => panic!("access differs within one row: {accesses:?}"),
    }
}

/// The problem of an open subscription and that of an `expired` one, where they differ.
fn problem(cells: &[(String, Option<ProblemReason>)]) -> String {
    let mut problems: Vec<Option<ProblemReason>> = cells.iter().map(|(_, problem)| *problem).collect();
    problems.dedup();
    assert!(
        problems.len() <= 2,
        "problems differ between open ones: {cells:?}"
    );
    let words = problems
        .into_iter()
        .map(|problem| problem.map_or("-", ProblemReason::as_str));
    words.collect::<Vec<_>>().join("|")
}

#[test]
fn before_anything_was_agreed_the_later_end_stands() {
    let expected = "
                 ahead: trial active expired  over: trial active expired  others  access     problems
  active none   |       .     .      .             .     .      .        .       on         -|panel_ahead / panel_ahead
  active past   |       .     .      .             x     x      .        .       off        ends_disagree / -
  active now    |       .     .      .             d     d      d        .       on         ends_disagree / -
  active future |       d     d      d             d     d      ad       .       on         -|panel_ahead / -
 on_hold none   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold past   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold now    |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold future |       .     .      .             .     .      .        .       on         -|panel_ahead / -
disabled none   |       .     .      .             x     x      .        .       off        - / -
disabled past   |       .     .      .             x     x      .        .       off        ends_disagree / -
disabled now    |       .     .      .             xd    xd     d        .       off        ends_disagree / -
disabled future |       d     d      d             d     d      d        .       off        - / -
 limited none   |       .     .      .             x     x      .        .       off        - / -
 limited past   |       .     .      .             x     x      .        .       off        ends_disagree / -
 limited now    |       .     .      .             xd    xd     d        .       off        ends_disagree / -
 limited future |       d     d      d             d     d      d        .       off        - / -
 expired none   |       .     .      .             x     x      .        .       off        - / -
 expired past   |       .     .      .             x     x      .        .       off        ends_disagree / -
 expired now    |       .     .      .             xd    xd     d        .       off        ends_disagree / -
 expired future |       d     d      d             d     d      d        .       off        - / -
  melted none   |       .     .      .             .     .      .        .       unchanged  unknown_status / unknown_status
  melted past   |       .     .      .             .     .      .        .       unchanged  ends_disagree / unknown_status
  melted now    |       .     .      .             d     d      d        .       unchanged  ends_disagree / unknown_status
  melted future |       d     d      d             d     d      d        .       unchanged  unknown_status / unknown_status
";
    assert_eq!(table(Subscriptions, Policy::default(), Agreed::Nothing), expected);
}

#[test]
fn while_the_row_has_what_was_agreed_the_panels_word_counts() {
    let expected = "
                 ahead: trial active expired  over: trial active expired  others  access     problems
  active none   |       .     .      .             .     .      .        .       on         -|panel_ahead / panel_ahead
  active past   |       xd    xd     d             x     x      .        .       off        - / -
  active now    |       d     d      d             d     d      d        .       on         - / -
  active future |       d     d      d             d     d      ad       .       on         -|panel_ahead / -
 on_hold none   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold past   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold now    |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold future |       .     .      .             .     .      .        .       on         -|panel_ahead / -
disabled none   |       .     .      .             x     x      .        .       off        - / -
disabled past   |       xd    xd     d             x     x      .        .       off        - / -
disabled now    |       xd    xd     d             xd    xd     d        .       off        - / -
disabled future |       d     d      d             d     d      d        .       off        - / -
 limited none   |       .     .      .             x     x      .        .       off        - / -
 limited past   |       xd    xd     d             x     x      .        .       off        - / -
 limited now    |       xd    xd     d             xd    xd     d        .       off        - / -
 limited future |       d     d      d             d     d      d        .       off        - / -
 expired none   |       .     .      .             x     x      .        .       off        - / -
 expired past   |       xd    xd     d             x     x      .        .       off        - / -
 expired now    |       xd    xd     d             xd    xd     d        .       off        - / -
 expired future |       d     d      d             d     d      d        .       off        - / -
  melted none   |       .     .      .             .     .      .        .       unchanged  unknown_status / unknown_status
  melted past   |       d     d      d             .     .      .        .       unchanged  unknown_status / unknown_status
  melted now    |       d     d      d             d     d      d        .       unchanged  unknown_status / unknown_status
  melted future |       d     d      d             d     d      d        .       unchanged  unknown_status / unknown_status
";
    assert_eq!(table(Subscriptions, Policy::default(), Agreed::OnRow), expected);
}

#[test]
fn while_the_panel_has_what_was_agreed_the_rows_word_counts() {
    let expected = "
                 ahead: trial active expired  over: trial active expired  others  access     problems
  active none   |       .     .      .             .     .      .        .       on         -|panel_ahead / panel_ahead
  active past   |       .     .      .             x     x      .        .       off        panel_behind / -
  active now    |       .     .      .             .     .      .        .       on         panel_behind / panel_ahead
  active future |       .     .      .             .     .      .        .       on         panel_ahead / panel_ahead
 on_hold none   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold past   |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold now    |       .     .      .             .     .      .        .       on         -|panel_ahead / -
 on_hold future |       .     .      .             .     .      .        .       on         -|panel_ahead / -
disabled none   |       .     .      .             x     x      .        .       off        - / -
disabled past   |       .     .      .             x     x      .        .       off        panel_behind / -
disabled now    |       .     .      .             x     x      .        .       off        panel_behind / panel_ahead
disabled future |       .     .      .             x     x      .        .       off        panel_ahead / panel_ahead
 limited none   |       .     .      .             x     x      .        .       off        - / -
 limited past   |       .     .      .             x     x      .        .       off        panel_behind / -
 limited now    |       .     .      .             x     x      .        .       off        panel_behind / panel_ahead
 limited future |       .     .      .             x     x      .        .       off        panel_ahead / panel_ahead
 expired none   |       .     .      .             x     x      .        .       off        - / -
 expired past   |       .     .      .             x     x      .        .       off        panel_behind / -
 expired now    |       .     .      .             x     x      .        .       off        panel_behind / panel_ahead
 expired future |       .     .      .             x     x      .        .       off        panel_ahead / panel_ahead
  melted none   |       .     .      .             .     .      .        .       unchanged  unknown_status / unknown_status
  melted past   |       .     .      .             .     .      .        .       unchanged  panel_behind / unknown_status
  melted now    |       .     .      .             .     .      .        .       unchanged  panel_behind / panel_ahead
  melted future |       .     .      .             .     .      .        .       unchanged  panel_ahead / panel_ahead
";
    assert_eq!(table(Subscriptions, Policy::default(), Agreed::OnPanel), expected);
}

#[test]
fn the_contrary_policy_keeps_ended_ones_ended_clears_ends_and_gives_no_access() {
    let expected = "
                 ahead: trial active expired  over: trial active expired  others  access     problems
  active none   |       u     u      u             u     u      u        .       unchanged  -|panel_ahead / -|panel_ahead
  active past   |       xd    xd     d             x     x      .        .       off        - / -
  active now    |       d     d      d             d     d      d        .       unchanged  - / -
  active future |       d     d      d             d     d      d        .       unchanged  -|panel_ahead / -|panel_ahead
 on_hold none   |       .     .      .             .     .      .        .       unchanged  -|panel_ahead / -
 on_hold past   |       .     .      .             .     .      .        .       unchanged  -|panel_ahead / -
 on_hold now    |       .     .      .             .     .      .        .       unchanged  -|panel_ahead / -
 on_hold future |       .     .      .             .     .      .        .       unchanged  -|panel_ahead / -
disabled none   |       u     u      u             u     u      u        .       off        - / -
disabled past   |       xd    xd     d             x     x      .        .       off        - / -
disabled now    |       xd    xd     d             xd    xd     d        .       off        - / -
disabled future |       d     d      d             d     d      d        .       off        - / -
 limited none   |       u     u      u             u     u      u        .       off        - / -
 limited past   |       xd    xd     d             x     x      .        .       off        - / -
 limited now    |       xd    xd     d             xd    xd     d        .       off        - / -
 limited future |       d     d      d             d     d      d        .       off        - / -
 expired none   |       u     u      u             u     u      u        .       off        - / -
 expired past   |       xd    xd     d             x     x      .        .       off        - / -
 expired now    |       xd    xd     d             xd    xd     d        .       off        - / -
 expired future |       d     d      d             d     d      d        .       off        - / -
  melted none   |       u     u      u             u     u      u        .       unchanged  unknown_status / unknown_status
  melted past   |       d     d      d             .     .      .        .       unchanged  unknown_status / unknown_status
  melted now    |       d     d      d             d     d      d        .       unchanged  unknown_status / unknown_status
  melted future |       d     d      d             d     d      d        .       unchanged  unknown_status / unknown_status
";
    assert_eq!(table(Subscriptions, contrary(), Agreed::OnRow), expected);
}

#[test]
fn the_status_job_never_touches_a_subscription() {
    for (policy, on) in [(Policy::default(), "on"), (contrary(), "unchanged")] {
        for before in [Agreed::Nothing, Agreed::OnRow, Agreed::OnPanel] {
            let table = table(UserStatus, policy, before);
            let accesses = [on, "off", on, on]
                .into_iter()
                .chain([on; 4])
                .chain(["off"; 12])
                .chain(["unchanged"; 4]);
            for (row, access) in table.lines().skip(2).zip(accesses) {
                let problem = if row.contains("melted") {
                    "unknown_status"
                } else {
                    "-"
                };
                let (_, cells) = row.split_once('|').expect("a row has cells");
                assert_eq!(
                    cells.split_whitespace().collect::<Vec<_>>(),
                    [".", ".", ".", ".", ".", ".", ".", access, problem, "/", problem]
                );
            }
        }
    }
}
