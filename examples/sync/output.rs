//! Reports on stdout: one JSON object a job run and a line, or a table.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use marzban_sync_core::error::{SyncError, chain};
use marzban_sync_core::report::Report;
use marzban_sync_core::store::Migration;
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a job run, one a line, and nothing else.
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
            kind: error.kind().as_str(),
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
        self.print(&Migrated {
            job: "migrate",
            migration,
        });
    }

    /// Prints one object; that nobody reads it any more is no reason to fail.
    fn print(self, object: &impl Serialize) {
        let text = match self {
            Self::Json => serde_json::to_string(object),
            Self::Table => serde_json::to_value(object).map(table),
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
struct Migrated<'a> {
    job: &'static str,
    #[serde(flatten)]
    migration: &'a Migration,
}

/// Figures first, then lists, one row an entry.
fn table(object: Value) -> String {
    let Value::Object(object) = object else {
        return object.to_string();
    };
    let mut figures = Table::new();
    figures.load_style(UTF8_FULL_CONDENSED);
    let mut lists = Vec::new();
    for (key, value) in object {
        match value {
            Value::Array(entries) if entries.is_empty() => {}
            Value::Array(entries) => lists.push((key, entries)),
            Value::Object(entries) => {
                for (inner, value) in entries {
                    figures.add_row([format!("{key}.{inner}"), cell(&value)]);
                }
            }
            value => {
                figures.add_row([key, cell(&value)]);
            }
        }
    }
    let mut text = figures.to_string();
    for (key, entries) in lists {
        let mut list = Table::new();
        list.load_style(UTF8_FULL_CONDENSED)
            .set_header([format!("{key} ({})", entries.len())]);
        for entry in &entries {
            list.add_row([cell(entry)]);
        }
        text.push('\n');
        text.push_str(&list.to_string());
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(key, value)| format!("{key}={}", cell(value)))
                .collect();
            fields.join(" ")
        }
        other => other.to_string(),
    }
}
