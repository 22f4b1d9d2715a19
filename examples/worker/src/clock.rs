//! The clock of the schedules, which a demonstration may let run faster.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::clock::{Clock, SystemClock};

/// A clock that agreed with the host's at some moment and runs so many times as fast; the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledClock {
    epoch: DateTime<Utc>,
    speed: u32,
}

impl ScaledClock {
    pub(crate) fn new(epoch: DateTime<Utc>, speed: u32) -> Self {
        Self { epoch, speed }
    }

    /// What this clock shows when the host's shows `host`.
    fn at(self, host: DateTime<Utc>) -> DateTime<Utc> {
        let speed = i32::try_from(self.speed).unwrap_or(i32::MAX);
        (host - self.epoch)
            .checked_mul(speed)
            .and_then(|elapsed| self.epoch.checked_add_signed(elapsed))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// How long a wait of this clock is to the host.
    pub(crate) fn wait(self, scaled: TimeDelta) -> Duration {
        scaled.to_std().unwrap_or_default() / self.speed.max(1)
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> DateTime<Utc> {
        self.at(SystemClock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_speed_one_is_the_hosts() {
        let host = "2025-09-15T12:34:56Z".parse().unwrap();
        assert_eq!(ScaledClock::new(DateTime::UNIX_EPOCH, 1).at(host), host);
    }

    #[test]
    fn a_fast_clock_shows_an_hour_after_a_minute() {
        let epoch: DateTime<Utc> = "2025-09-15T00:00:00Z".parse().unwrap();
        let clock = ScaledClock::new(epoch, 60);
        assert_eq!(
            clock.at(epoch + TimeDelta::minutes(1)),
            epoch + TimeDelta::hours(1)
        );
        assert_eq!(
            clock.at(epoch - TimeDelta::minutes(1)),
            epoch - TimeDelta::hours(1)
        );
        assert_eq!(clock.wait(TimeDelta::hours(1)), Duration::from_mins(1));
        assert_eq!(clock.wait(TimeDelta::hours(-1)), Duration::ZERO);
    }
}
