use serde::Deserialize;

/// The state of the panel's own Xray core.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// let core = client.core().stats().await?;
/// println!("Xray {} runs: {}", core.version, core.started);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CoreStats {
    /// The version of Xray, such as `1.8.24`.
    pub version: String,
    /// Whether the core is running.
    pub started: bool,
    /// The path of the log's websocket.
    #[serde(default)]
    pub logs_websocket: Option<String>,
}
