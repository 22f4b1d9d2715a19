//! The figures of a panel as charts.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::run::SystemStatsRecord;

use super::chart::{self, Axis, Buckets, LEFT, RIGHT};
use super::selection::Range;
use super::words::grouped;

/// What the figures of a chart count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Users,
    Percent,
    BytesPerSecond,
}

/// A line of a chart, and its words.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// How the stylesheet knows it.
    pub(crate) class: &'static str,
    pub(crate) line: String,
    /// What lies under it, in a chart whose values are stacked.
    pub(crate) area: Option<String>,
    /// The latest figure.
    pub(crate) latest: String,
}

/// A chart and all its words.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// For ids.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// What it shows, for those who do not see it.
    pub(crate) description: String,
    pub(crate) unit: String,
    pub(crate) series: Vec<Series>,
    /// Heights and what is written there.
    pub(crate) y_ticks: Vec<(f64, String)>,
    /// Places and what is written there.
    pub(crate) x_ticks: Vec<(f64, String)>,
    /// The figures, the latest first: when, and one for each series.
    pub(crate) rows: Vec<(DateTime<Utc>, Vec<String>)>,
}

/// A line before it is drawn.
struct Values {
    name: &'static str,
    class: &'static str,
    of: fn(&SystemStats) -> Option<f64>,
}

/// All charts of a panel; none where nothing was collected.
pub(crate) fn charts(
    records: &[SystemStatsRecord],
    panel: &str,
    range: Range,
    interval: TimeDelta,
    now: DateTime<Utc>,
) -> Vec<Chart> {
    let buckets = buckets(range, now);
    if !records
        .iter()
        .any(|record| buckets.index(record.collected_at).is_some())
    {
        return Vec::new();
    }
    // Two runs may be missed by a little before a line is broken.
    let reach = 2 * (interval.num_seconds() / buckets.width.num_seconds().max(1)).max(1);
    let reach = usize::try_from(reach).unwrap_or(usize::MAX);
    let draw = |key, title, unit, values: &[Values]| {
        let about = format!("{title} of {panel} over the last {}, in UTC.", range.words());
        Drawing {
            records,
            buckets,
            reach,
            unit,
        }
        .chart(key, title, &about, values)
    };
    vec![
        draw("users", "Users by status", Unit::Users, &USERS),
        draw("load", "Memory and CPU", Unit::Percent, &LOAD),
        draw("bandwidth", "Bandwidth", Unit::BytesPerSecond, &BANDWIDTH),
    ]
}

const USERS: [Values; 5] = [
    Values {
        name: "active",
        class: "active",
        of: |stats| Some(real(stats.users_active)),
    },
    Values {
        name: "on hold",
        class: "on-hold",
        of: |stats| stats.users_on_hold.map(real),
    },
    Values {
        name: "limited",
        class: "limited",
        of: |stats| stats.users_limited.map(real),
    },
    Values {
        name: "expired",
        class: "expired",
        of: |stats| stats.users_expired.map(real),
    },
    Values {
        name: "disabled",
        class: "disabled",
        of: |stats| stats.users_disabled.map(real),
    },
];

const LOAD: [Values; 2] = [
    Values {
        name: "memory",
        class: "memory",
        of: |stats| (stats.mem_total > 0).then(|| 100.0 * real(stats.mem_used) / real(stats.mem_total)),
    },
    Values {
        name: "CPU",
        class: "cpu",
        of: |stats| Some(stats.cpu_usage),
    },
];

const BANDWIDTH: [Values; 2] = [
    Values {
        name: "received",
        class: "received",
        of: |stats| Some(real(stats.incoming_bandwidth_speed)),
    },
    Values {
        name: "sent",
        class: "sent",
        of: |stats| Some(real(stats.outgoing_bandwidth_speed)),
    },
];

/// As many pieces as there is room for, of a length that divides a day, the last of which holds `now`.
fn buckets(range: Range, now: DateTime<Utc>) -> Buckets {
    let width = match range {
        Range::Day => TimeDelta::minutes(15),
        Range::Week => TimeDelta::hours(1),
        Range::Month => TimeDelta::hours(4),
    };
    let seconds = width.num_seconds();
    let end = (now.timestamp().div_euclid(seconds) + 1) * seconds;
    let count = range.length().num_seconds() / seconds;
    Buckets {
        start: DateTime::from_timestamp(end - count * seconds, 0).unwrap_or_default(),
        width,
        count: usize::try_from(count).unwrap_or_default(),
    }
}

struct Drawing<'a> {
    records: &'a [SystemStatsRecord],
    buckets: Buckets,
    reach: usize,
    unit: Unit,
}

