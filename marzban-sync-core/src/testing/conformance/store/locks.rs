//! One run of a job for a panel at a time.

use super::Fixture;
use crate::model::report::Job;
use crate::port::accounts::DEFAULT_PANEL;
use crate::port::error::StoreErrorKind;

/// While one run holds the lock of a job and a panel, another is told that it is already running, by every handle.
pub async fn a_second_run_is_already_running(fixture: &dyn Fixture) {
    let (journal, other) = (fixture.journal(), fixture.journal());
    let job = Job::SyncSubscriptionsFromMarzban;
    let held = journal.lock(job, "main").await.expect("the lock is free");
    for journal in [&journal, &other] {
        let error = journal.lock(job, "main").await.err().expect("the lock is held");
        assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning);
    }
    drop(held);
}

/// The lock of one job and panel leaves other jobs and other panels free, whatever a panel is called.
pub async fn another_job_or_panel_is_not_locked(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let mut held = Vec::new();
    for panel in [
        "main",
        "Main",
        "",
        "ma in",
        "../main",
        "main/..",
        "main.lock",
        "панель",
        "a%2Fb",
        "a/b",
    ] {
        for job in Job::ALL {
            held.push(
                journal
                    .lock(job, panel)
                    .await
                    .unwrap_or_else(|error| panic!("{job} {panel:?}: {error}")),
            );
        }
    }
    for lock in &mut held {
        lock.verify().await.expect("each is still held");
    }
}

/// A lock that was released, or dropped, is free again.
pub async fn a_released_or_dropped_lock_is_free(fixture: &dyn Fixture) {
    let journal = fixture.journal();
    let job = Job::CleanupExpiredMarzbanUsers;
    for _ in 0..3 {
        let lock = journal.lock(job, "main").await.expect("the lock is free");
        lock.release().await.expect("the lock is released");
    }
    for _ in 0..3 {
        drop(journal.lock(job, "main").await.expect("the lock is free"));
        wait_until_free(fixture, job).await;
    }
}

/// A lock that is held says so, as often as it is asked, also while the store is used.
pub async fn a_held_lock_is_verified(fixture: &dyn Fixture) {
    let (store, journal) = (fixture.store(), fixture.journal());
    let mut lock = journal
        .lock(Job::GetMarzbanSystemStats, "main")
        .await
        .expect("the lock is free");
    for _ in 0..3 {
        lock.verify().await.expect("the lock is held");
        store
            .count_accounts(DEFAULT_PANEL)
            .await
            .expect("accounts are counted");
    }
    lock.release().await.expect("the lock is released");
}

/// A dropped lock may be freed by a server that learns of it a moment later, so it is tried some times.
async fn wait_until_free(fixture: &dyn Fixture, job: Job) {
    let journal = fixture.journal();
    for _ in 0..1_000 {
        match journal.lock(job, "main").await {
            Ok(lock) => return lock.release().await.expect("the lock is released"),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::AlreadyRunning),
        }
    }
    panic!("the dropped lock of {job} is never free");
}
