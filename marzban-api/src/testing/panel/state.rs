//! Everything that the fake panel remembers, without a thought of HTTP.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::testing::api::auth::Token;
use crate::testing::api::render::{UserJson, View, mix};
use crate::testing::api::request::RecordedRequest;
use crate::testing::api::user_body::{ProxiesBody, ProxyBody};
use crate::testing::panel::host::Hosts;
use crate::testing::panel::inbound::Core;
use crate::testing::panel::node::FakeNode;
use crate::testing::panel::notification::Webhooks;
use crate::testing::panel::template::Template;
use crate::testing::panel::usage;
use crate::testing::panel::user::{FakeProtocol, FakeUser, Proxy};
use crate::testing::wire::clock::PanelClock;
use crate::testing::wire::fault::FaultRule;
use crate::testing::wire::logs::Logs;

/// An admin of the fake panel.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::FakeAdmin;
///
/// let admin = FakeAdmin::new("root2", "pass-w0rd").sudo();
/// assert!(admin.is_sudo);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeAdmin {
    /// The name, which is case-sensitive.
    pub username: String,
    /// Whether the admin sees all users; otherwise only its own.
    pub is_sudo: bool,
    /// The id that the panel reports to on Telegram.
    pub telegram_id: Option<i64>,
    /// The webhook that the panel reports to on Discord.
    pub discord_webhook: Option<String>,
    /// The bytes that the admin's users used, which the panel counts on its own.
    pub users_usage: i64,
    pub(crate) is_from_environment: bool,
    /// `None` for an admin that cannot log in.
    pub(crate) password: Option<String>,
    /// Tokens issued before this are dead.
    pub(crate) password_reset_at: Option<DateTime<Utc>>,
}

impl FakeAdmin {
    /// Describes an admin that is not sudo: it sees and changes its own users only.
    ///
    /// See [`FakeAdmin`] for an example.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            is_sudo: false,
            telegram_id: None,
            discord_webhook: None,
            users_usage: 0,
            is_from_environment: false,
            password: Some(password.into()),
            password_reset_at: None,
        }
    }

    /// Makes the admin sudo: it sees and changes all users.
    ///
    /// See [`FakeAdmin`] for an example.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.is_sudo = true;
        self
    }

    /// The sudo admin that the panel takes from its environment: it has no row and owns nobody.
    pub(crate) fn from_environment(username: &str, password: &str) -> Self {
        Self {
            is_from_environment: true,
            ..Self::new(username, password).sudo()
        }
    }

    /// An admin that is known by name only, because a user names it as its owner.
    fn without_password(username: &str) -> Self {
        Self {
            password: None,
            ..Self::new(username, "")
        }
    }

    /// Whether this admin may read and change a user.
    pub(crate) fn may_manage(&self, user: &FakeUser) -> bool {
        self.is_sudo || user.owner.as_deref() == Some(&self.username)
    }
}

// The password and the webhook, whose URL is a secret too, are not shown.
impl fmt::Debug for FakeAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeAdmin")
            .field("username", &self.username)
            .field("is_sudo", &self.is_sudo)
            .finish_non_exhaustive()
    }
}

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
    ///
    /// See [`PanelState`] for an example.
    #[must_use]
    pub fn user(&self, username: &str) -> Option<&FakeUser> {
        self.users.iter().find(|user| user.username == username)
    }
}

