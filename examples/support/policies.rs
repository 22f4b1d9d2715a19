//! Policies and limits from the environment: every one has a default, and holds for every panel.

use std::collections::BTreeSet;
use std::fmt::Display;

use chrono::TimeDelta;
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::limits::SafetyLimits;
use marzban_sync_core::policy::{Access, CleanupAction, PanelBehind, Policy, Reactivate, Unlimited};
use marzban_sync_core::run::RUN_DEADLINE;
use marzban_sync_core::schedule::Schedule;

use crate::environment::variable;

/// The help text for the variables that are read here.
pub const HELP: &str = "\
Policies, for every panel; lengths of time are written 90s, 30m, 1h or 7d:
  MARZBAN_SYNC_TOLERANCE                 how much later than the panel's end the bot's may be and count as the same
                                         [default: 1h]
  MARZBAN_SYNC_UNLIMITED                 the bot's end when the panel's user has none: keep or clear [default: keep]
  MARZBAN_SYNC_REACTIVATE                an expired subscription whose panel user was extended comes back: always,
                                         never, or if at least so much time is left, such as 7d [default: always]
  MARZBAN_SYNC_ACCESS                    is_active follows the panel (mirror), or is only switched off (only-off)
                                         [default: mirror]
  MARZBAN_SYNC_PANEL_BEHIND              what was paid for in the bot alone: report it, or extend the panel user; not
                                         for a bot that adds time by a queue of its own [default: report]
  MARZBAN_SYNC_EXTEND_AFTER              for how long it must have been so; 0s for at once [default: 24h]
  MARZBAN_SYNC_CLEANUP                   what a cleanup does to a panel user: delete or disable [default: delete]
  MARZBAN_SYNC_CLEANUP_AFTER             how long ago everything must have ended; at least 1d [default: 7d]
  MARZBAN_SYNC_EXEMPT                    panel users that no cleanup touches, separated by commas [default: none]
  MARZBAN_SYNC_DEADLINE                  how long a run may take [default: 30m]
  MARZBAN_SYNC_KEEP_HISTORY              how long runs, figures and changes are kept, or forever [default: 90d]
Limits, in percent; what is beyond them is withheld until an operator allows it:
  MARZBAN_SYNC_MAX_ABSENT                users with access that the panel lacks [default: 10]
  MARZBAN_SYNC_MAX_OFF_EARLY             access that would go off before its own end [default: 10]
  MARZBAN_SYNC_MAX_PROMISES              ends that the panel alone moved earlier [default: 2]
  MARZBAN_SYNC_MAX_STALE                 users that are active a day past their end [default: 2]
  MARZBAN_SYNC_MAX_EXTENSIONS            panel users that one run may extend [default: 10]
  MARZBAN_SYNC_MAX_DELETIONS             panel users that one cleanup may delete [default: 20]
  MARZBAN_SYNC_CLOCK_DIFFERENCE          how far the panel's clock may be from this one [default: 1h]
";

/// A longer time is a mistake.
const LONGEST: TimeDelta = TimeDelta::days(3_660);

/// The policies and limits of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    policy: Policy,
    limits: SafetyLimits,
    exempt: BTreeSet<String>,
    cleanup_after: TimeDelta,
    deadline: Option<TimeDelta>,
    history_retention: Option<TimeDelta>,
}

/// Reads the policies and limits from the environment.
///
/// # Errors
/// One line per value that makes no sense: what is wrong and what to do.
pub fn policies_from_environment() -> Result<Policies, String> {
    Policies::read(variable)
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            limits: SafetyLimits::default(),
            exempt: BTreeSet::new(),
            cleanup_after: TimeDelta::days(7),
            deadline: None,
            history_retention: Some(TimeDelta::days(90)),
        }
    }
}

impl Policies {
    /// Returns how long a run may take, if the environment sets it.
    #[must_use]
    pub fn deadline(&self) -> Option<TimeDelta> {
        self.deadline
    }

