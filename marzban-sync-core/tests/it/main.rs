//! Everything that runs without a server.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in what the tests share"
)]

mod conformance;
mod conformance_bites;
mod conformance_panel;
mod decisions;
mod deletions;
#[cfg(feature = "failpoints")]
mod failpoints;
mod faulty;
mod given;
mod histories;
mod jobs;
mod jobs_failures;
mod laws;
mod merge;
mod reports;
mod safety_limits;
mod scheduler;
mod schedules;
mod scripted;
mod store_sqlite;
