//! Decisions: pure functions of data, with the time as an argument.

pub mod deletion;
pub mod freshness;
pub mod merge;
pub mod reconcile;
pub mod safety;
#[cfg(feature = "schedule")]
pub mod schedule;
pub mod zone;
