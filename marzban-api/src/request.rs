//! Requests as data: method, path template, encoded path, query, body, and how they may be retried.
//!
//! Nothing is sent here. Every path and query of the crate is encoded in this module, so that a username can never
//! reach another route.

use std::fmt;

use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::Serialize;
use url::form_urlencoded;

use crate::error::{Error, ErrorKind};

/// Encodes everything in a path segment except the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What may be retried after a failure, by what the request does to the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// Changes nothing: retried after every transient failure, including a 500.
    Safe,
    /// A read of several users: like [`RetryClass::Safe`], except that the caller handles a 500 by halving the batch.
    SplittableRead,
    /// A login: changes nothing, but costs the panel a password hash and a message to its operator.
    Login,
    /// Changes the panel: retried only if nothing can have happened.
    Mutation,
}

/// A request, complete except for the base URL and the token.
#[derive(Clone)]
pub(crate) struct Request {
    operation: &'static str,
    method: Method,
    template: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
    content: Option<Content>,
    retry_class: RetryClass,
}

/// The body of a request, which may be a secret.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) media_type: &'static str,
    pub(crate) text: SecretString,
}

/// A name that cannot be part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an empty name, `.` and `..` cannot be part of a path")]
pub(crate) struct UnusableSegment;

impl Request {
    pub(crate) fn get(operation: &'static str, template: &'static str) -> Self {
        Self::new(operation, Method::GET, template, RetryClass::Safe)
    }

    pub(crate) fn post(operation: &'static str, template: &'static str) -> Self {
        Self::new(operation, Method::POST, template, RetryClass::Mutation)
    }

    pub(crate) fn put(operation: &'static str, template: &'static str) -> Self {
        Self::new(operation, Method::PUT, template, RetryClass::Mutation)
    }

    pub(crate) fn delete(operation: &'static str, template: &'static str) -> Self {
        Self::new(operation, Method::DELETE, template, RetryClass::Mutation)
    }

    /// The login. The panel requires a URL-encoded form and answers 422 to JSON.
    pub(crate) fn login(template: &'static str, username: &str, password: &str) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "password")
            .append_pair("username", username)
            .append_pair("password", password)
            .finish();
        let content = Content {
            media_type: "application/x-www-form-urlencoded",
            text: form.into(),
        };
        Self {
            content: Some(content),
            ..Self::new("admins.token", Method::POST, template, RetryClass::Login)
        }
    }

    pub(crate) fn new(
        operation: &'static str,
        method: Method,
        template: &'static str,
        retry_class: RetryClass,
    ) -> Self {
        let accept = HeaderValue::from_static("application/json");
        Self {
            operation,
            method,
            template,
            path: template.to_owned(),
            query: String::new(),
            headers: HeaderMap::from_iter([(ACCEPT, accept)]),
            content: None,
            retry_class,
        }
    }

    /// Replaces the first remaining `{…}` by `value`, percent-encoded.
    ///
    /// Rejects `.` and `..`, which URL parsers resolve even if they are percent-encoded, and an empty segment, which
    /// makes another route.
    pub(crate) fn segment(mut self, value: &str) -> Result<Self, UnusableSegment> {
        let segment = encoded(value)?;
        self.place(&segment);
        Ok(self)
    }

    /// Replaces the first remaining `{…}` by a path of several segments, each of them percent-encoded.
    pub(crate) fn segments(mut self, path: &str) -> Result<Self, UnusableSegment> {
        let segments: Vec<_> = path.split('/').map(encoded).collect::<Result<_, _>>()?;
        self.place(&segments.join("/"));
        Ok(self)
    }

    fn place(&mut self, text: &str) {
        if let (Some(start), Some(end)) = (self.path.find('{'), self.path.find('}')) {
            self.path.replace_range(start..=end, text);
        }
    }

