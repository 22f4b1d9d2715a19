//! Decisions: pure functions of data, with the time as an argument.

pub mod deletion;
pub mod freshness;
pub mod limits;
pub mod merge_ends;
pub mod reconcile;
#[cfg(feature = "schedule")]
pub mod schedule;
pub mod zone;
