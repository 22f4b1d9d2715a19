//! The board in headless Chromium, against real processes: board and worker, a fake panel, a PostgreSQL database.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where what it stands on fails"
)]

mod browser;
mod site;

mod access;
mod jobs;
mod reading;
