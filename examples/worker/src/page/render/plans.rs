//! Plans that wait for an operator.

use maud::{Markup, html};

use super::{figures, hidden, moment, name, problem_table, scrolled, telegram_id};
use crate::page::selection::{PATH, Selection};
use crate::page::view::Problem;
use crate::page::withheld::{Change, Plan};
use crate::page::words::{reason, title};

/// How many changes are shown at once; the others on demand.
const FIRST: usize = 10;

pub(super) fn section(plans: &[Plan], here: &Selection) -> Markup {
    html! {
        section aria-labelledby="plans" {
            h2 #plans { "Waiting for an operator" }
            @if plans.is_empty() { p.muted { "No plan is withheld." } }
            @for plan in plans { (card(plan, here)) }
        }
    }
}

fn card(plan: &Plan, here: &Selection) -> Markup {
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
                @if plan.can_be_answered() && is_tickable(plan) { (answers(plan, here)) }
                (form(plan, here))
            }
        }
    }
}

/// Whether there is an account to tick.
fn is_tickable(plan: &Plan) -> bool {
    !plan.changes.is_empty() || !plan.disagreements.is_empty()
}

/// The id of the form that the ticked accounts belong to, where accounts can be ticked.
fn answers_form(plan: &Plan) -> Option<String> {
    plan.can_be_answered().then(|| format!("answers-{}", plan.run))
}

fn content(plan: &Plan) -> Markup {
    let label = format!("{} on {}", title(plan.job), plan.panel);
    let answers = answers_form(plan);
    let recorded = plan.changes.len().max(plan.deletions.len());
    let (first, others) = plan.changes.split_at(plan.changes.len().min(FIRST));
    let (first_deletions, other_deletions) = plan.deletions.split_at(plan.deletions.len().min(FIRST));
    html! {
        @if !first.is_empty() { (changes(&format!("First changes: {label}"), first, answers.as_deref())) }
        @if !first_deletions.is_empty() {
            p { "These panel users would be deleted:" }
            (problem_table(&format!("First deletions: {label}"), first_deletions))
        }
        @if recorded > FIRST {
            details {
                summary { (recorded - FIRST) " more that were recorded, of " (plan.withheld) " in all" }
                @if !others.is_empty() { (changes(&format!("More changes: {label}"), others, answers.as_deref())) }
                @if !other_deletions.is_empty() {
                    (problem_table(&format!("More deletions: {label}"), other_deletions))
                }
            }
        }
        @if let Some(answers) = answers.as_deref().filter(|_| !plan.disagreements.is_empty()) {
            (disagreements(&format!("Ends that differ: {label}"), &plan.disagreements, answers))
        }
    }
}

fn changes(label: &str, changes: &[Change], answers: Option<&str>) -> Markup {
    let table = html! {
        thead {
            tr {
                @if answers.is_some() { th scope="col" { "Tick" } }
                th scope="col" { "Account" } th scope="col" { "What" } th scope="col" { "From → to" }
                th scope="col" { "Reason" } th scope="col" { "Telegram id" }
            }
        }
        tbody { @for change in changes { (change_rows(change, answers)) } }
    };
    scrolled(label, &table)
}

fn change_rows(change: &Change, answers: Option<&str>) -> Markup {
    html! {
        tr {
            @if let Some(form) = answers { (tick(&change.name, form)) }
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

/// Renders a checkbox of a form elsewhere on the page.
fn tick(account: &str, form: &str) -> Markup {
    html! {
        td.tick { input type="checkbox" name="name" value=(account) form=(form) aria-label={ "Tick " (account) }; }
    }
}

/// The accounts that stay as they are until an operator says which end is right.
fn disagreements(label: &str, problems: &[Problem], form: &str) -> Markup {
    let table = html! {
        thead {
            tr {
                th scope="col" { "Tick" } th scope="col" { "Account" } th scope="col" { "Reason" }
                th scope="col" { "Detail" } th scope="col" { "Telegram id" }
            }
        }
        tbody {
            @for problem in problems {
                tr {
                    (tick(&problem.name, form))
                    td { (name(&problem.name)) }
                    td { (reason(&problem.reason)) }
                    td.detail { bdi { (problem.detail.as_deref().unwrap_or_default()) } }
                    td { (telegram_id(problem.telegram_id)) }
                }
            }
        }
    };
    html! {
        p { "Of these accounts the two ends differ, and they stay as they are until somebody says which is right:" }
        (scrolled(label, &table))
    }
}

/// Which end is right, for the accounts that are ticked.
fn answers(plan: &Plan, here: &Selection) -> Markup {
    let id = format!("answers-{}", plan.run);
    let lift = format!("lift-{}", plan.run);
    let whose = format!("{}, {}", title(plan.job), plan.panel);
    html! {
        form.apply #(id) method="post" action={ (PATH) "/run" } {
            (hidden(here, plan.job.as_str(), &plan.panel))
            input type="hidden" name="apply" value=(plan.run);
            p {
                "For the accounts that are ticked: the panel is right, and its end goes into the bot's row; \
                 or the bot is right, and its end counts. The others are synced as ever."
            }
            p.confirm {
                input type="checkbox" name="confirm" value="1" id=(lift);
                label for=(lift) { "Without the safety limits, also for the others of this run." }
            }
            div.choices {
                button type="submit" name="right" value="panel" aria-label={ "The panel is right: " (whose) } {
                    "The panel is right"
                }
                button type="submit" name="right" value="bot" aria-label={ "The bot is right: " (whose) } {
                    "The bot is right"
                }
            }
        }
    }
}

fn form(plan: &Plan, here: &Selection) -> Markup {
    let confirm = format!("confirm-{}", plan.run);
    let button = format!("Apply on purpose: {}, {}", title(plan.job), plan.panel);
    html! {
        form.apply method="post" action={ (PATH) "/run" } {
            (hidden(here, plan.job.as_str(), &plan.panel))
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
