//! The figures over time.

use maud::{Markup, PreEscaped, html};

use super::name;
use crate::page::charts::Chart;
use crate::page::selection::{PATH, Range};
use crate::page::view::Page;

pub(super) fn section(page: &Page) -> Markup {
    html! {
        section aria-labelledby="statistics" {
            h2 #statistics {
                "System statistics"
                @if let Some(panel) = &page.charted { " of " (name(panel)) }
            }
            div.choices {
                @if page.panels.len() > 1 { (choice(page)) }
                nav aria-label="Time of the charts" {
                    @for range in Range::ALL {
                        a.button href={ (page.selection.with_range(range).address(None)) "#statistics" }
                            aria-current=[(range == page.selection.range).then_some("true")] { (range.words()) }
                    }
                }
            }
            @if page.charts.is_empty() {
                p.muted { "Nothing was collected in the last " (page.selection.range.words()) "." }
            }
            div.charts { @for (number, chart) in page.charts.iter().enumerate() { (figure(number, chart)) } }
        }
    }
}

fn choice(page: &Page) -> Markup {
    html! {
        form.choice method="get" action={ (PATH) "#statistics" } {
            label for="charted" { "Panel" }
            select #charted name="panel" {
                @for panel in &page.panels {
                    option value=(panel.name) selected[page.charted.as_ref() == Some(&panel.name)] { (panel.name) }
                }
            }
            input type="hidden" name="range" value=(page.selection.range.as_str());
            @if page.selection.is_live { input type="hidden" name="live" value="1"; }
            button type="submit" { "Show" }
        }
    }
}

fn figure(number: usize, chart: &Chart) -> Markup {
    let description = format!("chart-{number}");
    html! {
        figure.chart {
            figcaption { h3 { (chart.title) } }
            // The drawing holds numbers, times and the names of this program alone.
            div.drawing role="img" aria-label=(chart.title) aria-describedby=(description) { (PreEscaped(&chart.svg)) }
            p id=(description) hidden { (chart.description) }
            ul.legend {
                @for entry in &chart.legend {
                    li {
                        svg.swatch width="16" height="4" aria-hidden="true" {
                            rect width="16" height="4" fill=(entry.colour) {}
                        }
                        (entry.name) " " b { (entry.latest) }
                    }
                }
            }
        }
    }
}
