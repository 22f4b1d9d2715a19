//! Faults on demand: what goes wrong between a client and a panel, and when.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::testing::api::{Request, Response};

/// Something that goes wrong with a request.
///
/// A fault becomes a rule by saying how often it happens and, if not for every request, for which:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let panel = marzban_api::testing::FakePanel::start().await;
/// # let client = marzban_api::Client::builder(&panel.url()).credentials("admin", "admin").build()?;
/// use marzban_api::testing::Fault;
///
/// // Two requests meet a proxy whose panel is down; the client tries a third time.
/// panel.inject(Fault::Status(503).times(2).method("GET").path("/api/users"));
/// panel.inject(Fault::Unauthorized.once().path("/api/system"));
/// panel.inject(Fault::Status(500).always().user("alice"));
/// let all = client.users().list(&marzban_api::resource::ListUsers::new()).await?;
/// assert_eq!((all.total, panel.count("GET", "/api/users")), (0, 3));
/// assert_eq!(client.users().get("alice").await.unwrap_err().status(), Some(500));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The panel answers this status and does nothing; 500 and above in plain text, others as `detail`.
    Status(u16),
    /// A proxy in front of the panel answers this status with a page of its own.
    HtmlBody(u16),
    /// The request is performed, and the answer comes this much later.
    Delay(Duration),
    /// The connection is closed without an answer, and nothing was done.
    DropConnection,
    /// The request is performed, and the connection closed without an answer.
    DropAfterCommit,
    /// The request is performed, and the answer breaks off in the middle of its body.
    TruncatedBody,
    /// The panel refuses the token with 401, though the token stays valid.
    Unauthorized,
    /// A limiter refuses the request with 429.
    TooManyRequests {
        /// The seconds of the header `Retry-After`.
        retry_after: u64,
    },
    /// A list of users comes out empty, with a `total` of 0.
    EmptyList,
    /// A list of users comes out with the first half of its page, and `total` counts only that half.
    HalfList,
    /// A proxy without this path answers 404 with a page of its own.
    NotFoundHtml,
}

/// How an answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    Late(Duration),
    Truncated,
    Dropped,
}

impl Fault {
    /// Turns the fault into a rule that holds for the next matching request.
    #[must_use]
    pub fn once(self) -> FaultRule {
        self.times(1)
    }

    /// Turns the fault into a rule that holds for the next `count` matching requests.
    #[must_use]
    pub fn times(self, count: usize) -> FaultRule {
        FaultRule {
            fault: self,
            left: Some(count),
            method: None,
            path: None,
            user: None,
        }
    }

    /// Turns the fault into a rule that holds until [`clear_faults`](crate::testing::FakePanel::clear_faults).
    #[must_use]
    pub fn always(self) -> FaultRule {
        FaultRule {
            fault: self,
            left: None,
            method: None,
            path: None,
            user: None,
        }
    }

    /// Plays the fault: `perform` is called exactly where the panel still does its work.
    pub(crate) fn play(&self, perform: impl FnOnce() -> Response) -> (Response, Delivery) {
        match self {
            Self::Status(500) => (Response::internal_error(), Delivery::Whole),
            Self::Status(status) if *status > 500 => (Response::text(*status, "Injected"), Delivery::Whole),
            Self::Status(401) | Self::Unauthorized => (
                Response::unauthorized("Could not validate credentials"),
                Delivery::Whole,
            ),
            Self::Status(status) => (Response::detail(*status, reason(*status)), Delivery::Whole),
            Self::HtmlBody(status) => (Response::html(*status, reason(*status)), Delivery::Whole),
            Self::NotFoundHtml => (Response::html(404, reason(404)), Delivery::Whole),
            Self::TooManyRequests { retry_after } => (
                Response::detail(429, reason(429)).with_header("retry-after", retry_after.to_string()),
                Delivery::Whole,
            ),
            Self::Delay(by) => (perform(), Delivery::Late(*by)),
            Self::DropConnection => (Response::text(500, ""), Delivery::Dropped),
            Self::DropAfterCommit => (perform(), Delivery::Dropped),
            Self::TruncatedBody => (perform(), Delivery::Truncated),
            Self::EmptyList => (shorten(perform(), |_| 0), Delivery::Whole),
            Self::HalfList => (shorten(perform(), |users| users / 2), Delivery::Whole),
        }
    }

    /// Whether the fault can happen to this request: those of lists need a list.
    fn concerns(&self, request: &Request) -> bool {
        match self {
            Self::EmptyList | Self::HalfList => request.method == "GET" && request.path == "/api/users",
            _ => true,
        }
    }
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}

fn shorten(answer: Response, keep: impl FnOnce(usize) -> usize) -> Response {
    let Ok(mut list) = serde_json::from_slice::<Value>(&answer.body) else {
        return answer;
    };
    let Some(users) = list.get_mut("users").and_then(Value::as_array_mut) else {
        return answer;
    };
    users.truncate(keep(users.len()));
    let total = users.len();
    if let Some(object) = list.as_object_mut() {
        object.insert("total".to_owned(), json!(total));
    }
    Response::json(answer.status, &list)
}

/// A fault with the requests that it happens to, made by [`Fault::once`], [`Fault::times`] or [`Fault::always`].
///
/// A rule that names no path leaves the login alone: a test that breaks "the next request" means one of its
/// own, and not the login that a client may or may not make before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    fault: Fault,
    /// `None` is unlimited.
    left: Option<usize>,
    method: Option<String>,
    path: Option<String>,
    user: Option<String>,
}

impl FaultRule {
    /// Limits the rule to a method, such as `GET`.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_ascii_uppercase());
        self
    }

    /// Limits the rule to paths that begin so, such as `/api/user/`.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        self.path = Some(prefix.to_owned());
        self
    }

    /// Limits the rule to requests that name this user, in the path or as `username=` in the query.
    #[must_use]
    pub fn user(mut self, username: &str) -> Self {
        self.user = Some(username.to_owned());
        self
    }

    pub(crate) fn matches(&self, request: &Request) -> bool {
        let path = match &self.path {
            Some(prefix) => request.path.starts_with(prefix.as_str()),
            None => request.path != "/api/admin/token",
        };
        path && self
            .method
            .as_ref()
            .is_none_or(|method| *method == request.method)
            && self.user.as_ref().is_none_or(|user| request.names_user(user))
            && self.fault.concerns(request)
    }

    /// Counts one use and returns whether the rule is used up.
    fn spend(&mut self) -> bool {
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        }
    }
}

impl From<Fault> for FaultRule {
    /// A fault alone happens once.
    fn from(fault: Fault) -> Self {
        fault.once()
    }
}

/// Takes the fault of the oldest rule that matches.
pub(crate) fn take(rules: &mut Vec<FaultRule>, request: &Request) -> Option<Fault> {
    rules.retain(|rule| rule.left != Some(0));
    let position = rules.iter().position(|rule| rule.matches(request))?;
    let rule = rules.get_mut(position)?;
    let fault = rule.fault.clone();
    if rule.spend() {
        rules.remove(position);
    }
    Some(fault)
}
