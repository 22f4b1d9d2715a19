//! What several of the examples share.

pub mod bot;
pub mod environment;
pub mod policies;
pub mod run_metrics;
pub mod schedules;
pub mod signals;
pub mod supervision;
