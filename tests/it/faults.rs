//! Every fault, in every job that it can meet, and the table of what came of it.
//!
//! `FAULTS.md` counts what these tests saw, by kind of fault; the file is compared with that, and written by them when
//! `UPDATE_FAULTS` is `1`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use marzban_sync_core::report::Job;
use tokio::task::JoinSet;

mod crashes;
mod customers;
mod looks;
mod networks;
mod outages;
mod overtaken;
mod process;
mod ran;
mod stops;
mod table;
mod town;
mod trace;
mod work;

use crashes::Setting;
use table::{Row, table};
use town::{State, Town};
use work::Work;

/// So many towns are at work at once.
const TOWNS: usize = 6;

/// One fault in one job; each is as good as alone in the world.
enum Case {
    Crash(crashes::Crash),
    CrashAndPayment(crashes::Crash),
    Overtaken(crashes::Crash),
    Outage(outages::Outage, Job, State),
    Network(networks::Network, State),
    Stop(stops::Stop, Job, State),
    Look(looks::Look),
}

impl Case {
    fn work(&self) -> Work {
        match self {
            Self::Crash(crash) | Self::CrashAndPayment(crash) | Self::Overtaken(crash) => crash.work,
            Self::Outage(_, job, _) | Self::Stop(_, job, _) => Work::Job(*job),
            Self::Network(network, _) => Work::Job(network.job),
            Self::Look(look) => Work::Job(look.job()),
        }
    }

    async fn play(&self, town: &mut Town) -> Row {
        match self {
            Self::Crash(crash) => crash.play(false, town).await,
            Self::CrashAndPayment(crash) => crash.play(true, town).await,
            Self::Overtaken(crash) => overtaken::play(crash, town).await,
            Self::Outage(outage, job, expected) => outage.play(*job, expected, town).await,
            Self::Network(network, expected) => network.play(expected, town).await,
            Self::Stop(stop, job, expected) => stop.play(*job, expected, town).await,
            Self::Look(look) => look.play(town).await,
        }
    }
}

/// Plays all cases in a few towns at once; the rows are in the order of the cases.
async fn play(cases: Vec<Case>) -> Vec<Row> {
    let cases = Arc::new(cases);
    let next = Arc::new(Mutex::new(0..cases.len()));
    let mut towns = JoinSet::new();
    for _ in 0..TOWNS {
        let (cases, next) = (Arc::clone(&cases), Arc::clone(&next));
        towns.spawn(async move {
            let mut town = Town::new().await.unwrap();
            let mut rows = Vec::new();
            loop {
                let Some(position) = next.lock().unwrap().next() else {
                    return rows;
                };
                town.rebuild(cases[position].work()).await;
                rows.push((position, cases[position].play(&mut town).await));
            }
        });
    }
    let mut rows: Vec<(usize, Row)> = towns.join_all().await.into_iter().flatten().collect();
    rows.sort_by_key(|(position, _)| *position);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether to write the table is for who runs the tests to say"
)]
fn is_to_be_written() -> bool {
    std::env::var("UPDATE_FAULTS").is_ok_and(|value| value == "1")
}

/// All faults, each in every job that it can meet.
async fn cases(town: &mut Town) -> Vec<Case> {
    let crashes = crashes::all(town).await;
    let expected: BTreeMap<Work, State> = crashes
        .iter()
        .filter(|crash| crash.setting == Setting::Usual)
        .map(|crash| (crash.work, crash.expected.clone()))
        .collect();
    let expected = |job: Job| expected[&Work::Job(job)].clone();
    let overtaken = overtaken::of(&crashes);
    let mut cases: Vec<Case> = crashes.iter().cloned().map(Case::Crash).collect();
    // Between the end of one step and the beginning of the next nothing is written that could meet a payment.
    let at_ends = crashes
        .into_iter()
        .filter(|crash| crash.failpoint.contains(".after_"));
    cases.extend(at_ends.map(Case::CrashAndPayment));
    cases.extend(overtaken.into_iter().map(Case::Overtaken));
    cases.extend(looks::ALL.map(Case::Look));
    for stop in stops::ALL {
        cases.extend(Job::ALL.map(|job| Case::Stop(stop, job, expected(job))));
    }
    for outage in outages::ALL {
        cases.extend(Job::ALL.map(|job| Case::Outage(outage, job, expected(job))));
    }
    let networks = networks::all().into_iter();
    cases.extend(networks.map(|network| Case::Network(network, expected(network.job))));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn no_fault_costs_anybody_what_was_paid_for() {
    let Some(mut town) = Town::new().await else { return };
    let cases = cases(&mut town).await;
    let rows = play(cases).await;

    for row in &rows {
        let case = format!("{} at {} in {}", row.fault, row.place, row.work);
        assert_eq!((row.lost, row.wrong_deletions), (0, 0), "{case}: {}", row.said);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("FAULTS.md");
    let seen = table(&rows);
    if is_to_be_written() {
        fs::write(&file, seen).unwrap();
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let lines: Vec<&str> = seen.lines().collect();
    let expected: Vec<&str> = committed.lines().collect();
    assert!(
        lines == expected,
        "tests/FAULTS.md is not what was seen; UPDATE_FAULTS=1 writes it. First seen otherwise: {:?}",
        lines.iter().find(|line| !expected.contains(line))
    );
}
