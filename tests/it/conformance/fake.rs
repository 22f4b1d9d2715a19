//! The laws of every panel, for `MarzbanPanel` over the fake panel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use marzban_api::testing::{FakeAdmin, FakePanel, FakeStatus, FakeUser, Fault as FakeFault};
use marzban_api::{Client, Pacing, RetryPolicy, SecretString};
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::panel::{MarzbanPanel, Panel};
use marzban_sync_core::testing::conformance::panel::{Ability, Fault, Fixture};

pub(crate) struct Fake {
    pub(crate) panel: FakePanel,
    /// Whether it is the admin `seller` who asks, who sees its own users alone.
    is_seller: AtomicBool,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let panel = FakePanel::start().await;
        panel.insert_admin(FakeAdmin::new("seller", "secret"));
        Self {
            panel,
            is_seller: AtomicBool::new(false),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let (name, password) = if self.is_seller.load(Ordering::SeqCst) {
            ("seller", "secret")
        } else {
            ("admin", "admin")
        };
        Client::builder(&self.panel.url())
            .credentials(name, SecretString::from(password))
            .pacing(Pacing::none())
            .retry(RetryPolicy {
                initial_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(5),
                ..RetryPolicy::default()
            })
            .build()
            .unwrap()
    }
}

#[async_trait]
impl Fixture for Fake {
    fn panel(&self) -> Arc<dyn Panel> {
        Arc::new(MarzbanPanel::new(self.client()))
    }

    fn can(&self, _: Ability) -> bool {
        true
    }

    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn put(&self, name: &str, user: &PanelUser) {
        let status = match &user.status {
            PanelStatus::Active => FakeStatus::Active,
            PanelStatus::OnHold => FakeStatus::OnHold,
            PanelStatus::Disabled => FakeStatus::Disabled,
            PanelStatus::Limited => FakeStatus::Limited,
            PanelStatus::Expired => FakeStatus::Expired,
            PanelStatus::Unknown(other) => panic!("the fake panel has no status {other}"),
        };
        let made = FakeUser::new(name)
            .owner(Some("seller"))
            .status(status)
            .expire(user.expire.map(|expire| expire.timestamp()))
            .used_traffic(user.used_traffic)
            .online_at(user.online_at);
        self.panel.insert_user(match user.created_at {
            Some(created_at) => made.created_at(created_at),
            None => made,
        });
    }

    async fn has(&self, name: &str) -> bool {
        self.panel.user(name).is_some()
    }

    async fn remove(&self, name: &str) {
        self.panel.remove_user(name);
    }

    async fn plant(&self, fault: Fault<'_>) {
        match fault {
            Fault::Poison(name) => self.panel.update_user(name, |user| user.poisoned = true),
            Fault::OtherAdmin(name) => {
                self.panel
                    .update_user(name, |user| user.owner = Some("reseller".to_owned()));
                self.is_seller.store(true, Ordering::SeqCst);
            }
            Fault::Ownerless(name) => self.panel.update_user(name, |user| user.owner = None),
            Fault::Outage => self.panel.inject(FakeFault::Status(503).always()),
            other => panic!("an unknown fault: {other:?}"),
        }
    }

    async fn clean_up(&self) {
        for name in self.panel.state().users.into_iter().map(|user| user.username) {
            self.panel.remove_user(&name);
        }
    }
}

marzban_sync_core::panel_conformance!(Fake::start().await);
