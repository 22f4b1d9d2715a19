//! A request as the panel sees it.

use bytes::Bytes;
use http::{HeaderMap, header, request};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// A request that reached the fake panel: no header and no body, hence neither token nor password.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// client.admins().current().await?;
/// let request = panel.requests().pop().ok_or("nothing was asked")?;
/// assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/api/admin"));
/// assert_eq!((request.query.as_str(), request.status, request.body_bytes), ("", Some(200), 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// The query as it was sent, without the question mark; empty if there was none.
    pub query: String,
    /// The status that was sent, or `None` while the answer is under way and where none was given.
    pub status: Option<u16>,
    /// The length of the body in bytes.
    pub body_bytes: usize,
}

/// A request with everything that decides its answer.
pub(crate) struct Call {
    pub(crate) method: String,
    /// Percent-decoded, as uvicorn hands it to the routes.
    pub(crate) path: String,
    pub(crate) raw_path: String,
    pub(crate) raw_query: String,
    pub(crate) query: Query,
    pub(crate) host: String,
    pub(crate) accept: Option<String>,
    pub(crate) user_agent: Option<String>,
    /// The key of a request that asks for a websocket.
    pub(crate) websocket_key: Option<String>,
    authorization: Option<String>,
    is_preflight: bool,
    content_type: Option<String>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(head: &request::Parts, body: Bytes) -> Self {
        let raw_path = head.uri.path().to_owned();
        let raw_query = head.uri.query().unwrap_or_default().to_owned();
        Self {
            method: head.method.as_str().to_owned(),
            path: percent_decode_str(&raw_path).decode_utf8_lossy().into_owned(),
            query: Query::parse(&raw_query),
            raw_path,
            raw_query,
            host: text_of(&head.headers, &header::HOST).unwrap_or_default(),
            accept: text_of(&head.headers, &header::ACCEPT),
            user_agent: text_of(&head.headers, &header::USER_AGENT),
            websocket_key: text_of(&head.headers, &header::SEC_WEBSOCKET_KEY),
            authorization: text_of(&head.headers, &header::AUTHORIZATION),
            is_preflight: head.method == "OPTIONS"
                && head.headers.contains_key(header::ORIGIN)
                && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            content_type: text_of(&head.headers, &header::CONTENT_TYPE),
            body,
        }
    }

    /// Whether this is a browser's question before a request of another origin.
    pub(crate) const fn is_preflight(&self) -> bool {
        self.is_preflight
    }

    pub(crate) fn record(&self) -> RecordedRequest {
        RecordedRequest {
            method: self.method.clone(),
            path: self.raw_path.clone(),
            query: self.raw_query.clone(),
            status: None,
            body_bytes: self.body.len(),
        }
    }

    /// The token of the scheme `Bearer`, in whatever case the scheme is written.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.authorization.as_deref()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }

    /// The fields of a form, urlencoded or in parts; any other body has none.
    pub(crate) fn form(&self) -> Query {
        let kind = self.content_type.as_deref().unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            return Query(form_urlencoded::parse(&self.body).into_owned().collect());
        }
        let boundary = kind
            .strip_prefix("multipart/form-data")
            .and_then(|rest| rest.split_once("boundary="));
        let body = String::from_utf8_lossy(&self.body);
        Query(boundary.map_or_else(Vec::new, |(_, boundary)| {
            let boundary = format!("--{}", boundary.trim_matches('"'));
            body.split(&boundary).filter_map(part).collect()
        }))
    }

    /// `FastAPI` reads a body as JSON when it is called so, or not called anything.
    pub(crate) fn claims_json(&self) -> bool {
        let Some(kind) = &self.content_type else {
            return true;
        };
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        kind.strip_prefix("application/")
            .is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
    }

    /// Whether the path or the filter `username` names this user.
    pub(crate) fn names_user(&self, username: &str) -> bool {
        let in_path = self.path.strip_prefix("/api/user/").is_some_and(|rest| {
            rest == username
                || rest
                    .strip_prefix(username)
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        in_path || self.query.all("username").any(|name| name == username)
    }
}

/// The name and the text of a part of a form.
fn part(part: &str) -> Option<(String, String)> {
    let (head, text) = part.split_once("\r\n\r\n")?;
    let (_, name) = head.split_once("; name=\"")?;
    let (name, _) = name.split_once('"')?;
    Some((name.to_owned(), text.strip_suffix("\r\n")?.to_owned()))
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The decoded pairs of a query or a form.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// All values of a name, in their order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The last value of a name, which is the one that the panel takes where it expects a single one.
    pub(crate) fn last<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).last()
    }
}
