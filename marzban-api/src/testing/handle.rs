//! The handle of a running panel: its users, its admins and its machine.

mod requests;
mod time;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::api::subscription_token;
use super::panel::admin::FakeAdmin;
use super::panel::node::FakeNode;
use super::panel::sample_user;
use super::panel::system::{FakeSystem, PanelState};
use super::panel::user::FakeUser;
use super::wire::{Shared, serve};

/// A running panel on loopback. Clones are handles of the same panel, which stops with the last of them.
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

impl FakePanel {
    /// Serves on a listener until the last handle is gone.
    pub(crate) fn serve(listener: TcpListener, shared: Shared) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(shared);
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        let inner = Inner {
            shared,
            address,
            server: Mutex::new(server),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the URL, such as `http://127.0.0.1:40123`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// Stops the panel for all its handles: when this returns, its port refuses connections.
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
    #[must_use]
    pub fn state(&self) -> PanelState {
        self.inner.shared.state().api.panel.snapshot()
    }

    /// Returns a copy of a user, found by its exact name.
    #[must_use]
    pub fn user(&self, username: &str) -> Option<FakeUser> {
        self.inner.shared.state().api.panel.user(username).cloned()
    }

    /// Adds a user behind all others, or replaces the user of its name in place.
    pub fn insert_user(&self, user: FakeUser) {
        self.inner.shared.state().api.panel.insert_user(user);
    }

    /// Edits a user as a job of the panel or its database would: at once and without side effects.
    ///
    /// The name stays, even if the closure changes it.
    /// The closure runs while the state is locked and must not call the panel.
    ///
    /// # Panics
    /// There is no such user.
    #[expect(
        clippy::panic,
        reason = "an edit of a missing record is a mistake in the test, which must not pass unseen"
    )]
    pub fn update_user(&self, username: &str, edit: impl FnOnce(&mut FakeUser)) {
        let mut state = self.inner.shared.state();
        let Some(user) = state.api.panel.user_mut(username) else {
            panic!("the fake panel has no user {username:?}")
        };
        edit(user);
        username.clone_into(&mut user.username);
    }

    /// Removes a user, without the quirks of the route, and returns it.
    #[expect(clippy::must_use_candidate, reason = "the removal is the purpose")]
    pub fn remove_user(&self, username: &str) -> Option<FakeUser> {
        self.inner.shared.state().api.panel.remove_user(username)
    }

    /// Adds `count` users named `user_00001` and so on: a mix of all states, with four links and about two kilobytes
    /// each. With the same clock they are the same users.
    pub fn populate(&self, count: usize) {
        let panel = &mut self.inner.shared.state().api.panel;
        let now = panel.now();
        for (number, _) in (1..).zip(0..count) {
            panel.insert_user(sample_user(number, now));
        }
    }

    /// Adds an admin, or replaces the one of its name.
    pub fn insert_admin(&self, admin: FakeAdmin) {
        self.inner.shared.state().api.panel.insert_admin(admin);
    }

    /// Removes an admin: its tokens become invalid, and its users ownerless.
    pub fn remove_admin(&self, username: &str) {
        self.inner.shared.state().api.panel.remove_admin(username);
    }

    /// Changes the password of an admin, which invalidates the tokens issued to it so far.
    ///
    /// The issue time of a token has no fraction of a second, so a token issued later in the same second of the panel's
    /// clock is invalid too. Tokens of the environment's admin stay valid.
    ///
    /// # Panics
    /// There is no such admin.
    #[expect(
        clippy::panic,
        reason = "an edit of a missing record is a mistake in the test, which must not pass unseen"
    )]
    pub fn set_password(&self, username: &str, password: &str) {
        let panel = &mut self.inner.shared.state().api.panel;
        let now = panel.now();
        let Some(admin) = panel.admins.iter_mut().find(|admin| admin.username == username) else {
            panic!("the fake panel has no admin {username:?}")
        };
        admin.set_password(password, now);
    }

    /// Makes all tokens issued so far invalid.
    pub fn revoke_tokens(&self) {
        self.inner.shared.state().api.tokens.clear();
    }

    /// Edits the figures of the machine.
    ///
    /// The closure runs while the state is locked and must not call the panel.
    pub fn update_system(&self, edit: impl FnOnce(&mut FakeSystem)) {
        edit(&mut self.inner.shared.state().api.panel.system);
    }

    /// Lets a user use traffic on the panel's own core now, which counts for the user, its owner and the usage.
    ///
    /// # Panics
    /// There is no such user.
    pub fn add_traffic(&self, username: &str, bytes: i64) {
        let found = self.inner.shared.state().api.panel.add_traffic(username, bytes);
        assert!(found, "the fake panel has no user {username:?}");
    }

    /// Edits a node as its machine or the database would; `None` means that there is no such node.
    ///
    /// The closure runs while the state is locked and must not call the panel.
    pub fn update_node<T>(&self, id: u64, edit: impl FnOnce(&mut FakeNode) -> T) -> Option<T> {
        let mut state = self.inner.shared.state();
        let node = state.api.panel.nodes.get_mut(&id)?;
        let answer = edit(node);
        node.id = id;
        Some(answer)
    }

    /// Issues the token of a user's subscription URL as of now, even if there is no such user.
    #[must_use]
    pub fn subscription_token(&self, username: &str) -> String {
        subscription_token(username, self.inner.shared.state().api.panel.now())
    }

    /// Issues a subscription token as versions before Marzban 0.4 did: a JWT, which the panel still accepts.
    #[must_use]
    pub fn legacy_subscription_token(&self, username: &str) -> String {
        self.inner.shared.state().api.issue_legacy_token(username)
    }
}
