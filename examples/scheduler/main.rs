//! One bot process that keeps its database in step with its panels, on schedule: see it with
//! `cargo run --example scheduler -- --demo`.
//!
//! Each panel has a loop of its own (`panel_loop`), which runs what the core's `Agenda` says is due: late runs coalesce
//! and a job does not overlap itself. A run is supervised, so an outage, a panic or a database that hangs ends that
//! run and nothing else. `/health`, `/live` and `/metrics` are served over HTTP (`server`, `health`).
//!
//! Several such processes may share a database: the lock of a run sees to it that one of them does the work. For queues
//! and many machines there is `examples/worker`.
//!
//! The demo (`demo`) is the same program with fake panels, a temporary database, and a clock that hurries.

mod arguments;
mod demo;
mod health;
mod logging;
mod panel_loop;
mod program;
mod server;
mod time;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::main()
}
