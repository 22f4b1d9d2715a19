//! The interface of the panel: routes, JSON and authorisation.

pub(crate) mod auth;
pub(crate) mod datetime;
pub(crate) mod fields;
pub(crate) mod links;
pub(crate) mod operation;
pub(crate) mod render;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod subscription;
pub(crate) mod subscription_token;
pub(crate) mod syntax;
pub(crate) mod user_body;
