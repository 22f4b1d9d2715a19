//! Lines and areas over time as geometry, with gaps where nothing is known.
//!
//! A crate for charts would bring fonts, colours and pictures of its own; what is needed here are paths that a
//! stylesheet colours, light and dark, and that a screen reader is given a title and a description for.

use std::fmt::Write as _;
use std::iter;

use chrono::{DateTime, TimeDelta, Utc};

/// The drawing's own units; the browser scales them.
pub(crate) const WIDTH: f64 = 440.0;
pub(crate) const HEIGHT: f64 = 220.0;
/// The plot within: left, right, top, bottom.
pub(crate) const LEFT: f64 = 46.0;
pub(crate) const RIGHT: f64 = WIDTH - 10.0;
pub(crate) const TOP: f64 = 22.0;
pub(crate) const BOTTOM: f64 = HEIGHT - 26.0;

/// Equal pieces of time, of which each is one point of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buckets {
    pub(crate) start: DateTime<Utc>,
    pub(crate) width: TimeDelta,
    pub(crate) count: usize,
}

impl Buckets {
    /// Where a moment falls.
    pub(crate) fn index(&self, time: DateTime<Utc>) -> Option<usize> {
        let seconds = (time - self.start).num_seconds();
        let index = usize::try_from(seconds.checked_div_euclid(self.width.num_seconds())?).ok()?;
        (index < self.count).then_some(index)
    }

    /// When a piece begins.
    pub(crate) fn begins(&self, index: usize) -> DateTime<Utc> {
        let number = i32::try_from(index).unwrap_or(i32::MAX);
        self.start + self.width * number
    }

    /// Where the middle of a piece is drawn.
    fn x(&self, index: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * (real(index) + 0.5) / real(self.count.max(1))
    }

    /// Where a moment is drawn.
    pub(crate) fn x_of(&self, time: DateTime<Utc>) -> f64 {
        let length = self.width.as_seconds_f64() * real(self.count.max(1));
        LEFT + (RIGHT - LEFT) * (time - self.start).as_seconds_f64() / length
    }
}

/// Up to what the values reach, and at what heights something is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) top: f64,
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// Four or five steps of 1, 2, 2.5 or 5 times a power of ten, up to `most` at least; whole ones where asked for.
    pub(crate) fn up_to(most: f64, is_whole: bool) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let rough = most / 4.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(rough);
        let step = if is_whole { step.ceil().max(1.0) } else { step };
        let ticks: Vec<f64> = iter::successors(Some(0.0), |tick| Some(tick + step))
            .take_while(|tick| *tick < most + step * 0.999)
            .collect();
        Self {
            top: ticks.last().copied().unwrap_or(most),
            ticks,
        }
    }

    /// Where a value is drawn.
    pub(crate) fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value / self.top).clamp(0.0, 1.0)
    }
}

/// The runs of known values, none of which has more than `reach` pieces of nothing between two of its points.
fn segments(values: &[Option<f64>], reach: usize) -> Vec<Vec<(usize, f64)>> {
    let mut segments: Vec<Vec<(usize, f64)>> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let goes_on = segments
            .last()
            .and_then(|segment| segment.last())
            .is_some_and(|(last, _)| index - last <= reach);
        match segments.last_mut() {
            Some(segment) if goes_on => segment.push((index, *value)),
            _ => segments.push(vec![(index, *value)]),
        }
    }
    segments
}

/// The path of a line; a point that stands alone becomes a short dash.
pub(crate) fn line(values: &[Option<f64>], buckets: &Buckets, axis: &Axis, reach: usize) -> String {
    let mut path = String::new();
    for segment in segments(values, reach) {
        let points = segment
            .iter()
            .map(|(index, value)| (buckets.x(*index), axis.y(*value)));
        if let [(index, value)] = segment.as_slice() {
            draw(&mut path, 'M', buckets.x(*index) - 1.5, axis.y(*value));
            draw(&mut path, 'L', buckets.x(*index) + 1.5, axis.y(*value));
            continue;
        }
        for (number, (x, y)) in points.enumerate() {
            draw(&mut path, if number == 0 { 'M' } else { 'L' }, x, y);
        }
    }
    path
}

