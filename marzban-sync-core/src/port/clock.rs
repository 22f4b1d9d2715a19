//! Where the time comes from.

use std::sync::Arc;

use chrono::{DateTime, Utc};

/// The only source of time: jobs ask it, and hand the answer down as an argument.
#[cfg_attr(feature = "test-util", mockall::automock)]
pub trait Clock: Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the host.
///
/// Its time zone does not matter; its being wrong does, for it decides who has expired.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the host's clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Box<C> {
    fn now(&self) -> DateTime<Utc> {
        (**self).now()
    }
}
