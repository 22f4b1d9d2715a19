//! One bot process that keeps its database in step with its panels, on schedule: see it with
//! `cargo run --example scheduler -- --demo`.
//!
//! The core's `Scheduler` does the work: late runs coalesce, a job does not overlap itself, and an outage, a panic or a
//! database that hangs ends that run and nothing else. The program adds arguments, logs, and `/health`, `/live` and
//! `/metrics` over HTTP (`server`).
//!
//! Several such processes may share a database: the lock of a run sees to it that one of them does the work. For queues
//! and many machines there is `examples/worker`.
//!
//! The demo (`demo`) is the same program with fake panels, a temporary database, and a clock that hurries.

mod arguments;
mod demo;
mod logging;
mod program;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::main()
}
