//! One user of the fake panel, and what a panel keeps of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::inbound::Inbound;
use super::protocol::{FakeProtocol, Proxy};

/// The first second, as Unix time, that Python's `datetime` cannot hold: the year 10000.
pub(crate) const YEAR_10000: i64 = 253_402_300_800;

/// The first second that it can hold: the year 1.
const YEAR_1: i64 = -62_135_596_800;

/// Where traffic went: the panel's own core is `None`.
pub(crate) type NodeId = Option<u64>;

/// The bytes of a user by hour and node.
pub(crate) type Usage = BTreeMap<(DateTime<Utc>, NodeId), i64>;

/// What the panel has reminded of already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reminded {
    pub(crate) usage: bool,
    pub(crate) days: bool,
}

/// The five states that a user can have.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::FakeStatus;
///
/// assert_eq!(FakeStatus::ALL.len(), 5);
/// assert_eq!(FakeStatus::OnHold.as_str(), "on_hold");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the panel of this version has these five states and no other"
)]
pub enum FakeStatus {
    /// The user may connect.
    Active,
    /// An admin disabled the user.
    Disabled,
    /// The traffic limit was reached.
    Limited,
    /// The time ran out.
    Expired,
    /// The time starts with the first connection.
    OnHold,
}

impl FakeStatus {
    /// All states, in the order in which the panel's messages list them.
    pub const ALL: [Self; 5] = [
        Self::Active,
        Self::Disabled,
        Self::Limited,
        Self::Expired,
        Self::OnHold,
    ];

    /// Returns the name on the wire, such as `on_hold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Limited => "limited",
            Self::Expired => "expired",
            Self::OnHold => "on_hold",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for FakeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The plan that replaces a user's limits when they are used up.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::{FakeNextPlan, FakeUser};
///
/// let plan = FakeNextPlan { data_limit: 1 << 30, expire: None, add_remaining_traffic: true, fire_on_either: true };
/// assert_eq!(FakeUser::new("alice").next_plan(plan).next_plan, Some(plan));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the panel of this version has these four fields and no other"
)]
pub struct FakeNextPlan {
    /// The new traffic limit in bytes.
    pub data_limit: i64,
    /// The new expiry in seconds of Unix time, which the panel copies as it is.
    pub expire: Option<i64>,
    /// Named the wrong way round by the panel: `false` adds the remainder of the old limit.
    pub add_remaining_traffic: bool,
    /// Whether one used-up limit is enough; otherwise both must be.
    pub fire_on_either: bool,
}

