//! While one page is written, the next is being read.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::error::{PanelError, PanelErrorKind};
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::report::SystemStats;
use marzban_sync_core::store::PostgresStore;
use marzban_sync_core::testing::ManualClock;
use marzban_sync_core::{Context, sync_user_status_from_marzban};
use tokio::sync::oneshot;

use crate::bot::{Bot, now};

/// A page and one user more.
const ACCOUNTS: u64 = 2_501;

/// A panel all of whose users have used as much, and that opens a gate when it is asked for the last of them.
struct Gatekeeper {
    last: String,
    gate: Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl Panel for Gatekeeper {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        if names.contains(&self.last)
            && let Some(gate) = self.gate.lock().unwrap().take()
        {
            gate.send(()).unwrap();
        }
        let user = PanelUser {
            status: PanelStatus::Active,
            expire: None,
            used_traffic: 500,
            online_at: None,
            created_at: None,
            spelling: None,
        };
        Ok(vec![Observation::Found(user); names.len()])
    }

    async fn user(&self, _: &str) -> Result<Observation, PanelError> {
        Err(unexpected())
    }

    async fn delete_user(&self, _: &str) -> Result<(), PanelError> {
        Err(unexpected())
    }

    async fn extend_user(
        &self,
        _: &str,
        _: &ExpectedUser,
        _: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        Err(unexpected())
    }

    async fn disable_user(&self, _: &str, _: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        Err(unexpected())
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        None
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        Err(unexpected())
    }
}

fn unexpected() -> PanelError {
    PanelError::new(PanelErrorKind::Invalid, "nobody asks for this")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_page_is_read_while_a_page_is_written() {
    let Some(bot) = Bot::new().await else { return };
    bot.sql(&format!(
        "INSERT INTO users SELECT n, 1000000 + n, 'fa', '2024-01-01' FROM generate_series(1, {ACCOUNTS}) AS n;
         INSERT INTO vpn_configs SELECT n, n, 'vless', 'user' || n, true, NULL, NULL, NULL
             FROM generate_series(1, {ACCOUNTS}) AS n"
    ))
    .await;
    let (gate, opened) = oneshot::channel();
    let panel = Gatekeeper {
        last: format!("user{ACCOUNTS}"),
        gate: Mutex::new(Some(gate)),
    };
    // Reading goes on under this lock, and writing waits for its end: for the second page to be asked for.
    bot.sql("BEGIN; LOCK TABLE vpn_configs IN EXCLUSIVE MODE").await;
    let store = PostgresStore::connect(bot.database.url()).await.unwrap();
    let context = Context::builder(panel, store)
        .clock(ManualClock::new(now()))
        .build();
    let run = tokio::spawn(async move { sync_user_status_from_marzban(&context).await });

    tokio::time::timeout(Duration::from_mins(1), opened)
        .await
        .expect("the second page is asked for before the first is written")
        .unwrap();
    bot.sql("COMMIT").await;

    let report = run.await.unwrap().unwrap();
    assert_eq!(
        (report.updated, report.errors, report.total),
        (ACCOUNTS, 0, ACCOUNTS)
    );
    assert_eq!(
        bot.text("SELECT count(*)::text FROM vpn_configs WHERE traffic_used = 500")
            .await,
        ACCOUNTS.to_string()
    );
}
