//! Faults on demand: what goes wrong between a client and a panel, and when.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;

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
    /// A proxy that does not know the path answers 404 with a page of its own.
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
    /// Makes a rule of the fault that holds for the next matching request.
    ///
    /// See [`Fault`] for an example.
    #[must_use]
    pub fn once(self) -> FaultRule {
        self.times(1)
    }

    /// Makes a rule of the fault that holds for the next `count` matching requests.
    ///
    /// See [`Fault`] for an example.
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

    /// Makes a rule of the fault that holds until [`clear_faults`](crate::testing::FakePanel::clear_faults).
    ///
    /// See [`Fault`] for an example.
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
    pub(crate) fn play(&self, perform: impl FnOnce() -> Answer) -> (Answer, Delivery) {
        match self {
            Self::Status(500) => (Answer::internal_error(), Delivery::Whole),
            Self::Status(status) if *status > 500 => (Answer::text(*status, "Injected"), Delivery::Whole),
            Self::Status(401) | Self::Unauthorized => (
                Answer::unauthorized("Could not validate credentials"),
                Delivery::Whole,
            ),
            Self::Status(status) => (Answer::detail(*status, reason(*status)), Delivery::Whole),
            Self::HtmlBody(status) => (Answer::html(*status, reason(*status)), Delivery::Whole),
            Self::NotFoundHtml => (Answer::html(404, reason(404)), Delivery::Whole),
            Self::TooManyRequests { retry_after } => (
                Answer::detail(429, reason(429)).with_header("retry-after", retry_after.to_string()),
                Delivery::Whole,
            ),
            Self::Delay(by) => (perform(), Delivery::Late(*by)),
            Self::DropConnection => (Answer::text(500, ""), Delivery::Dropped),
            Self::DropAfterCommit => (perform(), Delivery::Dropped),
            Self::TruncatedBody => (perform(), Delivery::Truncated),
            Self::EmptyList => (shorten(perform(), |_| 0), Delivery::Whole),
            Self::HalfList => (shorten(perform(), |users| users / 2), Delivery::Whole),
        }
    }

    /// A fault of lists has nothing to do with other requests.
    fn concerns(&self, call: &Call) -> bool {
        match self {
            Self::EmptyList | Self::HalfList => call.method == "GET" && call.path == "/api/users",
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

fn shorten(answer: Answer, keep: impl FnOnce(usize) -> usize) -> Answer {
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
    Answer::json(answer.status, &list)
}

/// A fault with the requests that it happens to, made by [`Fault::once`], [`Fault::times`] or [`Fault::always`].
///
/// A rule that names no path leaves the login alone: a test that breaks "the next request" means one of its
/// own, and not the login that a client may or may not make before it.
///
/// See [`Fault`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    fault: Fault,
    /// `None` is for ever.
    left: Option<usize>,
    method: Option<String>,
    path: Option<String>,
    user: Option<String>,
}

impl FaultRule {
    /// Limits the rule to a method, such as `GET`.
    ///
    /// See [`Fault`] for an example.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_ascii_uppercase());
        self
    }

    /// Limits the rule to paths that begin so, such as `/api/user/`.
    ///
    /// See [`Fault`] for an example.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        self.path = Some(prefix.to_owned());
        self
    }

    /// Limits the rule to requests that name this user, in the path or as `username=` in the query.
    ///
    /// See [`Fault`] for an example.
    #[must_use]
    pub fn user(mut self, username: &str) -> Self {
        self.user = Some(username.to_owned());
        self
    }

    pub(crate) fn matches(&self, call: &Call) -> bool {
        let path = match &self.path {
            Some(prefix) => call.path.starts_with(prefix.as_str()),
            None => call.path != "/api/admin/token",
        };
        path && self.method.as_ref().is_none_or(|method| *method == call.method)
            && self.user.as_ref().is_none_or(|user| call.names_user(user))
            && self.fault.concerns(call)
    }

    /// Counts one use and says whether the rule is used up.
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
pub(crate) fn take(rules: &mut Vec<FaultRule>, call: &Call) -> Option<Fault> {
    rules.retain(|rule| rule.left != Some(0));
    let position = rules.iter().position(|rule| rule.matches(call))?;
    let rule = rules.get_mut(position)?;
    let fault = rule.fault.clone();
    if rule.spend() {
        rules.remove(position);
    }
    Some(fault)
}
