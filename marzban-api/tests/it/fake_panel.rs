//! The fake panel against what was observed of Marzban 0.8.4, over raw TCP: no client of ours is involved.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a helper of tests fails by panicking, as a test does"
)]

mod auth;
mod control;
mod edit;
mod faults;
mod jobs;
mod list;
mod logs;
mod panel;
mod recorded;
mod rules;
mod status;
mod subscription;
mod unseen;
mod webhook;

use chrono::{DateTime, Utc};
use marzban_api::testing::{FakeAdmin, FakePanel};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer as it came over the wire.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }

    #[track_caller]
    fn assert(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.text()), (status, body));
    }

    #[track_caller]
    fn assert_internal_error(&self) {
        self.assert(500, "Internal Server Error");
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
    }

    /// The names of a page, in its order.
    #[track_caller]
    fn names(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        let page = self.json();
        let users = page["users"].as_array().expect("a page has users");
        users
            .iter()
            .map(|user| user["username"].as_str().expect("a user has a name").to_owned())
            .collect()
    }
}

/// One connection, which may end before or in the middle of an answer.
struct Wire(TcpStream);

impl Wire {
    async fn open(panel: &FakePanel) -> Self {
        let url = panel.url();
        let address = url.strip_prefix("http://").expect("the URL is of plain HTTP");
        Self(TcpStream::connect(address).await.expect("the panel listens"))
    }

    async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the panel reads");
    }

    /// Reads an answer; `Err` holds what came until the connection ended too early.
    async fn read(&mut self, has_body: bool) -> Result<Reply, Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let head_end = bytes
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
                .map(|at| at + 4);
            if let Some(head_end) = head_end {
                let head = String::from_utf8(bytes[..head_end].to_vec()).expect("the head is text");
                let status = head[9..12].parse().expect("the status is a number");
                let mut reply = Reply {
                    status,
                    head,
                    body: bytes[head_end..].to_vec(),
                };
                let length = reply
                    .header("content-length")
                    .map_or(0, |text| text.parse().expect("a length"));
                if !has_body || reply.body.len() == length {
                    return Ok(reply);
                }
                assert!(reply.body.len() < length, "more body than promised");
                reply.body.clear();
            }
            if self.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return Err(bytes);
            }
        }
    }

    /// Reads a request, as a server does.
    async fn read_raw(&mut self) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().expect("a length"));
                if body.len() >= length {
                    return (head.to_owned(), body.as_bytes().to_vec());
                }
            }
            let count = self.0.read_buf(&mut bytes).await.expect("the client writes");
            assert!(count > 0, "a whole request");
        }
    }

    /// Whether the panel has closed the connection; waits until it does or sends something.
    async fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0; 1]).await.unwrap_or(0) == 0
    }
}

fn text_of(method: &str, target: &str, token: Option<&str>, body: Option<&str>) -> String {
    let token = token
        .map(|token| format!("authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let body = body.map_or_else(String::new, |body| {
        let kind = if body.starts_with(['{', '[']) {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        format!(
            "content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let end = if body.is_empty() { "\r\n" } else { "" };
    format!("{method} {target} HTTP/1.1\r\nhost: panel.example\r\n{token}{body}{end}")
}

/// Sends one request over a connection of its own.
async fn call(
    panel: &FakePanel,
    method: &str,
    target: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Reply {
    let mut wire = Wire::open(panel).await;
    wire.send(&text_of(method, target, token, body)).await;
    wire.read(method != "HEAD").await.expect("a whole answer")
}

async fn log_in(panel: &FakePanel, username: &str, password: &str) -> String {
    let form = format!("username={username}&password={password}");
    let reply = call(panel, "POST", "/api/admin/token", None, Some(&form)).await;
    reply.json()["access_token"].as_str().expect("a token").to_owned()
}

/// A panel with an admin of each kind, each with its name for a password, and the token of the environment's.
struct Setup {
    panel: FakePanel,
    token: String,
}

impl Setup {
    async fn new() -> Self {
        let panel = FakePanel::builder()
            .now(at("2026-11-22T20:59:42Z"))
            .admin(FakeAdmin::new("root2", "root2").sudo())
            .admin(FakeAdmin::new("ali", "ali"))
            .start()
            .await
            .expect("a free port");
        let token = log_in(&panel, "admin", "admin").await;
        Self { panel, token }
    }

    async fn get(&self, target: &str) -> Reply {
        call(&self.panel, "GET", target, Some(&self.token), None).await
    }

    async fn post(&self, target: &str, body: &str) -> Reply {
        call(&self.panel, "POST", target, Some(&self.token), Some(body)).await
    }

    async fn put(&self, target: &str, body: &str) -> Reply {
        call(&self.panel, "PUT", target, Some(&self.token), Some(body)).await
    }

    async fn delete(&self, target: &str) -> Reply {
        call(&self.panel, "DELETE", target, Some(&self.token), None).await
    }

    /// Sends a request as another admin, whose password is its name.
    async fn call_as(&self, admin: &str, method: &str, target: &str) -> Reply {
        let token = log_in(&self.panel, admin, admin).await;
        call(&self.panel, method, target, Some(&token), None).await
    }
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("a time")
}
