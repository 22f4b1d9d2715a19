//! What a query string holds, read as the panel reads it.

use super::request::{Query, Request};
use super::response::Response;

/// Reads an integer as the panel reads one from text: surrounding space and a fraction of zeros are fine.
pub(crate) fn integer_of_text(text: &str) -> Result<i64, &'static str> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.chars().all(|digit| digit == '0') => whole,
        _ => text,
    };
    whole
        .parse()
        .map_err(|_| "Input should be a valid integer, unable to parse string as an integer")
}

/// Reads an integer of the query, and notes what is wrong with it.
pub(crate) fn integer_of_query(
    query: &Query,
    name: &str,
    problems: &mut Vec<(String, String)>,
) -> Option<i64> {
    match integer_of_text(query.last(name)?) {
        Ok(integer) => Some(integer),
        Err(message) => {
            problems.push((name.to_owned(), message.to_owned()));
            None
        }
    }
}

/// Reads `offset` and `limit`; an absent value, zero and negative numbers mean no bound.
pub(crate) fn page(request: &Request) -> Result<(usize, usize), Response> {
    let mut problems = Vec::new();
    let mut read = |name: &str| integer_of_query(&request.query, name, &mut problems).unwrap_or_default();
    let (offset, limit) = (read("offset"), read("limit"));
    if !problems.is_empty() {
        return Err(Response::invalid(&problems));
    }
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    Ok((usize::try_from(offset).unwrap_or(0), limit.unwrap_or(usize::MAX)))
}
