//! How fast a page of users is read, whole and as states: `cargo bench -p marzban-sync-benches --bench decode`.

#![expect(
    clippy::expect_used,
    reason = "a measurement ends where what it stands on fails"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marzban_api::model::{User, UserState};
use marzban_sync_benches::canned::{CannedPanel, Cost};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const USERS: u64 = 100;

#[derive(Deserialize)]
struct Page<T> {
    users: Vec<T>,
    total: u64,
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Page<T> {
    let page: Page<T> = serde_json::from_slice(body).expect("a page of the canned panel can be read");
    assert_eq!((page.users.len() as u64, page.total), (USERS, USERS));
    page
}

fn bench(criterion: &mut Criterion) {
    let body = CannedPanel::start(USERS, Cost::default()).page(USERS);
    let mut group = criterion.benchmark_group("decode/users_page_100");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("states", |bencher| {
        bencher.iter(|| read::<UserState>(black_box(&body)));
    });
    group.bench_function("whole", |bencher| {
        bencher.iter(|| read::<User>(black_box(&body)));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
