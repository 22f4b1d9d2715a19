use serde::Deserialize;

/// The state of the panel's host and the numbers of its users.
///
/// For an administrator without sudo rights the numbers of users are those of its own users, but `online_users` and
/// the bandwidth are always the whole panel's.
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
    /// Memory of the host, in bytes.
    pub mem_total: u64,
    /// Memory in use, in bytes.
    pub mem_used: u64,
    /// The number of processor cores.
    pub cpu_cores: u32,
    /// Processor load, in percent.
    pub cpu_usage: f64,
    /// All users.
    pub total_user: u64,
    /// Users that were connected during the last 24 hours. Absent before 0.8.
    #[serde(default)]
    pub online_users: Option<u64>,
    /// Users with the status `active`.
    pub users_active: u64,
    /// Users with the status `on_hold`. Absent before 0.8.
    #[serde(default)]
    pub users_on_hold: Option<u64>,
    /// Users with the status `disabled`. Absent before 0.8.
    #[serde(default)]
    pub users_disabled: Option<u64>,
    /// Users with the status `expired`. Absent before 0.8.
    #[serde(default)]
    pub users_expired: Option<u64>,
    /// Users with the status `limited`. Absent before 0.8.
    #[serde(default)]
    pub users_limited: Option<u64>,
    /// Bytes received by the panel's servers since their beginning.
    pub incoming_bandwidth: u64,
    /// Bytes sent by the panel's servers since their beginning.
    pub outgoing_bandwidth: u64,
    /// Bytes a second received by the host now.
    pub incoming_bandwidth_speed: u64,
    /// Bytes a second sent by the host now.
    pub outgoing_bandwidth_speed: u64,
}
