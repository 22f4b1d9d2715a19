#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod account;
pub mod agreement;
pub mod clock;
pub mod deletion;
pub mod end_date;
pub mod error;
pub mod event;
#[cfg(feature = "failpoints")]
pub mod failpoints;
pub mod freshness;
pub mod history;
#[cfg(feature = "jobs")]
pub mod jobs;
pub mod merge;
pub mod observation;
pub mod panel;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod report;
pub mod run;
pub mod safety;
#[cfg(feature = "schedule")]
pub mod schedule;
#[cfg(feature = "scheduler")]
pub mod scheduler;
pub mod store;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod trail;
pub mod zone;

#[cfg(feature = "jobs")]
pub use jobs::{
    Context, cleanup_expired_marzban_users, get_marzban_system_stats, sync_subscriptions_from_marzban,
    sync_user_status_from_marzban,
};
