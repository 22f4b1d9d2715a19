//! What the panel remembers, and how it finds it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::admin::FakeAdmin;
use super::host::Hosts;
use super::inbound::Inbounds;
use super::node::FakeNode;
use super::notification::Outbox;
use super::protocol::{FakeProtocol, Proxy, ProxyInput};
use super::random::{splitmix64, uuid};
use super::system::{FakeSystem, PanelState};
use super::template::Template;
use super::user::FakeUser;

/// The rules and the state of a panel, without a socket: what [`FakePanel`](crate::testing::FakePanel) serves.
///
/// Time is a value that [`set_now`](Self::set_now) sets. Operations are those of the routes, after a body was read
/// and its sender recognised.
///
/// # Examples
///
/// ```
/// use marzban_api::testing::panel::{NextPlanInput, Panel, ProxiesInput, Refusal, UserInput, UserQuery};
/// use marzban_api::testing::{FakeAdmin, FakeNextPlan, FakeProtocol, FakeStatus, FakeUser};
///
/// let mut panel = Panel::new("2025-09-15T00:00:00Z".parse()?);
/// panel.insert_admin(FakeAdmin::new("seller", "pass"));
/// let (root, seller) = (panel.admins()[0].clone(), panel.admins()[1].clone());
///
/// // What admins do.
/// let input = UserInput {
///     proxies: ProxiesInput::of([FakeProtocol::Vless]),
///     expire: Some(1_757_894_460),
///     ..UserInput::default()
/// };
/// panel.create_user(&seller, "alice", input)?;
/// panel.insert_user(FakeUser::new("boris"));
/// assert_eq!(panel.visible_user(&seller, "boris"), Err(Refusal::Forbidden));
/// assert_eq!(panel.list_users(&seller, &UserQuery::default())?.total, 1);
/// let plan = FakeNextPlan { data_limit: 5, expire: None, add_remaining_traffic: true, fire_on_either: true };
/// let input = UserInput { next_plan: Some(NextPlanInput::from(plan)), ..UserInput::default() };
/// panel.modify_user(&seller, "alice", input)?;
/// panel.set_owner("boris", "seller")?;
/// panel.revoke_subscription(&root, "boris")?;
///
/// // What time and jobs do: the plan that follows replaces the one that ended.
/// panel.set_now("2025-09-15T00:01:00Z".parse()?);
/// panel.review();
/// panel.reset_by_strategy();
/// panel.auto_delete();
/// panel.add_traffic("alice", 5);
/// panel.review();
/// assert_eq!(panel.user("alice").map(|alice| alice.status), Some(FakeStatus::Limited));
/// panel.reset_usage(&seller, "alice")?;
/// assert_eq!(panel.activate_next_plan("alice"), Err(Refusal::NoNextPlan));
/// panel.reset_usage_of_all(&root);
/// panel.delete_user(&seller, "alice")?;
/// assert!(panel.remove_user("boris").is_some());
/// assert_eq!(panel.users().count(), 0);
/// assert_eq!(panel.now(), "2025-09-15T00:01:00Z".parse::<chrono::DateTime<chrono::Utc>>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Panel {
    pub(crate) users: BTreeMap<u64, FakeUser>,
    by_name: HashMap<String, u64>,
    /// Whether names that differ only in case are one.
    pub(crate) ignores_case: bool,
    next_id: u64,
    pub(crate) admins: Vec<FakeAdmin>,
    pub(crate) system: FakeSystem,
    now: DateTime<Utc>,
    /// The start of the process, which is what the panel's notifications call their time.
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) inbounds: Inbounds,
    pub(crate) hosts: Hosts,
    pub(crate) nodes: BTreeMap<u64, FakeNode>,
    pub(crate) templates: BTreeMap<u64, Template>,
    pub(crate) outbox: Outbox,
    seed: u64,
}

