//! Times as text, which the panel reads by two different rules: those of pydantic and those of Python itself.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// The rules by which a text is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Those of pydantic's models, which also take numbers for Unix time.
    Model,
    /// Those of Python's `fromisoformat`, which take any separator, compact dates and hours alone, but no number.
    Plain,
}

/// A time as written: it may lack an offset.
#[derive(Clone, Copy)]
pub(crate) struct PyDateTime {
    pub(crate) naive: NaiveDateTime,
    offset: Option<FixedOffset>,
}

impl PyDateTime {
    pub(crate) fn read(text: &str, dialect: Dialect) -> Option<Self> {
        let text =
            text.trim_matches(|character: char| dialect == Dialect::Model && character.is_whitespace());
        if dialect == Dialect::Model
            && let Ok(number) = text.parse::<f64>()
        {
            return Self::of_number(number);
        }
        let compact = (dialect == Dialect::Plain)
            .then(|| split(text, 8))
            .flatten()
            .filter(|(date, _)| date.bytes().all(|byte| byte.is_ascii_digit()));
        let (date, rest) = if let Some((date, rest)) = compact {
            (NaiveDate::parse_from_str(date, "%Y%m%d").ok()?, rest)
        } else {
            let (date, rest) = split(text, 10)?;
            (NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?, rest)
        };
        let Some(separator) = rest.chars().next() else {
            return Some(Self {
                naive: date.and_time(NaiveTime::MIN),
                offset: None,
            });
        };
        if dialect == Dialect::Model && !"Tt _".contains(separator) {
            return None;
        }
        let (time, offset) = split_offset(rest.get(separator.len_utf8()..)?)?;
        if dialect == Dialect::Model && !time.contains(':') {
            return None;
        }
        Some(Self {
            naive: date.and_time(read_time(time)?),
            offset,
        })
    }

    /// Unix time, in seconds up to 20 milliards and in milliseconds beyond.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked by chrono")]
    pub(crate) fn of_number(number: f64) -> Option<Self> {
        let seconds = if number.abs() > 2e10 { number / 1e3 } else { number };
        let time = DateTime::from_timestamp_micros((seconds * 1e6).round() as i64)?;
        Some(Self {
            naive: time.naive_utc(),
            offset: FixedOffset::east_opt(0),
        })
    }

    pub(crate) const fn is_aware(&self) -> bool {
        self.offset.is_some()
    }

    /// The instant, where a time without an offset is UTC.
    pub(crate) fn instant(&self) -> DateTime<Utc> {
        match self.offset {
            None => self.naive.and_utc(),
            Some(offset) => self
                .naive
                .and_local_timezone(offset)
                .single()
                .map_or_else(|| self.naive.and_utc(), |time| time.to_utc()),
        }
    }
}

fn split(text: &str, at: usize) -> Option<(&str, &str)> {
    text.split_at_checked(at)
}

/// The time of day, and the offset behind it.
fn split_offset(text: &str) -> Option<(&str, Option<FixedOffset>)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, FixedOffset::east_opt(0)));
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, None));
    };
    let (time, offset) = text.split_at(at);
    let (sign, offset) = offset.split_at(1);
    let digits = offset.replace(':', "");
    if ![2, 4].contains(&digits.len()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(2);
    let minutes = if minutes.is_empty() {
        0
    } else {
        minutes.parse().ok()?
    };
    let seconds = (hours.parse::<i32>().ok()? * 60 + minutes) * 60;
    let offset = if sign == "-" { -seconds } else { seconds };
    Some((time, Some(FixedOffset::east_opt(offset)?)))
}

fn read_time(text: &str) -> Option<NaiveTime> {
    let (clock, fraction) = text
        .split_once(['.', ','])
        .map_or((text, "0"), |(clock, fraction)| (clock, fraction));
    let digits = clock.replace(':', "");
    let is_whole = clock.contains(':') == (digits.len() > 2) || !clock.contains(':');
    if !is_whole || !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![2, 4, 6].contains(&digits.len()) {
        return None;
    }
    let pair = |at: usize| digits.get(at..at + 2).map_or(Some(0), |pair| pair.parse().ok());
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let micros: u32 = is_fraction.then(|| format!("{fraction:0<6}").get(..6)?.parse().ok())??;
    NaiveTime::from_hms_micro_opt(pair(0)?, pair(2)?, pair(4)?, micros)
}
