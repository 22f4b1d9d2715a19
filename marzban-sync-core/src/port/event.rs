//! What happens during a run, for progress bars and for notices to customers.

use crate::model::account::Account;
use crate::model::plan::Change;
use crate::model::report::{Job, Problem};

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A run has begun, and has this many accounts in scope.
    Started {
        /// The job.
        job: Job,
        /// Accounts in scope.
        total: u64,
    },
    /// So many further accounts have been asked for, or need not be.
    Observed(u64),
    /// A change has been written, not only planned.
    Applied(&'a Change),
    /// An account could not be brought in line.
    Failed(&'a Problem),
    /// A panel user was deleted, or found gone, and its row written.
    Cleaned(&'a Account),
}

/// Is told of events as they happen, in the middle of a run, and so must return at once.
///
/// # Examples
/// A closure is an observer. This one collects whom a bot should write to; it sends nothing itself, since a run waits
/// for it.
///
/// ```
/// use std::sync::mpsc;
///
/// use marzban_sync_core::event::{Event, Observer};
///
/// let (sender, receiver) = mpsc::channel();
/// let observer = move |event: Event<'_>| {
///     if let Event::Applied(change) = event {
///         let telegram_id = change.account.telegram_id;
///         // The receiver may be gone, and the run goes on all the same.
///         let _ = sender.send((telegram_id, change.reasons.clone()));
///     }
/// };
/// observer.observe(Event::Observed(1));
/// assert!(receiver.try_recv().is_err(), "nothing was applied");
/// ```
pub trait Observer: Send + Sync {
    /// Tells of one event.
    fn observe(&self, event: Event<'_>);
}

impl<F: Fn(Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: Event<'_>) {
        self(event);
    }
}
