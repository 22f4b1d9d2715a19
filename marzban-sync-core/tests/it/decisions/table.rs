//! The whole table at once.

use std::fmt::Write;

use marzban_sync_core::account::Account;
use marzban_sync_core::plan::{Change, EndDate};
use marzban_sync_core::policy::Policy;
use marzban_sync_core::reconcile::Facet::{Subscriptions, UserStatus};
use marzban_sync_core::reconcile::{Facet, Observed, reconcile};

use crate::given::{account, contrary, day, found, now, subscription};

/// The decision table: a row for each status and `expire` of the panel, a column for each subscription.
///
/// `x` the status becomes expired, `a` active; `d` the end follows `expire`, `u` it is cleared; `.` nothing.
fn table(facet: Facet, policy: Policy) -> String {
    let mut table =
        String::from("\n                 trial active expired cancelled pending grace none   access\n");
    for status in ["active", "on_hold", "disabled", "limited", "expired", "melted"] {
        for (word, expire) in [
            ("none", None),
            ("past", Some(day(-5))),
            ("now", Some(now())),
            ("future", Some(day(20))),
        ] {
            let changes = COLUMNS.map(|(subscribed, _)| {
                let given = Account {
                    is_active: None,
                    subscription: subscribed.map(|status| subscription(status, day(5))),
                    ..account(1)
                };
                let observed = [Observed {
                    account: given,
                    observation: found(status, expire),
                }];
                let mut decisions = reconcile(&observed, facet, policy, now());
                decisions.pop().and_then(|decision| decision.change)
            });
            write!(table, "{status:>8} {word:<6} |").expect("a string grows");
            for (change, (_, width)) in changes.iter().zip(COLUMNS) {
                write!(table, "{:<width$}", cell(change.as_ref())).expect("a string grows");
            }
            writeln!(table, " {}", access(&changes)).expect("a string grows");
        }
    }
    table
}

/// The status of the subscription, and the width of its column.
const COLUMNS: [(Option<&str>, usize); 7] = [
    (Some("trial"), 6),
    (Some("active"), 7),
    (Some("expired"), 8),
    (Some("cancelled"), 10),
    (Some("pending"), 8),
    (Some("grace"), 6),
    (None, 7),
];

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
fn access(changes: &[Option<Change>]) -> &'static str {
    let mut access: Vec<Option<bool>> = changes
        .iter()
        .map(|change| change.as_ref().and_then(|change| change.vpn_config.is_active))
        .collect();
    access.dedup();
    match access[..] {
        [Some(true)] => "on",
        [Some(false)] => "off",
        [None] => "unchanged",
        _ => panic!("access differs within one row: {access:?}"),
    }
}

#[test]
fn every_status_and_expire_meets_every_subscription() {
    let expected = "
                 trial active expired cancelled pending grace none   access
  active none   |.     .      .       .         .       .     .       on
  active past   |xd    xd     d       .         .       .     .       off
  active now    |xd    xd     d       .         .       .     .       off
  active future |d     d      ad      .         .       .     .       on
 on_hold none   |.     .      .       .         .       .     .       on
 on_hold past   |.     .      .       .         .       .     .       on
 on_hold now    |.     .      .       .         .       .     .       on
 on_hold future |.     .      .       .         .       .     .       on
disabled none   |.     .      .       .         .       .     .       off
disabled past   |xd    xd     d       .         .       .     .       off
disabled now    |xd    xd     d       .         .       .     .       off
disabled future |d     d      d       .         .       .     .       off
 limited none   |.     .      .       .         .       .     .       off
 limited past   |xd    xd     d       .         .       .     .       off
 limited now    |xd    xd     d       .         .       .     .       off
 limited future |d     d      d       .         .       .     .       off
 expired none   |x     x      .       .         .       .     .       off
 expired past   |xd    xd     d       .         .       .     .       off
 expired now    |xd    xd     d       .         .       .     .       off
 expired future |xd    xd     d       .         .       .     .       off
  melted none   |.     .      .       .         .       .     .       unchanged
  melted past   |d     d      d       .         .       .     .       unchanged
  melted now    |d     d      d       .         .       .     .       unchanged
  melted future |d     d      d       .         .       .     .       unchanged
";
    assert_eq!(table(Subscriptions, Policy::default()), expected);
}

#[test]
fn the_contrary_policy_keeps_ended_ones_ended_ends_disabled_ones_and_clears_ends() {
    let expected = "
                 trial active expired cancelled pending grace none   access
  active none   |u     u      u       .         .       .     .       on
  active past   |xd    xd     d       .         .       .     .       off
  active now    |xd    xd     d       .         .       .     .       off
  active future |d     d      d       .         .       .     .       on
 on_hold none   |.     .      .       .         .       .     .       on
 on_hold past   |.     .      .       .         .       .     .       on
 on_hold now    |.     .      .       .         .       .     .       on
 on_hold future |.     .      .       .         .       .     .       on
disabled none   |xu    xu     u       .         .       .     .       off
disabled past   |xd    xd     d       .         .       .     .       off
disabled now    |xd    xd     d       .         .       .     .       off
disabled future |xd    xd     d       .         .       .     .       off
 limited none   |u     u      u       .         .       .     .       off
 limited past   |xd    xd     d       .         .       .     .       off
 limited now    |xd    xd     d       .         .       .     .       off
 limited future |d     d      d       .         .       .     .       off
 expired none   |xu    xu     u       .         .       .     .       off
 expired past   |xd    xd     d       .         .       .     .       off
 expired now    |xd    xd     d       .         .       .     .       off
 expired future |xd    xd     d       .         .       .     .       off
  melted none   |u     u      u       .         .       .     .       unchanged
  melted past   |d     d      d       .         .       .     .       unchanged
  melted now    |d     d      d       .         .       .     .       unchanged
  melted future |d     d      d       .         .       .     .       unchanged
";
    assert_eq!(table(Subscriptions, contrary()), expected);
}

#[test]
fn the_status_job_never_touches_a_subscription() {
    for policy in [Policy::default(), contrary()] {
        let table = table(UserStatus, policy);
        for (row, expected) in table.lines().skip(2).zip([
            "on",
            "off",
            "off",
            "on",
            "on",
            "on",
            "on",
            "on",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "off",
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged",
        ]) {
            let (_, cells) = row.split_once('|').expect("a row has cells");
            assert_eq!(
                cells.split_whitespace().collect::<Vec<_>>(),
                [".", ".", ".", ".", ".", ".", ".", expected]
            );
        }
    }
}
