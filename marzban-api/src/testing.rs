//! A Marzban panel for tests: stateful, on loopback, without Python, Xray or a database.
//!
//! A mock answers what a test told it to answer, and so agrees with every misunderstanding of the panel.
//! [`FakePanel`] instead *behaves*, as Marzban 0.8.4 on SQLite was observed to: it keeps users and admins, issues
//! tokens, filters, sorts and pages, moves users between states, and has the same quirks, such as a 500 for the
//! successful deletion of an ownerless user.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use marzban_api::testing::{FakePanel, FakeStatus, FakeUser, Fault};
//!
//! let panel = FakePanel::start().await;
//! panel.insert_user(FakeUser::new("alice").expire(1_757_894_400));
//! panel.set_now("2025-09-15T00:00:00Z".parse()?);
//! panel.review();
//! assert_eq!(panel.user("alice").map(|user| user.status), Some(FakeStatus::Expired));
//!
//! // The next two lists meet a proxy whose panel is down.
//! panel.inject(Fault::HtmlBody(502).times(2).path("/api/users"));
//! println!("log in as admin/admin at {}", panel.url());
//! # Ok(())
//! # }
//! ```
//!
//! # Routes
//! All of the panel: admins, users, templates, nodes, hosts, inbounds, core, system, subscriptions and, as
//! websockets, logs. Behind them
//! is no Xray and no machine: a node that came over the API cannot be reached, the configuration of the core is
//! checked as far as the panel checks it, and a subscription holds what an app needs to be tested with.
//! Jobs run on demand: [`FakePanel::review`], [`FakePanel::reset_by_strategy`], [`FakePanel::auto_delete`] and
//! [`FakePanel::send_notifications`].
//!
//! # The wire
//! After a 500 the connection is closed without a `connection: close`, as uvicorn does. Unlike uvicorn, the fake
//! keeps an idle connection open for longer than five seconds. The signature of its tokens is no HMAC: a token is
//! valid because the fake remembers it.

mod admin;
mod answer;
mod auth;
mod body;
mod call;
mod clock;
mod control;
mod edit;
mod expired;
mod fault;
mod fields;
mod host;
mod inbound;
mod list;
mod logs;
mod moment;
mod node;
mod operation;
mod populate;
mod reading;
mod render;
mod review;
mod route;
mod server;
mod share;
mod state;
mod subscription;
mod syntax;
mod template;
mod token;
mod usage;
mod user;
mod webhook;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use call::RecordedRequest;
pub use fault::{Fault, FaultRule};
pub use node::{FakeNode, FakeNodeStatus};
pub use reading::{read_summaries, read_users};
pub use state::{FakeAdmin, FakeSystem, PanelState};
pub use user::{FakeNextPlan, FakeProtocol, FakeStatus, FakeUser};

use clock::PanelClock;
use server::Shared;
use state::World;
use webhook::Webhooks;

/// A running panel on loopback; clones are handles of the same one, and it stops with the last of them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use marzban_api::Client;
/// use marzban_api::testing::{FakeAdmin, FakePanel, FakeStatus, FakeUser, Fault};
///
/// let panel = FakePanel::start().await;
/// let client = Client::builder(&panel.url()).credentials("admin", "admin").build()?;
///
/// // Users, behind the back of the panel's API.
/// panel.insert_user(FakeUser::new("alice").expire(1_757_894_400).data_limit(1_000));
/// panel.populate(3);
/// panel.update_user("alice", |alice| alice.note = Some("vip".to_owned()));
/// panel.add_traffic("alice", 7);
/// assert_eq!(client.users().get("alice").await?.used_traffic, 7);
/// assert!(panel.remove_user("user_00001").is_some());
/// assert_eq!(panel.state().users.len(), 3);
///
/// // Subscriptions, a second later: the older of the two tokens knows whole seconds only.
/// panel.advance(Duration::from_secs(1));
/// for token in [panel.subscription_token("alice"), panel.legacy_subscription_token("alice")] {
///     assert_eq!(client.subscription(token).info().await?.username, "alice");
/// }
///
/// // Time, and the jobs of the panel.
/// panel.set_now("2025-09-14T23:59:59Z".parse()?);
/// panel.advance(Duration::from_secs(1));
/// panel.review();
/// panel.reset_by_strategy();
/// panel.auto_delete();
/// assert_eq!(panel.user("alice").map(|alice| alice.status), Some(FakeStatus::Expired));
/// assert_eq!(panel.send_notifications().await, None, "there is no address to notify");
///
/// // Administrators and tokens.
/// panel.insert_admin(FakeAdmin::new("seller", "pass"));
/// panel.set_password("seller", "another");
/// panel.remove_admin("seller");
/// panel.revoke_tokens();
///
/// // What goes wrong, and what was asked.
/// panel.inject(Fault::Status(503).once());
/// panel.clear_faults();
/// panel.clear_requests();
/// client.users().get("alice").await?;
/// assert_eq!((panel.count("GET", "/api/user/alice"), panel.count("POST", "/api/admin/token")), (2, 1));
/// assert_eq!(panel.requests().len(), 3);
/// panel.clear_hooks();
///
/// // The machine, its nodes and its log.
/// panel.update_system(|system| system.cpu_usage = 99.0);
/// assert!(panel.update_node(1, |node| node.is_reachable = true).is_none(), "there is no node");
/// panel.write_log("a line of the core");
///
/// panel.shutdown().await;
/// assert!(client.users().get("alice").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakePanel {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Mutex<JoinHandle<()>>,
}

