//! Where and when a user is shown.

use chrono::{DateTime, Utc};

use crate::testing::panel::host::Hosts;
use crate::testing::panel::inbound::Inbounds;

/// What the rendering of a user depends on besides the user.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// What stands before the token of a subscription URL.
    pub(crate) subscription_base: &'a str,
    pub(crate) inbounds: &'a Inbounds,
    pub(crate) hosts: &'a Hosts,
    pub(crate) now: DateTime<Utc>,
    /// A number that differs with every reading.
    pub(crate) seed: u64,
}
