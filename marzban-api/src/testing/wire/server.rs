//! The wire: connections on loopback, and how each of them ends.
//!
//! Every connection is served by hyper without a framework around it, because the fake has to end some of them
//! in ways that a framework prevents: silently after a 500, without an answer, in the middle of a body.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::testing::FakePanel;
use crate::testing::Inner;
use crate::testing::api::request::{Call, RecordedRequest};
use crate::testing::api::response::Answer;
use crate::testing::api::router as route;
use crate::testing::panel::state::World;
use crate::testing::wire::fault::{self, Delivery};
use crate::testing::wire::logs::Listener;

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) type Hook = Arc<dyn Fn(FakePanel, RecordedRequest) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the handles and the connections have in common.
pub(crate) struct Shared {
    world: Mutex<World>,
    hooks: Mutex<Vec<Hook>>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            hooks: Mutex::default(),
        }
    }

    /// Locks the state, also after a panic in a test's closure, which is that test's affair.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hooks(&self) -> MutexGuard<'_, Vec<Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listener that a connection was handed over to, if it was.
type Switched = Arc<Mutex<Option<(OnUpgrade, Listener)>>>;

/// Accepts connections until it is dropped, which ends all of them.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, panel: Weak<Inner>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that was gone before it was accepted is not the panel's problem.
                if let Ok((socket, _)) = accepted {
                    connections.spawn(connection(socket, Arc::clone(&shared), Weak::clone(&panel)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>, panel: Weak<Inner>) {
    let ending = Ending::default();
    let socket = TokioIo::new(Socket {
        stream: socket,
        ending: ending.clone(),
        has_answered: false,
    });
    let switched = Switched::default();
    let service = {
        let switched = Arc::clone(&switched);
        service_fn(move |mut request: Request<Incoming>| {
            let (shared, panel, ending) = (Arc::clone(&shared), Weak::clone(&panel), ending.clone());
            let switched = Arc::clone(&switched);
            async move {
                let upgrade = hyper::upgrade::on(&mut request);
                let (response, listener) = respond(&shared, &panel, &ending, request).await;
                if let Some(listener) = listener {
                    *switched.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, listener));
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
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
    panel: &Weak<Inner>,
    ending: &Ending,
    request: Request<Incoming>,
) -> (Response<Body>, Option<Listener>) {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        ending.set(Ending::NOW);
        return (Response::new(Body::default()), None);
    };
    let call = Call::new(&head, body.to_bytes());
    let ticket = record(shared, &call);
    run_hooks(shared, panel, &call).await;
    let (answer, delivery) = perform(shared, &call);
    if let Delivery::Late(by) = delivery {
        tokio::time::sleep(by).await;
    }
    match delivery {
        Delivery::Dropped => ending.set(Ending::NOW),
        Delivery::Whole | Delivery::Late(_) | Delivery::Truncated => {
            note_status(shared, ticket, answer.status);
            // uvicorn closes the socket after an exception, and does not say so in a header.
            if answer.status == 500 {
                ending.set(Ending::AFTER_ANSWER);
            }
        }
    }
    let listener = (answer.status == 101).then(|| shared.world().logs.listen(&call));
    let mut response = into_response(answer, delivery);
    // The panel's host has one clock, for its users and for its headers.
    let date = shared
        .world()
        .now()
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    if let Ok(date) = HeaderValue::try_from(date) {
        response.headers_mut().insert(header::DATE, date);
    }
    (response, listener)
}

async fn run_hooks(shared: &Shared, panel: &Weak<Inner>, call: &Call) {
    let hooks = shared.hooks().clone();
    for hook in hooks {
        if let Some(inner) = panel.upgrade() {
            hook(FakePanel { inner }, call.record()).await;
        }
    }
}

/// Does the panel's work, and what a fault makes of it, in one go under the lock.
fn perform(shared: &Shared, call: &Call) -> (Answer, Delivery) {
    let mut world = shared.world();
    match fault::take(&mut world.faults, call) {
        Some(fault) => fault.play(|| route::answer(&mut world, call)),
        None => (route::answer(&mut world, call), Delivery::Whole),
    }
}

/// Finds a request in the log again, unless the log was cleared meanwhile.
#[derive(Clone, Copy)]
struct Ticket {
    generation: u64,
    index: usize,
}

fn record(shared: &Shared, call: &Call) -> Ticket {
    let mut world = shared.world();
    world.log.push(call.record());
    Ticket {
        generation: world.log_generation,
        index: world.log.len() - 1,
    }
}

fn note_status(shared: &Shared, ticket: Ticket, status: u16) {
    let mut world = shared.world();
    if world.log_generation == ticket.generation
        && let Some(request) = world.log.get_mut(ticket.index)
    {
        request.status = Some(status);
    }
}

fn into_response(answer: Answer, delivery: Delivery) -> Response<Body> {
    let length = answer.body.len();
    let body = match delivery {
        Delivery::Truncated => truncated(&answer.body),
        Delivery::Whole | Delivery::Late(_) | Delivery::Dropped => Full::new(answer.body)
            .map_err(|never| match never {})
            .boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if answer.status != 101 {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if let Some(kind) = answer.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// The first half of a body that promised more; the pause lets hyper send it before the failure.
fn truncated(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let start = stream::once(async move { Ok(Frame::data(half)) });
    let end = stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::other("the body breaks off on demand"))
    });
    StreamBody::new(start.chain(end)).boxed_unsync()
}

/// How a connection goes on, agreed between its requests and its socket.
#[derive(Clone, Default)]
struct Ending(Arc<AtomicU8>);

impl Ending {
    const AFTER_ANSWER: u8 = 1;
    const NOW: u8 = 2;

    fn set(&self, ending: u8) {
        self.0.store(ending, Ordering::Release);
    }

    fn is(&self, ending: u8) -> bool {
        self.0.load(Ordering::Acquire) == ending
    }
}

/// A socket that fails or ends when it is told to, which hyper takes for the client's doing.
struct Socket {
    stream: TcpStream,
    ending: Ending,
    has_answered: bool,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_answered && self.ending.is(Ending::AFTER_ANSWER) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ending.is(Ending::NOW) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() && self.ending.is(Ending::AFTER_ANSWER) {
            self.has_answered = true;
            // hyper asked for the next request before it wrote, and has to ask again to learn of the end.
            context.waker().wake_by_ref();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
