//! Decides whether and when a failed request is sent again. The only file that names `backoff`.
//!
//! `backoff` computes the delays. Attempts are counted here, because its own loop has no limit of attempts: a server
//! that always answers with `Retry-After` would keep it going forever.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::error::{Error, ErrorKind};
use crate::request::RetryClass;

/// How often and after which delays a request that failed for a transient reason is sent again.
///
/// Which failures are retried depends on the request; see [`ErrorKind`](crate::ErrorKind). The delay doubles with
/// each attempt and varies randomly by half of itself in both directions.
///
/// # Examples
///
/// ```
/// use marzban_api::RetryPolicy;
///
/// let patient = RetryPolicy { max_tries: 5, ..Default::default() };
/// assert_eq!((patient.max_tries, RetryPolicy::none().max_tries), (5, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts, including the first; 0 counts as 1.
    pub max_tries: u32,
    /// The mean delay before the second attempt.
    pub initial_delay: Duration,
    /// The longest delay, unless the server asks for a longer one by `Retry-After`.
    pub max_delay: Duration,
    /// The longest delay that a server may ask for by `Retry-After`; longer ones are cut to this.
    pub max_retry_after: Duration,
}

impl RetryPolicy {
    /// Sends each request once. A request whose token was rejected is still sent again with a new one.
    #[must_use]
    pub fn none() -> Self {
        Self {
            max_tries: 1,
            initial_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            max_retry_after: Duration::ZERO,
        }
    }
}

impl Default for RetryPolicy {
    /// 3 attempts, delays from 500 ms to 5 s, `Retry-After` up to 30 s.
    fn default() -> Self {
        Self {
            max_tries: 3,
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(5),
            max_retry_after: Duration::from_secs(30),
        }
    }
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    delays: ExponentialBackoff,
    tried: u32,
    broke_off: bool,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let delays = ExponentialBackoffBuilder::new()
            .with_initial_interval(policy.initial_delay.min(policy.max_delay))
            .with_max_interval(policy.max_delay)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_elapsed_time(None)
            .build();
        Self {
            policy,
            delays,
            tried: 0,
            broke_off: false,
        }
    }

    /// How many attempts have failed so far.
    pub(crate) fn tried(&self) -> u32 {
        self.tried
    }

    /// Counts a failed attempt and returns the delay after which to send the request again, if at all.
    pub(crate) fn after(&mut self, error: &Error, class: RetryClass) -> Option<Duration> {
        self.tried += 1;
        if self.tried >= self.policy.max_tries || !may_retry(error, class) {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return Some(asked.min(self.policy.max_retry_after));
        }
        // The panel closes idle connections and those that carried a 500. A request that meets such a connection is
        // lost through no fault of the panel, so the first retry need not wait.
        let first_break = error.kind() == ErrorKind::Connect && error.was_sent() && !self.broke_off;
        if first_break {
            self.broke_off = true;
            return Some(Duration::ZERO);
        }
        self.delays
            .next_backoff()
            .map(|delay| delay.min(self.policy.max_delay))
    }
}

/// Returns whether the failure is transient and the request can be sent again without harm.
fn may_retry(error: &Error, class: RetryClass) -> bool {
    match (error.kind(), class) {
        (ErrorKind::RateLimited, _) => true,
        (ErrorKind::Connect | ErrorKind::Timeout, _) if !error.was_sent() => true,
        (ErrorKind::Connect, _) => class != RetryClass::Mutation,
        (ErrorKind::Timeout, _) => matches!(class, RetryClass::Safe | RetryClass::SplittableRead),
        (ErrorKind::Server, RetryClass::Safe | RetryClass::SplittableRead | RetryClass::Login) => {
            match error.status() {
                Some(500) => class != RetryClass::SplittableRead || error.is_by_proxy(),
                Some(502..=504) => true,
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_tries: 4,
        initial_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(250),
        max_retry_after: Duration::from_secs(2),
    };

    fn answered(kind: ErrorKind, status: u16) -> Error {
        Error::new(kind).with_status(status)
    }

    #[test]
    fn delays_grow_within_their_spread_up_to_the_longest() {
        let mut retries = Retries::new(POLICY);
        for bounds in [50..=150, 100..=250, 125..=250] {
            let delay = retries
                .after(&answered(ErrorKind::Server, 502), RetryClass::Safe)
                .unwrap();
            assert!(
                bounds.contains(&delay.as_millis()),
                "{delay:?} is not in {bounds:?}"
            );
        }
        assert_eq!(
            retries.after(&answered(ErrorKind::Server, 502), RetryClass::Safe),
            None
        );
        assert_eq!(retries.tried(), 4);
    }

    #[test]
    fn a_server_that_always_asks_to_wait_is_not_asked_for_ever() {
        let error = answered(ErrorKind::RateLimited, 429).with_retry_after(Some(Duration::from_hours(1)));
        let mut retries = Retries::new(POLICY);
        let delays: Vec<_> = std::iter::from_fn(|| retries.after(&error, RetryClass::Mutation)).collect();
        assert_eq!(delays, [Duration::from_secs(2); 3]);
    }

    #[test]
    fn the_first_broken_connection_is_replaced_at_once() {
        let mut retries = Retries::new(POLICY);
        let mut broken = Error::new(ErrorKind::Connect).with_status(200);
        assert_eq!(retries.after(&broken, RetryClass::Safe), Some(Duration::ZERO));
        broken = Error::new(ErrorKind::Connect).with_status(200);
        assert!(retries.after(&broken, RetryClass::Safe).unwrap() >= Duration::from_millis(50));
    }

    #[test]
    fn a_single_try_is_never_repeated() {
        for max_tries in [0, 1] {
            let policy = RetryPolicy { max_tries, ..POLICY };
            assert_eq!(
                Retries::new(policy).after(&answered(ErrorKind::Server, 503), RetryClass::Safe),
                None
            );
        }
    }

    #[test]
    fn what_is_retried_depends_on_the_failure_and_on_the_request() {
        let all = [
            RetryClass::Safe,
            RetryClass::SplittableRead,
            RetryClass::Login,
            RetryClass::Mutation,
        ];
        let unsent = |kind| Error::new(kind);
        for (error, expected) in [
            (unsent(ErrorKind::Connect), [true, true, true, true]),
            (unsent(ErrorKind::Timeout), [true, true, true, true]),
            (answered(ErrorKind::Connect, 200), [true, true, true, false]),
            (answered(ErrorKind::Timeout, 200), [true, true, false, false]),
            (answered(ErrorKind::RateLimited, 429), [true, true, true, true]),
            (answered(ErrorKind::Server, 500), [true, false, true, false]),
            (answered(ErrorKind::Server, 501), [false, false, false, false]),
            (answered(ErrorKind::Server, 502), [true, true, true, false]),
            (answered(ErrorKind::Server, 503), [true, true, true, false]),
            (answered(ErrorKind::Server, 504), [true, true, true, false]),
            (
                answered(ErrorKind::Unauthorized, 401),
                [false, false, false, false],
            ),
            (answered(ErrorKind::NotFound, 404), [false, false, false, false]),
            (answered(ErrorKind::Rejected, 422), [false, false, false, false]),
            (
                answered(ErrorKind::UnexpectedResponse, 200),
                [false, false, false, false],
            ),
            (answered(ErrorKind::Decode, 200), [false, false, false, false]),
            (answered(ErrorKind::TooLarge, 200), [false, false, false, false]),
        ] {
            assert_eq!(all.map(|class| may_retry(&error, class)), expected, "{error}");
        }
    }
}
