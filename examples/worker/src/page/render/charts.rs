//! The figures over time.

use chrono::SecondsFormat;
use maud::{Markup, html};

use super::{name, scrolled};
use crate::page::chart::{BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH};
use crate::page::selection::{PATH, Range};
use crate::page::stats::Chart;
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
            div.charts { @for chart in &page.charts { (figure(chart)) } }
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

fn figure(chart: &Chart) -> Markup {
    html! {
        figure.chart {
            figcaption { h3 { (chart.title) } span.muted { (chart.unit) } }
            (drawing(chart))
            ul.legend {
                @for series in &chart.series {
                    li { span.swatch.(series.class) aria-hidden="true" {} (series.name) " " b { (series.latest) } }
                }
            }
            details {
                summary { "The figures as a table" }
                (scrolled(&format!("{} as a table", chart.title), &table(chart)))
            }
        }
    }
}

fn drawing(chart: &Chart) -> Markup {
    let point = |value: f64| format!("{value:.1}");
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img"
            aria-labelledby={ (chart.key) "-title" } aria-describedby={ (chart.key) "-desc" } {
            title id={ (chart.key) "-title" } { (chart.title) }
            desc id={ (chart.key) "-desc" } { (chart.description) }
            @for (y, text) in &chart.y_ticks {
                line.grid x1=(LEFT) x2=(RIGHT) y1=(point(*y)) y2=(point(*y)) {}
                text.y x=(LEFT - 6.0) y=(point(*y + 4.0)) { (text) }
            }
            @for (x, text) in &chart.x_ticks {
                line.tick x1=(point(*x)) x2=(point(*x)) y1=(BOTTOM) y2=(BOTTOM + 4.0) {}
                text.x x=(point(*x)) y=(BOTTOM + 18.0) { (text) }
            }
            @for series in chart.series.iter().rev() {
                @if let Some(area) = &series.area { path.area.(series.class) d=(area) {} }
            }
            @for series in &chart.series { path.line.(series.class) d=(series.line) {} }
            line.axis x1=(LEFT) x2=(LEFT) y1=(TOP) y2=(BOTTOM) {}
        }
    }
}

fn table(chart: &Chart) -> Markup {
    html! {
        thead { tr { th scope="col" { "From (UTC)" } @for series in &chart.series { th scope="col" { (series.name) } } } }
        tbody {
            @for (time, values) in &chart.rows {
                tr {
                    th scope="row" {
                        time datetime=(time.to_rfc3339_opts(SecondsFormat::Secs, true)) { (time.format("%-d %b %H:%M")) }
                    }
                    @for value in values { td.number { (value) } }
                }
            }
        }
    }
}