    /// Replaces the path by one that is already percent-encoded.
    pub(crate) fn at_path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Appends `key=value`, form-encoded. A key may occur several times.
    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.extend(form_urlencoded::byte_serialize(key.as_bytes()));
        self.query.push('=');
        self.query
            .extend(form_urlencoded::byte_serialize(value.as_bytes()));
        self
    }

    /// Sets a header, replacing an earlier one with the same name.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body to `value` as JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Error> {
        let text = serde_json::to_string(value).map_err(|error| {
            Error::new(ErrorKind::InvalidInput)
                .with_operation(&self)
                .with_message("the body cannot be written as JSON")
                .with_source(error)
        })?;
        self.content = Some(Content {
            media_type: "application/json",
            text: text.into(),
        });
        Ok(self)
    }

    pub(crate) fn with_retry_class(self, retry_class: RetryClass) -> Self {
        Self { retry_class, ..self }
    }

    /// Returns the encoded path with its query, to be appended to the base URL.
    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// The name of the operation in logs and errors, such as `users.get`.
    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// The path with its placeholders, which names no user and is safe to log.
    pub(crate) fn template(&self) -> &'static str {
        self.template
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }

    pub(crate) fn retry_class(&self) -> RetryClass {
        self.retry_class
    }
}

fn encoded(segment: &str) -> Result<String, UnusableSegment> {
    match segment {
        "" | "." | ".." => Err(UnusableSegment),
        segment => Ok(utf8_percent_encode(segment, SEGMENT).to_string()),
    }
}

impl fmt::Debug for Request {
    /// Leaves out path, query and body, in which names and secrets are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("operation", &self.operation)
            .field("method", &self.method)
            .field("template", &self.template)
            .field("retry_class", &self.retry_class)
            .finish_non_exhaustive()
    }
}

/// The length of `key=value` in a query in bytes, separator included.
pub(crate) fn pair_len(key: &str, value: &str) -> usize {
    let encoded = |text: &str| {
        form_urlencoded::byte_serialize(text.as_bytes())
            .map(str::len)
            .sum::<usize>()
    };
    encoded(key) + encoded(value) + 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(name: &str) -> Result<String, UnusableSegment> {
        Request::get("users.get", "/api/user/{username}")
            .segment(name)
            .map(|request| request.target())
    }

    #[test]
    fn path_escaping_keeps_a_name_inside_its_segment() {
        for (name, path) in [
            ("alice_01", "/api/user/alice_01"),
            ("../admins?x=", "/api/user/..%2Fadmins%3Fx%3D"),
            ("a@b", "/api/user/a%40b"),
            ("abc\n", "/api/user/abc%0A"),
            ("100%", "/api/user/100%25"),
            ("a b;c#d", "/api/user/a%20b%3Bc%23d"),
            ("{username}", "/api/user/%7Busername%7D"),
            ("имя", "/api/user/%D0%B8%D0%BC%D1%8F"),
        ] {
            assert_eq!(user(name).as_deref(), Ok(path), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_no_path_can_carry_is_refused() {
        for name in ["", ".", ".."] {
            assert_eq!(user(name), Err(UnusableSegment), "{name:?}");
        }
    }

    #[test]
    fn a_repeated_key_is_repeated_without_brackets() {
        let request = Request::get("users.list", "/api/users")
            .query("username", "a@b")
            .query("username", "c d");
        assert_eq!(request.target(), "/api/users?username=a%40b&username=c+d");
    }

    #[test]
    fn the_login_form_is_encoded_and_not_shown() {
        let request = Request::login("/api/admin/token", "ad&min", "p=ss wörd");
        let form = request
            .content()
            .map(|content| secrecy::ExposeSecret::expose_secret(&content.text).to_owned());
        assert_eq!(
            form.as_deref(),
            Some("grant_type=password&username=ad%26min&password=p%3Dss+w%C3%B6rd")
        );
        assert!(!format!("{request:?}").contains("p%3Dss"));
    }

    proptest! {
        #[test]
        fn any_name_survives_the_path(name in ".{1,40}") {
            prop_assume!(name != "." && name != "..");
            let target = user(&name).unwrap();
            let url = url::Url::parse(&format!("http://panel.example{target}")).unwrap();
            prop_assert_eq!(url.query(), None);
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            let decoded = percent_encoding::percent_decode_str(segments[2]).decode_utf8().unwrap();
            prop_assert_eq!(decoded, name);
        }

        #[test]
        fn any_name_survives_the_query_and_is_measured(name in ".{0,40}") {
            let request = Request::get("users.list", "/api/users").query("username", &name);
            let url = url::Url::parse(&format!("http://panel.example{}", request.target())).unwrap();
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(pairs, vec![("username".to_owned(), name.clone())]);
            prop_assert_eq!(request.target().len(), "/api/users".len() + pair_len("username", &name));
        }
    }
}
