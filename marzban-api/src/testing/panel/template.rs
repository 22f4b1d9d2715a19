//! One template of users.

use serde::Serialize;

use super::input::Tags;

/// A template, with the seven keys that the panel shows of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Template {
    pub(crate) name: String,
    pub(crate) data_limit: i64,
    pub(crate) expire_duration: i64,
    pub(crate) username_prefix: Option<String>,
    pub(crate) username_suffix: Option<String>,
    pub(crate) inbounds: Tags,
    pub(crate) id: u64,
}
