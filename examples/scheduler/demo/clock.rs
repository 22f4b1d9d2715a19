//! A clock that hurries, and waits for those who go by it.
//!
//! At 3600 times the speed of a host that is busy, a quarter of an hour may pass before anybody has woken. So the clock
//! never runs past the moment that each participant has said it is ready for: the same things happen in the same
//! order on any host, and on a slow one a day takes longer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::clock::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// A shorter sleep than the runtime's timer knows would be none.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// The clock; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct DemoClock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    speed: f64,
    hands: Mutex<Hands>,
    /// Bumped whenever a limit moves.
    moved: watch::Sender<u64>,
}

/// Where the clock was at a moment of the host, and what it may not pass.
#[derive(Debug)]
struct Hands {
    at: DateTime<Utc>,
    since: Instant,
    limits: BTreeMap<String, DateTime<Utc>>,
}

impl Hands {
    fn limit(&self) -> Option<DateTime<Utc>> {
        self.limits.values().min().copied()
    }

    fn now(&self, speed: f64) -> DateTime<Utc> {
        let passed = self.since.elapsed().mul_f64(speed);
        let free = TimeDelta::from_std(passed)
            .ok()
            .and_then(|passed| self.at.checked_add_signed(passed))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.limit().map_or(free, |limit| free.min(limit.max(self.at)))
    }
}

impl DemoClock {
    /// A clock that stands at `start` until every participant is ready for more.
    pub(crate) fn new(
        start: DateTime<Utc>,
        speed: f64,
        participants: impl IntoIterator<Item = String>,
    ) -> Self {
        let limits = participants.into_iter().map(|who| (who, start)).collect();
        let hands = Hands {
            at: start,
            since: Instant::now(),
            limits,
        };
        Self {
            inner: Arc::new(Inner {
                speed,
                hands: Mutex::new(hands),
                moved: watch::Sender::new(0),
            }),
        }
    }

    /// Says that a participant is ready for all that comes until then.
    pub(crate) fn allow_until(&self, who: &str, time: DateTime<Utc>) {
        self.change(|limits| {
            limits.insert(who.to_owned(), time);
        });
    }

    /// Says that a participant does not go by the clock any more.
    pub(crate) fn leave(&self, who: &str) {
        self.change(|limits| {
            limits.remove(who);
        });
    }

    /// Moves the limits; the time that the clock stood at one of them is not made good.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, DateTime<Utc>>)) {
        let mut hands = self.hands();
        hands.at = hands.now(self.inner.speed);
        hands.since = Instant::now();
        change(&mut hands.limits);
        drop(hands);
        self.inner
            .moved
            .send_modify(|moves| *moves = moves.wrapping_add(1));
    }

    /// Waits until the clock is there.
    pub(crate) async fn sleep_until(&self, time: DateTime<Utc>) {
        let mut moved = self.inner.moved.subscribe();
        loop {
            let (now, limit) = {
                let hands = self.hands();
                (hands.now(self.inner.speed), hands.limit())
            };
            if now >= time {
                return;
            }
            let is_blocked = limit.is_some_and(|limit| limit <= now);
            let left = (time - now).to_std().unwrap_or(Duration::ZERO);
            let left = left.div_f64(self.inner.speed).max(SHORTEST_SLEEP);
            tokio::select! {
                () = sleep(left), if !is_blocked => {}
                // The sender lives as long as the clock.
                _ = moved.changed() => {}
            }
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.inner.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for DemoClock {
    fn now(&self) -> DateTime<Utc> {
        self.hands().now(self.inner.speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        "2025-09-15T00:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
    }

    fn clock() -> DemoClock {
        DemoClock::new(at(0), 60.0, ["bot".to_owned(), "world".to_owned()])
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_slowest_participant_and_then_goes_on_from_there() {
        let clock = clock();
        clock.allow_until("bot", at(30));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), at(0), "the world is not ready");
        clock.allow_until("world", at(5));
        sleep(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), at(3));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(clock.now(), at(5), "no farther than the world");
        clock.leave("world");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), at(7), "the wait is not made good");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sleeps_wakes_at_the_very_moment_even_at_a_limit() {
        let clock = clock();
        clock.allow_until("bot", at(15));
        clock.allow_until("world", at(20));
        clock.sleep_until(at(15)).await;
        assert_eq!(clock.now(), at(15));
        clock.sleep_until(at(14)).await;
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(at(16)).await }
        });
        sleep(Duration::from_secs(60)).await;
        assert!(!sleeper.is_finished());
        clock.allow_until("bot", at(30));
        sleeper.await.unwrap();
        assert!(clock.now() >= at(16));
    }
}
