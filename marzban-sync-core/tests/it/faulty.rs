//! A store in memory of which single calls fail.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind};
use marzban_sync_core::store::{AccountStore, Journal, MemoryStore, MockRunLock, MockStore, RunLock};

/// Passes calls of a mock on to the store in memory.
macro_rules! pass_on {
    ($mock:ident to $store:ident: $($expect:ident $call:ident($($argument:ident),*);)*) => {
        $({
            let inner = $store.clone();
            $mock
                .$expect()
                .returning(move |$($argument),*| at_once(inner.$call($($argument),*)));
        })*
    };
}

/// A mock that passes on to the store whatever it has no expectation for, or none any more.
pub(crate) fn over(mut mock: MockStore, store: &MemoryStore) -> MockStore {
    pass_on! { mock to store:
        expect_verify_schema verify_schema();
        expect_count_accounts count_accounts(panel);
        expect_count_elsewhere count_elsewhere(panel);
        expect_page_accounts page_accounts(panel, after, limit, now);
        expect_reload_accounts reload_accounts(panel, ids, now);
        expect_apply apply(panel, run, changes, now);
        expect_rehearse_unlink rehearse_unlink(panel, account, now);
        expect_unlink unlink(panel, run, account, now);
        expect_agreements agreements(users);
        expect_record record(panel, run, trail, now);
        expect_undo undo(panel, run, entries, now);
        expect_lock lock(job, panel);
        expect_begin_run begin_run(job, panel, now);
        expect_finish_run finish_run(run, outcome, report, now);
        expect_record_system_stats record_system_stats(panel, stats, now);
        expect_prune_history prune_history(panel, before);
        expect_runs runs(query);
        expect_latest_runs latest_runs(outcome);
        expect_system_stats system_stats(panel, since);
        expect_entries entries(query);
    }
    mock
}

/// A mock that lets a test fail that writes rows, agreements or entries.
pub(crate) fn writes_nothing() -> MockStore {
    let mut mock = MockStore::new();
    mock.expect_apply()
        .returning(|_, _, changes, _| panic!("nothing is to be written: {changes:?}"));
    mock.expect_unlink()
        .returning(|_, _, account, _| panic!("nothing is to be unlinked: {account:?}"));
    mock.expect_record()
        .returning(|_, _, trail, _| panic!("nothing is to be recorded: {trail:?}"));
    mock
}

/// A lock that is still held so many times that it is asked, and then lost.
pub(crate) fn lock_lost_after(times: usize) -> Box<dyn RunLock> {
    let mut lock = MockRunLock::new();
    lock.expect_verify().times(times).returning(|| Ok(()));
    lock.expect_verify().returning(|| {
        Err(StoreError::new(
            StoreErrorKind::LockLost,
            "the lock of this run was lost",
        ))
    });
    lock.expect_release().returning(|| Ok(()));
    Box::new(lock)
}

pub(crate) fn no_database() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the database does not answer")
        .with_source("connection reset")
}

pub(crate) fn no_panel() -> PanelError {
    PanelError::new(PanelErrorKind::Unavailable, "the panel does not answer").with_source("timed out")
}

pub(crate) fn refused() -> PanelError {
    PanelError::new(PanelErrorKind::Refused, "the panel refuses the login")
}

/// The output of a future that never waits, as those of the store in memory.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the store in memory never waits"),
    }
}
