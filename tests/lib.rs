//! What the tests of the whole workspace stand on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its harness fails"
)]

mod client;
mod postgres;
mod proxy;

pub use client::{client, client_with};
pub use postgres::TestDatabase;
pub use proxy::{Proxy, Traffic};