/// A user of the fake panel: built with methods, looked at and edited through its fields.
///
/// ```
/// use marzban_api::testing::{FakeNextPlan, FakeProtocol, FakeStatus, FakeUser};
///
/// let plan = FakeNextPlan { data_limit: 1 << 30, expire: None, add_remaining_traffic: true, fire_on_either: true };
/// let user = FakeUser::new("alice")
///     .status(FakeStatus::Limited)
///     .expire(1_757_894_400)
///     .data_limit(2_048)
///     .used_traffic(2_048)
///     .note("paid in cash")
///     .created_at("2025-08-15T00:00:00Z".parse()?)
///     .online_at("2025-09-01T00:00:00Z".parse().ok())
///     .next_plan(plan)
///     .owner(Some("seller"))
///     .protocols([FakeProtocol::Vless, FakeProtocol::Trojan]);
/// assert_eq!((user.username.as_str(), user.owner.as_deref()), ("alice", Some("seller")));
/// assert_eq!(user.data_limit, Some(2_048));
///
/// assert_eq!(FakeUser::new("boris").on_hold(86_400).status, FakeStatus::OnHold);
/// assert!(FakeUser::new("clara").poison().poisoned);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeUser {
    /// The name, which is case-sensitive and never changes.
    pub username: String,
    /// The state that the panel reports; it follows the limits only at a review.
    pub status: FakeStatus,
    /// The expiry in seconds of Unix time; `None` is unlimited.
    pub expire: Option<i64>,
    /// The traffic limit in bytes; `None` is unlimited.
    pub data_limit: Option<i64>,
    /// When the traffic starts anew: `no_reset`, `day`, `week`, `month` or `year`.
    pub data_limit_reset_strategy: String,
    /// The bytes used since the last reset.
    pub used_traffic: i64,
    /// The bytes used before the last reset; the panel reports this and `used_traffic` as the lifetime's.
    pub earlier_traffic: i64,
    /// The free text.
    pub note: Option<String>,
    /// When the user was last connected.
    pub online_at: Option<DateTime<Utc>>,
    /// When the user was created; `None` only until the user is inserted, which takes the panel's clock.
    pub created_at: Option<DateTime<Utc>>,
    /// When the user was last edited through the API; the panel does not show it.
    pub edit_at: Option<DateTime<Utc>>,
    /// When an app last fetched the subscription.
    pub sub_updated_at: Option<DateTime<Utc>>,
    /// The app that last fetched the subscription.
    pub sub_last_user_agent: Option<String>,
    /// The seconds that an on-hold user gets with its first connection.
    pub on_hold_expire_duration: Option<i64>,
    /// When an on-hold user starts even without a connection.
    pub on_hold_timeout: Option<DateTime<Utc>>,
    /// The days after which the panel removes the expired user.
    pub auto_delete_in_days: Option<i64>,
    /// The plan that follows.
    pub next_plan: Option<FakeNextPlan>,
    /// The admin that owns the user; `None` for users of the environment's admin, which owns none.
    pub owner: Option<String>,
    /// Whether the panel fails to render this user, and with it every page that holds it.
    pub poisoned: bool,
    /// When the state last changed; what is edited through the fields does not set it.
    pub last_status_change: Option<DateTime<Utc>>,
    /// When the traffic was last started anew.
    pub last_reset_at: Option<DateTime<Utc>>,
    /// Subscription URLs issued before this are dead.
    pub sub_revoked_at: Option<DateTime<Utc>>,
    pub(crate) usage: Usage,
    pub(crate) reminded: Reminded,
    pub(crate) proxies: BTreeMap<FakeProtocol, Proxy>,
    pub(crate) excluded: BTreeMap<FakeProtocol, BTreeSet<String>>,
    /// Protocols whose credentials are made at insertion.
    pub(crate) wanted: Vec<FakeProtocol>,
}

