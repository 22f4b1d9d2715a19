//! How fast the decisions are, with one account in ten out of line: `cargo bench`.

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use marzban_sync_core::account::{Account, AccountId, Elsewhere, Subscription, SubscriptionId, UserId};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::observation::{Observation, Observed, PanelStatus, PanelUser, customers};
use marzban_sync_core::policy::{Answers, Policy};
use marzban_sync_core::reconcile::{Facet, reconcile};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn observed(number: i64) -> Observed {
    let end_date = NOW + TimeDelta::days(30);
    let in_line = number % 10 != 0;
    let account = Account {
        id: AccountId(number),
        user_id: UserId(number),
        telegram_id: Some(number),
        name: format!("user_{number}"),
        is_active: Some(true),
        traffic_used: Some(number),
        last_connected_at: Some(NOW),
        updated_at: None,
        subscription: Some(Subscription::new(
            SubscriptionId(number),
            "active",
            Some(end_date),
        )),
        other_subscriptions: [].into(),
        elsewhere: Elsewhere::default(),
        sharers: [].into(),
        agreement: Agreement {
            end: Some(EndDate::At(end_date)),
            latest_end: Some(end_date),
            created_at: Some(NOW),
            ..Agreement::default()
        },
        revision: 1,
    };
    let user = PanelUser {
        status: PanelStatus::Active,
        expire: Some(end_date),
        used_traffic: if in_line { number } else { number + 1 },
        online_at: Some(NOW),
        created_at: Some(NOW),
        spelling: None,
    };
    Observed {
        account,
        observation: Observation::Found(user),
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reconcile");
    for count in [1_000, 10_000, 100_000] {
        let accounts: Vec<Observed> = (1..=count).map(observed).collect();
        group.throughput(Throughput::Elements(accounts.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(count),
            &accounts,
            |bencher, accounts| {
                bencher.iter(|| {
                    let (policy, answers) = (Policy::default(), Answers::default());
                    let decide = |customer| reconcile(customer, Facet::Subscriptions, policy, &answers, NOW);
                    black_box(
                        customers(accounts)
                            .map(decide)
                            .map(|decisions| decisions.len())
                            .sum::<usize>(),
                    )
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