    /// Gives schedules the time limit of the environment, if it sets one.
    #[must_use]
    pub fn limit(&self, schedules: Vec<Schedule>) -> Vec<Schedule> {
        let limited = |schedule: Schedule| match self.deadline {
            Some(deadline) => schedule.with_time_limit(deadline),
            None => schedule,
        };
        schedules.into_iter().map(limited).collect()
    }

    /// Applies the policies and limits to a context.
    pub fn set_up(&self, context: ContextBuilder) -> ContextBuilder {
        context
            .policy(self.policy)
            .limits(self.limits)
            .exempt(self.exempt.clone())
            .cleanup_after(self.cleanup_after)
            .deadline(self.deadline.unwrap_or(RUN_DEADLINE))
            .history_retention(self.history_retention)
    }

    /// Reads the variables.
    fn read(variable: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let mut policies = Self::default();
        let mut reader = Reader {
            variable,
            wrong: Vec::new(),
        };
        policies.read_policies(&mut reader);
        policies.read_limits(&mut reader);
        if reader.wrong.is_empty() {
            Ok(policies)
        } else {
            Err(reader.wrong.join("\n"))
        }
    }

    fn read_policies<V: Fn(&str) -> Result<Option<String>, String>>(&mut self, reader: &mut Reader<V>) {
        let policy = &mut self.policy;
        reader.read("TOLERANCE", &mut policy.tolerance, length);
        let unlimited = [("keep", Unlimited::Keep), ("clear", Unlimited::Clear)];
        reader.read("UNLIMITED", &mut policy.unlimited, |text| word(text, &unlimited));
        reader.read("REACTIVATE", &mut policy.reactivate, reactivate);
        let access = [("mirror", Access::Mirror), ("only-off", Access::OnlyOff)];
        reader.read("ACCESS", &mut policy.access, |text| word(text, &access));
        let panel_behind = [("report", PanelBehind::Report), ("extend", PanelBehind::Extend)];
        reader.read("PANEL_BEHIND", &mut policy.panel_behind, |text| {
            word(text, &panel_behind)
        });
        reader.read("EXTEND_AFTER", &mut policy.extend_after, length);
        let cleanup = [
            ("delete", CleanupAction::Delete),
            ("disable", CleanupAction::Disable),
        ];
        reader.read("CLEANUP", &mut policy.cleanup, |text| word(text, &cleanup));
        let at_least_a_day = |text: &str| length_from(text, TimeDelta::days(1), "1d");
        reader.read("CLEANUP_AFTER", &mut self.cleanup_after, at_least_a_day);
        reader.read("EXEMPT", &mut self.exempt, |text| Ok(names(text)));
        let deadline = |text: &str| length_from(text, TimeDelta::seconds(1), "1s").map(Some);
        reader.read("DEADLINE", &mut self.deadline, deadline);
        reader.read("KEEP_HISTORY", &mut self.history_retention, |text| {
            if is_word(text, "forever") {
                return Ok(None);
            }
            at_least_a_day(text)
                .map(Some)
                .map_err(|why| format!("{why}, or forever"))
        });
    }

    fn read_limits<V: Fn(&str) -> Result<Option<String>, String>>(&mut self, reader: &mut Reader<V>) {
        let limits = &mut self.limits;
        reader.read("MAX_ABSENT", &mut limits.absent_percent, percent);
        reader.read("MAX_OFF_EARLY", &mut limits.off_early_percent, percent);
        reader.read("MAX_PROMISES", &mut limits.promise_percent, percent);
        reader.read("MAX_STALE", &mut limits.stale_percent, percent);
        reader.read("MAX_EXTENSIONS", &mut limits.extension_percent, percent);
        reader.read("MAX_DELETIONS", &mut limits.deletion_percent, percent);
        reader.read("CLOCK_DIFFERENCE", &mut limits.clock_difference, length);
    }
}

/// Reads variables, and collects a line per value that makes no sense.
struct Reader<V> {
    variable: V,
    wrong: Vec<String>,
}

