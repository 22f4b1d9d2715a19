//! The rules of the panel and what it remembers.

pub(crate) mod admins;
pub(crate) mod expired;
pub(crate) mod host;
pub(crate) mod inbound;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod node;
pub(crate) mod notification;
pub(crate) mod populate;
pub(crate) mod state;
pub(crate) mod template;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod users;
