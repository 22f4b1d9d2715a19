//! The figures of a panel over time, drawn by plotters into SVG that the page's stylesheet completes.

use std::collections::BTreeMap;
use std::error::Error;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::run::SystemStatsRecord;
use plotters::prelude::*;

use super::selection::Range;
use super::words::grouped;

const SIZE: (u32, u32) = (440, 200);

/// A chart and its words.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) svg: String,
    /// What it shows, for readers that do not see it.
    pub(crate) description: String,
    pub(crate) legend: Vec<Entry>,
}

/// What a line is called, how it is coloured, and where it ends.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) colour: String,
    pub(crate) latest: String,
}

/// What the values of a chart count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Users,
    Percent,
    BytesPerSecond,
}

/// A line before it is drawn. Its colour can be told from both a light and a dark ground.
struct Line {
    name: &'static str,
    colour: RGBColor,
    of: fn(&SystemStats) -> Option<f64>,
}

const fn line(name: &'static str, colour: RGBColor, of: fn(&SystemStats) -> Option<f64>) -> Line {
    Line { name, colour, of }
}

const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(200, 73, 12);
const GREY: RGBColor = RGBColor(107, 114, 128);

const CHARTS: [(&str, Unit, &[Line]); 3] = [
    (
        "Users by status",
        Unit::Users,
        &[
            line("active", BLUE, |stats| Some(real(stats.users_active))),
            line("on hold", RGBColor(138, 99, 210), |stats| {
                stats.users_on_hold.map(real)
            }),
            line("limited", RGBColor(176, 125, 0), |stats| {
                stats.users_limited.map(real)
            }),
            line("expired", ORANGE, |stats| stats.users_expired.map(real)),
            line("disabled", GREY, |stats| stats.users_disabled.map(real)),
        ],
    ),
    (
        "Memory and CPU",
        Unit::Percent,
        &[
            line("memory", BLUE, |stats| {
                (stats.mem_total > 0).then(|| 100.0 * real(stats.mem_used) / real(stats.mem_total))
            }),
            line("CPU", ORANGE, |stats| Some(stats.cpu_usage)),
        ],
    ),
    (
        "Bandwidth",
        Unit::BytesPerSecond,
        &[
            line("received", BLUE, |stats| {
                Some(real(stats.incoming_bandwidth_speed))
            }),
            line("sent", ORANGE, |stats| Some(real(stats.outgoing_bandwidth_speed))),
        ],
    ),
];

type Point = (DateTime<Utc>, f64);

/// All charts of a panel, whose figures are collected at this interval; none where nothing was collected.
pub(crate) fn charts(
    records: &[SystemStatsRecord],
    panel: &str,
    range: Range,
    interval: TimeDelta,
    now: DateTime<Utc>,
) -> Vec<Chart> {
    let since = now - range.length();
    let records: Vec<_> = records
        .iter()
        .filter(|record| record.collected_at >= since)
        .collect();
    if records.is_empty() {
        return Vec::new();
    }
    let width = range.resolution();
    // One run may be missed before a line is broken.
    let reach = interval.max(width) * 2;
    let chart = |(title, unit, lines): &(&'static str, Unit, &[Line])| {
        let points: Vec<Vec<Point>> = lines.iter().map(|line| means(&records, width, line.of)).collect();
        let mut description = format!("{title} of {panel} over the last {}, in UTC.", range.words());
        for (line, points) in lines.iter().zip(&points) {
            description.push_str(&unit.sentence(line.name, points));
        }
        let entry = |(line, points): (&Line, &Vec<Point>)| Entry {
            name: line.name,
            colour: format!("#{:02x}{:02x}{:02x}", line.colour.0, line.colour.1, line.colour.2),
            latest: points
                .last()
                .map_or_else(|| "not known".to_owned(), |last| unit.text(last.1)),
        };
        Chart {
            title,
            // Drawing into a string does not fail.
            svg: draw(*unit, lines, &points, (since, now), reach).unwrap_or_default(),
            description,
            legend: lines.iter().zip(&points).map(entry).collect(),
        }
    };
    CHARTS.iter().map(chart).collect()
}

/// The mean of what was collected in each piece of time.
fn means(
    records: &[&SystemStatsRecord],
    width: TimeDelta,
    of: fn(&SystemStats) -> Option<f64>,
) -> Vec<Point> {
    let width = width.num_seconds();
    let mut pieces: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for record in records {
        if let Some(value) = of(&record.stats).filter(|value| value.is_finite()) {
            let piece = pieces
                .entry(record.collected_at.timestamp().div_euclid(width))
                .or_default();
            *piece = (piece.0 + value.max(0.0), piece.1 + 1.0);
        }
    }
    let mean = |(piece, (sum, count)): (i64, (f64, f64))| {
        let middle = DateTime::from_timestamp(piece * width + width / 2, 0)?;
        Some((middle, sum / count))
    };
    pieces.into_iter().filter_map(mean).collect()
}

