//! Times as the texts that SQLite holds.

use chrono::{DateTime, FixedOffset, NaiveDateTime, NaiveTime, TimeDelta, Utc};

/// Reads a time of day and date; without an offset it is UTC.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let (time, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (time.get(..at)?, parse_offset(time.get(at..)?)?),
        None => (time, TimeDelta::zero()),
    };
    let date = date.parse().ok()?;
    let time = NaiveTime::parse_from_str(time.trim_end(), "%H:%M:%S%.f").ok()?;
    NaiveDateTime::new(date, time)
        .checked_sub_signed(offset)
        .map(|time| time.and_utc())
}

/// Reads `Z`, `+03:30`, `+0330` or `+03`.
fn parse_offset(text: &str) -> Option<TimeDelta> {
    if text.eq_ignore_ascii_case("z") {
        return Some(TimeDelta::zero());
    }
    let offset = if text.len() == 3 {
        format!("{text}:00")
    } else {
        text.to_owned()
    };
    let offset: FixedOffset = offset.parse().ok()?;
    Some(TimeDelta::seconds(offset.local_minus_utc().into()))
}

/// The moment as a column of the bot's tables holds it: naive UTC, with a fraction only where there is one.
pub(super) fn naive(time: DateTime<Utc>) -> String {
    let format = if time.timestamp_subsec_micros() == 0 {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S%.6f"
    };
    time.format(format).to_string()
}

/// The moment as a column of the library's own tables holds it: always with fraction and offset, so that the texts
/// are in the order of the moments.
pub(super) fn zoned(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(naive).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn times_are_read_in_every_usual_form() {
        check("2025-09-15 00:00:00", Some("2025-09-15 00:00:00"));
        check("2025-09-15T00:00:00", Some("2025-09-15 00:00:00"));
        check("2025-09-15 00:00:00.000000", Some("2025-09-15 00:00:00"));
        check("2025-09-15 01:02:03.5", Some("2025-09-15 01:02:03.500000"));
        check(
            "2025-09-15 01:02:03.123456789",
            Some("2025-09-15 01:02:03.123456"),
        );
        check("2025-09-15T01:02:03Z", Some("2025-09-15 01:02:03"));
        check(
            "2025-09-15 01:02:03.25 +00:00",
            Some("2025-09-15 01:02:03.250000"),
        );
        check("2025-09-15T03:30:00+03:30", Some("2025-09-15 00:00:00"));
        check("2025-09-15T00:00:00-0330", Some("2025-09-15 03:30:00"));
        check("2025-09-15 02:00:00+02", Some("2025-09-15 00:00:00"));
        check("1969-12-31 23:59:59.999999", Some("1969-12-31 23:59:59.999999"));
    }

    #[test]
    fn a_text_that_is_no_time_is_none() {
        for text in [
            "",
            "soon",
            "2025-09-15",
            "1757894400",
            "2025-13-15 00:00:00",
            "2025-09-15 25:00:00",
            "2025-09-15 00:00:00+x",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_texts_of_the_own_tables_carry_fraction_and_offset() {
        let time = parse("2025-09-15 01:02:03").map(zoned);
        assert_eq!(time.as_deref(), Some("2025-09-15 01:02:03.000000+00:00"));
    }
}
