//! Two processes: one job does not run twice at once, and a run that lost its lock takes nothing away from the next.

use std::collections::BTreeSet;

use marzban_sync_core::error::SyncErrorKind;
use marzban_sync_core::report::Job;

use super::Row;
use super::crashes::Crash;
use super::town::{Town, said};

const TERMINATE: &str = "SELECT count(*) FROM (
    SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS terminated";

/// Each failpoint of each job once, as far as the run holds its lock there.
pub(super) fn of(crashes: &[Crash]) -> Vec<Crash> {
    let mut seen = BTreeSet::new();
    crashes
        .iter()
        .filter(|crash| {
            !["verify_schema", "lock", "release"].iter().any(|call| {
                crash.failpoint == format!("session.before_{call}")
                    || crash.failpoint == format!("session.after_{call}")
            }) || crash.failpoint == "session.after_lock"
        })
        .filter(|crash| seen.insert((crash.job, crash.failpoint.clone())))
        .cloned()
        .collect()
}

/// A process stands at the failpoint; a second run is refused; the lock of the first is lost, the next run does all,
/// a customer whom that cleaned buys again; and then the first goes on, minutes later.
pub(super) async fn play(crash: &Crash, town: &mut Town) -> Row {
    let mut process = crash.stop_there(town).await;
    let place = format!("overtaken at {} of {}", crash.place(), crash.job);
    let before = town.state().await;
    let refused = town
        .run(crash.job)
        .await
        .expect_err("the first run holds its lock");
    assert_eq!(refused.kind(), SyncErrorKind::AlreadyRunning, "{place}");
    town.state().await.assert_is(&before, &place);

    town.bot.sql(TERMINATE).await;
    town.until_the_lock_is_free().await;
    town.pay_later().await;
    let result = town.run(crash.job).await;
    assert!(result.is_ok(), "{place}: {}", said(&result));
    town.state().await.assert_is(&crash.expected, &place);
    let request_is_as_good_as_sent = crash.failpoint == "cleanup.before_delete";
    if crash.job == Job::CleanupExpiredMarzbanUsers && !request_is_as_good_as_sent {
        town.buy_again().await;
    }
    let (before, deletions) = (town.state().await, town.deletions());

    process.go_on().await;
    let last = process.lines().await.pop().unwrap_or_default();
    town.state().await.assert_is(&before, &place);
    assert!(
        request_is_as_good_as_sent || town.deletions() == deletions,
        "{place}: it deletes"
    );
    Row {
        fault: "overtaken by the next run".to_owned(),
        place: crash.place(),
        job: crash.job,
        lost: town.lost().await,
        wrong_deletions: town.wrong_deletions(),
        said: format!("a second run at once: already running; the overtaken one: {last}"),
    }
}
