//! A whole run, from a panel that costs nothing over HTTP into PostgreSQL, with one account in ten out of line:
//! `cargo bench -p marzban-sync-benches --bench sync_end_to_end`.

#![expect(
    clippy::expect_used,
    reason = "a measurement ends where what it stands on fails"
)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use marzban_api::Throttle;
use marzban_sync_benches::canned::{CannedPanel, Cost};
use marzban_sync_benches::database::Postgres;
use marzban_sync_benches::{client, original};
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::{Context, sync_subscriptions_from_marzban};
use tokio::runtime::Runtime;

/// Accounts of which the original's way is measured, to be multiplied.
const SAMPLE: u64 = 1_000;

/// One account in so many has used traffic since the last run.
const CHANGED: u64 = 10;

async fn sync(context: &Context, panel: &CannedPanel, accounts: u64) -> Duration {
    panel.advance(CHANGED);
    let began = Instant::now();
    let report = sync_subscriptions_from_marzban(context)
        .await
        .expect("the run ends well");
    let took = began.elapsed();
    let changed: u64 = report.run.changes.values().sum();
    assert_eq!((report.synced, changed), (accounts, accounts / CHANGED));
    took
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("sync_end_to_end");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    for accounts in sizes() {
        let Some(bot) = runtime.block_on(Postgres::with(accounts)) else {
            return;
        };
        let panel = CannedPanel::start(accounts, Cost::default());
        let client = client(&panel.url(), Throttle::none());
        let context = Context::new(MarzbanPanel::new(client.clone()), bot.store.clone());
        group.throughput(Throughput::Elements(accounts));
        group.bench_function(BenchmarkId::new("batches", accounts), |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| runtime.block_on(sync(&context, &panel, accounts)))
                    .sum()
            });
        });
        group.bench_function(BenchmarkId::new("original", accounts), |bencher| {
            bencher.iter_custom(|iterations| {
                let measured = accounts.min(SAMPLE);
                let began = Instant::now();
                for _ in 0..iterations {
                    runtime.block_on(original::into_postgres(&client, &bot.client, measured));
                }
                began.elapsed() * u32::try_from(accounts / measured).unwrap_or(u32::MAX)
            });
        });
    }
    group.finish();
}

/// Where each is only tried once, few accounts are enough.
fn sizes() -> Vec<u64> {
    if std::env::args().any(|argument| argument == "--bench") {
        vec![1_000, 10_000, 100_000]
    } else {
        vec![100]
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
