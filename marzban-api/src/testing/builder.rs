//! What a panel starts with.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;

use super::api::{Api, Router};
use super::handle::FakePanel;
use super::panel::Panel;
use super::panel::admin::FakeAdmin;
use super::panel::notification::Outbox;
use super::panel::system::FakeSystem;
use super::panel::user::FakeUser;
use super::wire::{PanelClock, Shared};

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
///     .subscription_path("links")
///     .subscription_url_prefix("https://vpn.example")
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
    outbox: Outbox,
    ignores_case: bool,
    subscription_path: String,
    subscription_url_prefix: String,
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
            outbox: Outbox::default(),
            ignores_case: false,
            subscription_path: "sub".to_owned(),
            subscription_url_prefix: String::new(),
        }
    }
}

impl FakePanelBuilder {
    /// Listens on this port of loopback instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts with a stopped clock; see [`FakePanel::set_now`].
    #[must_use]
    pub fn now(mut self, now: DateTime<Utc>) -> Self {
        self.clock = PanelClock::Frozen(now);
        self
    }

    /// Replaces name and password of the sudo admin of the panel's environment.
    #[must_use]
    pub fn environment_admin(mut self, username: &str, password: &str) -> Self {
        self.admins.retain(|admin| !admin.is_from_environment);
        self.admins
            .insert(0, FakeAdmin::from_environment(username, password));
        self
    }

    /// Adds an admin.
    #[must_use]
    pub fn admin(mut self, admin: FakeAdmin) -> Self {
        self.admins.push(admin);
        self
    }

    /// Adds users.
    #[must_use]
    pub fn users(mut self, users: impl IntoIterator<Item = FakeUser>) -> Self {
        self.users.extend(users);
        self
    }

    /// Sets the figures of the machine.
    #[must_use]
    pub fn system(mut self, system: FakeSystem) -> Self {
        self.system = system;
        self
    }

    /// Sets the lifetime of tokens by the panel's clock; with `None` they do not expire.
    #[must_use]
    pub fn token_lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// Adds an address for notifications; see [`FakePanel::send_notifications`].
    #[must_use]
    pub fn webhook(mut self, address: impl Into<String>) -> Self {
        self.outbox.addresses.push(address.into());
        self
    }

    /// Sets the secret that every notification carries.
    #[must_use]
    pub fn webhook_secret(mut self, secret: impl Into<String>) -> Self {
        self.outbox.secret = Some(secret.into());
        self
    }

    /// Ignores the case of names, as a panel on MySQL does; on SQLite names that differ in case are two users.
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.ignores_case = true;
        self
    }

    /// Serves subscriptions below this path instead of `sub`, as the panel's `XRAY_SUBSCRIPTION_PATH` does.
    #[must_use]
    pub fn subscription_path(mut self, path: &str) -> Self {
        path.trim_matches('/').clone_into(&mut self.subscription_path);
        self
    }

    /// Begins subscription URLs with this, as the panel's `XRAY_SUBSCRIPTION_URL_PREFIX` does.
    ///
    /// By default it is empty, and the URLs are relative: `/sub/` and a token.
    #[must_use]
    pub fn subscription_url_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.subscription_url_prefix = prefix.into();
        self
    }

    /// Starts the panel on the current Tokio runtime.
    ///
    /// # Errors
    /// The port is taken or may not be listened on.
    ///
    /// # Cancel safety
    /// A cancelled start leaves nothing behind.
    ///
    /// # Panics
    /// There is no Tokio runtime with I/O.
    pub async fn start(self) -> io::Result<FakePanel> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let mut panel = Panel::new(self.clock.now());
        panel.admins = self.admins;
        panel.system = self.system;
        panel.outbox = self.outbox;
        panel.ignores_case = self.ignores_case;
        for user in self.users {
            panel.insert_user(user);
        }
        let mut api = Api::new(panel, &self.subscription_path, &self.subscription_url_prefix);
        api.token_lifetime = self.token_lifetime.map(delta);
        let router = Router::new(&self.subscription_path);
        FakePanel::serve(listener, Shared::new(router, api, self.clock))
    }
}

/// Converts a duration; one that is too long becomes the longest there is.
fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl FakePanel {
    /// Starts a panel with the defaults of [`FakePanelBuilder`] on a free port.
    ///
    /// # Cancel safety
    /// A cancelled start leaves nothing behind.
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

    /// Returns a builder, for a panel that differs from the defaults.
    #[must_use]
    pub fn builder() -> FakePanelBuilder {
        FakePanelBuilder::default()
    }
}
