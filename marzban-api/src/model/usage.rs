use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::request::Request;

/// The range of time in which traffic is counted.
///
/// By default it starts 30 days ago and ends now. The panel counts in hours.
///
/// # Examples
///
/// ```
/// use marzban_api::model::UsageRange;
///
/// let start = "2025-09-01T00:00:00Z".parse().expect("a time");
/// let end = "2025-10-01T00:00:00Z".parse().expect("a time");
/// assert_eq!(UsageRange::between(start, end).end, Some(end));
/// assert_eq!(UsageRange::since(start), UsageRange { start: Some(start), end: None });
/// assert_eq!(UsageRange::last_30_days(), UsageRange::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageRange {
    /// The start, in UTC.
    pub start: Option<DateTime<Utc>>,
    /// The end, in UTC.
    pub end: Option<DateTime<Utc>>,
}

impl UsageRange {
    /// The last 30 days, the panel's own default.
    #[must_use]
    pub fn last_30_days() -> Self {
        Self::default()
    }

    /// From `start` to now.
    #[must_use]
    pub fn since(start: DateTime<Utc>) -> Self {
        Self {
            start: Some(start),
            end: None,
        }
    }

    /// From `start` to `end`.
    #[must_use]
    pub fn between(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self {
            start: Some(start),
            end: Some(end),
        }
    }

    /// Adds this range to a query. The offset is written out, because the panel takes a time without one as local.
    pub(crate) fn query(self, request: Request) -> Request {
        [("start", self.start), ("end", self.end)]
            .into_iter()
            .fold(request, |request, (key, instant)| match instant {
                Some(instant) => request.query(key, &instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
                None => request,
            })
    }
}

/// The traffic of one node.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::model::UsageRange;
///
/// for node in client.nodes().usage(UsageRange::last_30_days()).await? {
///     println!("{}: {} bytes", node.node_name, node.uplink + node.downlink);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct NodeUsage {
    /// The node; `None` for the panel's own core.
    #[serde(default)]
    pub node_id: Option<i64>,
    /// The node's name; `Master` for the panel's own core.
    pub node_name: String,
    /// Bytes received from users.
    pub uplink: u64,
    /// Bytes sent to users.
    pub downlink: u64,
}

/// The traffic of a user through one node.
///
/// # Examples
///
/// ```no_run
/// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
/// use marzban_api::model::UsageRange;
///
/// for node in client.users().usage("alice", UsageRange::last_30_days()).await? {
///     println!("{}: {} bytes", node.node_name, node.used_traffic);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserUsage {
    /// The node; `None` for the panel's own core.
    #[serde(default)]
    pub node_id: Option<i64>,
    /// The node's name; `Master` for the panel's own core.
    pub node_name: String,
    /// Bytes, in both directions.
    pub used_traffic: u64,
}
