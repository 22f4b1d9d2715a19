//! What the panel answers, before it becomes bytes on a wire.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content_type: Option<&'static str>,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(status: u16, body: &impl Serialize) -> Self {
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

    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// `{"detail": "…"}`, the form of all refusals but 422.
    pub(super) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }

    /// `{"detail": {field: message}}`, which the panel makes of `FastAPI`'s list.
    pub(super) fn invalid(problems: &[(String, String)]) -> Self {
        let detail: serde_json::Map<_, _> = problems
            .iter()
            .map(|(field, message)| (field.clone(), message.as_str().into()))
            .collect();
        Self::json(422, &json!({ "detail": detail }))
    }

    /// Every 401 of the panel carries the challenge.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::detail(401, detail).with_header("www-authenticate", "Bearer")
    }

    pub(super) fn forbidden() -> Self {
        Self::detail(403, "You're not allowed")
    }

    pub(super) fn no_such_user() -> Self {
        Self::detail(404, "User not found")
    }

    pub(super) fn no_such_admin() -> Self {
        Self::detail(404, "Admin not found")
    }

    pub(super) fn no_such_node() -> Self {
        Self::detail(404, "Node not found")
    }

    pub(super) fn no_such_template() -> Self {
        Self::detail(404, "User Template not found")
    }

    /// An exception in the panel's code, as uvicorn answers it.
    pub(super) fn internal_error() -> Self {
        Self::text(500, "Internal Server Error")
    }

    pub(super) fn text(status: u16, body: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: Some("text/plain; charset=utf-8"),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    pub(super) fn of_text(content_type: &'static str, body: String) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            content_type: Some(content_type),
            body: body.into(),
        }
    }

    /// The beginning of something else than HTTP.
    pub(super) const fn switch_protocols() -> Self {
        Self {
            status: 101,
            headers: Vec::new(),
            content_type: None,
            body: Bytes::new(),
        }
    }

    pub(super) fn html(status: u16, title: &str) -> Self {
        let page = format!("<html><head><title>{status} {title}</title></head><body>{title}</body></html>\n");
        Self {
            status,
            headers: Vec::new(),
            content_type: Some("text/html"),
            body: page.into(),
        }
    }

    pub(super) fn redirect(location: String) -> Self {
        Self {
            status: 307,
            headers: vec![("location", location)],
            content_type: None,
            body: Bytes::new(),
        }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