impl Inner {
    fn stop(&self) {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).abort();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for FakePanel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakePanel")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

/// What a fake panel starts with.
///
/// By default that is the sudo admin `admin` with the password `admin`, no user, tokens for a day, the machine's
/// clock and a free port.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use marzban_api::testing::{FakeAdmin, FakePanel, FakeSystem, FakeUser};
///
/// let panel = FakePanel::builder()
///     .port(0)
///     .now("2025-09-15T00:00:00Z".parse()?)
///     .environment_admin("root", "pass-w0rd")
///     .admin(FakeAdmin::new("seller", "pass"))
///     .users([FakeUser::new("alice").owner(Some("seller"))])
///     .ignore_case()
///     .system(FakeSystem::default())
///     .token_lifetime(Some(Duration::from_secs(600)))
///     .webhook("http://127.0.0.1:9/hook")
///     .webhook_secret("s3cr3t")
///     .start()
///     .await?;
/// let state = panel.state();
/// assert_eq!(state.admins.iter().map(|admin| admin.username.as_str()).collect::<Vec<_>>(), ["root", "seller"]);
/// assert!(state.user("alice").is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FakePanelBuilder {
    port: u16,
    clock: PanelClock,
    admins: Vec<FakeAdmin>,
    users: Vec<FakeUser>,
    system: FakeSystem,
    token_lifetime: Option<Duration>,
    webhooks: Webhooks,
    ignores_case: bool,
}

impl Default for FakePanelBuilder {
    fn default() -> Self {
        Self {
            port: 0,
            clock: PanelClock::Running {
                ahead: TimeDelta::zero(),
            },
            admins: vec![FakeAdmin::from_environment("admin", "admin")],
            users: Vec::new(),
            system: FakeSystem::default(),
            token_lifetime: Some(Duration::from_hours(24)),
            webhooks: Webhooks::default(),
            ignores_case: false,
        }
    }
}

impl FakePanelBuilder {
    /// Listens on this port of loopback instead of a free one.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts with a clock that stands still at this time; see [`FakePanel::set_now`].
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn now(mut self, now: DateTime<Utc>) -> Self {
        self.clock = PanelClock::Frozen(now);
        self
    }

