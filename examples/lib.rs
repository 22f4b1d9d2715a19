//! What several of the examples share.

pub mod bot;
pub mod environment;
pub mod policies;
pub mod schedules;
pub mod signals;