impl Drawing<'_> {
    fn chart(&self, key: &'static str, title: &'static str, about: &str, values: &[Values]) -> Chart {
        let means: Vec<Vec<Option<f64>>> = values.iter().map(|values| self.means(values.of)).collect();
        let is_stacked = self.unit == Unit::Users;
        let tops = if is_stacked {
            stacked(&means)
        } else {
            means.clone()
        };
        let most = tops.iter().flatten().flatten().copied().fold(0.0, f64::max);
        let scale = Scale::of(self.unit, most);
        let axis = match self.unit {
            Unit::Percent => Axis {
                top: 100.0,
                ticks: vec![0.0, 25.0, 50.0, 75.0, 100.0],
            },
            Unit::Users => Axis::up_to(most, true),
            Unit::BytesPerSecond => scale.axis(most),
        };
        let ground: Vec<Option<f64>> = tops
            .first()
            .map(|top| top.iter().map(|value| value.map(|_| 0.0)).collect())
            .unwrap_or_default();
        let below = std::iter::once(&ground).chain(&tops);
        let mut description = about.to_owned();
        let mut series = Vec::new();
        for (((values, means), top), below) in values.iter().zip(&means).zip(&tops).zip(below) {
            description.push_str(&scale.sentence(values.name, means));
            series.push(Series {
                name: values.name,
                class: values.class,
                line: chart::line(top, &self.buckets, &axis, self.reach),
                area: is_stacked.then(|| chart::area(below, top, &self.buckets, &axis, self.reach)),
                latest: scale.text(means.iter().rev().find_map(|value| *value)),
            });
        }
        Chart {
            key,
            title,
            description,
            unit: scale.unit.to_owned(),
            series,
            y_ticks: axis
                .ticks
                .iter()
                .map(|tick| (axis.y(*tick), scale.tick(*tick)))
                .collect(),
            x_ticks: x_ticks(&self.buckets),
            rows: self.rows(&means, &scale),
        }
    }

    /// The mean of what fell into each piece of time.
    fn means(&self, of: fn(&SystemStats) -> Option<f64>) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0.0); self.buckets.count];
        for record in self.records {
            let index = self.buckets.index(record.collected_at);
            let value = of(&record.stats).filter(|value| value.is_finite());
            if let (Some(sum), Some(value)) = (index.and_then(|index| sums.get_mut(index)), value) {
                *sum = (sum.0 + value.max(0.0), sum.1 + 1.0);
            }
        }
        sums.into_iter()
            .map(|(sum, count)| (count > 0.0).then(|| sum / count))
            .collect()
    }

    fn rows(&self, means: &[Vec<Option<f64>>], scale: &Scale) -> Vec<(DateTime<Utc>, Vec<String>)> {
        let row = |index: usize| {
            let values: Vec<Option<f64>> = means
                .iter()
                .map(|means| means.get(index).copied().flatten())
                .collect();
            let is_known = values.iter().any(Option::is_some);
            is_known.then(|| {
                let texts = values.into_iter().map(|value| scale.text(value)).collect();
                (self.buckets.begins(index), texts)
            })
        };
        (0..self.buckets.count).rev().filter_map(row).collect()
    }
}

/// Each line on top of those before it; what one panel does not tell counts as none where it tells of others.
fn stacked(means: &[Vec<Option<f64>>]) -> Vec<Vec<Option<f64>>> {
    let count = means.first().map_or(0, Vec::len);
    let mut sums: Vec<Option<f64>> = vec![None; count];
    for means in means {
        for (sum, value) in sums.iter_mut().zip(means) {
            if value.is_some() {
                *sum = sum.or(Some(0.0));
            }
        }
    }
    means
        .iter()
        .map(|means| {
            for (sum, value) in sums.iter_mut().zip(means) {
                *sum = sum.map(|sum| sum + value.unwrap_or_default());
            }
            sums.clone()
        })
        .collect()
}

/// How figures of a unit are written.
struct Scale {
    unit: &'static str,
    factor: f64,
    decimals: usize,
}

impl Scale {
    fn of(unit: Unit, most: f64) -> Self {
        let (unit, factor, decimals) = match unit {
            Unit::Users => ("users", 1.0, 0),
            Unit::Percent => ("percent", 1.0, 0),
            Unit::BytesPerSecond if most < 1_024.0 => ("B/s", 1.0, 0),
            Unit::BytesPerSecond if most < 1_048_576.0 => ("KiB/s", 1_024.0, 1),
            Unit::BytesPerSecond if most < 1_073_741_824.0 => ("MiB/s", 1_048_576.0, 1),
            Unit::BytesPerSecond => ("GiB/s", 1_073_741_824.0, 1),
        };
        Self {
            unit,
            factor,
            decimals,
        }
    }

    fn axis(&self, most: f64) -> Axis {
        let Axis { top, ticks } = Axis::up_to(most / self.factor, self.decimals == 0);
        Axis {
            top: top * self.factor,
            ticks: ticks.into_iter().map(|tick| tick * self.factor).collect(),
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "figures of users and percent are far from the ends of the type"
    )]
    fn number(&self, value: f64) -> String {
        let value = value / self.factor;
        if self.decimals == 0 {
            grouped(value.round() as i64)
        } else {
            format!("{value:.*}", self.decimals)
        }
    }

