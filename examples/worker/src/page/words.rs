//! Times, numbers and reasons as text.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_humanize::{Accuracy, HumanTime, Tense};
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
            words: HumanTime::from(time - now).to_string(),
        }
    }
}

/// `12 minutes`, `3 hours`, `5 days`: the nearest unit.
pub(crate) fn about(length: TimeDelta) -> String {
    HumanTime::from(length).to_text_en(Accuracy::Rough, Tense::Present)
}

/// How long something took: `400ms`, `12s`, `3m 5s`.
pub(crate) fn length(time: TimeDelta) -> String {
    let milliseconds = u64::try_from(time.num_milliseconds()).unwrap_or_default();
    let shown = match milliseconds {
        0..10_000 => Duration::from_millis(milliseconds / 100 * 100),
        _ => Duration::from_secs(milliseconds / 1_000),
    };
    humantime::format_duration(shown).to_string()
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

/// Returns a job's title.
pub(crate) fn title(job: Job) -> &'static str {
    match job {
        Job::SyncSubscriptionsFromMarzban => "Sync subscriptions",
        Job::SyncUserStatusFromMarzban => "Sync user status",
        Job::CleanupExpiredMarzbanUsers => "Clean up expired users",
        Job::GetMarzbanSystemStats => "Collect statistics",
    }
}

/// Returns a reason of a report as text; an unknown one as it is.
pub(crate) fn reason(name: &str) -> &str {
    match name {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_a_distance_too() {
        let now: DateTime<Utc> = "2025-09-15T12:00:00Z".parse().unwrap();
        for (seconds, words) in [
            (0, "now"),
            (900, "15 minutes ago"),
            (-7_200, "in 2 hours"),
            (172_800, "2 days ago"),
        ] {
            let moment = Moment::of(now - TimeDelta::seconds(seconds), now);
            assert_eq!(moment.words, words, "{seconds}");
        }
        assert_eq!(about(TimeDelta::minutes(30)), "30 minutes");
    }

    #[test]
    fn a_length_is_told_no_finer_than_it_matters() {
        for (milliseconds, words) in [
            (-5, "0s"),
            (437, "400ms"),
            (9_999, "9s 900ms"),
            (12_400, "12s"),
            (185_000, "3m 5s"),
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
