//! What several of the examples share.

pub mod environment;
pub mod signals;
