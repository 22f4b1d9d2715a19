//! A websocket of the panel, opened through the client's own connections, so that their TLS, proxies and time-outs
//! apply.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::Upgraded;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::auth::Token;
use super::response::Response;
use super::retry::RetryPolicy;
use super::transport::{Transport, wall_clock};
use super::{Client, Inner};
use crate::error::{Error, ErrorKind};
use crate::request::Request;

pub(crate) type Socket = WebSocketStream<Upgraded>;

impl Client {
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        self.0.transport.retry()
    }

    /// Opens a websocket as the logged-in admin. The token is sent in a header, because URLs end up in logs.
    ///
    /// The panel answers 403 both to a token that it has forgotten and to one without sudo rights. So a rejected
    /// token is tried on an ordinary operation, which replaces it if it is rejected there too; only with a new token
    /// is the websocket tried again.
    pub(crate) async fn open_socket(&self, request: &Request) -> Result<Socket, Error> {
        let Inner { transport, auth, .. } = &*self.0;
        let token = auth.token(transport, None).await?;
        let refused = match try_socket(transport, request, &token).await {
            Err(error) if error.kind() == ErrorKind::Forbidden => error,
            outcome => return outcome,
        };
        if let Err(error) = self.admins().current().await {
            // If the panel cannot be reached, it is not confirmed that the rights are missing.
            let unconfirmed = error.is_retryable() || error.kind() == ErrorKind::Unauthorized;
            return Err(if unconfirmed { error } else { refused });
        }
        let present = auth.token(transport, None).await?;
        if Arc::ptr_eq(&token, &present) {
            return Err(refused);
        }
        try_socket(transport, request, &present).await
    }
}

async fn try_socket(transport: &Transport, request: &Request, token: &Token) -> Result<Socket, Error> {
    let started = Instant::now();
    let key = generate_key();
    let outgoing = transport
        .unpooled
        .request(
            request.method().clone(),
            format!("{}{}", transport.base, request.target()),
        )
        .header(AUTHORIZATION, token.bearer().clone())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let _permit = transport.throttler.acquire().await;
    let outcome = match outgoing.send().await {
        Ok(response) => accept(response, &key, transport).await,
        Err(error) => Err(Error::transport(error)),
    };
    outcome.map_err(|error| error.with_operation(request).with_attempts(1, started.elapsed()))
}

async fn accept(mut response: reqwest::Response, key: &str, transport: &Transport) -> Result<Socket, Error> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    if status == StatusCode::FORBIDDEN {
        // The panel rejects before it accepts the handshake, which loses its own status and message.
        return Err(Error::new(ErrorKind::Forbidden).with_status(status.as_u16()));
    }
    let proof = derive_accept_key(key.as_bytes());
    let proven = headers
        .get(SEC_WEBSOCKET_ACCEPT)
        .is_some_and(|given| given.as_bytes() == proof.as_bytes());
    let refused = |status: StatusCode| Error::new(ErrorKind::UnexpectedResponse).with_status(status.as_u16());
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let response = Response {
            status,
            headers,
            body: transport.read(response).await.unwrap_or_default(),
            took: Duration::ZERO,
            attempts: 1,
            elapsed: Duration::ZERO,
        };
        return Err(response
            .into_result(wall_clock())
            .map_or_else(|error| error, |response| refused(response.status)));
    }
    if !proven {
        return Err(refused(status));
    }
    let upgraded = response.upgrade().await.map_err(Error::transport)?;
    let limits = WebSocketConfig::default()
        .max_message_size(Some(transport.max_body))
        .max_frame_size(Some(transport.max_body));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(limits)).await)
}
