//! The laws of every panel, for `MarzbanPanel` over the fake panel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_api::testing::{FakeAdmin, FakeNextPlan, FakePanel, FakeStatus, FakeUser, Fault as FakeFault};
use marzban_api::{Client, Method, RetryPolicy, SecretString, Throttle};
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::panel::{MarzbanPanel, Panel};
use marzban_sync_core::testing::conformance::panel::{Ability, Fault, Fixture};
use serde_json::Value;

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
            .throttle(Throttle::none())
            .retry(RetryPolicy {
                initial_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(5),
                ..RetryPolicy::default()
            })
            .build()
            .unwrap()
    }
}

/// What a panel says of a user beside the facts: all that it says, but for what is new in every answer.
pub(crate) async fn rest(client: &Client, name: &str) -> String {
    let path = format!("/api/user/{name}");
    let request = client.request(Method::GET, &path);
    let mut user: serde_json::Map<String, Value> = request.send_json().await.unwrap();
    for key in ["created_at", "expire", "online_at", "status", "used_traffic"] {
        assert!(user.remove(key).is_some(), "{key}");
    }
    for key in ["links", "subscription_url"] {
        user.remove(key);
    }
    Value::Object(user).to_string()
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

    async fn furnish(&self, name: &str) {
        self.panel.update_user(name, |user| {
            user.note = Some("paid in cash".to_owned());
            user.data_limit = Some(1 << 50);
            "month".clone_into(&mut user.data_limit_reset_strategy);
            user.auto_delete_in_days = Some(14);
            user.next_plan = Some(FakeNextPlan {
                data_limit: 5 << 30,
                expire: Some(4_200_000_000),
                add_remaining_traffic: true,
                fire_on_either: false,
            });
        });
    }

    async fn rest(&self, name: &str) -> String {
        rest(&self.client(), name).await
    }

    async fn has(&self, name: &str) -> bool {
        self.panel.user(name).is_some()
    }

    async fn remove(&self, name: &str) {
        self.panel.remove_user(name);
    }

    async fn set_clock(&self, now: DateTime<Utc>) {
        self.panel.set_now(now);
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
            Fault::LostAnswer(name) => {
                let fault = FakeFault::DropAfterCommit.once();
                self.panel.inject(fault.method("PUT").user(name));
            }
            Fault::LostChange(name) => {
                let fault = FakeFault::DropConnection.once();
                self.panel.inject(fault.method("PUT").user(name));
            }
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
