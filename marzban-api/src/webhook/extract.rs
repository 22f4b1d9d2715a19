use axum_core::body::Body;
use axum_core::extract::{FromRef, FromRequest, Request};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{Notification, UnreadableNotification, WebhookError, WebhookSecret, parse};

/// The maximum size of a batch that [`Webhook`] reads, in bytes: room for some 8,000 notifications.
///
/// The panel sends everything in its queue in one POST, and what is rejected for its size is lost.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// An axum extractor of a batch of notifications from a POST with the right secret.
///
/// The secret comes from the router's state, which implements `FromRef` for [`WebhookSecret`] or is one. It is
/// checked before the body is read. A [`WebhookError`] is answered with its status.
///
/// # Examples
///
/// ```
/// use axum::{Router, http::StatusCode, routing::post};
/// use marzban_api::webhook::{Webhook, WebhookSecret};
///
/// async fn receive(Webhook(batch): Webhook) -> StatusCode {
///     for notification in batch {
///         match notification {
///             Ok(notification) => println!("{}: {}", notification.username, notification.event.action()),
///             Err(broken) => eprintln!("{broken} about {:?}", broken.username),
///         }
///     }
///     StatusCode::NO_CONTENT
/// }
///
/// let router: Router = Router::new().route("/hook", post(receive)).with_state(WebhookSecret::new("s3cr3t-hook"));
/// ```
#[derive(Debug)]
pub struct Webhook(pub Vec<Result<Notification, UnreadableNotification>>);

impl<S> FromRequest<S> for Webhook
where
    S: Send + Sync,
    WebhookSecret: FromRef<S>,
{
    type Rejection = WebhookError;

    async fn from_request(request: Request, state: &S) -> Result<Self, WebhookError> {
        let secret = WebhookSecret::from_ref(state);
        secret.check(request.headers())?;
        let body = request.into_body();
        let too_large = || WebhookError::TooLarge {
            limit: MAX_BODY_BYTES,
        };
        // A body that announces that it is too large is not read.
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(too_large());
        }
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large()
            } else {
                WebhookError::BrokeOff(error)
            }
        })?;
        parse(&body.to_bytes()).map(Self)
    }
}

impl IntoResponse for WebhookError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::WrongSecret => StatusCode::UNAUTHORIZED,
            Self::NotABatch(_) | Self::BrokeOff(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        };
        (status, Body::from(self.to_string())).into_response()
    }
}
