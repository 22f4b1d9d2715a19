//! The notifications that are still to be sent.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::admin::FakeAdmin;
use super::user::{FakeStatus, FakeUser};

/// The panel's wait after a failed batch, and the number of retries before it drops the batch.
const RETRY_AFTER: TimeDelta = TimeDelta::seconds(180);
const RETRIES: u32 = 3;

/// What happened to a user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    Created,
    Updated,
    UsageReset,
    SubscriptionRevoked,
    Deleted,
    /// The user has another status now.
    Became(FakeStatus),
    NextPlanApplied,
    UsagePercent(f64),
    DaysLeft(i64),
}

/// A user as it was when something happened to it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) user: FakeUser,
    pub(crate) owner: Option<FakeAdmin>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) seed: u64,
}

/// An event that is to be reported.
#[derive(Clone, Debug)]
pub(crate) struct Notification {
    pub(crate) event: Event,
    pub(crate) username: String,
    /// `None` after a deletion.
    pub(crate) user: Option<Box<Snapshot>>,
    /// `None` if a job of the panel did it.
    pub(crate) by: Option<FakeAdmin>,
    pub(crate) enqueued_at: DateTime<Utc>,
    pub(crate) send_at: DateTime<Utc>,
    pub(crate) tries: u32,
}

/// Where notifications go, and those that are still to be sent: in memory only, as in the panel.
#[derive(Clone, Default)]
pub(crate) struct Outbox {
    pub(crate) addresses: Vec<String>,
    pub(crate) secret: Option<String>,
    queue: Vec<Notification>,
}

// Addresses and secret give access to the receiver.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("addresses", &self.addresses.len())
            .field("queue", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, notification: Notification) {
        self.queue.push(notification);
    }

    /// Takes what is due out of the queue.
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>) -> Vec<Notification> {
        let (due, later) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|notification| notification.send_at <= now);
        self.queue = later;
        due
    }

    /// Puts a batch that no address accepted back to the end of the queue; after the last retry it is dropped.
    pub(crate) fn put_back(&mut self, batch: Vec<Notification>, now: DateTime<Utc>) {
        let again = batch
            .into_iter()
            .filter(|notification| notification.tries < RETRIES);
        self.queue.extend(again.map(|notification| Notification {
            tries: notification.tries + 1,
            send_at: now + RETRY_AFTER,
            ..notification
        }));
    }
}
