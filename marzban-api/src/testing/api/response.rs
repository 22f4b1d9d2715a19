//! What the panel answers, before it becomes bytes on a wire.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl Answer {
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

    /// `{"detail": "…"}`, the form of all refusals but 422.
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

    pub(crate) fn forbidden() -> Self {
        Self::detail(403, "You're not allowed")
    }

    pub(crate) fn no_such_user() -> Self {
        Self::detail(404, "User not found")
    }

    pub(crate) fn no_such_admin() -> Self {
        Self::detail(404, "Admin not found")
    }

    pub(crate) fn no_such_node() -> Self {
        Self::detail(404, "Node not found")
    }

    pub(crate) fn no_such_template() -> Self {
        Self::detail(404, "User Template not found")
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

    /// The beginning of something else than HTTP.
    pub(crate) const fn switch_protocols() -> Self {
        Self {
            status: 101,
            headers: Vec::new(),
            content_type: None,
            body: Bytes::new(),
        }
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
