//! The JSON of a body, which the panel reads before it looks at the token.

use serde_json::Value;

use super::request::Request;
use super::response::Response;
use super::syntax::{self, Fault};

/// Reads a body, or refuses it as no JSON.
///
/// A body of null is none, and one that does not claim to be JSON is a text.
pub(crate) fn read_json(request: &Request) -> Result<Option<Value>, Response> {
    if request.body.is_empty() {
        return Ok(None);
    }
    if !request.claims_json() {
        return Ok(Some(Value::String(String::new())));
    }
    match syntax::read(&request.body) {
        Ok(Value::Null) => Ok(None),
        Ok(body) => Ok(Some(body)),
        Err(Fault::At(offset)) => Err(Response::invalid(&[(
            offset.to_string(),
            "JSON decode error".to_owned(),
        )])),
        Err(Fault::Unreadable) => Err(Response::detail(400, "There was an error parsing the body")),
    }
}
