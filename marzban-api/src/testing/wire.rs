//! Bytes, sockets and what goes wrong with them.

pub(crate) mod clock;
pub(crate) mod fault;
pub(crate) mod logs;
pub(crate) mod server;