pub(crate) struct World {
    pub(crate) users: BTreeMap<u64, FakeUser>,
    by_name: HashMap<String, u64>,
    /// Whether names that differ only in case are one.
    pub(crate) ignores_case: bool,
    next_id: u64,
    pub(crate) admins: Vec<FakeAdmin>,
    pub(crate) system: FakeSystem,
    pub(crate) clock: PanelClock,
    pub(crate) tokens: HashMap<String, Token>,
    /// `None` issues tokens without an end.
    pub(crate) token_lifetime: Option<TimeDelta>,
    pub(crate) faults: Vec<FaultRule>,
    pub(crate) log: Vec<RecordedRequest>,
    /// Counts the logs that were cleared, so that a late answer finds its request or nothing.
    pub(crate) log_generation: u64,
    /// The start of the subscription URLs.
    pub(crate) origin: String,
    /// The start of the process, which is what the panel's notifications call their time.
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) core: Core,
    pub(crate) hosts: Hosts,
    pub(crate) nodes: BTreeMap<u64, FakeNode>,
    pub(crate) templates: BTreeMap<u64, Template>,
    pub(crate) webhooks: Webhooks,
    pub(crate) logs: Logs,
    /// Tokens of the form that old versions issued, with user and time.
    pub(crate) legacy_tokens: HashMap<String, (String, DateTime<Utc>)>,
    seed: u64,
}

impl World {
    pub(crate) fn new(clock: PanelClock, admins: Vec<FakeAdmin>, token_lifetime: Option<TimeDelta>) -> Self {
        let core = Core::default();
        let mut hosts = Hosts::default();
        hosts.meet(&core.inbounds);
        Self {
            started_at: clock.now(),
            core,
            hosts,
            nodes: BTreeMap::new(),
            templates: BTreeMap::new(),
            webhooks: Webhooks::default(),
            logs: Logs::default(),
            legacy_tokens: HashMap::new(),
            users: BTreeMap::new(),
            by_name: HashMap::new(),
            ignores_case: false,
            next_id: 1,
            admins,
            system: FakeSystem::default(),
            clock,
            tokens: HashMap::new(),
            token_lifetime,
            faults: Vec::new(),
            log: Vec::new(),
            log_generation: 0,
            origin: String::new(),
            seed: 0,
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn snapshot(&self) -> PanelState {
        PanelState {
            now: self.now(),
            users: self.users.values().cloned().collect(),
            admins: self.admins.clone(),
            nodes: self.nodes.values().cloned().collect(),
            system: self.system.clone(),
        }
    }

    /// A number that was not given out before.
    pub(crate) fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// How the database compares a name.
    fn key<'n>(&self, username: &'n str) -> Cow<'n, str> {
        if self.ignores_case {
            Cow::Owned(username.to_lowercase())
        } else {
            Cow::Borrowed(username)
        }
    }

    pub(crate) fn id_of(&self, username: &str) -> Option<u64> {
        self.by_name.get(&*self.key(username)).copied()
    }

    pub(crate) fn user(&self, username: &str) -> Option<&FakeUser> {
        self.users.get(&self.id_of(username)?)
    }

    pub(crate) fn user_mut(&mut self, username: &str) -> Option<&mut FakeUser> {
        let id = self.id_of(username)?;
        self.users.get_mut(&id)
    }

    /// Adds a user at the end, or replaces the one of its name where that stands.
    pub(crate) fn insert(&mut self, mut user: FakeUser) {
        user.created_at.get_or_insert_with(|| self.clock.now());
        for protocol in std::mem::take(&mut user.wanted) {
            let proxy = self.new_proxy(protocol, ProxyBody::default());
            user.proxies.insert(protocol, proxy);
        }
        if let Some(owner) = &user.owner
            && self.admin(owner).is_none()
        {
            self.admins.push(FakeAdmin::without_password(owner));
        }
        let id = self.id_of(&user.username).unwrap_or(self.next_id);
        self.next_id = self.next_id.max(id + 1);
        self.by_name.insert(self.key(&user.username).into_owned(), id);
        self.users.insert(id, user);
    }

    pub(crate) fn remove(&mut self, username: &str) -> Option<FakeUser> {
        let key = self.key(username).into_owned();
        let id = self.by_name.remove(&key)?;
        self.users.remove(&id)
    }

    /// Finds an admin that has a row; the environment's has none and owns nobody.
    pub(crate) fn admin(&self, username: &str) -> Option<&FakeAdmin> {
        self.admins
            .iter()
            .find(|admin| !admin.is_from_environment && admin.username == username)
    }

