//! What the tests of the whole workspace stand on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its harness fails"
)]

mod postgres;

pub use postgres::TestDatabase;
