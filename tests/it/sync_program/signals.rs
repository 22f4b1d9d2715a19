//! What a service manager does to the program.

use std::process::Stdio;

use marzban_api::testing::FakeUser;

use super::{Sync, date, day, panel};
use crate::bot::Bot;
use crate::program::terminate_at_list;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_terminated_ends_in_order_and_keeps_what_is_done() {
    let Some(bot) = Bot::new().await else { return };
    let panel = panel().await;
    bot.sql(&format!(
        "INSERT INTO users SELECT n, n, 'fa', '2025-01-01' FROM generate_series(1, 2000) AS n;
         INSERT INTO subscriptions SELECT n, n, 3, 4.99, 'active', NULL, '{}' FROM generate_series(1, 2000) AS n;
         INSERT INTO vpn_configs SELECT n, n, 'vless', 'user' || n, true FROM generate_series(1, 2000) AS n",
        date(9)
    ))
    .await;
    for id in 1..=2_000 {
        panel.insert_user(
            FakeUser::new(format!("user{id}"))
                .expire(day(9).timestamp())
                .used_traffic(id),
        );
    }
    // What the first list said is done; the second is not waited for.
    let tell = terminate_at_list(2, &panel);
    let sync = Sync::new(&panel, bot.database.url()).with("MARZBAN_PAUSE_MS", "20..20");
    let mut command = sync.command(&["sync-subscriptions-from-marzban", "--format", "json"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tell.send_replace(Some(child.id()));

    let ended = sync.ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report = ended.report();
    assert_eq!(report["stopped"], "cancelled");
    assert_eq!(report["total"], 2_000);
    let unreached = report["unreached"].as_i64().unwrap();
    assert!(
        (1..2_000).contains(&unreached),
        "{unreached} accounts were not reached"
    );
    let written = "SELECT count(*)::text FROM vpn_configs WHERE traffic_used IS NOT NULL";
    assert_eq!(bot.text(written).await, (2_000 - unreached).to_string());
    assert_eq!(bot.text("SELECT outcome FROM marzban_sync_runs").await, "stopped");
}
