//! The time that everything here goes by: the host's, or the demo's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};

use crate::demo::clock::DemoClock;

/// The longest sleep, after which the host's clock is looked at again: it may have been set, or the host have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A clock that can be waited for; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) enum Time {
    /// The host's.
    Host,
    /// The demo's.
    Demo(DemoClock),
}

impl Time {
    /// Waits until then, or a while for somebody who looks again.
    pub(crate) async fn sleep_towards(&self, time: DateTime<Utc>) {
        match self {
            Self::Host => {
                // One that is in the past is no time at all.
                let left = (time - self.now()).to_std().unwrap_or(Duration::ZERO);
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
            }
            Self::Demo(clock) => clock.sleep_until(time).await,
        }
    }

    /// Says that somebody is ready for all that comes until then; only the demo's clock waits for it.
    pub(crate) fn allow_until(&self, who: &str, time: DateTime<Utc>) {
        match self {
            Self::Host => {}
            Self::Demo(clock) => clock.allow_until(who, time),
        }
    }

    /// Says that somebody does not go by this clock any more.
    pub(crate) fn leave(&self, who: &str) {
        match self {
            Self::Host => {}
            Self::Demo(clock) => clock.leave(who),
        }
    }
}

impl Clock for Time {
    fn now(&self) -> DateTime<Utc> {
        match self {
            Self::Host => SystemClock.now(),
            Self::Demo(clock) => clock.now(),
        }
    }
}
