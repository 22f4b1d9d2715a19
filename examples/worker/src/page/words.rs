//! Times and figures in words.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use marzban_sync_core::report::Job;

/// A moment as the page shows it: for programs, for people, and as a distance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `2025-09-15T01:00:00Z`.
    pub(crate) iso: String,
    /// `15 Sep 2025, 01:00 UTC`.
    pub(crate) utc: String,
    /// `12 minutes ago`.
    pub(crate) words: String,
}

impl Moment {
    pub(crate) fn of(time: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            iso: time.to_rfc3339_opts(SecondsFormat::Secs, true),
            utc: time.format("%-d %b %Y, %H:%M UTC").to_string(),
            words: distance(time, now),
        }
    }
}

/// `just now`, `12 minutes ago`, `in 3 hours`.
fn distance(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let elapsed = now - time;
    let length = elapsed.abs();
    if length < TimeDelta::seconds(45) {
        let words = if elapsed < TimeDelta::zero() {
            "in a moment"
        } else {
            "just now"
        };
        return words.to_owned();
    }
    let words = about(length);
    if elapsed < TimeDelta::zero() {
        format!("in {words}")
    } else {
        format!("{words} ago")
    }
}

/// `12 minutes`, `3 hours`, `5 days`: the nearest whole number of a unit that fits.
pub(crate) fn about(length: TimeDelta) -> String {
    let minutes = (length.num_seconds() + 30) / 60;
    let (number, unit) = if minutes < 90 {
        (minutes, "minute")
    } else if minutes < 36 * 60 {
        ((minutes + 30) / 60, "hour")
    } else {
        ((minutes + 12 * 60) / (24 * 60), "day")
    };
    counted(number, unit)
}

/// `1 minute`, `12 minutes`.
fn counted(number: i64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {unit}{plural}", grouped(number))
}

/// How long something took: `0.4 s`, `12 s`, `3 min 5 s`, `1 h 4 min`.
pub(crate) fn length(time: TimeDelta) -> String {
    let milliseconds = time.num_milliseconds().max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// `1,234,567`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// What a job does, in a few words.
pub(crate) fn title(job: Job) -> &'static str {
    match job {
        Job::SyncSubscriptionsFromMarzban => "Sync subscriptions",
        Job::SyncUserStatusFromMarzban => "Sync user status",
        Job::CleanupExpiredMarzbanUsers => "Clean up expired users",
        Job::GetMarzbanSystemStats => "Collect statistics",
    }
}

/// A reason of a report in words; one that this version does not know, as it is.
pub(crate) fn reason(name: &str) -> String {
    let words = match name {
        "extended" => "the panel's end is later",
        "shortened" => "the panel's end is earlier",
        "unlimited" => "the panel's user has no end",
        "begun" => "the time of the panel's user has begun",
        "reactivated" => "the panel's user works again",
        "expired" => "the panel's user is expired",
        "limited" => "the panel's user has used up its data",
        "disabled" => "an admin disabled the panel's user",
        "works" => "the panel's user works",
        "missing" => "the panel does not have the user",
        "traffic_used" => "traffic was used",
        "traffic_reset" => "the panel counted anew",
        "connected" => "the user connected",
        "not_permitted" => "the user belongs to another admin",
        "unreadable" => "the panel's answer cannot be understood",
        "unknown_status" => "the status is unknown",
        "unavailable" => "the panel did not answer",
        "conflict" => "the row changed under the run",
        "withheld" => "withheld",
        "rejected" => "the database refused the change",
        "not_deleted" => "the panel user could not be deleted",
        "panel_behind" => "paid in the bot, not in the panel",
        "panel_ahead" => "the panel's user has more than the bot",
        "ends_disagree" => "the two ends differ, and nothing says which counts",
        "implausible_end" => "the panel's end cannot be one",
        "shared_user" => "several customers have the panel user",
        "other_user" => "another user has the name now",
        "other_spelling" => "the panel spells the name in another case",
        other => other,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_told_in_the_unit_that_fits() {
        let now: DateTime<Utc> = "2025-09-15T12:00:00Z".parse().unwrap();
        for (seconds, words) in [
            (0, "just now"),
            (44, "just now"),
            (-1, "in a moment"),
            (60, "1 minute ago"),
            (89 * 60, "89 minutes ago"),
            (90 * 60, "2 hours ago"),
            (35 * 3_600, "35 hours ago"),
            (36 * 3_600, "2 days ago"),
            (4_000 * 86_400, "4,000 days ago"),
            (-900, "in 15 minutes"),
        ] {
            assert_eq!(
                distance(now - TimeDelta::seconds(seconds), now),
                words,
                "{seconds}"
            );
        }
    }

    #[test]
    fn a_length_is_told_in_two_units_at_most() {
        for (milliseconds, words) in [
            (-5, "0.0 s"),
            (420, "0.4 s"),
            (9_999, "9.9 s"),
            (12_400, "12 s"),
            (185_000, "3 min 5 s"),
            (3_840_000, "1 h 4 min"),
        ] {
            assert_eq!(length(TimeDelta::milliseconds(milliseconds)), words);
        }
    }

    #[test]
    fn figures_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345_678, "-12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
