//! What an admin gives to create or to edit a user, an admin, a node or a template.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::node::FakeNodeStatus;
use super::protocol::{FakeProtocol, ProxiesInput};
use super::user::{FakeNextPlan, FakeStatus};

/// The tags of inbounds by protocol.
pub(crate) type Tags = BTreeMap<FakeProtocol, BTreeSet<String>>;

/// The fields of a user as an admin gives them; for most of them null and absent are the same, which is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the panel of this version reads these fields and no other"
)]
pub struct UserInput {
    /// The state.
    pub status: Option<FakeStatus>,
    /// The expiry in seconds of Unix time; 0 is unlimited.
    pub expire: Option<i64>,
    /// The traffic limit in bytes; 0 is unlimited.
    pub data_limit: Option<i64>,
    /// When the traffic starts anew.
    pub data_limit_reset_strategy: Option<String>,
    /// The free text.
    pub note: Option<String>,
    /// The seconds that an on-hold user gets with its first connection.
    pub on_hold_expire_duration: Option<i64>,
    /// When an on-hold user starts even without a connection.
    pub on_hold_timeout: Option<DateTime<Utc>>,
    /// The days after which the panel removes the expired user.
    pub auto_delete_in_days: Option<i64>,
    /// The plan that follows; an edit without it removes the plan.
    pub next_plan: Option<NextPlanInput>,
    /// The proxies.
    pub proxies: ProxiesInput,
    /// The inbounds; an absent field (`None`) differs from an empty object.
    pub inbounds: Option<BTreeMap<FakeProtocol, BTreeSet<String>>>,
}

/// A plan as an admin gives it: the panel's database needs a `data_limit`, its model does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the panel of this version reads these fields and no other"
)]
pub struct NextPlanInput {
    /// The new traffic limit in bytes.
    pub data_limit: Option<i64>,
    /// The new expiry in seconds of Unix time.
    pub expire: Option<i64>,
    /// Named the wrong way round by the panel: `false` adds the remainder of the old limit.
    pub add_remaining_traffic: bool,
    /// Whether one used-up limit is enough; otherwise both must be.
    pub fire_on_either: bool,
}

impl From<FakeNextPlan> for NextPlanInput {
    fn from(plan: FakeNextPlan) -> Self {
        Self {
            data_limit: Some(plan.data_limit),
            expire: plan.expire,
            add_remaining_traffic: plan.add_remaining_traffic,
            fire_on_either: plan.fire_on_either,
        }
    }
}

impl NextPlanInput {
    /// The plan that the database takes, if it takes one.
    pub(crate) fn complete(self) -> Option<FakeNextPlan> {
        Some(FakeNextPlan {
            data_limit: self.data_limit?,
            expire: self.expire,
            add_remaining_traffic: self.add_remaining_traffic,
            fire_on_either: self.fire_on_either,
        })
    }
}

/// The fields of an admin; an edit leaves what is `None`.
pub(crate) struct AdminInput {
    pub(crate) password: Option<String>,
    pub(crate) is_sudo: bool,
    pub(crate) telegram_id: Option<i64>,
    pub(crate) discord_webhook: Option<String>,
}

/// The fields of a node; an edit leaves what is `None`.
pub(crate) struct NodeInput {
    pub(crate) name: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) api_port: Option<i64>,
    pub(crate) usage_coefficient: Option<f64>,
    pub(crate) status: Option<FakeNodeStatus>,
}

/// The fields of a template; an edit leaves what is `None`.
pub(crate) struct TemplateInput {
    pub(crate) name: Option<String>,
    pub(crate) data_limit: Option<i64>,
    pub(crate) expire_duration: Option<i64>,
    pub(crate) username_prefix: Option<String>,
    pub(crate) username_suffix: Option<String>,
    pub(crate) inbounds: Tags,
}
