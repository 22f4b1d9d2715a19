//! Two processes: one job does not run twice at once, and a run that lost its lock takes nothing away from the next.

use std::collections::BTreeSet;

use marzban_sync_core::report::Job;

use super::crashes::Crash;
use super::table::Row;
use super::town::Town;
use super::work::Work;

const TERMINATE: &str = "SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS terminated";

/// Where no lock is held, or none any more.
const WITHOUT_LOCK: [&str; 10] = [
    "job_run.before_verify_schema",
    "job_run.after_verify_schema",
    "job_run.before_lock",
    "job_run.before_release",
    "job_run.after_release",
    "undo.before_verify_schema",
    "undo.after_verify_schema",
    "undo.before_read",
    "undo.after_read",
    "undo.before_lock",
];

/// Each failpoint of each job once, as far as the run holds its lock there.
pub(super) fn of(crashes: &[Crash]) -> Vec<Crash> {
    let mut seen = BTreeSet::new();
    crashes
        .iter()
        .filter(|crash| !WITHOUT_LOCK.contains(&crash.failpoint.as_str()))
        .filter(|crash| seen.insert((crash.work, crash.failpoint.clone())))
        .cloned()
        .collect()
}

/// A process stands at the failpoint; a second run is refused; the lock of the first is lost, the next run does all,
/// a customer whom that cleaned buys again; and then the first goes on, minutes later.
pub(super) async fn play(crash: &Crash, town: &mut Town) -> Row {
    let mut process = crash.stop_there(town).await;
    let place = format!("overtaken at {} of {}", crash.place(), crash.work);
    let before = town.state().await;
    let refused = town.run(crash.work).await;
    assert!(refused.is_refused(), "{place}: {}", refused.said);
    town.state().await.assert_is(&before, &place);

    town.bot.sql(TERMINATE).await;
    town.until_the_lock_is_free().await;
    town.pay_later().await;
    let next = town.run(crash.work).await;
    assert!(next.is_ok(), "{place}: {}", next.said);
    town.state().await.assert_is(&crash.expected, &place);
    let request_is_as_good_as_sent = crash.failpoint == "cleanup.before_delete";
    if crash.work == Work::Job(Job::CleanupExpiredMarzbanUsers) && !request_is_as_good_as_sent {
        town.buy_again().await;
    }
    let (before, demands) = (town.state().await, town.demands());

    process.go_on().await;
    let last = process.lines().await.pop().unwrap_or_default();
    town.state().await.assert_is(&before, &place);
    town.assert_traced(&place).await;
    assert!(
        request_is_as_good_as_sent || town.demands() == demands,
        "{place}: it deletes or changes a user: {last}"
    );
    let end = last.split(':').next().unwrap_or_default();
    Row {
        fault: "overtaken by the next run".to_owned(),
        place: crash.place(),
        work: crash.work,
        lost: town.lost().await,
        wrong_deletions: town.wrong_deletions(),
        words: vec![
            "the second at once: already running".to_owned(),
            format!("the overtaken one: {end}"),
        ],
        said: format!(
            "a second run at once: {}; the overtaken one: {last}",
            refused.said
        ),
    }
}
