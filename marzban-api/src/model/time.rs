//! The panel's many ways to write an instant, read into one.
//!
//! Marzban writes `expire` as epoch seconds and every other instant as ISO 8601 without a zone, meaning UTC, with six
//! digits of fraction or none. Its successors write RFC 3339. One reader takes them all.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// The first second of the year 1 and the last one of the year 9999, which is what the panel itself can show.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Reads an instant or none.
pub(super) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    deserializer.deserialize_any(Instant)
}

/// Reads the end of a user's time, where 0 means that there is none.
pub(super) fn expire<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(instant(deserializer)?.filter(is_end))
}

/// Whether a user's time ends there, and not never.
fn is_end(instant: &DateTime<Utc>) -> bool {
    *instant != DateTime::UNIX_EPOCH
}

struct Instant;

impl Visitor<'_> for Instant {
    type Value = Option<DateTime<Utc>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("epoch seconds, an ISO 8601 date and time, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        from_seconds(seconds).map(Some).ok_or_else(|| outside(seconds))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        i64::try_from(seconds)
            .ok()
            .and_then(from_seconds)
            .map(Some)
            .ok_or_else(|| outside(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Self::Value, E> {
        // Within the years of the calendar every whole number of seconds is exact in a float.
        if seconds.fract() != 0.0 {
            return Err(E::custom(format_args!(
                "{seconds} is not a whole number of seconds"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it saturates, and what it saturates to is outside"
        )]
        let whole = seconds as i64;
        from_seconds(whole).map(Some).ok_or_else(|| outside(seconds))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        // The form of nearly all, and no number.
        let usual = from_usual_text(text.as_bytes());
        if usual.is_none()
            && let Ok(seconds) = text.parse()
        {
            return self.visit_i64(seconds);
        }
        let instant = usual
            .or_else(|| from_text(text))
            .ok_or_else(|| E::custom("neither epoch seconds nor an ISO 8601 date and time"))?;
        if !SECONDS.contains(&instant.timestamp()) {
            return Err(outside(instant.timestamp()));
        }
        Ok(Some(instant))
    }
}

pub(super) fn from_seconds(seconds: i64) -> Option<DateTime<Utc>> {
    if SECONDS.contains(&seconds) {
        DateTime::from_timestamp(seconds, 0)
    } else {
        None
    }
}

fn from_text(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
    zoned.ok().or_else(|| {
        let naive = |format| {
            NaiveDateTime::parse_from_str(text, format)
                .ok()
                .map(|instant| instant.and_utc())
        };
        naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))
    })
}

/// Reads the one form in which Marzban writes all of its instants, without trying the others first; a page has hundreds.
fn from_usual_text(text: &[u8]) -> Option<DateTime<Utc>> {
    let (
        [
            y1,
            y2,
            y3,
            y4,
            b'-',
            m1,
            m2,
            b'-',
            d1,
            d2,
            b'T',
            h1,
            h2,
            b':',
            n1,
            n2,
            b':',
            s1,
            s2,
        ],
        fraction,
    ) = text.split_first_chunk::<19>()?
    else {
        return None;
    };
    let nanoseconds = match fraction {
        [] => 0,
        [b'.', digits @ ..] if digits.len() == 6 => number(digits)? * 1_000,
        _ => return None,
    };
    let year = i32::try_from(number(&[*y1, *y2, *y3, *y4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(&[*m1, *m2])?, number(&[*d1, *d2])?)?;
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    Some(
        date.and_hms_nano_opt(hour, minute, second, nanoseconds)?
            .and_utc(),
    )
}

/// The number that is written in these digits, of which there are few.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

fn outside<E: Error>(seconds: impl fmt::Display) -> E {
    E::custom(format_args!(
        "{seconds} is outside the years 1 to 9999; milliseconds instead of seconds, perhaps"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::value::{Error as Failure, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Option<DateTime<Utc>> {
        instant(StrDeserializer::<Failure>::new(text)).ok().flatten()
    }

    /// The same without the way of its own that the usual form has.
    fn read_at_length(text: &str) -> Option<DateTime<Utc>> {
        if let Ok(seconds) = text.parse() {
            return from_seconds(seconds);
        }
        from_text(text).filter(|instant| SECONDS.contains(&instant.timestamp()))
    }

    #[test]
    fn the_usual_form_is_the_one_that_panels_write() {
        for text in [
            "2025-09-01T10:00:00.250000",
            "2024-02-29T23:59:59",
            "0001-01-01T00:00:00",
        ] {
            assert!(from_usual_text(text.as_bytes()).is_some(), "{text}");
            assert_eq!(read(text), read_at_length(text), "{text}");
        }
        for text in [
            "2025-02-29T10:00:00",
            "2025-09-01T23:59:60",
            "2025-09-01T24:00:00",
            "2025-09-01t10:00:00",
        ] {
            assert_eq!(from_usual_text(text.as_bytes()), None, "{text}");
            assert_eq!(read(text), read_at_length(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn an_instant_is_the_same_read_shortly_and_at_length(
            text in r"[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{0,9})?(Z|[+-]0[0-9]:30)?",
            place in any::<prop::sample::Index>(),
            other in prop::option::weighted(0.3, "[-+:.TZ 0-9]"),
        ) {
            let mut text = text;
            if let Some(other) = other {
                let place = place.index(text.len());
                text.replace_range(place..=place, &other);
            }
            prop_assert_eq!(read(&text), read_at_length(&text), "{}", text);
        }
    }
}