impl<V: Fn(&str) -> Result<Option<String>, String>> Reader<V> {
    /// Stores a variable's value in its place; without it the default stays.
    fn read<T>(&mut self, name: &str, place: &mut T, parse: impl Fn(&str) -> Result<T, String>) {
        let name = format!("MARZBAN_SYNC_{name}");
        let text = match (self.variable)(&name) {
            Ok(None) => return,
            Ok(Some(text)) => text,
            Err(line) => return self.wrong.push(line),
        };
        match parse(text.trim()) {
            Ok(value) => *place = value,
            Err(why) => self.wrong.push(format!("{name} must be {why}; it is {text:?}")),
        }
    }
}

/// A length of time, such as `30m`.
fn length(text: &str) -> Result<TimeDelta, String> {
    parse_length(text).ok_or_else(|| A_LENGTH.to_owned())
}

const A_LENGTH: &str = "a length of time such as 90s, 30m, 1h or 7d";

/// Parses a time of at least `least`, which the message calls `words`.
fn length_from(text: &str, least: TimeDelta, words: impl Display) -> Result<TimeDelta, String> {
    let length = parse_length(text).filter(|length| *length >= least);
    length.ok_or_else(|| format!("{A_LENGTH}, and not less than {words}"))
}

fn parse_length(text: &str) -> Option<TimeDelta> {
    let length = humantime::parse_duration(text).ok()?;
    TimeDelta::from_std(length)
        .ok()
        .filter(|length| *length <= LONGEST)
}

fn reactivate(text: &str) -> Result<Reactivate, String> {
    let words = [("always", Reactivate::Always), ("never", Reactivate::Never)];
    word(text, &words)
        .or_else(|_| length(text).map(Reactivate::AtLeast))
        .map_err(|_| "always, never, or the least time that must be left, such as 7d".to_owned())
}

fn percent(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    let percent = number.parse().ok().filter(|percent| *percent <= 100);
    percent.ok_or_else(|| "a whole number of percent from 0 to 100".to_owned())
}

/// Parses one of these words.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| is_word(text, word));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    })
}

/// Returns whether the text is this word, whatever its case, with hyphens or underscores.
fn is_word(text: &str, word: &str) -> bool {
    text.replace('_', "-").eq_ignore_ascii_case(word)
}