    /// Replaces name and password of the sudo admin that a real panel takes from its environment.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn environment_admin(mut self, username: &str, password: &str) -> Self {
        self.admins.retain(|admin| !admin.is_from_environment);
        self.admins
            .insert(0, FakeAdmin::from_environment(username, password));
        self
    }

    /// Adds an admin.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn admin(mut self, admin: FakeAdmin) -> Self {
        self.admins.push(admin);
        self
    }

    /// Adds users.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn users(mut self, users: impl IntoIterator<Item = FakeUser>) -> Self {
        self.users.extend(users);
        self
    }

    /// Sets the figures of the machine.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn system(mut self, system: FakeSystem) -> Self {
        self.system = system;
        self
    }

    /// Sets for how long a token is valid by the panel's clock; `None` issues tokens that do not expire.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Adds an address that is notified; see [`FakePanel::send_notifications`].
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn webhook(mut self, address: impl Into<String>) -> Self {
        self.webhooks.addresses.push(address.into());
        self
    }

    /// Sets the secret that every notification carries.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn webhook_secret(mut self, secret: impl Into<String>) -> Self {
        self.webhooks.secret = Some(secret.into());
        self
    }

    /// Finds a user whatever the case of its name, as a panel on MySQL does; on SQLite names that differ in
    /// case are two users.
    ///
    /// See [`FakePanelBuilder`] for an example.
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.ignores_case = true;
        self
    }

    /// Starts the panel on the current Tokio runtime.
    ///
    /// See [`FakePanelBuilder`] for an example.
    ///
    /// # Errors
    /// The port is taken or may not be listened on.
    ///
    /// # Cancel safety
    /// A start that is cancelled leaves nothing behind.
    ///
    /// # Panics
    /// There is no Tokio runtime with I/O.
    pub async fn start(self) -> io::Result<FakePanel> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let address = listener.local_addr()?;
        let mut world = World::new(self.clock, self.admins, self.token_lifetime.map(delta));
        world.origin = format!("http://{address}");
        world.system = self.system;
        world.webhooks = self.webhooks;
        world.ignores_case = self.ignores_case;
        for user in self.users {
            world.insert(user);
        }
        let shared = Arc::new(Shared::new(world));
        let inner = Arc::new_cyclic(|panel| {
            let server = tokio::spawn(server::serve(listener, Arc::clone(&shared), Weak::clone(panel)));
            Inner {
                shared,
                address,
                server: Mutex::new(server),
            }
        });
        Ok(FakePanel { inner })
    }
}

