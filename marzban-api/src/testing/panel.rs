//! The rules of a panel and what it remembers, without HTTP, JSON or sockets.
//!
//! [`Panel`] can be driven directly, which is faster than a [`FakePanel`](crate::testing::FakePanel) and needs no
//! runtime; its example shows how. Time is a value that its owner sets.

pub(crate) mod admin;
mod admins;
pub(crate) mod host;
pub(crate) mod inbound;
pub(crate) mod input;
mod jobs;
pub(crate) mod list;
pub(crate) mod node;
mod nodes;
pub(crate) mod notification;
mod notify;
mod populate;
pub(crate) mod protocol;
pub(crate) mod random;
mod refusal;
mod state;
pub(crate) mod system;
pub(crate) mod template;
mod templates;
pub(crate) mod traffic;
pub(crate) mod user;
mod users;

pub use input::{NextPlanInput, UserInput};
pub use list::{UserPage, UserQuery};
pub use protocol::{ProxiesInput, ProxyInput};
pub use refusal::Refusal;
pub use state::Panel;

pub(crate) use admins::Grant;
pub(crate) use populate::user as sample_user;
