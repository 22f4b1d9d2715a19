//! What is printed: one line per event that is worth one.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Timelike, Utc};
use clap::builder::styling::{AnsiColor, Style};
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::event::{Event, Observer};
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::plan::{Change, Reason};
use marzban_sync_core::report::{Job, Report};
use marzban_sync_core::scheduler::FinishedRun;
use marzban_sync_examples::environment;

use super::agreement::Agreement;

const HAPPENED: Style = AnsiColor::Cyan.on_default();
const GIVEN: Style = AnsiColor::Green.on_default();
const TAKEN: Style = AnsiColor::Yellow.on_default();
const FAILED: Style = AnsiColor::Red.on_default();
const RUN: Style = Style::new().bold();

/// Lines on stdout, in colour on a terminal unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    is_coloured: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_unwanted = environment::variable("NO_COLOR").is_ok_and(|value| value.is_some());
        Self {
            is_coloured: std::io::stdout().is_terminal() && !is_unwanted,
        }
    }

    /// Something happened in a panel.
    pub(super) fn happened(self, panel: &str, now: DateTime<Utc>, words: &str) {
        self.line(now, panel, HAPPENED, words);
    }

    /// A run ended, and this is the log of its panel.
    pub(super) fn ended(self, run: &FinishedRun, log: &RunLog) {
        let (panel, job, began) = (&run.panel_name, run.job, run.started_at);
        // The statistics run beside the others, and log nothing.
        let notes = match job {
            Job::GetMarzbanSystemStats => Vec::new(),
            _ => log.take(),
        };
        if run.end.is_failure() {
            let why = run.error.as_deref().map(first_cause).unwrap_or_default();
            let words = format_args!("{job} failed ({}): {why}", run.end);
            self.line(began, panel, FAILED, words);
        } else if let Some(report) = &run.report
            && (!notes.is_empty() || is_worth_a_line(report, began))
        {
            self.line(began, panel, RUN, format_args!("{job}: {}", figures(report)));
        }
        for (style, note) in notes {
            self.print(style, format_args!("{:20} {note}", ""));
        }
    }

    /// How often each job ran, at the end.
    pub(super) fn summary(self, tally: &Tally) {
        for ((panel, job), ends) in &*tally.lock() {
            let runs: u64 = ends.values().sum();
            let outcomes: Vec<String> = ends.iter().map(|(end, runs)| format!("{runs} {end}")).collect();
            self.print(
                RUN,
                format_args!("{panel:<8} {job}: {runs} runs: {}", outcomes.join(", ")),
            );
        }
    }

    /// Whether bot and panels agree, at the end.
    pub(super) fn agreement(self, agreement: &Agreement) {
        for difference in &agreement.differences {
            self.print(FAILED, difference);
        }
        let different = agreement.differences.len();
        let style = if different == 0 { GIVEN } else { FAILED };
        let accounts = agreement.accounts;
        self.print(
            style,
            format_args!(
                "in step: {} of {accounts} accounts",
                accounts.saturating_sub(different)
            ),
        );
    }

    fn line(self, time: DateTime<Utc>, panel: &str, style: Style, words: impl Display) {
        self.print(
            style,
            format_args!("{}  {panel:<8} {words}", time.format("%a %H:%M")),
        );
    }

    /// A reader that has gone away is no reason to end.
    fn print(self, style: Style, words: impl Display) {
        let mut stdout = std::io::stdout().lock();
        let _ = if self.is_coloured {
            writeln!(stdout, "{style}{words}{style:#}")
        } else {
            writeln!(stdout, "{words}")
        };
    }
}

/// How many runs of each job ended, and how; a clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Ends>>);

type Ends = BTreeMap<(String, Job), BTreeMap<Outcome, u64>>;

