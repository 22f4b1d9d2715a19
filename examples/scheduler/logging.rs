//! The log on stderr: JSON for a collector, text for a person.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// Installs the log; panics are in it too, as a line that is no JSON would break a collector.
pub(crate) fn install(format: Option<LogFormat>, filter: EnvFilter) {
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
