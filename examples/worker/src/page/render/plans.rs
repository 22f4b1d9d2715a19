//! Plans that wait for an operator.

use maud::{Markup, html};

use super::{Forms, figures, hidden, moment, name, problem_table, scrolled, telegram_id};
use crate::page::selection::PATH;
use crate::page::withheld::{Change, Plan};
use crate::page::words::title;

/// So many changes are shown at once, the others on demand.
const FIRST: usize = 10;

pub(super) fn section(plans: &[Plan], forms: Forms<'_>) -> Markup {
    html! {
        section aria-labelledby="plans" {
            h2 #plans { "Waiting for an operator" }
            @if plans.is_empty() { p.muted { "No plan is withheld." } }
            @for plan in plans { (card(plan, forms)) }
        }
    }
}

fn card(plan: &Plan, forms: Forms<'_>) -> Markup {
    let id = format!("plan-{}", plan.run);
    html! {
        article.plan aria-labelledby=(id) {
            h3 #(id) { (title(plan.job)) " on " (name(&plan.panel)) }
            p { "Withheld " (moment(&plan.started)) }
            p.because { (plan.because) }
            (figures(&plan.figures))
            (content(plan))
            @if plan.is_asked_for {
                p.asked { "A run that applies it is in the queue." }
            } @else if plan.is_ours {
                (form(plan, forms))
            }
        }
    }
}

fn content(plan: &Plan) -> Markup {
    let label = format!("{} on {}", title(plan.job), plan.panel);
    let recorded = plan.changes.len().max(plan.deletions.len());
    let (first, others) = plan.changes.split_at(plan.changes.len().min(FIRST));
    let (first_deletions, other_deletions) = plan.deletions.split_at(plan.deletions.len().min(FIRST));
    html! {
        @if !first.is_empty() { (changes(&format!("First changes: {label}"), first)) }
        @if !first_deletions.is_empty() {
            p { "These panel users would be deleted:" }
            (problem_table(&format!("First deletions: {label}"), first_deletions))
        }
        @if recorded > FIRST {
            details {
                summary { (recorded - FIRST) " more that were recorded, of " (plan.withheld) " in all" }
                @if !others.is_empty() { (changes(&format!("More changes: {label}"), others)) }
                @if !other_deletions.is_empty() {
                    (problem_table(&format!("More deletions: {label}"), other_deletions))
                }
            }
        }
    }
}

fn changes(label: &str, changes: &[Change]) -> Markup {
    let table = html! {
        thead { tr { th scope="col" { "Account" } th scope="col" { "What" } th scope="col" { "From → to" } th scope="col" { "Reason" } th scope="col" { "Telegram id" } } }
        tbody { @for change in changes { (change_rows(change)) } }
    };
    scrolled(label, &table)
}

fn change_rows(change: &Change) -> Markup {
    html! {
        tr {
            td { (name(&change.name)) }
            td { @for (what, _, _) in &change.values { div.value { (what) } } }
            td {
                @for (_, from, to) in &change.values {
                    div.value { bdi { (from) } " → " b { bdi { (to) } } }
                }
            }
            td.detail { (change.reasons.join("; ")) }
            td { (telegram_id(change.telegram_id)) }
        }
    }
}

fn form(plan: &Plan, forms: Forms<'_>) -> Markup {
    let confirm = format!("confirm-{}", plan.run);
    let button = format!("Apply on purpose: {}, {}", title(plan.job), plan.panel);
    html! {
        form.apply method="post" action={ (PATH) "/run" } {
            (hidden(forms, plan.job.as_str(), &plan.panel))
            input type="hidden" name="apply" value=(plan.run);
            p.confirm {
                input type="checkbox" name="confirm" value="1" id=(confirm) required;
                label for=(confirm) {
                    "I have looked at it. The run reads the panel anew and applies what it then finds, without the safety limits."
                }
            }
            button.primary type="submit" aria-label=(button) { "Apply on purpose" }
        }
    }
}
