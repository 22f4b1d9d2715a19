//! The websockets of logs: who may listen, and what a listener is sent.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::testing::api::auth;
use crate::testing::api::request::Call;
use crate::testing::api::response::Answer;
use crate::testing::panel::node::{FakeNodeStatus, XRAY_VERSION};
use crate::testing::panel::state::World;

/// The lines that a new listener is sent first.
const BUFFERED: usize = 100;

/// The longest interval that lines may be gathered for, in seconds.
const LONGEST_INTERVAL: f64 = 10.0;

/// The log of the core; the nodes of the fake repeat it.
pub(crate) struct Logs {
    lines: VecDeque<String>,
    sender: broadcast::Sender<String>,
}

impl Default for Logs {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(1_024);
        let lines = [
            format!("Xray {XRAY_VERSION} (Xray, Penetrates Everything.)"),
            format!("[Warning] core: Xray {XRAY_VERSION} started"),
        ];
        Self {
            lines: VecDeque::from(lines),
            sender,
        }
    }
}

impl Logs {
    /// Writes a line; that nobody listens is no failure.
    pub(crate) fn write(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        if self.lines.len() > BUFFERED {
            self.lines.pop_front();
        }
        let _: Result<usize, _> = self.sender.send(line.to_owned());
    }

    /// What a listener gets from now on, the buffered lines first.
    pub(crate) fn listen(&self, call: &Call) -> Listener {
        Listener {
            lines: self.lines.clone(),
            receiver: self.sender.subscribe(),
            interval: interval(call).ok().flatten(),
            gathered: String::new(),
            due: Instant::now(),
        }
    }
}

/// Upgrades for a sudo admin; everybody else is refused before there is a websocket, hence without its codes.
pub(crate) fn admit(world: &World, node: Option<&str>, call: &Call) -> Answer {
    let Some(key) = &call.websocket_key else {
        return Answer::detail(404, "Not Found");
    };
    let token = call.query.last("token").or_else(|| call.bearer());
    let is_sudo = token
        .and_then(|token| auth::holder(world, token))
        .is_some_and(|admin| admin.is_sudo);
    let is_connected = node.is_none_or(|id| {
        let node = id.parse().ok().and_then(|id: u64| world.nodes.get(&id));
        node.is_some_and(|node| node.status == FakeNodeStatus::Connected)
    });
    if !is_sudo || !is_connected || interval(call).is_err() {
        return Answer::text(403, "").with_header("connection", "close");
    }
    Answer::switch_protocols()
        .with_header("connection", "Upgrade")
        .with_header("upgrade", "websocket")
        .with_header("sec-websocket-accept", derive_accept_key(key.as_bytes()))
}

/// The interval of the query; too long or no number is refused.
fn interval(call: &Call) -> Result<Option<Duration>, ()> {
    let Some(text) = call.query.last("interval") else {
        return Ok(None);
    };
    let seconds: f64 = text.parse().map_err(drop)?;
    if seconds > LONGEST_INTERVAL {
        return Err(());
    }
    Duration::try_from_secs_f64(seconds).map(Some).map_err(drop)
}

/// A listener that was admitted.
pub(crate) struct Listener {
    lines: VecDeque<String>,
    receiver: broadcast::Receiver<String>,
    interval: Option<Duration>,
    /// The lines of the next frame, and when it may be sent; the first line of all goes at once.
    gathered: String,
    due: Instant,
}

impl Listener {
    /// Sends until the client goes; the panel never says goodbye itself.
    pub(crate) async fn serve(mut self, upgraded: Upgraded) {
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        loop {
            let text = tokio::select! {
                text = self.next() => text,
                received = socket.next() => match received {
                    Some(Ok(_)) => continue,
                    _ => return,
                },
            };
            let Some(text) = text else {
                return;
            };
            if socket.send(Message::text(text)).await.is_err() {
                return;
            }
        }
    }

    /// The next frame: a line, or with an interval all lines that came within it, each with its end.
    ///
    /// Dropped half way, it keeps what it gathered.
    async fn next(&mut self) -> Option<String> {
        let Some(interval) = self.interval else {
            return match self.lines.pop_front() {
                Some(line) => Some(line),
                None => self.receive().await,
            };
        };
        loop {
            let is_due = Instant::now() >= self.due;
            if is_due && !self.gathered.is_empty() {
                self.due = Instant::now() + interval;
                return Some(std::mem::take(&mut self.gathered));
            }
            let line = match self.lines.pop_front() {
                Some(line) => line,
                None if self.gathered.is_empty() => self.receive().await?,
                None => match tokio::time::timeout_at(self.due, self.receive()).await {
                    Ok(line) => line?,
                    Err(_) => continue,
                },
            };
            self.gathered += &line;
            self.gathered.push('\n');
        }
    }

    /// The next line that is written; those that a slow listener missed are gone.
    async fn receive(&mut self) -> Option<String> {
        loop {
            match self.receiver.recv().await {
                Ok(line) => return Some(line),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
