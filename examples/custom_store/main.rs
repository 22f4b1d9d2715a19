//! A bot whose tables are its own: other names, other words, times as numbers. `store.rs` is what it takes to have them
//! synced; here they are synced with a fake panel, and shown before and after.
//!
//! The bot's tests run `store_conformance!` over it, as the tests of this workspace do.

mod store;

use std::io::Write;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use marzban_api::testing::{FakePanel, FakeStatus, FakeUser};
use marzban_api::{Client, SecretString};
use marzban_sync_core::clock::{Clock, SystemClock};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{BotTables, MemoryStore, TableStore};
use marzban_sync_core::{Context, jobs};

use crate::store::{Shop, keys, people, plans, word};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let now = SystemClock.now();
    let panel = FakePanel::start().await;
    for user in panel_users(now) {
        panel.insert_user(user);
    }
    let journal = MemoryStore::new();
    let store = Arc::new(TableStore::new(Shop::new()?, journal.clone()));
    fill(store.customers(), now)?;
    show("before", store.customers()).await?;

    let client = Client::builder(&panel.url())
        .credentials("admin", SecretString::from("admin"))
        .build()?;
    let panel = Arc::new(MarzbanPanel::new(client));
    let context = Context::shared(panel, Arc::clone(&store) as _, Arc::new(journal)).build();
    for job in Job::ALL {
        let report = jobs::run(job, &context).await?;
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?;
    }
    show("after", store.customers()).await
}

/// The bot's rows: a login, a state, and the days until the end.
fn fill(shop: &Shop, now: DateTime<Utc>) -> anyhow::Result<()> {
    let customers = [
        ("extended", "running", 2),
        ("run-out", "running", -1),
        ("renewed", "over", -3),
        ("long-gone", "over", -30),
        ("stopped", "stopped", 5),
    ];
    let mut connection = shop.connection();
    for (no, (login, state, days)) in (1_i64..).zip(customers) {
        let paid_until = (now + TimeDelta::days(days)).timestamp_micros();
        diesel::insert_into(people::table)
            .values((people::no.eq(no), people::telegram.eq(10_000 + no)))
            .execute(&mut *connection)?;
        let plan = (plans::no.eq(no), plans::person.eq(no), plans::state.eq(state));
        diesel::insert_into(plans::table)
            .values((plan, plans::paid_until.eq(paid_until)))
            .execute(&mut *connection)?;
        let key = (keys::no.eq(no), keys::person.eq(no), keys::vpn_login.eq(login));
        diesel::insert_into(keys::table)
            .values((key, keys::works.eq(days > 0)))
            .execute(&mut *connection)?;
    }
    Ok(())
}

/// The panel's users.
fn panel_users(now: DateTime<Utc>) -> [FakeUser; 5] {
    let user = |name: &str, status: FakeStatus, days: i64| {
        FakeUser::new(name)
            .status(status)
            .expire((now + TimeDelta::days(days)).timestamp())
            .used_traffic(1_000_000)
    };
    [
        user("extended", FakeStatus::Active, 32),
        user("run-out", FakeStatus::Expired, -1),
        user("renewed", FakeStatus::Active, 27),
        user("long-gone", FakeStatus::Expired, -30),
        user("stopped", FakeStatus::Active, 5),
    ]
}

async fn show(when: &str, shop: &Shop) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for customer in shop.list().await? {
        for (plan, key) in customer.subscriptions.iter().zip(&customer.accounts) {
            let name = key.name.as_deref().unwrap_or("-");
            let until = plan.end_date.map(|end| end.date_naive().to_string());
            let works = if key.is_active == Some(true) {
                "works"
            } else {
                "off"
            };
            let until = until.as_deref().unwrap_or("for ever");
            writeln!(
                out,
                "{when:>6}: {name:<9} {:<8} until {until}, {works}",
                word(&plan.status)
            )?;
        }
    }
    Ok(())
}
