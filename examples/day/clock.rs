//! A clock that hurries, and waits for its participants.
//!
//! At 3600 times the speed of a busy host, a quarter of an hour may pass before any task has woken. So the clock
//! never runs past the moment that each participant is ready for, and catches up when it is late:
//! the same things happen in the same order on any host, and only on a slow one does a day take longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::scheduler::Timer;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The runtime's timer knows no shorter sleep.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// The clock; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct DemoClock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    start: DateTime<Utc>,
    since: Instant,
    speed: f64,
    /// What the clock may not pass, by participant.
    limits: watch::Sender<BTreeMap<String, DateTime<Utc>>>,
}

impl Inner {
    fn now(&self, limits: &BTreeMap<String, DateTime<Utc>>) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.since.elapsed().mul_f64(self.speed));
        let free = passed
            .ok()
            .and_then(|passed| self.start.checked_add_signed(passed))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        limits.values().copied().fold(free, DateTime::min)
    }
}

impl DemoClock {
    /// A clock that stands at `start` until every participant is ready for more.
    pub(crate) fn new(
        start: DateTime<Utc>,
        speed: f64,
        participants: impl IntoIterator<Item = String>,
    ) -> Self {
        let limits: BTreeMap<String, DateTime<Utc>> =
            participants.into_iter().map(|who| (who, start)).collect();
        Self {
            inner: Arc::new(Inner {
                start,
                since: Instant::now(),
                speed,
                limits: watch::Sender::new(limits),
            }),
        }
    }

    /// Lets the clock run until then, as far as this participant is concerned.
    pub(crate) fn allow_until(&self, who: &str, time: DateTime<Utc>) {
        self.inner.limits.send_modify(|limits| {
            limits.insert(who.to_owned(), time);
        });
    }

    /// Removes a participant.
    pub(crate) fn leave(&self, who: &str) {
        self.inner.limits.send_modify(|limits| {
            limits.remove(who);
        });
    }

    /// Waits until the clock has reached this moment.
    pub(crate) async fn wait_until(&self, time: DateTime<Utc>) {
        let mut limits = self.inner.limits.subscribe();
        loop {
            let (now, is_blocked) = {
                let limits = limits.borrow_and_update();
                let now = self.inner.now(&limits);
                (now, limits.values().any(|limit| *limit <= now))
            };
            if now >= time {
                return;
            }
            let left = (time - now).to_std().unwrap_or(Duration::ZERO);
            let left = left.div_f64(self.inner.speed).max(SHORTEST_SLEEP);
            tokio::select! {
                () = sleep(left), if !is_blocked => {}
                // The sender lives as long as the clock.
                _ = limits.changed() => {}
            }
        }
    }
}

impl Clock for DemoClock {
    fn now(&self) -> DateTime<Utc> {
        self.inner.now(&self.inner.limits.borrow())
    }
}

#[async_trait]
impl Timer for DemoClock {
    async fn sleep_until(&self, moment: DateTime<Utc>) {
        self.wait_until(moment).await;
    }

    fn note_idle(&self, panel_name: &str, until: Option<DateTime<Utc>>) {
        match until {
            Some(until) => self.allow_until(panel_name, until),
            None => self.leave(panel_name),
        }
    }
}

/// Returns the start of this week: a Monday, with its cleanup, comes first.
pub(crate) fn monday_before(now: DateTime<Utc>) -> DateTime<Utc> {
    let days = now.weekday().num_days_from_monday();
    now.date_naive().and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(days.into())
}

/// Parses how many times as fast the clock runs.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0..=1_000_000.0).contains(&speed) {
        Ok(speed)
    } else {
        Err("not between 1 and 1000000".to_owned())
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
    async fn it_waits_for_the_slowest_participant_and_then_makes_up_for_it() {
        let clock = clock();
        clock.allow_until("bot", at(30));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), at(0), "the world is not ready");
        clock.allow_until("world", at(5));
        assert_eq!(clock.now(), at(2), "where it would be");
        sleep(Duration::from_secs(20)).await;
        assert_eq!(clock.now(), at(5), "no farther than the world");
        clock.leave("world");
        assert_eq!(clock.now(), at(22));
        sleep(Duration::from_secs(20)).await;
        assert_eq!(clock.now(), at(30), "no farther than the bot");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sleeps_wakes_at_the_very_moment_even_at_a_limit() {
        let clock = clock();
        clock.allow_until("bot", at(15));
        clock.allow_until("world", at(20));
        clock.wait_until(at(15)).await;
        assert_eq!(clock.now(), at(15));
        clock.wait_until(at(14)).await;
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.wait_until(at(16)).await }
        });
        sleep(Duration::from_mins(1)).await;
        assert!(!sleeper.is_finished());
        clock.allow_until("bot", at(30));
        sleeper.await.unwrap();
        assert!(clock.now() >= at(16));
    }

    #[test]
    fn a_demo_begins_on_a_monday_at_midnight() {
        for (now, monday) in [
            ("2025-09-15T00:00:00Z", "2025-09-15T00:00:00Z"),
            ("2025-09-17T13:14:15Z", "2025-09-15T00:00:00Z"),
            ("2025-09-21T23:59:59Z", "2025-09-15T00:00:00Z"),
        ] {
            assert_eq!(
                monday_before(now.parse().unwrap()),
                monday.parse::<DateTime<Utc>>().unwrap()
            );
        }
    }

    #[test]
    fn a_clock_neither_stands_nor_runs_away() {
        assert_eq!(speed("3600"), Ok(3600.0));
        for (text, why) in [
            ("0.5", "not between"),
            ("1e7", "not between"),
            ("fast", "not a number"),
        ] {
            assert!(speed(text).unwrap_err().contains(why), "{text}");
        }
    }
}
