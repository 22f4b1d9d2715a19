//! How fast a page of users is read, whole and as summaries: `cargo bench -p marzban-sync-benches --bench decode`.

#![expect(
    clippy::expect_used,
    reason = "a measurement ends where what it stands on fails"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marzban_api::testing::{read_summaries, read_users};
use marzban_sync_benches::canned::{CannedPanel, Cost};

const USERS: u64 = 100;

fn check<T>(users: Option<Vec<T>>) -> Vec<T> {
    let users = users.expect("a page of the canned panel can be read");
    assert_eq!(users.len() as u64, USERS);
    users
}

fn bench(criterion: &mut Criterion) {
    let body = CannedPanel::start(USERS, Cost::default()).page(USERS);
    let mut group = criterion.benchmark_group("decode/users_page_100");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("summaries", |bencher| {
        bencher.iter(|| check(read_summaries(black_box(&body))));
    });
    group.bench_function("whole", |bencher| {
        bencher.iter(|| check(read_users(black_box(&body))));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
