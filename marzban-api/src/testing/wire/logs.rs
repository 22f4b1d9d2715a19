//! The websockets of logs: what a listener is sent.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::testing::panel::node::XRAY_VERSION;

/// The lines that a new listener is sent first.
const BUFFERED: usize = 100;

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
    /// Writes a line; without a listener that is no failure.
    pub(crate) fn write(&mut self, line: &str) {
        self.lines.push_back(line.to_owned());
        if self.lines.len() > BUFFERED {
            self.lines.pop_front();
        }
        let _: Result<usize, _> = self.sender.send(line.to_owned());
    }

    /// Subscribes a listener, who gets the buffered lines first.
    ///
    /// With an interval, lines are gathered for so long before they are sent.
    pub(crate) fn listen(&self, interval: Option<Duration>) -> Listener {
        Listener {
            lines: self.lines.clone(),
            receiver: self.sender.subscribe(),
            interval,
            gathered: String::new(),
            due: Instant::now(),
        }
    }
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
    /// Sends until the client goes; the panel never closes a websocket itself.
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

    /// The next line that is written; a slow listener loses the ones that it missed.
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
