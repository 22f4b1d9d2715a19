use std::fmt;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::history::History;

/// How [`sync_user_status_from_marzban`](crate::sync_user_status_from_marzban) learns of what has changed.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "marzban", feature = "postgres"))] {
/// use chrono::TimeDelta;
/// use marzban_sync_core::Context;
/// use marzban_sync_core::jobs::StatusReads;
/// use marzban_sync_core::panel::MarzbanPanel;
/// use marzban_sync_core::store::PostgresStore;
///
/// fn context(panel: MarzbanPanel, store: PostgresStore) -> Context {
///     Context::builder(panel, store.clone())
///         .status_reads(StatusReads::cheap(TimeDelta::hours(6), store))
///         .build()
/// }
/// # }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum StatusReads {
    /// Every user is read: about 2.5 ms of the panel's time for each, so 25 s for 10,000. The default, as it alone sees
    /// everything in every run.
    #[default]
    Full,
    /// The users that are not active are listed, at about 2.5 ms for each that is limited, disabled or on hold and next
    /// to nothing for the expired ones, and only accounts that disagree with that are read.
    ///
    /// The traffic and the last connection of the others are left to
    /// [`sync_subscriptions_from_marzban`](crate::sync_subscriptions_from_marzban), and wait for the next full read
    /// where that job does not look at the subscription. A user that is gone shows in the number of active users, and
    /// then, as after any disagreement of the sums, the others are read too. So this saves time where the panel has no
    /// active users that the bot does not know; with some, the lists come on top of the full read, and with more users
    /// to list, or active, than the bot has accounts, only the sums do.
    ///
    /// It needs a sudo admin and a panel of 0.8 or later, and reads in full without them. A run keeps the names of
    /// those who are listed in memory.
    Cheap {
        /// A run reads in full all the same when the last completed one that did so began this long ago, or is not to
        /// be found: in the sums, a user that is gone can be made up for by one that the bot does not know.
        full_every: TimeDelta,
        /// Where the runs of the past are: nearly always the store of the same context.
        history: Arc<dyn History>,
    },
}

impl StatusReads {
    /// [`Cheap`](Self::Cheap), with a full read at least this often.
    #[must_use]
    pub fn cheap(full_every: TimeDelta, history: impl History + 'static) -> Self {
        Self::Cheap {
            full_every,
            history: Arc::new(history),
        }
    }
}

impl fmt::Debug for StatusReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("Full"),
            Self::Cheap { full_every, .. } => f
                .debug_struct("Cheap")
                .field("full_every", full_every)
                .finish_non_exhaustive(),
        }
    }
}
