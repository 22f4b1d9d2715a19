//! A request as the panel sees it.

use bytes::Bytes;
use url::form_urlencoded;

/// A request with everything that decides its answer.
pub(crate) struct Request {
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
    pub(crate) authorization: Option<String>,
    /// Whether this is a browser's question before a request to another origin.
    pub(crate) is_preflight: bool,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

impl Request {
    /// The absolute URL of a path with this request's host and query, always of plain HTTP.
    pub(crate) fn url_of(&self, path: &str) -> String {
        let query = if self.raw_query.is_empty() { "" } else { "?" };
        format!("http://{}{path}{query}{}", self.host, self.raw_query)
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
