//! Reports on stdout: one JSON object per run and line, or tables.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use marzban_sync_core::error::{SyncError, chain};
use marzban_sync_core::jobs::{Explanation, Undone};
use marzban_sync_core::outcome::Outcome;
use marzban_sync_core::report::Report;
use marzban_sync_core::store::Migration;
use serde::Serialize;

use crate::table::tables;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object per run and line, and nothing else.
    Json,
    /// Tables to read.
    Table,
}

impl Format {
    /// A table for a person, JSON for a program.
    pub(crate) fn for_stdout() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Table
        } else {
            Self::Json
        }
    }

    pub(crate) fn print_report(self, report: &Report) {
        self.print(report);
    }

    /// What a failed run did until then, and why it failed.
    pub(crate) fn print_failure(self, error: &SyncError) {
        let why = Why {
            kind: match error.outcome() {
                Outcome::Cancelled | Outcome::Deadline => "stopped",
                outcome => outcome.as_str(),
            },
            message: chain(error),
        };
        match error.report() {
            Some(report) => self.print(&FailedRun { report, error: why }),
            None => self.print(&NoRun {
                job: error.job().as_str(),
                error: why,
            }),
        }
    }

    pub(crate) fn print_migration(self, migration: &Migration) {
        self.print_as("migrate", migration);
    }

    pub(crate) fn print_explanation(self, explanation: &Explanation) {
        self.print_as("explain", explanation);
    }

    pub(crate) fn print_undone(self, undone: &Undone) {
        self.print_as("undo", undone);
    }

    fn print_as(self, job: &'static str, what: &impl Serialize) {
        self.print(&Named { job, what });
    }

    /// Prints one object. A reader that has gone away is no reason to fail.
    fn print(self, object: &impl Serialize) {
        let text = match self {
            Self::Json => serde_json::to_string(object),
            Self::Table => serde_json::to_value(object).map(tables),
        };
        let text = text.unwrap_or_else(|error| error.to_string());
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }
}

#[derive(Serialize)]
struct FailedRun<'a> {
    #[serde(flatten)]
    report: &'a Report,
    error: Why,
}

#[derive(Serialize)]
struct NoRun {
    job: &'static str,
    error: Why,
}

#[derive(Serialize)]
struct Why {
    kind: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Named<'a, T> {
    job: &'static str,
    #[serde(flatten)]
    what: &'a T,
}
