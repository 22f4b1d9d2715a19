//! An authorised request on its way to the operation that its route names.

use matchit::Params;
use serde_json::Value;

use super::request::Request;
use super::response::Response;
use crate::testing::panel::admin::FakeAdmin;

/// A request with what was checked of it before its operation runs.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) params: &'a Params<'a, 'a>,
    pub(crate) by: FakeAdmin,
    pub(crate) json: Option<Value>,
    /// The number in the path, or 0 if there is none.
    pub(crate) id: u64,
}

impl Call<'_> {
    /// A part of the path that the route names.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
}

/// An answer, or a refusal in its place.
pub(crate) type ApiResult = Result<Response, Response>;
