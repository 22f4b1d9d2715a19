//! Random histories of a bot and its panels, and a judge who knows only what was paid for and what was done on purpose.
//!
//! A history is made from a seed, which a failure prints together with the fewest steps that still fail.
//! `HISTORY_SEED=7` tells that one history alone, `HISTORIES=100000` tries more of them.

mod dice;
mod end;
mod happen;
mod judge;
mod panel;
mod ports;
mod runs;
mod steps;
mod stop;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use marzban_sync_core::report::Job;
use ports::Plant;
use steps::{History, Kind, Order, Setup, Step};
use stop::Fault;
use world::World;

/// How many histories are tried unless `HISTORIES` says otherwise.
const HISTORIES: u64 = 2_000;

#[test]
fn nobody_loses_what_was_paid_for_whatever_happens() {
    if let Some(seed) = number("HISTORY_SEED") {
        let history = History::of(seed);
        let (verdict, counts) = live(&history, None);
        assert!(verdict.is_none(), "{}", failure(seed, &history, None));
        tell(&format!("history {seed} is right: {counts:?}"));
        return;
    }
    let histories = number("HISTORIES").unwrap_or(HISTORIES);
    let first = number("HISTORIES_FROM").unwrap_or(1);
    let (failed, counts) = try_all(first..first + histories, None);
    let failed: Vec<String> = failed
        .into_iter()
        .take(3)
        .map(|seed| failure(seed, &History::of(seed), None))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    tell(&format!("{histories} histories are right: {counts:#?}"));
}

/// Whatever becomes of any call of any job, also of the calls of one that has much to do.
#[test]
fn a_run_may_end_at_every_call() {
    for fault in Fault::ALL {
        for number in 0..CALLS {
            for history in at_call(number, fault) {
                let verdict = live(&history, None).0;
                assert_eq!(verdict, None, "{fault:?} at call {number}: {:?}", history.steps);
            }
        }
    }
}

#[test]
fn the_judge_bites() {
    let at_calls = || (0..CALLS).flat_map(|number| at_call(number, Fault::Pays(0)));
    for plant in [
        Plant::ForgetsAgreements,
        Plant::ForgetsPreviousEnds,
        Plant::ForgetsLatestEnds,
        Plant::OverwritesPayments,
        Plant::SkipsBrakes,
        Plant::DeletesAtOnce,
        Plant::TakesStrangers,
        Plant::IgnoresClocks,
    ] {
        let verdict = at_calls().chain((1..=400).map(History::of)).find_map(|history| {
            let verdict = live(&history, Some(plant)).0?;
            // What is wrong without the plant as well says nothing about it.
            live(&history, None).0.is_none().then_some(verdict)
        });
        let verdict = verdict.unwrap_or_else(|| panic!("no history finds {plant:?}"));
        tell(&format!(
            "{plant:?} breaks law {}",
            verdict.split(':').next().unwrap_or_default()
        ));
    }
}

/// No run of the small bot of [`at_call`] makes more calls.
const CALLS: usize = 40;

/// Small histories in which this becomes of the n-th call of a sync that finds an end passed, and of a cleanup that has
/// somebody to delete.
fn at_call(number: usize, fault: Fault) -> [History; 2] {
    let single = |days| (Kind::Single, 0, days);
    let setup = Setup {
        customers: [1, 20, 30, 45, -40].map(single).to_vec(),
        extend_after: Some(24),
        disables: false,
        keeps_updated_at: true,
        touches_daily: false,
        expires: false,
        row_lag: 0,
        has_dates: true,
        is_full: false,
    };
    let sync = vec![
        Step::Pay(1, 30, Order::RowOnly),
        Step::Pay(2, 30, Order::PanelOnly),
        Step::Wait(22),
        Step::Arm(number, fault),
        Step::Wait(6),
    ];
    let cleanup = vec![
        Step::Run(Job::SyncUserStatusFromMarzban, 0, None),
        Step::Run(Job::CleanupExpiredMarzbanUsers, 0, Some((number, fault))),
        Step::Wait(3),
    ];
    [sync, cleanup].map(|steps| History {
        setup: setup.clone(),
        steps,
    })
}

/// Tries these histories on all processors; returns those that fail, and what the judge has counted.
fn try_all(seeds: std::ops::Range<u64>, plant: Option<Plant>) -> (Vec<u64>, BTreeMap<&'static str, u64>) {
    let next = AtomicU64::new(seeds.start);
    let (failed, counts) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().len() >= 20 {
                        return;
                    }
                    let (verdict, counted) = live(&History::of(seed), plant);
                    if verdict.is_some() {
                        failed.lock().unwrap().push(seed);
                    }
                    let mut counts = counts.lock().unwrap();
                    for (what, count) in counted {
                        *counts.entry(what).or_default() += count;
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    (failed, counts.into_inner().unwrap())
}

/// Lets a history happen; returns the judge's verdict, if there is one, and what was counted.
fn live(history: &History, plant: Option<Plant>) -> (Option<String>, BTreeMap<&'static str, u64>) {
    let world = World::new(&history.setup, plant);
    for step in &history.steps {
        world.take(*step);
        if world.verdict().is_some() {
            break;
        }
    }
    if world.verdict().is_none() {
        world.come_to_an_end();
    }
    world.truth(|truth| (truth.verdict.clone(), truth.counts.clone()))
}

/// What a failure prints: the seed, and the fewest steps that still fail.
fn failure(seed: u64, history: &History, plant: Option<Plant>) -> String {
    let fails = |history: &History| live(history, plant).0.is_some();
    let mut least = history.clone();
    let mut is_shorter = true;
    while is_shorter {
        is_shorter = false;
        let mut place = least.steps.len();
        while place > 0 {
            place -= 1;
            let mut shorter = least.clone();
            shorter.steps.remove(place);
            if fails(&shorter) {
                least = shorter;
                is_shorter = true;
            }
        }
        let mut customers = least.setup.customers.len();
        while customers > 1 {
            customers -= 1;
            let mut shorter = least.clone();
            shorter.setup.customers.pop();
            if fails(&shorter) {
                least = shorter;
                is_shorter = true;
            } else {
                break;
            }
        }
    }
    let verdict = live(&least, plant).0.unwrap_or_default();
    let steps: Vec<String> = least.steps.iter().map(|step| format!("  {step:?}")).collect();
    format!(
        "HISTORY_SEED={seed}\n{:?}\n{}\n{verdict}",
        least.setup,
        steps.join("\n")
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is how a failed history is told again"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[expect(
    clippy::print_stderr,
    reason = "what was tried is said where somebody looks at it"
)]
fn tell(what: &str) {
    eprintln!("{what}");
}
