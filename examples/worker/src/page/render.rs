//! The page as HTML, escaped by `maud`. Decides nothing.

use maud::{DOCTYPE, Markup, html};

use super::load::Glance;
use super::selection::{PATH, Selection};
use super::view::{Figure, Notice, Page, Problem, State, Tone};
use super::words::{Moment, grouped, reason, title};

mod charts;
mod panels;
mod plans;

/// The page.
pub(crate) fn page(page: &Page) -> Markup {
    let here = &page.selection;
    let content = html! {
        (notice(page.notice.as_ref()))
        (plans::section(&page.plans, here))
        (glance(page.glance))
        (panels::section(&page.panels, here))
        (charts::section(page))
    };
    frame("Marzban panels", &head(page), &content)
}

/// Renders a page that only reports a failure.
pub(crate) fn failure(heading: &str, words: &str) -> Markup {
    let content = html! {
        section.plan.failure {
            h2 { (heading) }
            p { (words) }
            p { a.button href=(PATH) { "Try again" } }
        }
    };
    frame(heading, &html! { h1 { "Marzban panels" } }, &content)
}

fn frame(heading: &str, head: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (heading) }
                link rel="stylesheet" href={ (PATH) "/style.css" };
                link rel="icon" type="image/svg+xml" href={ (PATH) "/icon.svg" };
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top { (head) }
                main #content tabindex="-1" { (content) }
            }
        }
    }
}

fn head(page: &Page) -> Markup {
    let task = page.asking.as_ref().filter(|asking| asking.task().is_some());
    let here = page.selection.address(task);
    let live = page.selection.with_live(!page.selection.is_live).address(None);
    html! {
        div {
            h1 { "Marzban panels" }
            p.muted {
                "As of " time datetime=(page.now.iso) { (page.now.utc) }
                @if page.selection.is_live { ". Refreshes itself every 30 seconds." }
            }
        }
        nav aria-label="Page" {
            a.button href=(here) { "Refresh" }
            a.button href=(live) {
                @if page.selection.is_live { "Stop refreshing" } @else { "Refresh every 30 s" }
            }
            a.button href="/" { "Queue board" }
        }
    }
}

fn notice(notice: Option<&Notice>) -> Markup {
    html! {
        div #notice role="status" aria-live="polite" {
            @if let Some(notice) = notice {
                p.notice.(tone(notice.state.tone)) {
                    @if let Some((job, panel)) = &notice.about {
                        span { strong { (title(*job)) } " on " (name(panel)) ": " }
                    }
                    (state(&notice.state))
                }
            }
        }
    }
}

fn glance(glance: Glance) -> Markup {
    let figures = [
        ("queued", glance.queued),
        ("running", glance.running),
        ("failed today", glance.failed_today),
    ];
    html! {
        section.glance aria-labelledby="queue" {
            h2 #queue { "Queue" }
            dl {
                @for (what, number) in figures {
                    div { dt { (what) } dd { (grouped(number)) } }
                }
            }
        }
    }
}

/// Renders a state: a sign, a colour, and words that suffice without them.
fn state(state: &State) -> Markup {
    let sign = match state.tone {
        Tone::Good => "✓",
        Tone::Busy => "•",
        Tone::Warning => "!",
        Tone::Bad => "✕",
    };
    html! {
        span.state.(tone(state.tone)) { span.sign aria-hidden="true" { (sign) } (state.words) }
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// Renders a moment as a distance, with the exact time beside it.
fn moment(moment: &Moment) -> Markup {
    html! {
        time datetime=(moment.iso) {
            span.when { (moment.words) }
            " "
            small.muted { (moment.utc) }
        }
    }
}

/// Renders a name that a customer chose: it cannot change the direction of the surrounding text or break the layout.
fn name(name: &str) -> Markup {
    html! { bdi.name { (name) } }
}

fn figures(figures: &[Figure]) -> Markup {
    html! {
        @if figures.is_empty() { span.muted { "none" } }
        @else {
            ul.figures {
                @for (what, number) in figures { li { b { (number) } " " (what) } }
            }
        }
    }
}

fn telegram_id(id: Option<i64>) -> Markup {
    html! {
        @match id { Some(id) => (id), None => span.muted { "none" } }
    }
}

/// Renders a table that can be scrolled, also by keyboard, when it is too wide.
fn scrolled(label: &str, rows: &Markup) -> Markup {
    html! { div.scrolled role="region" aria-label=(label) tabindex="0" { table aria-label=(label) { (rows) } } }
}

fn problem_table(label: &str, problems: &[Problem]) -> Markup {
    let table = html! {
        thead { tr { th scope="col" { "Telegram id" } th scope="col" { "Name" } th scope="col" { "Reason" } th scope="col" { "Detail" } } }
        tbody {
            @for problem in problems {
                tr {
                    td { (telegram_id(problem.telegram_id)) }
                    td { (name(&problem.name)) }
                    td { (reason(&problem.reason)) }
                    td.detail { bdi { (problem.detail.as_deref().unwrap_or_default()) } }
                }
            }
        }
    };
    scrolled(label, &table)
}

/// Renders the hidden fields of every form.
fn hidden(here: &Selection, job: &str, panel: &str) -> Markup {
    html! {
        input type="hidden" name="job" value=(job);
        input type="hidden" name="for" value=(panel);
        @if let Some(shown) = &here.panel { input type="hidden" name="panel" value=(shown); }
        input type="hidden" name="range" value=(here.range.as_str());
        @if here.is_live { input type="hidden" name="live" value="1"; }
    }
}
