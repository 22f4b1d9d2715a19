//! Time and memory over the number of accounts.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::Arguments;
use crate::measure::Measured;

/// Draws one above the other, both axes of time logarithmic.
pub(crate) fn draw(path: &Path, arguments: &Arguments, all: &[Measured]) -> Result<()> {
    let root = SVGBackend::new(path, (800, 800)).into_drawing_area();
    let title = format!(
        "Panel of {} ms + {} us a user, pause {} ms",
        arguments.request_ms, arguments.user_us, arguments.pause_ms
    );
    let (above, below) = root.split_vertically(440);
    draw_time(&above, &title, all).map_err(|error| anyhow!("{error}"))?;
    draw_memory(&below, all).map_err(|error| anyhow!("{error}"))?;
    root.present().map_err(|error| anyhow!("{error}"))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// From the smallest number of accounts to the largest.
fn span(all: &[Measured]) -> std::ops::Range<u32> {
    let accounts = || all.iter().map(|measured| measured.accounts);
    accounts().min().unwrap_or(1)..accounts().max().unwrap_or(1) + 1
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn draw_time(area: &Area<'_>, title: &str, all: &[Measured]) -> Drawn {
    area.fill(&WHITE)?;
    let longest = largest(all.iter().map(|measured| measured.seconds)) * 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .margin_right(40)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(span(all).log_scale(), (0.01..longest).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("accounts")
        .y_desc("seconds")
        .draw()?;
    let whole = all.iter().map(|measured| (measured.accounts, measured.seconds));
    chart
        .draw_series(LineSeries::new(whole, BLUE.stroke_width(2)).point_size(4))?
        .label("the run")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE));
    let panel = all
        .iter()
        .map(|measured| (measured.accounts, measured.panel_seconds.max(0.01)));
    chart
        .draw_series(LineSeries::new(panel, RED.stroke_width(1)).point_size(2))?
        .label("the panel's own time in it")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

fn draw_memory(area: &Area<'_>, all: &[Measured]) -> Drawn {
    area.fill(&WHITE)?;
    let most = largest(all.iter().map(|measured| measured.peak_mib)).max(64.0) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(40)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(span(all).log_scale(), 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("accounts")
        .y_desc("peak memory, MiB")
        .draw()?;
    let memory = all.iter().map(|measured| (measured.accounts, measured.peak_mib));
    chart.draw_series(LineSeries::new(memory, BLUE.stroke_width(2)).point_size(4))?;
    Ok(())
}
