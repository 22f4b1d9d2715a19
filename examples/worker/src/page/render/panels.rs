//! The panels and their jobs.

use maud::{Markup, html};

use super::{figures, hidden, moment, name, problem_table, state};
use crate::page::selection::{PATH, Selection};
use crate::page::view::{JobView, PanelView, Tone};
use crate::page::words::title;

pub(super) fn section(panels: &[PanelView], here: &Selection) -> Markup {
    let in_trouble = panels
        .iter()
        .filter(|panel| panel.state.tone >= Tone::Warning)
        .count();
    html! {
        section aria-labelledby="panels" {
            h2 #panels { "Panels" }
            p.muted {
                (panels.len()) @if panels.len() == 1 { " panel, " } @else { " panels, " }
                @if in_trouble == 0 { "all in order." } @else { (in_trouble) " to look at." }
            }
            div.panels { @for (number, panel) in panels.iter().enumerate() { (card(number, panel, here)) } }
        }
    }
}

fn card(number: usize, panel: &PanelView, here: &Selection) -> Markup {
    html! {
        details.panel id={ "panel-" (number) } open[panel.is_open] {
            summary { h3 { (name(&panel.name)) } (state(&panel.state)) }
            table.jobs role="table" aria-label={ "Jobs of " (panel.name) } {
                thead role="rowgroup" {
                    tr role="row" {
                        @for heading in ["Job", "Last run", "Outcome", "Figures", "Last good run", "By hand"] {
                            th role="columnheader" scope="col" { (heading) }
                        }
                    }
                }
                tbody role="rowgroup" { @for job in &panel.jobs { (row(job, panel, here)) } }
            }
            @for job in &panel.jobs { (trouble(job, panel)) }
        }
    }
}

fn row(job: &JobView, panel: &PanelView, here: &Selection) -> Markup {
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (title(job.job)) }
            @if let Some(run) = &job.last {
                td role="cell" data-label="Last run" { (moment(&run.started)) }
                td role="cell" data-label="Outcome" {
                    (state(&run.state))
                    @if let Some(took) = &run.took { " " small.muted { "in " (took) } }
                }
                td role="cell" data-label="Figures" { (figures(&run.figures)) }
            } @else {
                td role="cell" data-label="Last run" { span.muted { "none" } }
                td role="cell" data-label="Outcome" { span.muted { "none" } }
                td role="cell" data-label="Figures" { span.muted { "none" } }
            }
            td role="cell" data-label="Last good run" {
                (state(&job.freshness))
                @if let Some(good) = &job.good { " " (moment(good)) }
                @else if let Some(next) = &job.next { " " small.muted { "next " (next.words) } }
            }
            td role="cell" data-label="By hand" {
                @if let Some(waiting) = job.waiting { p.waiting { (waiting) } }
                @if panel.is_ours { (run_now(job, panel, here)) }
                @else { span.muted { "not from here" } }
            }
        }
    }
}

fn run_now(job: &JobView, panel: &PanelView, here: &Selection) -> Markup {
    html! {
        form method="post" action={ (PATH) "/run" } {
            (hidden(here, job.job.as_str(), &panel.name))
            button type="submit" aria-label={ "Run now: " (title(job.job)) ", " (panel.name) } { "Run now" }
        }
    }
}

/// What went wrong in the last run of a job.
fn trouble(job: &JobView, panel: &PanelView) -> Markup {
    let Some(run) = &job.last else { return html! {} };
    let label = format!("Problems of {} on {}", title(job.job), panel.name);
    html! {
        @if let Some(error) = &run.error {
            p.error { strong { (title(job.job)) ": " } bdi { (error) } }
        }
        @if !run.problems.is_empty() {
            details.problems {
                summary {
                    (title(job.job)) ": "
                    @if run.problems.len() == 1 { "one account has a problem" }
                    @else { "the first " (run.problems.len()) " accounts with problems" }
                }
                (problem_table(&label, &run.problems))
            }
        }
    }
}
