//! The JSON of a body, which the panel reads before it looks at the token.

use serde_json::{Error, Value};

use super::request::Request;
use super::response::Response;

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
    let unreadable = || Response::detail(400, "There was an error parsing the body");
    let text = str::from_utf8(&request.body).map_err(|_| unreadable())?;
    match serde_json::from_str(text) {
        Ok(Value::Null) => Ok(None),
        Ok(body) => Ok(Some(body)),
        Err(error) if error.to_string().starts_with("recursion limit") => Err(unreadable()),
        Err(error) => Err(Response::invalid(&[(
            offset(text, &error).to_string(),
            "JSON decode error".to_owned(),
        )])),
    }
}

/// Where reading failed, in characters from the start of the body.
///
/// Python counts so too, but places some mistakes at the start of the value that they are in.
fn offset(text: &str, error: &Error) -> usize {
    let before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line: usize = before.map(str::len).sum();
    let column = error.column().saturating_sub(usize::from(!error.is_eof()));
    let read = text.get(..line + column).unwrap_or(text);
    read.chars().count()
}
