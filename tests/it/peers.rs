//! What other bots and their sync jobs have done to their customers: one test for each defect, over the fake panel.

mod keeping;
mod reading;
mod running;

use std::sync::{Arc, Mutex};

use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_sync_core::Context;
use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::store::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
use marzban_sync_core::testing::ManualClock;

use crate::bot::{at, epoch, now};
use crate::conformance::fake::Fake;

/// A bot in memory, and the fake panel.
struct Peer {
    store: MemoryStore,
    fake: Fake,
    clock: ManualClock,
}

impl Peer {
    async fn new() -> Self {
        let fake = Fake::start().await;
        fake.panel.set_now(now());
        Self {
            store: MemoryStore::new(),
            fake,
            clock: ManualClock::new(now()),
        }
    }

    fn panel(&self) -> &FakePanel {
        &self.fake.panel
    }

    fn builder(&self) -> ContextBuilder {
        Context::builder(MarzbanPanel::new(self.fake.client()), self.store.clone()).clock(self.clock.clone())
    }

    fn context(&self) -> Context {
        self.builder().build()
    }

    /// A customer with the account `user{id}`, which has access, and the subscription of the same number.
    fn customer(&self, id: i64, status: &str, end: &str) {
        self.store.insert_user(MemoryUser {
            id: UserId(id),
            telegram_id: Some(10_000 + id),
        });
        pay(&self.store, id, id, status, end);
        self.store.insert_vpn_config(MemoryVpnConfig {
            id: AccountId(id),
            user_id: UserId(id),
            panel: None,
            subscription_id: None,
            marzban_user_id: Some(format!("user{id}")),
            is_active: Some(true),
            traffic_used: Some(100),
            last_connected_at: None,
            updated_at: None,
        });
    }

    /// The panel's user `user{id}`.
    fn user(&self, id: i64, status: FakeStatus, end: &str) {
        self.panel().insert_user(panel_user(id, status, end));
    }

    /// A customer who is in line with the panel until the end of the month.
    fn in_line(&self, id: i64) {
        self.customer(id, "active", "2025-09-30 00:00:00");
        self.user(id, FakeStatus::Active, "2025-09-30 00:00:00");
    }

    /// A subscription in one line.
    fn subscription(&self, id: i64) -> String {
        let row = self.store.subscription(SubscriptionId(id)).unwrap();
        let end = row.end_date.map(|end| end.naive_utc().to_string());
        format!("{} until {}", row.status, end.as_deref().unwrap_or("-"))
    }

    fn config(&self, id: i64) -> MemoryVpnConfig {
        self.store.vpn_config(AccountId(id)).unwrap()
    }

    fn rows(&self) -> (Vec<MemorySubscription>, Vec<MemoryVpnConfig>) {
        (self.store.subscriptions(), self.store.vpn_configs())
    }

    /// Lets something happen, once, when the panel is asked for the list, before it answers.
    fn at_list(&self, happens: impl FnOnce() + Send + 'static) {
        let happens = Arc::new(Mutex::new(Some(happens)));
        self.panel().on_request(move |_, request| {
            let happens = Arc::clone(&happens);
            async move {
                let is_list = request.method == "GET" && request.path == "/api/users";
                if let Some(happens) = happens.lock().unwrap().take_if(|_| is_list) {
                    happens();
                }
            }
        });
    }
}

fn panel_user(id: i64, status: FakeStatus, end: &str) -> FakeUser {
    FakeUser::new(format!("user{id}"))
        .owner(Some("seller"))
        .created_at(at("2025-01-01 00:00:00"))
        .status(status)
        .expire(epoch(end))
        .used_traffic(100)
}

/// What the bot does when a customer pays: the subscription has these values now.
fn pay(store: &MemoryStore, id: i64, customer: i64, status: &str, end: &str) {
    store.insert_subscription(MemorySubscription {
        id: SubscriptionId(id),
        user_id: UserId(customer),
        status: SubscriptionStatus::from(status),
        start_date: None,
        end_date: Some(at(end)),
        updated_at: None,
    });
}
