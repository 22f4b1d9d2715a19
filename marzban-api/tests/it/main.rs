//! The client on bytes: what it sends, and what it makes of every response.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy takes only functions marked as tests for tests"
)]

mod batches;
mod building;
mod clocks;
mod core;
mod creating;
mod deleting;
mod failures;
mod fake_panel;
mod hostile_servers;
mod lifecycle;
mod live;
mod login;
mod logs;
mod nodes;
mod operations;
mod operations_table;
mod pages;
mod peers;
mod reading;
mod redaction;
mod streams;
mod subscription;
mod summaries;
mod telemetry;
mod together;
mod typed;
mod untyped_requests;
mod updating;
mod values;
mod webhook;
mod wire;
