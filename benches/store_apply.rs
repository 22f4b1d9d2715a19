//! How fast accounts are read page by page, and those that changed are written:
//! `cargo bench -p marzban-sync-benches --bench store_apply`.

#![expect(
    clippy::expect_used,
    reason = "a measurement ends where what it stands on fails"
)]

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use diesel::sql_types::BigInt;
use diesel::{RunQueryDsl, sql_query};
use marzban_sync_benches::database::{NOW, Postgres, Sqlite};
use marzban_sync_core::account::Account;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::plan::{Change, Reason};
use marzban_sync_core::store::{AccountStore, DEFAULT_PANEL};
use tokio::runtime::Runtime;

/// As many users as a page of the jobs has.
const PAGE: u32 = 5_000;

/// Accounts of which the way of one statement an account is measured, to be multiplied.
const SAMPLE: u64 = 1_000;

/// What has changed of an account.
type Difference = fn(&Account) -> Change;

/// The shares that have changed, as every so many-th account, and their names.
const CHANGED: [(&str, i64, Difference); 4] = [
    ("changed_100", 1, one_more),
    ("changed_10", 10, one_more),
    ("changed_0", i64::MAX, one_more),
    ("extended_10", 10, one_day_more),
];

/// Reads all accounts and writes what has changed of every so many-th.
async fn pass(store: &dyn AccountStore, every: i64, difference: Difference) -> usize {
    let (mut after, mut written) = (None, 0);
    loop {
        let page = store
            .page_accounts(DEFAULT_PANEL, after, PAGE, NOW)
            .await
            .expect("a page can be read");
        let changes: Vec<Change> = page
            .accounts
            .iter()
            .filter(|account| account.id.0 % every == 0)
            .map(difference)
            .collect();
        if !changes.is_empty() {
            let applied = store.apply(DEFAULT_PANEL, None, &changes, NOW).await;
            let applied = applied.expect("changes can be written").len();
            assert_eq!(applied, changes.len(), "nobody else writes");
            written += applied;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return written,
        }
    }
}

fn one_more(account: &Account) -> Change {
    let mut change = Change::of(account);
    change.vpn_config.traffic_used = Some(account.traffic_used.unwrap_or_default() + 1);
    change.reasons.push(Reason::TrafficUsed);
    change
}

fn one_day_more(account: &Account) -> Change {
    let mut change = Change::of(account);
    let end = account
        .subscription
        .as_ref()
        .and_then(|subscription| subscription.end_date);
    change.subscription.end_date = end.map(|end| EndDate::At(end + TimeDelta::days(1)));
    change.reasons.push(Reason::Extended);
    change
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    kind: &str,
    accounts: u64,
    store: &dyn AccountStore,
) {
    group.throughput(Throughput::Elements(accounts));
    for (name, every, difference) in CHANGED {
        let id = BenchmarkId::new(format!("{kind}/{accounts}"), name);
        group.bench_function(id, |bencher| {
            bencher.iter(|| runtime.block_on(pass(store, every, difference)));
        });
    }
}

/// The time of one `UPDATE` an account, of which a sample was measured.
fn extrapolated(accounts: u64, iterations: u64, mut sample: impl FnMut(u64)) -> Duration {
    let measured = accounts.min(SAMPLE);
    let began = Instant::now();
    for _ in 0..iterations {
        sample(measured);
    }
    began.elapsed() * u32::try_from(accounts / measured).unwrap_or(u32::MAX)
}

fn one_statement_each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &Runtime,
    accounts: u64,
    bot: &Postgres,
) {
    let id = BenchmarkId::new(format!("postgres/{accounts}"), "original_100");
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            extrapolated(accounts, iterations, |count| {
                for id in 1..=i32::try_from(count).unwrap_or(i32::MAX) {
                    let sql = "UPDATE vpn_configs SET traffic_used = traffic_used + 1 WHERE id = $1";
                    let written = runtime.block_on(bot.client.execute(sql, &[&id]));
                    assert_eq!(written.expect("a row can be written"), 1);
                }
            })
        });
    });
}

fn one_sqlite_statement_each(group: &mut BenchmarkGroup<'_, WallTime>, accounts: u64, bot: &Sqlite) {
    let id = BenchmarkId::new(format!("sqlite/{accounts}"), "original_100");
    let mut connection = bot.bot();
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|iterations| {
            extrapolated(accounts, iterations, |count| {
                for id in 1..=count.cast_signed() {
                    let written =
                        sql_query("UPDATE vpn_configs SET traffic_used = traffic_used + 1 WHERE id = ?")
                            .bind::<BigInt, _>(id)
                            .execute(&mut connection);
                    assert_eq!(written.expect("a row can be written"), 1);
                }
            })
        });
    });
}

fn bench(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("store_apply");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2));
    for accounts in sizes() {
        if let Some(bot) = runtime.block_on(Postgres::with(accounts)) {
            measure(&mut group, &runtime, "postgres", accounts, &bot.store);
            one_statement_each(&mut group, &runtime, accounts, &bot);
        }
        let bot = runtime.block_on(Sqlite::with(accounts));
        measure(&mut group, &runtime, "sqlite", accounts, &bot.store);
        one_sqlite_statement_each(&mut group, accounts, &bot);
    }
    group.finish();
}

/// Where each is only tried once, few accounts are enough.
fn sizes() -> Vec<u64> {
    if std::env::args().any(|argument| argument == "--bench") {
        vec![10_000, 100_000]
    } else {
        vec![100]
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
