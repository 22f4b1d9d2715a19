#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The rooms, each of which knows those above it alone.
mod model;

mod decide;

mod port;

mod adapter;

#[cfg(feature = "failpoints")]
pub mod failpoints;
#[cfg(feature = "jobs")]
pub mod jobs;
#[cfg(feature = "scheduler")]
pub mod scheduler;
#[cfg(feature = "test-util")]
pub mod testing;

#[cfg(feature = "schedule")]
pub use decide::schedule;
pub use decide::{deletion, freshness, limits, merge_ends, reconcile, zone};
#[cfg(feature = "jobs")]
pub use jobs::{
    Context, cleanup_expired_marzban_users, get_marzban_system_stats, sync_subscriptions_from_marzban,
    sync_user_status_from_marzban,
};
pub use model::{account, agreement, end_date, observation, outcome, plan, policy, report, run, trail};
pub use port::{clock, error, event};

/// The port to a panel, and what stands behind it.
pub mod panel {
    #[cfg(feature = "marzban")]
    pub use crate::adapter::marzban::MarzbanPanel;
    pub use crate::port::panel::*;
}

/// The two ports to a database, the bot's accounts and the library's journal, and the stores that stand behind them.
pub mod store {
    pub use crate::adapter::listed::{Customer, Customers, Decide, Login, TableStore, Write};
    #[cfg(feature = "memory")]
    pub use crate::adapter::memory::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
    #[cfg(feature = "postgres")]
    pub use crate::adapter::postgres::{PostgresStore, StoreTimeouts};
    #[cfg(feature = "sqlite")]
    pub use crate::adapter::sqlite::SqliteStore;
    pub use crate::port::accounts::*;
    pub use crate::port::journal::*;
    #[cfg(feature = "test-util")]
    pub use crate::port::mock::MockStore;
}
