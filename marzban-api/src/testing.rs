//! A Marzban panel for tests: stateful, on loopback, without Python, Xray or a database.
//!
//! A mock answers what a test told it to answer, and so shares every misunderstanding of the panel.
//! [`FakePanel`] instead *behaves* as Marzban 0.8.4 on SQLite was observed to: it keeps users and admins, issues
//! tokens, filters, sorts and pages, moves users between states, and has the same quirks, such as a 500 for the
//! successful deletion of an ownerless user.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use marzban_api::testing::{FakePanel, FakeStatus, FakeUser, Fault};
//!
//! let panel = FakePanel::start().await;
//! panel.insert_user(FakeUser::new("alice").expire(1_757_894_400));
//! panel.set_now("2025-09-15T00:00:00Z".parse()?);
//! panel.review();
//! assert_eq!(panel.user("alice").map(|user| user.status), Some(FakeStatus::Expired));
//!
//! // The next two lists meet a proxy whose panel is down.
//! panel.inject(Fault::HtmlBody(502).times(2).path("/api/users"));
//! println!("log in as admin/admin at {}", panel.url());
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//! This module (feature `test-util`) is outside the semantic versioning of the crate: it follows what panels are
//! observed to do, so its names and its behaviour may change in any minor release. It is meant for dev-dependencies.
//!
//! # Layers
//! [`panel`] holds the rules and the state, and can be driven without a socket. On it stands the interface (routes,
//! JSON, authorisation), and on that the wire (connections, faults, the log of requests), which [`FakePanel`] starts.
//!
//! # Routes
//! All of the panel's: admins, users, templates, nodes, hosts, inbounds, core, system, subscriptions and, as
//! websockets, logs. Behind them is neither Xray nor a machine: a node that came over the API cannot be reached, the
//! configuration of the core is checked as far as the panel checks it, and a subscription holds what an app needs to
//! be tested with. What is not set is as on a default panel; so `subscription_url` is relative.
//!
//! Jobs run on demand: [`FakePanel::review`], [`FakePanel::reset_by_strategy`], [`FakePanel::auto_delete`] and
//! [`FakePanel::send_notifications`].
//!
//! # The wire
//! After a 500 the connection is closed without a `connection: close`, as uvicorn does. Unlike uvicorn, the fake
//! keeps an idle connection open for longer than five seconds. The signature of its tokens is no HMAC: a token is
//! valid because the fake remembers it.

mod api;
mod builder;
mod handle;
pub mod panel;
mod reading;
mod wire;

pub use builder::FakePanelBuilder;
pub use handle::FakePanel;
pub use panel::admin::FakeAdmin;
pub use panel::node::{FakeNode, FakeNodeStatus};
pub use panel::protocol::FakeProtocol;
pub use panel::system::{FakeSystem, PanelState};
pub use panel::user::{FakeNextPlan, FakeStatus, FakeUser};
pub use reading::{read_states, read_users};
pub use wire::{Fault, FaultRule, RecordedRequest};
