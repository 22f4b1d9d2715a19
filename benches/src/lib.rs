//! What the benchmarks and the load test stand on: a panel that costs nothing, a bot's database that is filled in
//! one statement, and the way that is compared with, one request and one `UPDATE` an account.

#![expect(
    clippy::expect_used,
    reason = "a measurement ends where what it stands on fails"
)]

pub mod canned;
pub mod database;
pub mod original;

use marzban_api::{Client, SecretString, Throttle};

/// The name of a user, both in the panel and in the database.
#[must_use]
pub fn name(number: u64) -> String {
    format!("user_{number:07}")
}

/// The traffic that a user has used when nothing has happened yet, in the panel and in the database.
#[must_use]
pub fn traffic(number: u64) -> u64 {
    number * 1_000
}

/// A client of the canned panel.
///
/// # Panics
/// When there is no TLS on this machine at all.
#[must_use]
pub fn client(url: &str, throttle: Throttle) -> Client {
    Client::builder(url)
        .credentials("admin", SecretString::from("admin"))
        .throttle(throttle)
        .build()
        .expect("a client can be built")
}
