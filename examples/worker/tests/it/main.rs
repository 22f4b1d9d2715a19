//! The built program as processes, over a real PostgreSQL and fake panels.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where what it stands on fails"
)]

mod access;
mod answers;
mod configuration;
mod ends;
mod manual_runs;
mod page;
mod queue;
mod stage;
mod takeover;
