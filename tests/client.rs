//! A client of a panel for jobs whose time is nobody's.

use std::time::Duration;

use marzban_api::{Client, RetryPolicy, SecretString, Throttle, Timeouts};

/// A client that makes no pause between requests and short ones between tries.
///
/// # Panics
/// When the URL is none.
#[must_use]
pub fn client(url: &str, username: &str, password: &str) -> Client {
    client_with(url, username, password, Timeouts::default())
}

/// The same with limits of its own to the waiting for an answer.
///
/// # Panics
/// When the URL is none.
#[must_use]
pub fn client_with(url: &str, username: &str, password: &str, timeouts: Timeouts) -> Client {
    Client::builder(url)
        .credentials(username, SecretString::from(password))
        .timeouts(timeouts)
        .throttle(Throttle::none())
        .retry(RetryPolicy {
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(5),
            max_retry_after: Duration::from_millis(5),
            ..RetryPolicy::default()
        })
        .build()
        .expect("the URL can be read")
}
