//! A store in memory of which single calls fail.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError, StoreErrorKind};
use marzban_sync_core::store::{MemoryStore, MockRunLock, MockStore, RunLock, Store};

/// A mock that passes on to the store whatever it has no expectation for, or none any more.
pub(crate) fn over(mut mock: MockStore, store: &MemoryStore) -> MockStore {
    let inner = store.clone();
    mock.expect_verify_schema()
        .returning(move || at_once(inner.verify_schema()));
    let inner = store.clone();
    mock.expect_count_accounts()
        .returning(move |panel, scope| at_once(inner.count_accounts(panel, scope)));
    let inner = store.clone();
    mock.expect_page_accounts()
        .returning(move |panel, scope, after, limit| {
            at_once(inner.page_accounts(panel, scope, after, limit))
        });
    let inner = store.clone();
    mock.expect_reload_accounts()
        .returning(move |panel, scope, ids| at_once(inner.reload_accounts(panel, scope, ids)));
    let inner = store.clone();
    mock.expect_apply()
        .returning(move |panel, changes, now| at_once(inner.apply(panel, changes, now)));
    let inner = store.clone();
    mock.expect_unlink()
        .returning(move |panel, account, now| at_once(inner.unlink(panel, account, now)));
    let inner = store.clone();
    mock.expect_lock()
        .returning(move |job, panel| at_once(inner.lock(job, panel)));
    let inner = store.clone();
    mock.expect_begin_run()
        .returning(move |job, panel, now| at_once(inner.begin_run(job, panel, now)));
    let inner = store.clone();
    mock.expect_finish_run()
        .returning(move |run, outcome, report, now| at_once(inner.finish_run(run, outcome, report, now)));
    let inner = store.clone();
    mock.expect_record_system_stats()
        .returning(move |panel, stats, now| at_once(inner.record_system_stats(panel, stats, now)));
    let inner = store.clone();
    mock.expect_forget_history()
        .returning(move |panel, before| at_once(inner.forget_history(panel, before)));
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
