//! What the panel answers, before it becomes bytes on a wire.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::testing::panel::Refusal;

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => Self {
                status,
                headers: Vec::new(),
                content_type: Some("application/json"),
                body: body.into(),
            },
            Err(_) => Self::internal_error(),
        }
    }

    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// `{"detail": "…"}`, the form of all refusals but 422 and 500.
    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }

    /// `{"detail": {field: message}}`, which the panel makes of `FastAPI`'s list.
    pub(crate) fn invalid(problems: &[(String, String)]) -> Self {
        let detail: serde_json::Map<_, _> = problems
            .iter()
            .map(|(field, message)| (field.clone(), message.as_str().into()))
            .collect();
        Self::json(422, &json!({ "detail": detail }))
    }

    /// Every 401 of the panel carries the challenge.
    pub(crate) fn unauthorized(detail: &str) -> Self {
        Self::detail(401, detail).with_header("www-authenticate", "Bearer")
    }

    /// An exception in the panel's code, as uvicorn answers it.
    pub(crate) fn internal_error() -> Self {
        Self::text(500, "Internal Server Error")
    }

    pub(crate) fn text(status: u16, body: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: Some("text/plain; charset=utf-8"),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    pub(crate) fn of_text(content_type: &'static str, body: String) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            content_type: Some(content_type),
            body: body.into(),
        }
    }

    /// The beginning of a websocket.
    pub(crate) fn switch_protocols() -> Self {
        let response = Self {
            status: 101,
            headers: Vec::new(),
            content_type: None,
            body: Bytes::new(),
        };
        response
            .with_header("connection", "Upgrade")
            .with_header("upgrade", "websocket")
    }

    pub(crate) fn html(status: u16, title: &str) -> Self {
        let page = format!("<html><head><title>{status} {title}</title></head><body>{title}</body></html>\n");
        Self {
            status,
            headers: Vec::new(),
            content_type: Some("text/html"),
            body: page.into(),
        }
    }

    pub(crate) fn redirect(location: String) -> Self {
        Self {
            status: 307,
            headers: vec![("location", location)],
            content_type: None,
            body: Bytes::new(),
        }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        use Refusal as R;
        let status = match refusal {
            R::InternalError => return Self::internal_error(),
            R::ProtocolDisabled(_) | R::UnknownInbound(_) | R::ReversedRange => 400,
            R::Forbidden | R::EditsOtherSudo | R::DeletesSudo => 403,
            R::UserNotFound
            | R::AdminNotFound
            | R::NodeNotFound
            | R::TemplateNotFound
            | R::NoNextPlan
            | R::NoExpiredUsers => 404,
            R::UserExists | R::AdminExists | R::NodeExists(_) | R::TemplateExists => 409,
        };
        Self::detail(status, &refusal.to_string())
    }
}