/// The path of an area between two lines that are known at the same places.
pub(crate) fn area(
    lower: &[Option<f64>],
    upper: &[Option<f64>],
    buckets: &Buckets,
    axis: &Axis,
    reach: usize,
) -> String {
    let mut path = String::new();
    for (over, under) in segments(upper, reach).into_iter().zip(segments(lower, reach)) {
        let wide = if over.len() == 1 { 1.5 } else { 0.0 };
        let corners = over
            .first()
            .map(|(index, value)| (buckets.x(*index) - wide, *value))
            .into_iter()
            .chain(
                over.iter()
                    .skip(1)
                    .map(|(index, value)| (buckets.x(*index), *value)),
            )
            .chain(
                over.first()
                    .filter(|_| wide > 0.0)
                    .map(|(i, v)| (buckets.x(*i) + wide, *v)),
            )
            .chain(
                under
                    .first()
                    .filter(|_| wide > 0.0)
                    .map(|(i, v)| (buckets.x(*i) + wide, *v)),
            )
            .chain(
                under
                    .iter()
                    .skip(1)
                    .rev()
                    .map(|(index, value)| (buckets.x(*index), *value)),
            )
            .chain(
                under
                    .first()
                    .map(|(index, value)| (buckets.x(*index) - wide, *value)),
            );
        for (number, (x, value)) in corners.enumerate() {
            draw(&mut path, if number == 0 { 'M' } else { 'L' }, x, axis.y(value));
        }
        path.push('Z');
    }
    path
}

fn draw(path: &mut String, command: char, x: f64, y: f64) {
    // Writing into a string cannot fail.
    let _ = write!(path, "{command}{x:.1} {y:.1}");
}

#[expect(clippy::cast_precision_loss, reason = "what is drawn is counted in thousands")]
fn real(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour() -> Buckets {
        Buckets {
            start: "2025-09-15T00:00:00Z".parse().unwrap(),
            width: TimeDelta::minutes(15),
            count: 4,
        }
    }

    #[test]
    fn a_moment_falls_into_its_piece_of_time() {
        for (time, expected) in [
            ("2025-09-14T23:59:59Z", None),
            ("2025-09-15T00:00:00Z", Some(0)),
            ("2025-09-15T00:14:59Z", Some(0)),
            ("2025-09-15T00:15:00Z", Some(1)),
            ("2025-09-15T00:59:59Z", Some(3)),
            ("2025-09-15T01:00:00Z", None),
        ] {
            assert_eq!(hour().index(time.parse().unwrap()), expected, "{time}");
        }
    }

    #[test]
    fn an_axis_has_few_round_steps() {
        for (most, is_whole, ticks) in [
            (0.0, true, &[0.0, 1.0][..]),
            (3.0, true, &[0.0, 1.0, 2.0, 3.0]),
            (812.0, true, &[0.0, 250.0, 500.0, 750.0, 1_000.0]),
            (0.7, false, &[0.0, 0.2, 0.4, 0.6, 0.8]),
            (f64::NAN, true, &[0.0, 1.0]),
        ] {
            let axis = Axis::up_to(most, is_whole);
            assert_eq!(axis.ticks.len(), ticks.len(), "{most}: {:?}", axis.ticks);
            for (tick, expected) in axis.ticks.iter().zip(ticks) {
                assert!((tick - expected).abs() < 1e-9, "{most}: {:?}", axis.ticks);
            }
        }
    }

    #[test]
    fn a_gap_is_a_gap_and_a_point_alone_is_seen() {
        let values = [Some(1.0), None, Some(1.0), None, None, None, Some(2.0)];
        assert_eq!(segments(&values, 2), [vec![(0, 1.0), (2, 1.0)], vec![(6, 2.0)]]);
        let axis = Axis::up_to(4.0, true);
        let path = line(&[Some(0.0), Some(4.0), None, Some(4.0)], &hour(), &axis, 1);
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(path.starts_with("M94.0 194.0L190.0 22.0M"), "{path}");
        assert!(path.ends_with("M380.5 22.0L383.5 22.0"), "{path}");
    }

    #[test]
    fn an_area_is_closed_below_by_the_line_under_it() {
        let axis = Axis::up_to(4.0, true);
        let lower = [Some(0.0), Some(2.0), None, None];
        let upper = [Some(2.0), Some(4.0), None, None];
        assert_eq!(
            area(&lower, &upper, &hour(), &axis, 1),
            "M94.0 108.0L190.0 22.0L190.0 108.0L94.0 194.0Z"
        );
    }
}
