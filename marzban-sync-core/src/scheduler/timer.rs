use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::port::clock::{Clock, SystemClock};

/// The longest sleep, after which the host's clock is read again: it may have been set, or the host have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A clock that a [`Scheduler`](super::Scheduler) can wait for.
///
/// Everybody but a simulation uses [`SystemTimer`].
#[async_trait]
pub trait Timer: Clock {
    /// Waits until that moment, or for a while: the scheduler reads the clock after each wait.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    async fn sleep_until(&self, moment: DateTime<Utc>);

    /// Notes that a panel has nothing to do before that moment, or never again: a simulated clock may go on until then.
    fn note_idle(&self, panel_name: &str, until: Option<DateTime<Utc>>);
}

/// The host's clock, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTimer;

impl Clock for SystemTimer {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }
}

#[async_trait]
impl Timer for SystemTimer {
    async fn sleep_until(&self, moment: DateTime<Utc>) {
        // One that is in the past is no time at all.
        let left = (moment - self.now()).to_std().unwrap_or(Duration::ZERO);
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }

    fn note_idle(&self, _panel_name: &str, _until: Option<DateTime<Utc>>) {}
}
