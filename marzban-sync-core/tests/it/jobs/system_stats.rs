//! `get_marzban_system_stats`.

use marzban_sync_core::get_marzban_system_stats;
use marzban_sync_core::jobs::run;
use marzban_sync_core::report::Job;

use crate::given::{at, now};
use crate::scripted::{World, stats};

#[tokio::test]
async fn the_figures_are_stored_with_the_time_of_the_clock() {
    let world = World::new();
    let context = world.builder().panel_name("berlin").build();

    let report = get_marzban_system_stats(&context).await.unwrap();

    assert_eq!(report.stats, stats());
    let rows = world.store.recorded_system_stats();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].panel.as_str(), rows[0].collected_at, &rows[0].stats),
        ("berlin", now(), &stats())
    );
    assert_eq!(world.panel.calls(), ["system"]);
}

#[tokio::test]
async fn the_report_has_the_names_of_the_panel() {
    let world = World::new();
    world.clock.set(at("2025-09-15 00:15:00.75"));

    let report = run(Job::GetMarzbanSystemStats, &world.context()).await.unwrap();

    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        "{\"job\":\"get_marzban_system_stats\",\"timestamp\":\"2025-09-15T00:15:00Z\",\"panel\":\"default\",\
         \"stats\":{\"version\":\"0.8.4\",\"mem_total\":4000,\"mem_used\":1000,\"cpu_cores\":2,\"cpu_usage\":12.5,\
         \"total_user\":17,\"online_users\":3,\"users_active\":15,\"users_on_hold\":null,\"users_disabled\":null,\
         \"users_expired\":null,\"users_limited\":null,\"incoming_bandwidth\":7,\"outgoing_bandwidth\":8,\
         \"incoming_bandwidth_speed\":9,\"outgoing_bandwidth_speed\":10}}"
    );
}

#[tokio::test]
async fn a_dry_run_only_reads() {
    let world = World::new();
    let context = world.builder().dry_run(true).build();

    let report = get_marzban_system_stats(&context).await.unwrap();

    assert_eq!(report.stats, stats());
    assert_eq!(world.store.recorded_system_stats(), vec![]);
    assert_eq!(world.store.recorded_runs(), vec![]);
}
