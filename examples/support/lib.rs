//! What several of the examples share.

pub mod bot;
pub mod environment;
pub mod policies;
pub mod schedules;
pub mod signals;

/// The embedding that the README shows, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