impl Panel {
    /// Creates a panel at this time, with the environment's sudo admin `admin` and the default inbounds.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        let now = now.trunc_subsecs(6);
        let inbounds = Inbounds::default();
        let mut hosts = Hosts::default();
        hosts.meet(&inbounds);
        Self {
            users: BTreeMap::new(),
            by_name: HashMap::new(),
            ignores_case: false,
            next_id: 1,
            admins: vec![FakeAdmin::from_environment("admin", "admin")],
            system: FakeSystem::default(),
            now,
            started_at: now,
            inbounds,
            hosts,
            nodes: BTreeMap::new(),
            templates: BTreeMap::new(),
            outbox: Outbox::default(),
            seed: 0,
        }
    }

    /// Returns the panel's time.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Sets the panel's time; the panel stores microseconds, so no more are ever seen.
    pub fn set_now(&mut self, now: DateTime<Utc>) {
        self.now = now.trunc_subsecs(6);
    }

    /// Copies all that the panel holds.
    pub(crate) fn snapshot(&self) -> PanelState {
        PanelState {
            now: self.now,
            users: self.users.values().cloned().collect(),
            admins: self.admins.clone(),
            nodes: self.nodes.values().cloned().collect(),
            system: self.system.clone(),
        }
    }

    /// Returns the admins, the environment's first.
    #[must_use]
    pub fn admins(&self) -> &[FakeAdmin] {
        &self.admins
    }

    /// Returns the users in the order of their insertion.
    pub fn users(&self) -> impl Iterator<Item = &FakeUser> {
        self.users.values()
    }

    /// Finds a user by its name.
    #[must_use]
    pub fn user(&self, username: &str) -> Option<&FakeUser> {
        self.users.get(&self.id_of(username)?)
    }

    pub(crate) fn user_mut(&mut self, username: &str) -> Option<&mut FakeUser> {
        let id = self.id_of(username)?;
        self.users.get_mut(&id)
    }

    /// Adds a user behind all others, or replaces the user of its name in place.
    pub fn insert_user(&mut self, mut user: FakeUser) {
        user.created_at.get_or_insert(self.now);
        for protocol in std::mem::take(&mut user.wanted) {
            let proxy = self.new_proxy(protocol, &ProxyInput::default());
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

    /// Removes a user without the quirks of [`delete_user`](Self::delete_user), and returns it.
    pub fn remove_user(&mut self, username: &str) -> Option<FakeUser> {
        let key = self.key(username).into_owned();
        let id = self.by_name.remove(&key)?;
        self.users.remove(&id)
    }

    /// Adds an admin, or replaces the one of its name.
    pub fn insert_admin(&mut self, admin: FakeAdmin) {
        self.admins
            .retain(|known| known.is_from_environment || known.username != admin.username);
        self.admins.push(admin);
    }

    /// Finds an admin that has a row; the environment's has none and owns no user.
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

    pub(crate) fn owner_of(&self, user: &FakeUser) -> Option<&FakeAdmin> {
        user.owner.as_deref().and_then(|owner| self.admin(owner))
    }

    /// Returns a number that was not given out before.
    pub(crate) fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    pub(crate) fn id_of(&self, username: &str) -> Option<u64> {
        self.by_name.get(&*self.key(username)).copied()
    }

    /// How the database compares a name.
    fn key<'n>(&self, username: &'n str) -> Cow<'n, str> {
        if self.ignores_case {
            Cow::Owned(username.to_lowercase())
        } else {
            Cow::Borrowed(username)
        }
    }

    /// Fills in what an admin left to the panel: an id, a password, the plain flow, the default cipher.
    pub(crate) fn new_proxy(&mut self, protocol: FakeProtocol, input: &ProxyInput) -> Proxy {
        let (first, second) = (splitmix64(self.next_seed()), splitmix64(self.next_seed()));
        let id = || input.id.clone().unwrap_or_else(|| uuid(first, second));
        let password = || {
            let made = || format!("{first:016x}{:06x}", second >> 40);
            input.password.clone().unwrap_or_else(made)
        };
        let flow = || input.flow.clone().unwrap_or_default();
        let method = || {
            let default = || "chacha20-ietf-poly1305".to_owned();
            input.method.clone().unwrap_or_else(default)
        };
        match protocol {
            FakeProtocol::Vmess => Proxy::Vmess { id: id() },
            FakeProtocol::Vless => Proxy::Vless {
                id: id(),
                flow: flow(),
            },
            FakeProtocol::Trojan => Proxy::Trojan {
                password: password(),
                flow: flow(),
            },
            FakeProtocol::Shadowsocks => Proxy::Shadowsocks {
                password: password(),
                method: method(),
            },
        }
    }
}
