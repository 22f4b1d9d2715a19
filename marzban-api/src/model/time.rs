//! Deserializing the panel's several notations of an instant.
//!
//! Marzban sends `expire` in epoch seconds and all other instants in ISO 8601 without an offset, meaning UTC, with
//! six fractional digits or none. Its successors send RFC 3339. One visitor accepts them all.

use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserializer;
use serde::de::{Error, Visitor};

/// From the first second of the year 1 to the last one of the year 9999, the range that the panel itself can render.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Deserializes an optional instant.
pub(super) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    deserializer.deserialize_any(InstantVisitor)
}

/// Deserializes an expiry, for which 0 means never.
pub(super) fn expire<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(instant(deserializer)?.filter(is_end))
}

/// Returns whether an expiry is an instant rather than "never".
fn is_end(instant: &DateTime<Utc>) -> bool {
    *instant != DateTime::UNIX_EPOCH
}

struct InstantVisitor;

impl Visitor<'_> for InstantVisitor {
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
        // Every whole number of seconds up to the year 9999 is exact in an `f64`.
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
        if let Ok(seconds) = text.parse() {
            return self.visit_i64(seconds);
        }
        let instant = from_text(text)
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
    let naive = |format| {
        NaiveDateTime::parse_from_str(text, format)
            .ok()
            .map(|instant| instant.and_utc())
    };
    let zoned = || {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|instant| instant.to_utc())
    };
    // Marzban's own form comes first, because a page has hundreds of instants.
    naive("%Y-%m-%dT%H:%M:%S%.f")
        .or_else(zoned)
        .or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))
}

fn outside<E: Error>(seconds: impl fmt::Display) -> E {
    E::custom(format_args!(
        "{seconds} is outside the years 1 to 9999; perhaps these are milliseconds"
    ))
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error as Failure, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Option<String> {
        let instant = instant(StrDeserializer::<Failure>::new(text)).ok().flatten();
        instant.map(|instant| instant.to_rfc3339())
    }

    #[test]
    fn every_notation_of_an_instant_is_accepted() {
        for (text, instant) in [
            ("2025-09-01T10:00:00.250000", "2025-09-01T10:00:00.250+00:00"),
            ("2025-09-01T10:00:00", "2025-09-01T10:00:00+00:00"),
            ("2024-02-29T23:59:59", "2024-02-29T23:59:59+00:00"),
            ("0001-01-01T00:00:00", "0001-01-01T00:00:00+00:00"),
            ("2025-09-01 10:00:00", "2025-09-01T10:00:00+00:00"),
            ("2025-09-01T10:00:00.5Z", "2025-09-01T10:00:00.500+00:00"),
            ("2025-09-01T10:00:00+03:30", "2025-09-01T06:30:00+00:00"),
            ("1756720800", "2025-09-01T10:00:00+00:00"),
        ] {
            assert_eq!(read(text).as_deref(), Some(instant), "{text}");
        }
    }

    #[test]
    fn invalid_instants_are_rejected() {
        for text in [
            "2025-02-29T10:00:00",
            "2025-09-01T24:00:00",
            "2025-13-01T10:00:00",
            "0000-01-01T00:00:00",
            "1756720800000",
            "soon",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
