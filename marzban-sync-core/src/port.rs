//! Ports: the traits by which the jobs reach a panel, a database, the time, and who watches.

pub mod clock;
pub mod error;
pub mod event;
pub mod history;
#[cfg(feature = "test-util")]
mod mock;
pub(crate) mod panel;
pub(crate) mod store;