    /// What is written at the axis.
    fn tick(&self, value: f64) -> String {
        let text = self.number(value);
        text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
    }

    fn text(&self, value: Option<f64>) -> String {
        match value {
            Some(value) if self.unit == "percent" => format!("{} %", self.number(value)),
            Some(value) if self.unit == "users" => self.number(value),
            Some(value) => format!("{} {}", self.number(value), self.unit),
            None => "not known".to_owned(),
        }
    }

    fn sentence(&self, name: &str, means: &[Option<f64>]) -> String {
        let known: Vec<f64> = means.iter().copied().flatten().collect();
        let Some(last) = known.last() else {
            return format!(" {name}: not known.");
        };
        let lowest = known.iter().copied().fold(f64::INFINITY, f64::min);
        let most = known.iter().copied().fold(0.0, f64::max);
        let [last, lowest, most] = [*last, lowest, most].map(|value| self.text(Some(value)));
        format!(" {name}: {last} at the end, between {lowest} and {most}.")
    }
}

/// Hours of a day, days of a week, every fifth day of a month.
fn x_ticks(buckets: &Buckets) -> Vec<(f64, String)> {
    let hours = buckets.width.num_minutes() * i64::try_from(buckets.count).unwrap_or(i64::MAX) / 60;
    let (step, format) = match hours {
        ..=24 => (6, "%H:%M"),
        25..=168 => (24, "%-d %b"),
        _ => (120, "%-d %b"),
    };
    let step = step * 3_600;
    let first = (buckets.start.timestamp() + step - 1).div_euclid(step) * step;
    (0..)
        .map_while(|number| DateTime::from_timestamp(first + number * step, 0))
        .map(|time| (buckets.x_of(time), time))
        .take_while(|(x, _)| *x <= RIGHT + 0.1)
        .filter(|(x, _)| *x >= LEFT + 8.0 && *x <= RIGHT - 8.0)
        .map(|(x, time)| (x, label(time, format)))
        .collect()
}

fn label(time: DateTime<Utc>, format: &str) -> String {
    time.format(format).to_string()
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
                cpu_usage: 12.5,
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
    fn every_range_fits_the_width() {
        for (range, count) in [(Range::Day, 96), (Range::Week, 168), (Range::Month, 180)] {
            let buckets = buckets(range, now());
            assert_eq!(buckets.count, count);
            assert_eq!(buckets.index(now()), Some(count - 1), "{range:?}");
            let ticks = x_ticks(&buckets);
            assert!((3..=7).contains(&ticks.len()), "{range:?}: {ticks:?}");
        }
    }

    #[test]
    fn a_chart_says_what_it_shows() {
        let records = [record(60, 100), record(30, 120), record(0, 110)];
        let charts = drawn(&records, Range::Day);
        let [users, load, bandwidth] = charts.as_slice() else {
            panic!("{charts:?}")
        };
        assert_eq!(users.unit, "users");
        assert!(
            users
                .description
                .contains("active: 110 at the end, between 100 and 120."),
            "{}",
            users.description
        );
        assert!(users.description.contains("limited: not known."));
        assert_eq!(load.series[0].latest, "25 %");
        assert_eq!(load.series[1].latest, "13 %");
        assert_eq!(
            (bandwidth.unit.as_str(), bandwidth.series[0].latest.as_str()),
            ("MiB/s", "1.5 MiB/s")
        );
        assert_eq!(users.rows.len(), 3);
        assert_eq!(users.rows[0].1[..2], ["110", "5"]);
        assert!(users.rows[0].0 > users.rows[1].0, "the latest first");
    }

    #[test]
    fn many_records_become_the_mean_of_their_piece_of_time() {
        let records = [record(3, 10), record(2, 20), record(1, 30)];
        let users = drawn(&records, Range::Month).remove(0);
        assert_eq!(users.rows.len(), 1);
        assert_eq!(users.rows[0].1[0], "20");
    }

    #[test]
    fn what_is_missing_for_long_is_a_gap() {
        let records = [
            record(300, 10),
            record(285, 10),
            record(255, 10),
            record(15, 10),
            record(0, 10),
        ];
        let users = drawn(&records, Range::Day).remove(0);
        assert_eq!(
            users.series[0].line.matches('M').count(),
            2,
            "{}",
            users.series[0].line
        );
        assert_eq!(users.series[0].area.as_ref().unwrap().matches('Z').count(), 2);
    }

    #[test]
    fn areas_lie_on_top_of_each_other() {
        let means = [vec![Some(1.0), None], vec![None, None], vec![Some(2.0), None]];
        let sums = stacked(&means);
        assert_eq!(
            sums,
            [
                vec![Some(1.0), None],
                vec![Some(1.0), None],
                vec![Some(3.0), None]
            ]
        );
    }
}
