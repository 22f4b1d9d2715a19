//! The figures of the machine, and a copy of all that the panel holds.

use chrono::{DateTime, Utc};

use super::admin::FakeAdmin;
use super::node::FakeNode;
use super::user::FakeUser;

/// The figures of `GET /api/system` that do not follow from the users.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// panel.update_system(|system| system.cpu_usage = 99.0);
/// assert!((client.system().stats().await?.cpu_usage - 99.0).abs() < f64::EPSILON);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FakeSystem {
    /// The panel's version.
    pub version: String,
    /// The machine's memory in bytes.
    pub mem_total: i64,
    /// The used memory in bytes.
    pub mem_used: i64,
    /// The number of cores.
    pub cpu_cores: i64,
    /// The load in percent.
    pub cpu_usage: f64,
    /// The bytes received so far.
    pub incoming_bandwidth: i64,
    /// The bytes sent so far.
    pub outgoing_bandwidth: i64,
    /// The bytes received a second.
    pub incoming_bandwidth_speed: i64,
    /// The bytes sent a second.
    pub outgoing_bandwidth_speed: i64,
}

impl Default for FakeSystem {
    fn default() -> Self {
        Self {
            version: "0.8.4".to_owned(),
            mem_total: 4_294_967_296,
            mem_used: 1_073_741_824,
            cpu_cores: 2,
            cpu_usage: 12.5,
            incoming_bandwidth: 30_000_000,
            outgoing_bandwidth: 90_000_000,
            incoming_bandwidth_speed: 512,
            outgoing_bandwidth_speed: 1_024,
        }
    }
}

/// A copy of what the fake panel held at one moment.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// # panel.insert_user(marzban_api::testing::FakeUser::new("alice"));
/// let state = panel.state();
/// panel.remove_user("alice");
/// assert!(state.user("alice").is_some(), "a copy of that moment");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PanelState {
    /// The panel's clock.
    pub now: DateTime<Utc>,
    /// The users in the order of their insertion.
    pub users: Vec<FakeUser>,
    /// The admins, the environment's first.
    pub admins: Vec<FakeAdmin>,
    /// The nodes in the order of their numbers.
    pub nodes: Vec<FakeNode>,
    /// The figures of the machine.
    pub system: FakeSystem,
}

impl PanelState {
    /// Finds a user by its exact name.
    #[must_use]
    pub fn user(&self, username: &str) -> Option<&FakeUser> {
        self.users.iter().find(|user| user.username == username)
    }
}
