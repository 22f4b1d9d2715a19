//! The log: to standard error, and to whoever looks at the board.

use std::io::{self, IsTerminal};

use apalis_board::axum::sse::{TracingBroadcaster, TracingSubscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::board::Broadcaster;

/// Begins to log, and returns what the board's pages listen to.
pub(crate) fn install(filter: EnvFilter) -> Broadcaster {
    let broadcaster = TracingBroadcaster::create();
    let for_board = TracingSubscriber::new(&broadcaster)
        .layer()
        // A listener that went away, or that reads too slowly, is no reason for words on standard error.
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
