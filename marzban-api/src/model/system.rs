use serde::Deserialize;

/// The state of the panel's host and the number of its users.
///
/// For an admin without sudo rights the counts are those of its own users, but `online_users` and the bandwidth are
/// always those of the whole panel.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let stats = client.system().stats().await?;
/// println!("{} of {} users are active", stats.users_active, stats.total_user);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct SystemStats {
    /// The version of the panel, such as `0.8.4`.
    pub version: String,
    /// The host's memory, in bytes.
    pub mem_total: u64,
    /// The memory in use, in bytes.
    pub mem_used: u64,
    /// The number of CPU cores.
    pub cpu_cores: u32,
    /// The CPU load, in percent.
    pub cpu_usage: f64,
    /// The number of users.
    pub total_user: u64,
    /// Users that were connected within the last 24 hours. `None` before 0.8.
    #[serde(default)]
    pub online_users: Option<u64>,
    /// Users with status `active`.
    pub users_active: u64,
    /// Users with status `on_hold`. `None` before 0.8.
    #[serde(default)]
    pub users_on_hold: Option<u64>,
    /// Users with status `disabled`. `None` before 0.8.
    #[serde(default)]
    pub users_disabled: Option<u64>,
    /// Users with status `expired`. `None` before 0.8.
    #[serde(default)]
    pub users_expired: Option<u64>,
    /// Users with status `limited`. `None` before 0.8.
    #[serde(default)]
    pub users_limited: Option<u64>,
    /// Bytes received by the panel's servers since they were set up.
    pub incoming_bandwidth: u64,
    /// Bytes sent by the panel's servers since they were set up.
    pub outgoing_bandwidth: u64,
    /// Bytes per second that the host currently receives.
    pub incoming_bandwidth_speed: u64,
    /// Bytes per second that the host currently sends.
    pub outgoing_bandwidth_speed: u64,
}
