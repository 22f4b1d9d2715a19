//! The client against bytes: what it sends, and what it makes of every answer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy takes only functions marked as tests for tests"
)]

mod building;
mod deleting;
mod failures;
mod fake_panel;
mod login;
mod reading;
mod redaction;
mod together;
mod values;
mod wire;
