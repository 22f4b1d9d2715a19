//! The tests that need more than one package of the workspace.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where what it stands on fails"
)]

mod bot;
mod cases;
mod conformance;
mod custom_store_program;
mod deploy;
mod fake_panel_program;
mod faults;
mod jobs_over_http;
mod overlap;
mod peers;
mod program;
mod quickstart_program;
mod rooms;
mod scale;
mod scheduler_program;
mod second_run;
mod store_postgres;
mod sync_program;
