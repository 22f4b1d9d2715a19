//! Ports: the traits by which the jobs reach a panel, a database, the time, and who watches.

pub(crate) mod accounts;
pub mod clock;
pub mod error;
pub mod event;
pub(crate) mod journal;
#[cfg(feature = "test-util")]
pub(crate) mod mock;
pub(crate) mod panel;
