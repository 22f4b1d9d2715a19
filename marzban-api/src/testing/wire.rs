//! Bytes and sockets: connections on loopback, the log of requests, faults, and what the panel sends by itself.

mod clock;
mod fault;
mod logs;
mod recorded;
mod server;
mod shared;
mod socket;
mod webhooks;

pub use fault::{Fault, FaultRule};
pub use recorded::RecordedRequest;

pub(crate) use clock::PanelClock;
pub(crate) use server::serve;
pub(crate) use shared::Shared;
pub(crate) use webhooks::Batch;
