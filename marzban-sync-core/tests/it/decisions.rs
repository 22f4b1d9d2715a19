//! What becomes of an account, case by case.

mod accounts;
mod customers;
mod facts;
mod next_run;
mod other_panels;
mod sharers;
mod statuses;
mod table;

use marzban_sync_core::account::Account;
use marzban_sync_core::observation::{Observation, Observed};
use marzban_sync_core::policy::{Answers, Policy};
use marzban_sync_core::reconcile::Facet::Subscriptions;
use marzban_sync_core::reconcile::{Decision, Facet, reconcile};

use crate::given::now;

/// The decision in words: the change of rows, the problem after `!`, and whether the brakes count it as early or as a cut.
///
/// What is only remembered changes no row, and has no words.
fn words(decision: &Decision<'_>) -> String {
    let mut words = Vec::new();
    if let Some(change) = decision.change.as_ref().filter(|change| !change.touches_no_row()) {
        let change = change.to_string();
        let (_, change) = change.split_once("): ").expect("the account's name comes first");
        words.push(change.to_owned());
    }
    if let Some((reason, detail)) = &decision.problem {
        words.push(match detail {
            Some(detail) => format!("! {reason:?}: {detail}"),
            None => format!("! {reason:?}"),
        });
    }
    if decision.is_off_early {
        words.push("(early)".to_owned());
    }
    if decision.is_cut {
        words.push("(cut)".to_owned());
    }
    if words.is_empty() {
        return "nothing".to_owned();
    }
    words.join(" ")
}

#[track_caller]
fn check_by(policy: Policy, account: Account, says: Observation, facet: Facet, expected: &str) {
    check_answered(policy, &Answers::default(), account, says, facet, expected);
}

#[track_caller]
fn check_answered(
    policy: Policy,
    answers: &Answers,
    account: Account,
    says: Observation,
    facet: Facet,
    expected: &str,
) {
    let observed = [Observed {
        account,
        observation: says,
    }];
    let decisions = reconcile(&observed, facet, policy, answers, now());
    assert!(
        decisions.len() <= 1,
        "one account has one decision: {decisions:?}"
    );
    assert_eq!(
        decisions.first().map_or_else(|| "nothing".to_owned(), words),
        expected
    );
}

#[track_caller]
fn check(account: Account, says: Observation, facet: Facet, expected: &str) {
    check_by(Policy::default(), account, says, facet, expected);
}

/// Decides for accounts of one customer; a line for each decision that changes a row or reports a problem, led by the
/// account's number.
#[track_caller]
fn check_customer(customer: &[Observed], expected: &str) {
    let decisions = reconcile(
        customer,
        Subscriptions,
        Policy::default(),
        &Answers::default(),
        now(),
    );
    let lines: Vec<String> = decisions
        .iter()
        .map(|decision| format!("{}: {}", decision.account.id, words(decision)))
        .filter(|line| !line.ends_with(": nothing"))
        .collect();
    assert_eq!(lines.join("\n"), expected);
}

fn decide(customer: &[Observed], facet: Facet) -> Vec<Decision<'_>> {
    reconcile(customer, facet, Policy::default(), &Answers::default(), now())
}

/// The same customer once these decisions are written, for an account's own row and for all that share its subscription.
fn after(customer: &[Observed]) -> Vec<Observed> {
    let mut after = customer.to_vec();
    for change in decide(customer, Subscriptions)
        .into_iter()
        .filter_map(|decision| decision.change)
    {
        let applied = change.applied();
        for observed in &mut after {
            let account = &mut observed.account;
            if account.id == applied.id {
                let subscription = account.subscription.take();
                *account = applied.clone();
                account.subscription = subscription;
            }
            let changed = applied
                .subscription
                .as_ref()
                .filter(|_| !change.subscription.is_empty());
            if let (Some(changed), Some(own)) = (changed, &mut account.subscription)
                && own.id == changed.id
            {
                own.clone_from(changed);
            }
        }
    }
    after
}
