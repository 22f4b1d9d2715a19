//! The client against bytes: what it sends, and what it makes of every answer.

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
mod documented;
mod escape_hatch;
mod failures;
mod fake_panel;
mod hostile_servers;
mod lifecycle;
mod live;
mod login;
mod logs;
mod nodes;
mod operations;
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
mod updating;
mod values;
mod webhook;
mod wire;
