//! The log, on standard error and on the board's pages.

use std::io::{self, IsTerminal};

use apalis_board::axum::sse::{TracingBroadcaster, TracingSubscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::board::Broadcaster;

/// Installs the log and returns the stream that the board's pages subscribe to.
pub(crate) fn install(filter: EnvFilter) -> Broadcaster {
    let broadcaster = TracingBroadcaster::create();
    let for_board = TracingSubscriber::new(&broadcaster)
        .layer()
        // A browser that has gone away or reads too slowly is not worth a line on standard error.
        .log_internal_errors(false);
    let for_stderr = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(filter)
        .with(for_stderr)
        .with(for_board)
        .init();
    broadcaster
}
