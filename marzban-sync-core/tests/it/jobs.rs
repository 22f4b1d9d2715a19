//! The jobs over a store in memory and a scripted panel.

mod cheap;
mod cleanup;
mod cleanup_looks;
mod dry_run;
mod history;
mod large;
mod panels;
mod races;
mod safety;
mod stops;
mod stops_of_each;
mod subscriptions;
mod system_stats;
mod user_status;