impl FakeUser {
    /// Describes an active, unlimited, ownerless user with VLESS and all its inbounds.
    #[must_use]
    pub fn new(username: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            status: FakeStatus::Active,
            expire: None,
            data_limit: None,
            data_limit_reset_strategy: "no_reset".to_owned(),
            used_traffic: 0,
            earlier_traffic: 0,
            note: None,
            online_at: None,
            created_at: None,
            edit_at: None,
            sub_updated_at: None,
            sub_last_user_agent: None,
            on_hold_expire_duration: None,
            on_hold_timeout: None,
            auto_delete_in_days: None,
            next_plan: None,
            owner: None,
            poisoned: false,
            last_status_change: None,
            last_reset_at: None,
            sub_revoked_at: None,
            usage: Usage::new(),
            reminded: Reminded::default(),
            proxies: BTreeMap::new(),
            excluded: BTreeMap::new(),
            wanted: vec![FakeProtocol::Vless],
        }
    }

    /// Sets the state.
    #[must_use]
    pub fn status(mut self, status: FakeStatus) -> Self {
        self.status = status;
        self
    }

    /// Sets the expiry: seconds of Unix time, or `None` for unlimited.
    #[must_use]
    pub fn expire(mut self, expire: impl Into<Option<i64>>) -> Self {
        self.expire = expire.into();
        self
    }

    /// Sets the traffic limit: bytes, or `None` for unlimited.
    #[must_use]
    pub fn data_limit(mut self, data_limit: impl Into<Option<i64>>) -> Self {
        self.data_limit = data_limit.into();
        self
    }

    /// Sets the bytes used since the last reset.
    #[must_use]
    pub fn used_traffic(mut self, used_traffic: i64) -> Self {
        self.used_traffic = used_traffic;
        self
    }

    /// Sets the free text.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Sets the last connection.
    #[must_use]
    pub fn online_at(mut self, online_at: impl Into<Option<DateTime<Utc>>>) -> Self {
        self.online_at = online_at.into();
        self
    }

    /// Sets the creation, which is otherwise the time of insertion.
    #[must_use]
    pub fn created_at(mut self, created_at: DateTime<Utc>) -> Self {
        self.created_at = Some(created_at);
        self
    }

    /// Puts the user on hold with this many seconds from its first connection.
    #[must_use]
    pub fn on_hold(mut self, seconds: i64) -> Self {
        self.status = FakeStatus::OnHold;
        self.on_hold_expire_duration = Some(seconds);
        self
    }

    /// Sets the plan that follows.
    #[must_use]
    pub fn next_plan(mut self, plan: FakeNextPlan) -> Self {
        self.next_plan = Some(plan);
        self
    }

    /// Sets the owning admin; one that the panel does not know is added to it, without a password.
    #[must_use]
    pub fn owner(mut self, owner: Option<&str>) -> Self {
        self.owner = owner.map(str::to_owned);
        self
    }

    /// Sets the protocols, each with all its inbounds.
    #[must_use]
    pub fn protocols(mut self, protocols: impl IntoIterator<Item = FakeProtocol>) -> Self {
        self.wanted = protocols.into_iter().collect();
        self
    }

    /// Makes the user unrenderable: the panel answers 500 wherever it would have to show it.
    #[must_use]
    pub fn poison(mut self) -> Self {
        self.poisoned = true;
        self
    }

    /// Moves the user to a state, and notes when it was another before.
    pub(crate) fn switch(&mut self, status: FakeStatus, now: DateTime<Utc>) {
        if self.status != status {
            self.status = status;
            self.last_status_change = Some(now);
        }
    }

    pub(crate) fn is_owned_by(&self, admin: &str) -> bool {
        self.owner.as_deref() == Some(admin)
    }

    /// Whether the user has the protocol of an inbound, but not this inbound.
    pub(crate) fn excludes(&self, inbound: &Inbound) -> bool {
        self.excluded
            .get(&inbound.protocol)
            .is_some_and(|tags| tags.contains(&inbound.tag))
    }

    /// Whether a subscription token of this time opens the user: it must be issued neither before the user was created
    /// nor before its subscription was revoked.
    pub(crate) fn accepts_token_of(&self, issued_at: DateTime<Utc>) -> bool {
        let is_newer = |time: Option<DateTime<Utc>>| time.is_some_and(|time| time > issued_at);
        !is_newer(self.created_at) && !is_newer(self.sub_revoked_at)
    }

    /// Moves the traffic into the lifetime's sum, which no longer knows when and where it went.
    fn forget_traffic(&mut self) {
        self.earlier_traffic = self.earlier_traffic.saturating_add(self.used_traffic);
        self.used_traffic = 0;
        self.usage.clear();
    }

    /// Resets the traffic; the next plan is lost.
    pub(crate) fn reset_traffic(&mut self, now: DateTime<Utc>) {
        self.forget_traffic();
        self.next_plan = None;
        self.last_reset_at = Some(now);
    }

    /// Replaces the limits by those of the next plan, which is then gone.
    pub(crate) fn apply_next_plan(&mut self) {
        let Some(plan) = self.next_plan.take() else {
            return;
        };
        // Named the wrong way round: the remainder, which may be negative, is added when the flag is off.
        let remainder = self.data_limit.unwrap_or(0).saturating_sub(self.used_traffic);
        let added = if plan.add_remaining_traffic { 0 } else { remainder };
        self.data_limit = Some(plan.data_limit.saturating_add(added));
        self.expire = plan.expire;
        self.forget_traffic();
    }

    /// Whether the panel can render the user.
    ///
    /// Marzban 0.8.4 fails at a user without proxies and at an expiry outside the years 1 to 9999.
    pub(crate) fn is_presentable(&self) -> bool {
        let is_date = |expire: i64| (YEAR_1..YEAR_10000).contains(&expire);
        !self.poisoned && !self.proxies.is_empty() && self.expire.is_none_or(is_date)
    }
}
