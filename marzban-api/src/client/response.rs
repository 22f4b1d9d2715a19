//! From the bytes of a response to a value or an error. Pure.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use serde::Deserialize;

use crate::error::{Detail, Error, ErrorKind};
use crate::request::Request;

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The duration of the exchange, without waiting for the throttle.
    pub(crate) took: Duration,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
}

/// When the panel last answered, by its own clock, in epoch seconds.
#[derive(Debug)]
pub(crate) struct LastDate(AtomicI64);

/// Where and why decoding failed, without the value that was found there.
#[derive(Clone, Debug)]
pub(crate) struct DecodeError {
    path: String,
    reason: String,
}

impl Response {
    /// Returns a successful response, and turns any other into the error it stands for.
    pub(crate) fn into_result(self, now: DateTime<Utc>) -> Result<Self, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        let detail = self.detail();
        let kind = kind_of(self.status, self.is_json());
        let retry_after = retry_after(&self.headers, now);
        let is_page = self.body.trim_ascii_start().starts_with(b"<");
        Err(Error::new(kind)
            .with_status(self.status.as_u16())
            .with_proxy_page(is_page)
            .with_detail(detail)
            .with_retry_after(retry_after))
    }

    /// Decodes the body as JSON. If it is not JSON at all, another server has answered.
    pub(crate) fn decode<'a, T: Deserialize<'a>>(&'a self, request: &Request) -> Result<T, Error> {
        decode(&self.body).map_err(|error| {
            let kind = if self.is_json() {
                ErrorKind::Decode
            } else {
                ErrorKind::UnexpectedResponse
            };
            self.error(kind, request).with_source(error)
        })
    }

    /// Makes an error with the circumstances of this response.
    pub(crate) fn error(&self, kind: ErrorKind, request: &Request) -> Error {
        Error::new(kind)
            .with_operation(request)
            .with_status(self.status.as_u16())
            .with_attempts(self.attempts, self.elapsed)
    }

    /// The response's `Date` header, if it has one.
    pub(crate) fn date(&self) -> Option<DateTime<Utc>> {
        date(&self.headers)
    }

    /// Returns whether the panel itself has answered, as far as the response shows. A proxy answers with a page or a
    /// status of its own, and the panel's 500 is plain text that could be anyone's.
    fn is_the_panels(&self) -> bool {
        !self.status.is_server_error() && (self.is_json() || self.status == StatusCode::NO_CONTENT)
    }

    fn is_json(&self) -> bool {
        let declared = header(&self.headers, &CONTENT_TYPE).is_some_and(|value| value.contains("json"));
        match self.body.trim_ascii_start().first() {
            Some(b'{' | b'[') => true,
            Some(b'<') | None => false,
            Some(_) => declared,
        }
    }

    fn detail(&self) -> Option<Detail> {
        #[derive(Deserialize)]
        struct Refusal {
            detail: Detail,
        }
        serde_json::from_slice::<Refusal>(&self.body)
            .ok()
            .map(|refusal| refusal.detail)
    }
}

/// Decodes JSON. The error names the place and repeats none of the text.
pub(crate) fn decode<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, DecodeError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| DecodeError::new(error.path().to_string(), error.inner()))?;
    reader
        .end()
        .map_err(|error| DecodeError::new(".".to_owned(), &error))?;
    Ok(value)
}

/// Maps a status to a kind. A status counts only if the panel itself sends it, which it does in JSON except for a
/// plain-text 500.
fn kind_of(status: StatusCode, json: bool) -> ErrorKind {
    match status.as_u16() {
        500..=599 => ErrorKind::Server,
        429 => ErrorKind::RateLimited,
        _ if !json => ErrorKind::UnexpectedResponse,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        400..=499 => ErrorKind::Rejected,
        _ => ErrorKind::UnexpectedResponse,
    }
}

/// Reads `Retry-After` as seconds or as a date. A date is compared with the response's own `Date` if there is one,
/// because both come from one clock.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = header(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    let wait = until.to_utc() - date(headers).unwrap_or(now);
    Some(wait.to_std().unwrap_or_default())
}

fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc2822(header(headers, &DATE)?).ok()?;
    Some(date.to_utc())
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

/// Removes text in quotation marks, in which the decoder repeats strings of the document that may be secrets.
fn without_text(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (message.get(..first), message.get(last + 1..));
            format!(
                "{}\"..\"{}",
                before.unwrap_or_default(),
                after.unwrap_or_default()
            )
        }
        _ => message.to_owned(),
    }
}

impl LastDate {
    /// Stands for no date.
    const NEVER: i64 = i64::MIN;

    /// Stores the date of a response that is the panel's and has one.
    pub(crate) fn note(&self, response: &Response) {
        if response.is_the_panels()
            && let Some(date) = response.date()
        {
            self.0.store(date.timestamp(), Ordering::Relaxed);
        }
    }

    pub(crate) fn get(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0)
    }
}

impl Default for LastDate {
    fn default() -> Self {
        Self(AtomicI64::new(Self::NEVER))
    }
}

impl DecodeError {
    fn new(path: String, error: &serde_json::Error) -> Self {
        Self {
            path,
            reason: without_text(&error.to_string()),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at `{}`: {}", self.path, self.reason)
    }
}

impl std::error::Error for DecodeError {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2025-09-15T12:00:00Z")
            .unwrap()
            .to_utc()
    }

    fn wait(pairs: &[(HeaderName, &'static str)]) -> Option<Duration> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect();
        retry_after(&headers, noon())
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(wait(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(&[(RETRY_AFTER, "Mon, 15 Sep 2025 12:00:30 GMT")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            wait(&[(RETRY_AFTER, "Mon, 15 Sep 2025 11:00:00 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(wait(&[(RETRY_AFTER, "soon")]), None);
        assert_eq!(wait(&[(RETRY_AFTER, "-1")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_retry_date_is_measured_by_the_clock_that_named_it() {
        let pairs = [
            (DATE, "Mon, 15 Sep 2025 15:30:00 GMT"),
            (RETRY_AFTER, "Mon, 15 Sep 2025 15:30:05 GMT"),
        ];
        assert_eq!(wait(&pairs), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_decoding_error_repeats_no_text_of_the_document() {
        let mismatch = decode::<Vec<u32>>(br#"[1, "eyJhbGciOi \" secret"]"#).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "at `[1]`: invalid type: string \"..\", expected u32 at line 1 column 26"
        );
    }

    #[test]
    fn bytes_after_the_document_are_an_error() {
        let mismatch = decode::<u32>(b"1 2").unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "at `.`: trailing characters at line 1 column 3"
        );
    }
}
