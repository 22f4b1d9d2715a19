//! The clock of the fake panel: the machine's, until a test takes it over.

use chrono::{DateTime, TimeDelta, Utc};

#[derive(Clone, Copy, Debug)]
pub(crate) enum PanelClock {
    /// The machine's time plus this much.
    Running { ahead: TimeDelta },
    /// A time that only [`PanelClock::advance`] moves.
    Frozen(DateTime<Utc>),
}

impl PanelClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the fake stands for a machine with a clock of its own, which a test can replace"
    )]
    pub(crate) fn now(self) -> DateTime<Utc> {
        match self {
            Self::Running { ahead } => Utc::now() + ahead,
            Self::Frozen(now) => now,
        }
    }

    pub(crate) fn advance(&mut self, by: TimeDelta) {
        match self {
            Self::Running { ahead } => *ahead = ahead.checked_add(&by).unwrap_or(*ahead),
            Self::Frozen(now) => *now = now.checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }
}