/// Draws the lines, each broken where nothing is known for longer than `reach`.
fn draw(
    unit: Unit,
    lines: &[Line],
    points: &[Vec<Point>],
    (since, now): (DateTime<Utc>, DateTime<Utc>),
    reach: TimeDelta,
) -> Result<String, Box<dyn Error>> {
    let most = points.iter().flatten().map(|point| point.1).fold(1.0, f64::max);
    // Ticks at round numbers of the unit that is written.
    let (scale, ..) = unit.scale(most);
    let top = if unit == Unit::Percent { 100.0 } else { most * 1.05 };
    let format = if now - since > TimeDelta::days(1) {
        "%-d %b"
    } else {
        "%H:%M"
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(20)
            .y_label_area_size(64)
            .build_cartesian_2d(since..now, 0.0..top / scale)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GREY.mix(0.3))
            .axis_style(GREY)
            .label_style(("sans-serif", 12))
            .x_labels(6)
            .x_label_formatter(&|time| time.format(format).to_string())
            .y_labels(5)
            .y_label_formatter(&|value| unit.text(value * scale))
            .draw()?;
        for (line, points) in lines.iter().zip(points) {
            for segment in points.chunk_by(|before, after| after.0 - before.0 <= reach) {
                let style = line.colour.stroke_width(2).filled();
                let is_alone = u32::from(segment.len() == 1);
                let scaled = segment.iter().map(|(time, value)| (*time, value / scale));
                chart.draw_series(LineSeries::new(scaled, style).point_size(is_alone))?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

impl Unit {
    /// Returns what a value is divided by where it is written, its decimals, and the unit.
    fn scale(self, value: f64) -> (f64, usize, &'static str) {
        const KIB: f64 = 1_024.0;
        match self {
            Self::Users => (1.0, 0, ""),
            Self::Percent => (1.0, 0, " %"),
            Self::BytesPerSecond if value < KIB => (1.0, 0, " B/s"),
            Self::BytesPerSecond if value < KIB * KIB => (KIB, 1, " KiB/s"),
            Self::BytesPerSecond => (KIB * KIB, 1, " MiB/s"),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "users are counted in thousands")]
    fn text(self, value: f64) -> String {
        let (scale, decimals, unit) = self.scale(value);
        match self {
            Self::Users => grouped(value.round() as i64),
            _ => format!("{:.decimals$}{unit}", value / scale),
        }
    }

    fn sentence(self, name: &str, points: &[Point]) -> String {
        let values = points.iter().map(|point| point.1);
        let Some(last) = values.clone().next_back() else {
            return format!(" {name}: not known.");
        };
        let (lowest, most) = (
            values.clone().fold(f64::INFINITY, f64::min),
            values.fold(0.0, f64::max),
        );
        let [last, lowest, most] = [last, lowest, most].map(|value| self.text(value));
        format!(" {name}: {last} at the end, between {lowest} and {most}.")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is drawn needs no more than three digits"
)]
fn real(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2025-09-15T12:07:00Z".parse().unwrap()
    }

    fn record(minutes_ago: i64, users_active: i64) -> SystemStatsRecord {
        SystemStatsRecord {
            panel: "de".to_owned(),
            collected_at: now() - TimeDelta::minutes(minutes_ago),
            stats: SystemStats {
                users_active,
                users_on_hold: Some(5),
                mem_total: 200,
                mem_used: 50,
                cpu_usage: 12.6,
                incoming_bandwidth_speed: 3 * 1_048_576 / 2,
                ..SystemStats::default()
            },
        }
    }

    fn drawn(records: &[SystemStatsRecord], range: Range) -> Vec<Chart> {
        charts(records, "de", range, TimeDelta::minutes(15), now())
    }

    #[test]
    fn nothing_collected_is_nothing_drawn() {
        assert!(drawn(&[], Range::Day).is_empty());
        assert!(drawn(&[record(25 * 60, 1)], Range::Day).is_empty());
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        let charts = drawn(&[record(60, 100), record(30, 1_200), record(0, 110)], Range::Day);
        let [users, load, bandwidth] = charts.as_slice() else {
            panic!("{charts:?}")
        };
        for words in [
            "active: 110 at the end, between 100 and 1,200.",
            "limited: not known.",
        ] {
            assert!(users.description.contains(words), "{}", users.description);
        }
        let latest = |chart: &Chart| {
            chart
                .legend
                .iter()
                .map(|entry| entry.latest.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(latest(users), ["110", "5", "not known", "not known", "not known"]);
        assert_eq!(latest(load), ["25 %", "13 %"]);
        assert_eq!(latest(bandwidth), ["1.5 MiB/s", "0 B/s"]);
        assert!(users.svg.contains("12:00") && users.svg.contains(&users.legend[0].colour.to_uppercase()));
    }

    #[test]
    fn many_records_become_the_mean_of_their_piece_of_time() {
        let users = drawn(&[record(3, 10), record(2, 20), record(1, 30)], Range::Month).remove(0);
        assert!(
            users
                .description
                .contains("active: 20 at the end, between 20 and 20.")
        );
    }

    #[test]
    fn a_gap_is_a_gap_and_a_point_alone_is_seen() {
        let lines = |ago: &[i64]| {
            let records: Vec<_> = ago.iter().map(|minutes| record(*minutes, 10)).collect();
            let svg = drawn(&records, Range::Day).remove(1).svg;
            (svg.matches("<polyline").count(), svg.matches("<circle").count())
        };
        let whole = lines(&[60, 45, 15, 0]).0;
        let broken = lines(&[300, 285, 270, 15, 0]).0;
        assert_eq!(broken - whole, 2, "two lines, each in two pieces");
        assert_eq!((lines(&[60, 45, 15, 0]).1, lines(&[120, 15, 0]).1), (0, 2));
    }

    #[test]
    fn bytes_per_second_have_the_unit_that_fits() {
        for (value, text) in [(0.0, "0 B/s"), (1_536.0, "1.5 KiB/s"), (3e9, "2861.0 MiB/s")] {
            assert_eq!(Unit::BytesPerSecond.text(value), text);
        }
    }
}
