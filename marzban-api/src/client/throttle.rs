//! A random pause between requests, shared by all clones of a client: the panel is one process with one interpreter.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The pause between the end of one request and the start of the next.
///
/// Each pause is random, so that several bots do not fall into step. All clones of a client share it, and it applies
/// to logins and retries too.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let throttle = marzban_api::Throttle::between(Duration::from_millis(50), Duration::from_millis(100));
/// assert_ne!(throttle, marzban_api::Throttle::none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    shortest: Duration,
    longest: Duration,
}

impl Throttle {
    /// Pauses for at least `shortest` and at most `longest`. The two may be given in either order.
    #[must_use]
    pub fn between(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest: shortest.min(longest),
            longest: longest.max(shortest),
        }
    }

    /// Disables the pause.
    #[must_use]
    pub fn none() -> Self {
        Self {
            shortest: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    fn draw(self, share: f64) -> Duration {
        self.shortest + self.longest.saturating_sub(self.shortest).mul_f64(share)
    }
}

impl Default for Throttle {
    /// 50 to 100 ms.
    fn default() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_millis(100))
    }
}

#[derive(Debug)]
pub(crate) struct Throttler {
    throttle: Throttle,
    /// Held by the request that waits for the next start; others queue in the order in which they arrive.
    queue: tokio::sync::Mutex<()>,
    next_start: Mutex<Option<Instant>>,
}

/// Held during a request; the pause starts when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Throttler);

impl Throttler {
    pub(crate) fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            queue: tokio::sync::Mutex::default(),
            next_start: Mutex::default(),
        }
    }

    /// Waits until a request may start. Starts are as far apart from each other as from the end of a request, even if
    /// requests overlap.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        let _first_in_queue = self.queue.lock().await;
        while let Some(start) = self.start_later_than(Instant::now()) {
            sleep_until(start).await;
        }
        self.pause();
        Permit(self)
    }

    /// The next start, if it lies ahead. It moves when another request ends in the meantime.
    fn start_later_than(&self, now: Instant) -> Option<Instant> {
        self.next_start().filter(|start| *start > now)
    }

    fn pause(&self) {
        if self.throttle != Throttle::none() {
            *self.next_start() = Some(Instant::now() + self.throttle.draw(fastrand::f64()));
        }
    }

    fn next_start(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next_start.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.pause();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(70);

    #[test]
    fn a_pause_lies_between_its_bounds() {
        let throttle = Throttle::between(Duration::from_millis(100), Duration::from_millis(50));
        let drawn = [0.0, 0.5, 1.0].map(|share| throttle.draw(share).as_millis());
        assert_eq!(drawn, [50, 75, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_begins_when_the_request_ends() {
        let throttler = Throttler::new(Throttle::between(PAUSE, PAUSE));
        let begin = Instant::now();
        let permit = throttler.acquire().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(permit);
        drop(throttler.acquire().await);
        assert_eq!(begin.elapsed().as_millis(), 1070);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_begin_together_are_spread() {
        let throttler = Throttler::new(Throttle::between(PAUSE, PAUSE));
        let begin = Instant::now();
        let turns = futures_util::future::join_all((0..3).map(|_| async {
            drop(throttler.acquire().await);
            begin.elapsed().as_millis()
        }));
        assert_eq!(turns.await, [0, 70, 140]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_pacing_nothing_waits() {
        let throttler = Throttler::new(Throttle::none());
        let begin = Instant::now();
        for _ in 0..100 {
            drop(throttler.acquire().await);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