impl Tally {
    pub(super) fn count(&self, run: &FinishedRun) {
        let mut ends = self.lock();
        let of_job = ends.entry((run.panel_name.clone(), run.job)).or_default();
        *of_job.entry(run.end).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The changes that a panel's runs write, as text; a clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct RunLog(Arc<Mutex<Vec<(Style, String)>>>);

impl RunLog {
    fn take(&self) -> Vec<(Style, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for RunLog {
    fn observe(&self, event: Event<'_>) {
        let note = match event {
            Event::Applied(change) => words(change).map(|words| {
                let is_taking = change.reasons.iter().any(|reason| reason.is_destructive());
                let style = if is_taking { TAKEN } else { GIVEN };
                (style, format!("{}: {words}", change.account.name))
            }),
            Event::Cleaned(account) => Some((TAKEN, format!("{}: deleted from the panel", account.name))),
            _ => None,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(note);
    }
}

/// Returns a change as text; none when it is about traffic alone, as most are.
fn words(change: &Change) -> Option<String> {
    let new_end = match change.subscription.end_date {
        Some(EndDate::At(end)) => end.format("%-d %b %H:%M").to_string(),
        Some(EndDate::Never) | None => "never".to_owned(),
    };
    let phrases: Vec<String> = change
        .reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::Extended => Some(format!("subscription extended to {new_end}")),
            Reason::Shortened => Some(format!("subscription shortened to {new_end}")),
            Reason::Unlimited => Some("subscription without an end".to_owned()),
            Reason::Reactivated => Some("subscription active again".to_owned()),
            Reason::Expired => Some(over(change).to_owned()),
            Reason::Begun => Some(format!("the time has begun, until {new_end}")),
            Reason::Limited => Some("data used up, access off".to_owned()),
            Reason::Disabled => Some("disabled, access off".to_owned()),
            Reason::Works => Some("works, access on".to_owned()),
            Reason::Missing => Some("gone from the panel, access off".to_owned()),
            Reason::TrafficReset => Some("traffic counted anew".to_owned()),
            _ => None,
        })
        .collect();
    (!phrases.is_empty()).then(|| phrases.join(", "))
}

/// What is over: the subscription, access, or both.
fn over(change: &Change) -> &'static str {
    let is_off = change.vpn_config.is_active == Some(false);
    match (change.subscription.status.is_some(), is_off) {
        (true, true) => "subscription expired, access off",
        (true, false) => "subscription expired",
        (false, _) => "time is over, access off",
    }
}

/// Returns the first cause of a chain; the log has them all.
fn first_cause(chain: &str) -> &str {
    chain.split(": ").nth(1).unwrap_or(chain)
}

/// Whether a run is shown that changed nothing but traffic: the rarer ones, and of the statistics four a day.
fn is_worth_a_line(report: &Report, began: DateTime<Utc>) -> bool {
    match report {
        Report::SyncSubscriptionsFromMarzban(_) | Report::CleanupExpiredMarzbanUsers(_) => true,
        Report::SyncUserStatusFromMarzban(_) => false,
        Report::GetMarzbanSystemStats(_) => began.hour().is_multiple_of(6) && began.minute() == 0,
    }
}

fn figures(report: &Report) -> String {
    match report {
        Report::SyncSubscriptionsFromMarzban(report) => format!(
            "{} of {} synced, {} errors, traffic of {}",
            report.synced,
            report.total,
            report.errors,
            report.run.changes.get(&Reason::TrafficUsed).unwrap_or(&0)
        ),
        Report::SyncUserStatusFromMarzban(report) => format!(
            "{} updated, {} missing, {} errors",
            report.updated, report.missing, report.errors
        ),
        Report::CleanupExpiredMarzbanUsers(report) => format!(
            "{} cleaned, {} skipped, {} errors",
            report.cleaned, report.skipped, report.errors
        ),
        Report::GetMarzbanSystemStats(report) => format!(
            "{} users, {} active, {} online, {} MB sent",
            report.stats.total_user,
            report.stats.users_active,
            report.stats.online_users.unwrap_or(0),
            report.stats.outgoing_bandwidth / 1_000_000
        ),
    }
}