fn names(text: &str) -> BTreeSet<String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Policies, String> {
        let variables: BTreeMap<String, &str> = variables
            .iter()
            .map(|(name, value)| (format!("MARZBAN_SYNC_{name}"), *value))
            .collect();
        Policies::read(|name| Ok(variables.get(name).map(|value| (*value).to_owned())))
    }

    #[test]
    fn without_variables_everything_is_as_the_library_has_it() {
        let policies = read(&[]).unwrap();
        assert_eq!(policies, Policies::default());
        assert_eq!(policies.policy, Policy::default());
        assert_eq!(policies.limits, SafetyLimits::default());
    }

    #[test]
    fn every_policy_can_be_set_in_any_case_and_spelling() {
        let policies = read(&[
            ("TOLERANCE", "90m"),
            ("UNLIMITED", "Clear"),
            ("REACTIVATE", "7d"),
            ("ACCESS", "ONLY_OFF"),
            ("PANEL_BEHIND", "extend"),
            ("EXTEND_AFTER", "0s"),
            ("CLEANUP", " disable "),
            ("CLEANUP_AFTER", "30d"),
            ("EXEMPT", "anna, Boris,,"),
            ("DEADLINE", "10m"),
            ("KEEP_HISTORY", "Forever"),
        ])
        .unwrap();
        let Policy {
            tolerance,
            unlimited,
            reactivate,
            access,
            panel_behind,
            extend_after,
            cleanup,
            ..
        } = policies.policy;
        assert_eq!(
            (tolerance, unlimited, reactivate),
            (
                TimeDelta::minutes(90),
                Unlimited::Clear,
                Reactivate::AtLeast(TimeDelta::days(7))
            )
        );
        assert_eq!(
            (access, panel_behind, extend_after, cleanup),
            (
                Access::OnlyOff,
                PanelBehind::Extend,
                TimeDelta::zero(),
                CleanupAction::Disable
            )
        );
        assert_eq!(policies.exempt, ["anna".to_owned(), "Boris".to_owned()].into());
        assert_eq!(policies.cleanup_after, TimeDelta::days(30));
        assert_eq!(policies.deadline, Some(TimeDelta::minutes(10)));
        assert_eq!(policies.history_retention, None);
    }

    #[test]
    fn every_limit_can_be_set() {
        let policies = read(&[
            ("MAX_ABSENT", "1"),
            ("MAX_OFF_EARLY", "2%"),
            ("MAX_PROMISES", "3 %"),
            ("MAX_STALE", "0"),
            ("MAX_EXTENSIONS", "5"),
            ("MAX_DELETIONS", "100"),
            ("CLOCK_DIFFERENCE", "5m"),
        ])
        .unwrap();
        let limits = policies.limits;
        assert_eq!(
            [
                limits.absent_percent,
                limits.off_early_percent,
                limits.promise_percent,
                limits.stale_percent,
                limits.extension_percent,
                limits.deletion_percent
            ],
            [1, 2, 3, 0, 5, 100]
        );
        assert_eq!(limits.clock_difference, TimeDelta::minutes(5));
    }

    #[test]
    fn each_bad_value_is_a_line_that_says_what_to_do() {
        for (name, value, words) in [
            ("TOLERANCE", "soon", "a length of time such as 90s"),
            ("TOLERANCE", "60", "a length of time such as 90s"),
            ("TOLERANCE", "-1h", "a length of time such as 90s"),
            ("EXTEND_AFTER", "9000000d", "a length of time such as 90s"),
            ("UNLIMITED", "yes", "must be keep or clear; it is \"yes\""),
            (
                "REACTIVATE",
                "sometimes",
                "must be always, never, or the least time",
            ),
            ("ACCESS", "off", "must be mirror or only-off"),
            ("PANEL_BEHIND", "fix", "must be report or extend"),
            ("CLEANUP", "none", "must be delete or disable"),
            ("CLEANUP_AFTER", "23h", "not less than 1d"),
            ("DEADLINE", "0s", "not less than 1s"),
            ("KEEP_HISTORY", "never", "not less than 1d, or forever"),
            ("MAX_ABSENT", "101", "percent from 0 to 100"),
            ("MAX_DELETIONS", "2.5", "percent from 0 to 100"),
            ("CLOCK_DIFFERENCE", "1\n", "a length of time"),
        ] {
            let line = read(&[(name, value)]).unwrap_err();
            assert!(
                line.starts_with(&format!("MARZBAN_SYNC_{name} must be ")),
                "{line}"
            );
            assert!(line.contains(words) && !line.contains('\n'), "{value}: {line}");
        }
        let lines = read(&[
            ("CLEANUP", "x"),
            ("MAX_STALE", "y"),
            ("UNLIMITED", "keep"),
            ("TOLERANCE", "z"),
        ]);
        let lines = lines.unwrap_err();
        let named: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
        let expected = [
            "MARZBAN_SYNC_TOLERANCE",
            "MARZBAN_SYNC_CLEANUP",
            "MARZBAN_SYNC_MAX_STALE",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn the_help_tells_every_variable_that_is_read() {
        let read = std::cell::RefCell::new(Vec::new());
        let note = |name: &str| {
            read.borrow_mut().push(name.to_owned());
            Ok(None)
        };
        Policies::read(note).unwrap();
        let told: Vec<&str> = HELP
            .lines()
            .filter_map(|line| line.trim().split(' ').next())
            .filter(|word| word.starts_with("MARZBAN_"))
            .collect();
        assert_eq!(read.into_inner(), told);
    }
}
