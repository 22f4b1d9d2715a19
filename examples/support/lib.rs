//! What several of the examples share.

pub mod bot;
pub mod environment;
pub mod http;
pub mod logging;
pub mod panel;
pub mod policies;
pub mod program;
pub mod schedules;
pub mod signals;

/// The embedding that the README shows, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
