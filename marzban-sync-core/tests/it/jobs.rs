//! The jobs over a store in memory and a scripted panel.

mod absences;
mod answers;
mod cleanup;
mod cleanup_conditions;
mod cleanup_looks;
mod doubts;
mod dry_run;
mod extensions;
mod history;
mod large;
mod panels;
mod races;
mod safety;
mod stops;
mod stops_of_each;
mod subscriptions;
mod system_stats;
mod trail;
mod undoing;
mod user_status;