impl FakePanel {
    /// Starts a panel with the defaults of [`FakePanelBuilder`] on a free port.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Cancel safety
    /// A start that is cancelled leaves nothing behind.
    ///
    /// # Panics
    /// There is no Tokio runtime with I/O, or loopback has no free port.
    #[expect(
        clippy::expect_used,
        reason = "a test without a free port cannot go on, and should say so at once"
    )]
    pub async fn start() -> Self {
        Self::builder().start().await.expect("loopback has a free port")
    }

    /// Describes a panel that starts with something else than the defaults.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn builder() -> FakePanelBuilder {
        FakePanelBuilder::default()
    }

    /// Returns the URL, such as `http://127.0.0.1:40123`, without a slash at the end.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// Stops the panel for all its handles: when this returns, its port refuses connections.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Cancel safety
    /// The panel stops even if the wait for its end is cancelled.
    pub async fn shutdown(&self) {
        self.inner.stop();
        // The port is closed by the drop of the server, which the runtime does at its next step.
        while !self
            .inner
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_finished()
        {
            tokio::task::yield_now().await;
        }
    }

    /// Returns a copy of the state.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn state(&self) -> PanelState {
        self.inner.shared.world().snapshot()
    }

    /// Returns a copy of a user, found by its exact name.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn user(&self, username: &str) -> Option<FakeUser> {
        self.inner.shared.world().user(username).cloned()
    }

    /// Adds a user behind all others, or replaces the one of its name where that stands.
    ///
    /// See [`FakePanel`] for an example.
    pub fn insert_user(&self, user: FakeUser) {
        self.inner.shared.world().insert(user);
    }

    /// Edits a user as a job of the panel or its database would: without any side effect, and at once.
    ///
    /// The name stays, whatever the closure makes of it.
    /// The closure runs while the state is locked and must not call the panel.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Panics
    /// There is no such user.
    #[expect(
        clippy::panic,
        reason = "an edit of nobody is a mistake in the test, which must not pass unseen"
    )]
    pub fn update_user(&self, username: &str, edit: impl FnOnce(&mut FakeUser)) {
        let mut world = self.inner.shared.world();
        let Some(user) = world.user_mut(username) else {
            panic!("the fake panel has no user {username:?}")
        };
        edit(user);
        username.clone_into(&mut user.username);
    }

    /// Removes a user, without the quirks of the route, and returns it.
    ///
    /// See [`FakePanel`] for an example.
    #[expect(clippy::must_use_candidate, reason = "the removal is the purpose")]
    pub fn remove_user(&self, username: &str) -> Option<FakeUser> {
        self.inner.shared.world().remove(username)
    }

    /// Adds `count` users named `user_00001` and so on, the same for the same clock: a mix of all states, with
    /// four links and about two kilobytes each.
    ///
    /// See [`FakePanel`] for an example.
    pub fn populate(&self, count: usize) {
        let mut world = self.inner.shared.world();
        let now = world.now();
        for (number, _) in (1..).zip(0..count) {
            world.insert(populate::user(number, now));
        }
    }

    /// Adds an admin, or replaces the one of its name.
    ///
    /// See [`FakePanel`] for an example.
    pub fn insert_admin(&self, admin: FakeAdmin) {
        let mut world = self.inner.shared.world();
        world
            .admins
            .retain(|known| known.is_from_environment || known.username != admin.username);
        world.admins.push(admin);
    }

    /// Removes an admin: its tokens die, and its users stay behind ownerless.
    ///
    /// See [`FakePanel`] for an example.
    pub fn remove_admin(&self, username: &str) {
        self.inner.shared.world().remove_admin(username);
    }

    /// Changes the password of an admin, which kills the tokens issued to it so far.
    ///
    /// The issue time of a token has no fraction of a second, so one issued later in this same second by the
    /// panel's clock is dead too. Tokens of the environment's admin survive.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Panics
    /// There is no such admin.
    #[expect(
        clippy::panic,
        reason = "an edit of nobody is a mistake in the test, which must not pass unseen"
    )]
    pub fn set_password(&self, username: &str, password: &str) {
        let mut world = self.inner.shared.world();
        let now = world.now();
        let Some(admin) = world.admins.iter_mut().find(|admin| admin.username == username) else {
            panic!("the fake panel has no admin {username:?}")
        };
        admin.password = Some(password.to_owned());
        admin.password_reset_at = Some(now);
    }

    /// Makes all tokens issued so far invalid.
    ///
    /// See [`FakePanel`] for an example.
    pub fn revoke_tokens(&self) {
        self.inner.shared.world().tokens.clear();
    }

    /// Edits the figures of the machine.
    ///
    /// The closure runs while the state is locked and must not call the panel.
    ///
    /// See [`FakePanel`] for an example.
    pub fn update_system(&self, edit: impl FnOnce(&mut FakeSystem)) {
        edit(&mut self.inner.shared.world().system);
    }

    /// Breaks requests to come: a [`Fault`] alone the next one, a [`FaultRule`] those that it describes.
    ///
    /// One request meets one fault at most, that of the oldest rule that matches it.
    ///
    /// See [`FakePanel`] for an example.
    pub fn inject(&self, rule: impl Into<FaultRule>) {
        self.inner.shared.world().faults.push(rule.into());
    }

    /// Forgets all faults that were not used up.
    ///
    /// See [`FakePanel`] for an example.
    pub fn clear_faults(&self) {
        self.inner.shared.world().faults.clear();
    }

    /// Returns the requests that arrived so far, in the order of their arrival.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner.shared.world().log.clone()
    }

    /// Counts the requests of a method to exactly this path, as it was sent.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn count(&self, method: &str, path: &str) -> usize {
        let world = self.inner.shared.world();
        world
            .log
            .iter()
            .filter(|request| request.method == method && request.path == path)
            .count()
    }

    /// Forgets the requests that arrived so far.
    ///
    /// See [`FakePanel`] for an example.
    pub fn clear_requests(&self) {
        let mut world = self.inner.shared.world();
        world.log.clear();
        world.log_generation += 1;
    }

    /// Calls a hook for every request to come, after it was recorded and before it is answered.
    ///
    /// The panel waits for the hook, so a test can change the panel or its own database in the middle of a run.
    /// The hook is given a handle of the panel; one that it captured instead would keep the panel running for ever.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use marzban_api::testing::{FakePanel, FakeUser};
    ///
    /// let panel = FakePanel::start().await;
    /// panel.insert_user(FakeUser::new("alice"));
    /// panel.on_request(|panel, request| async move {
    ///     if request.method == "DELETE" {
    ///         panel.remove_user("alice");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_request<F, R>(&self, hook: F)
    where
        F: Fn(Self, RecordedRequest) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.inner
            .shared
            .hooks()
            .push(Arc::new(move |panel, request| Box::pin(hook(panel, request))));
    }

    /// Forgets all hooks; one that is running comes to its end.
    ///
    /// See [`FakePanel`] for an example.
    pub fn clear_hooks(&self) {
        self.inner.shared.hooks().clear();
    }
}

/// A duration beyond all time is the longest there is.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
