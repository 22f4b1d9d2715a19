//! The interface of the panel: routes, JSON in and out, query strings, authorisation and refusals.
//!
//! It turns a [`Request`] into a [`Response`] by the rules of `panel`, and knows nothing of sockets.
#![expect(
    clippy::unnecessary_wraps,
    reason = "the operations of all routes have one signature"
)]

mod admins;
mod auth;
mod body;
mod call;
mod config;
mod core;
mod datetime;
mod fields;
mod formats;
mod hosts;
mod links;
mod logs;
mod nodes;
mod notifications;
mod query;
mod render;
mod request;
mod response;
mod router;
mod routes;
mod state;
mod subscription;
mod templates;
mod token;
mod usage;
mod user_body;
mod users;
mod view;

pub(crate) use logs::interval as log_interval;
pub(crate) use notifications::{SECRET_HEADER, batch as notification_batch};
pub(crate) use request::{Query, Request};
pub(crate) use response::Response;
pub(crate) use router::Router;
pub(crate) use state::Api;
pub(crate) use token::issue as subscription_token;
