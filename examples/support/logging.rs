//! The log on stderr: JSON for a collector, text for a person.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines to read.
    Text,
}

/// Installs the log, by default as text on a terminal and as JSON elsewhere.
///
/// Panics go to the log too: a line that is not JSON would break a collector.
pub fn install(format: Option<LogFormat>, filter: EnvFilter) {
    let is_terminal = std::io::stderr().is_terminal();
    let default = if is_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal);
    match format.unwrap_or(default) {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug")));
}