    pub(crate) fn admin_mut(&mut self, username: &str) -> Option<&mut FakeAdmin> {
        self.admins
            .iter_mut()
            .find(|admin| !admin.is_from_environment && admin.username == username)
    }

    /// Removes an admin, whose tokens die and whose users stay behind ownerless.
    pub(crate) fn remove_admin(&mut self, username: &str) {
        self.admins
            .retain(|admin| admin.is_from_environment || admin.username != username);
        for user in self
            .users
            .values_mut()
            .filter(|user| user.owner.as_deref() == Some(username))
        {
            user.owner = None;
        }
    }

    pub(crate) fn render<'a>(&'a self, user: &'a FakeUser, seed: u64) -> UserJson<'a> {
        let owner = user.owner.as_deref().and_then(|owner| self.admin(owner));
        UserJson::new(user, owner, self.view(seed))
    }

    pub(crate) fn view(&self, seed: u64) -> View<'_> {
        View {
            origin: &self.origin,
            inbounds: &self.core.inbounds,
            hosts: &self.hosts,
            now: self.now(),
            seed,
        }
    }

    /// Ends the tries to reach nodes that the last request started.
    pub(crate) fn settle_nodes(&mut self) {
        self.nodes.values_mut().for_each(FakeNode::settle);
    }

    /// Books traffic of a user on the panel's own core, as the panel does every ten seconds.
    pub(crate) fn add_traffic(&mut self, username: &str, bytes: i64) -> bool {
        let now = self.now();
        let Some(user) = self.user_mut(username) else {
            return false;
        };
        user.used_traffic = user.used_traffic.saturating_add(bytes);
        user.online_at = Some(now);
        let booked = user.usage.entry((usage::hour(now), None)).or_default();
        *booked = booked.saturating_add(bytes);
        let owner = user.owner.clone();
        if let Some(owner) = owner.and_then(|owner| self.admin_mut(&owner)) {
            owner.users_usage = owner.users_usage.saturating_add(bytes);
        }
        self.system.outgoing_bandwidth = self.system.outgoing_bandwidth.saturating_add(bytes);
        true
    }

    /// Fills in what a body left to the panel: an id, a password, the plain flow, the default cipher.
    pub(crate) fn new_proxy(&mut self, protocol: FakeProtocol, body: ProxyBody) -> Proxy {
        let (first, second) = (mix(self.next_seed()), mix(self.next_seed()));
        let id = body.id.unwrap_or_else(|| uuid(first, second));
        let password = body
            .password
            .unwrap_or_else(|| format!("{first:016x}{:06x}", second >> 40));
        let flow = body.flow.unwrap_or_default();
        match protocol {
            FakeProtocol::Vmess => Proxy::Vmess { id },
            FakeProtocol::Vless => Proxy::Vless { id, flow },
            FakeProtocol::Trojan => Proxy::Trojan { password, flow },
            FakeProtocol::Shadowsocks => Proxy::Shadowsocks {
                password,
                method: body.method.unwrap_or_else(|| "chacha20-ietf-poly1305".to_owned()),
            },
        }
    }

    /// Makes the proxies of a body; a body without them makes none.
    pub(crate) fn new_proxies(&mut self, proxies: ProxiesBody) -> BTreeMap<FakeProtocol, Proxy> {
        match proxies {
            ProxiesBody::Omitted | ProxiesBody::Null => BTreeMap::new(),
            ProxiesBody::Given(given) => given
                .into_iter()
                .map(|(protocol, body)| (protocol, self.new_proxy(protocol, body)))
                .collect(),
        }
    }
}

/// A UUID of version 4 in form, though not in randomness.
fn uuid(first: u64, second: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        first >> 32,
        (first >> 16) & 0xffff,
        first & 0xfff,
        0x8000 | (second >> 48) & 0x3fff,
        second & 0xffff_ffff_ffff
    )
}
