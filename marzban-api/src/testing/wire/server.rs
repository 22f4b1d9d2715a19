//! Connections on loopback, and how each of them ends.
//!
//! Every connection is served by hyper without a framework around it, because the fake has to end some of them
//! in ways that a framework prevents: silently after a 500, without an answer, in the middle of a body.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::fault::{self, Delivery};
use super::logs::Listener;
use super::shared::Shared;
use super::socket::{Ending, Socket};
use crate::testing::api::{Query, Request, Response, log_interval};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type HttpResponse = http::Response<Body>;

/// The listener that a connection was handed over to, if it was.
type Switched = Arc<Mutex<Option<(OnUpgrade, Listener)>>>;

/// Accepts connections until the future is dropped, which ends all of them.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that was gone before it was accepted is not the panel's problem.
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection(socket, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    let ending = Ending::default();
    let socket = TokioIo::new(Socket::new(socket, ending.clone()));
    let switched = Switched::default();
    let service = service_fn(|mut request: http::Request<Incoming>| {
        let (shared, ending, switched) = (Arc::clone(&shared), ending.clone(), Arc::clone(&switched));
        async move {
            let upgrade = hyper::upgrade::on(&mut request);
            let (response, listener) = respond(&shared, &ending, request).await;
            if let Some(listener) = listener {
                *switched.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, listener));
            }
            Ok::<_, Infallible>(response)
        }
    });
    // The error is a client that went away or the very fault that a test asked for; both are on its side.
    let _: hyper::Result<()> = http1::Builder::new()
        .auto_date_header(false)
        .serve_connection(socket, service)
        .with_upgrades()
        .await;
    // A websocket is served here and not in a task of its own, so that it ends with the panel.
    let switched = switched.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((upgrade, listener)) = switched
        && let Ok(upgraded) = upgrade.await
    {
        listener.serve(upgraded).await;
    }
}

async fn respond(
    shared: &Shared,
    ending: &Ending,
    request: http::Request<Incoming>,
) -> (HttpResponse, Option<Listener>) {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        ending.set(Ending::NOW);
        return (HttpResponse::new(Body::default()), None);
    };
    let request = read(&head, body.to_bytes());
    let (ticket, recorded) = shared.state().requests.record(&request);
    let hooks = shared.hooks().clone();
    for hook in hooks {
        hook(recorded.clone()).await;
    }
    let (response, delivery) = perform(shared, &request);
    if let Delivery::Late(by) = delivery {
        tokio::time::sleep(by).await;
    }
    if delivery == Delivery::Dropped {
        ending.set(Ending::NOW);
    } else {
        shared.state().requests.note_status(ticket, response.status);
        // uvicorn closes the socket after an exception, and does not say so in a header.
        if response.status == 500 {
            ending.set(Ending::AFTER_ANSWER);
        }
    }
    let is_upgrade = response.status == 101;
    let mut response = write(response, delivery);
    let headers = response.headers_mut();
    let state = shared.state();
    // The panel's host has one clock, for its users and for its headers.
    let date = state.api.panel.now().format("%a, %d %b %Y %H:%M:%S GMT");
    insert(headers, header::DATE, &date.to_string());
    let listener = is_upgrade.then(|| {
        let key = request.websocket_key.as_deref().unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        insert(headers, header::SEC_WEBSOCKET_ACCEPT, &accept);
        state.logs.listen(log_interval(&request).ok().flatten())
    });
    drop(state);
    (response, listener)
}

/// Answers a request, as a fault demands if one is due, under one lock.
fn perform(shared: &Shared, request: &Request) -> (Response, Delivery) {
    let mut state = shared.state();
    let fault = fault::take(&mut state.faults, request);
    let mut answer = || shared.router.answer(&mut state.api, request);
    match fault {
        Some(fault) => fault.play(answer),
        None => (answer(), Delivery::Whole),
    }
}

/// Copies what the panel reads from the head of a request.
fn read(head: &request::Parts, body: Bytes) -> Request {
    let text = |name: &header::HeaderName| {
        let value = head.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let raw_path = head.uri.path().to_owned();
    let raw_query = head.uri.query().unwrap_or_default().to_owned();
    Request {
        method: head.method.as_str().to_owned(),
        path: percent_decode_str(&raw_path).decode_utf8_lossy().into_owned(),
        query: Query::parse(&raw_query),
        raw_path,
        raw_query,
        host: text(&header::HOST).unwrap_or_default(),
        accept: text(&header::ACCEPT),
        user_agent: text(&header::USER_AGENT),
        websocket_key: text(&header::SEC_WEBSOCKET_KEY),
        authorization: text(&header::AUTHORIZATION),
        is_preflight: head.method == "OPTIONS"
            && head.headers.contains_key(header::ORIGIN)
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
        content_type: text(&header::CONTENT_TYPE),
        body,
    }
}

fn write(response: Response, delivery: Delivery) -> HttpResponse {
    let length = response.body.len();
    let body = match delivery {
        Delivery::Truncated => truncated(&response.body),
        Delivery::Whole | Delivery::Late(_) | Delivery::Dropped => Full::new(response.body)
            .map_err(|never| match never {})
            .boxed_unsync(),
    };
    let mut written = HttpResponse::new(body);
    *written.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = written.headers_mut();
    if response.status != 101 {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Some(kind) = response.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in response.headers {
        insert(headers, header::HeaderName::from_static(name), &value);
    }
    written
}

/// Sets a header, unless the value cannot be part of one.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// The first half of a body whose length promises more; the pause lets hyper send it before the failure.
fn truncated(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let start = stream::once(async move { Ok(Frame::data(half)) });
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("the body breaks off on demand"))
    });
    StreamBody::new(start.chain(end)).boxed_unsync()
}
