//! A server that answers with given bytes and records its requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marzban_api::{Client, ClientBuilder, RetryPolicy, Throttle, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PASSWORD: &str = "pass-w0rd&=";

/// Quick enough for a test, and still a policy of three tries.
pub(crate) const QUICK: RetryPolicy = RetryPolicy {
    max_tries: 3,
    initial_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(2),
    max_retry_after: Duration::from_millis(60),
};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Sends the bytes and keeps the connection.
    Keep(Vec<u8>),
    /// Sends the bytes and closes the connection without announcing it, as the panel does after a 500.
    Close(Vec<u8>),
    /// Sends the bytes and then nothing more, until the client leaves.
    Hang(Vec<u8>),
    /// Sends the bytes, then blanks without end.
    Flood(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) connection: usize,
    /// `GET /api/system`
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Recorded {
    pub(crate) fn is_login(&self) -> bool {
        self.line.starts_with("POST ") && self.line.ends_with("/api/admin/token")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The decoded values of `username=` in the query.
    pub(crate) fn usernames(&self) -> Vec<String> {
        let url = url::Url::parse(&format!("http://panel{}", self.line.split_once(' ').unwrap().1)).unwrap();
        url.query_pairs()
            .filter(|(key, _)| key == "username")
            .map(|(_, value)| value.into_owned())
            .collect()
    }
}

#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

type Handler = dyn Fn(&Recorded) -> Reply + Send + Sync;

impl Wire {
    /// Answers every request, logins too, with what `handler` makes of it.
    pub(crate) async fn answering(handler: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, handler): (_, Arc<Handler>) = (Arc::clone(&requests), Arc::new(handler));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, connection, Arc::clone(&log), Arc::clone(&handler)));
            }
        });
        Self { url, requests }
    }

    /// Grants every login and answers the other requests with `replies` in their order.
    pub(crate) async fn script(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with_logins(|_| granted("token"), replies).await
    }

    /// Answers logins, counted from 0, with `login`, and the other requests with `replies` in their order.
    pub(crate) async fn with_logins(
        login: impl Fn(usize) -> Reply + Send + Sync + 'static,
        replies: impl IntoIterator<Item = Reply>,
    ) -> Self {
        let state = Mutex::new((0, replies.into_iter().collect::<VecDeque<_>>()));
        Self::answering(move |request| {
            let (logins, replies) = &mut *state.lock().unwrap();
            if request.is_login() {
                *logins += 1;
                return login(*logins - 1);
            }
            replies
                .pop_front()
                .unwrap_or_else(|| json(418, r#"{"detail":"the script is at its end"}"#))
        })
        .await
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        builder(&self.url)
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// All requests but the logins.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| !request.is_login())
            .cloned()
            .collect()
    }

    /// The request lines of all requests but the logins.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    pub(crate) fn logins(&self) -> Vec<Recorded> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.is_login())
            .cloned()
            .collect()
    }
}

pub(crate) fn builder(url: &str) -> ClientBuilder {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        ..Timeouts::default()
    };
    Client::builder(url)
        .credentials("admin", PASSWORD)
        .throttle(Throttle::none())
        .retry(QUICK)
        .timeouts(timeouts)
}

pub(crate) fn raw(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn json(status: u16, body: &str) -> Reply {
    Reply::Keep(raw(status, "content-type: application/json\r\n", body))
}

pub(crate) fn html(status: u16) -> Reply {
    let page = "<!doctype html><html><body><h1>welcome to nginx</h1></body></html>";
    Reply::Keep(raw(status, "content-type: text/html\r\n", page))
}

/// The panel's own failure: a bare text, and the connection is closed without notice.
pub(crate) fn internal_error() -> Reply {
    Reply::Close(raw(
        500,
        "content-type: text/plain; charset=utf-8\r\n",
        "Internal Server Error",
    ))
}

pub(crate) fn granted(token: &str) -> Reply {
    json(
        200,
        &format!(r#"{{"access_token":"{token}","token_type":"bearer"}}"#),
    )
}

pub(crate) fn refused() -> Reply {
    json(401, r#"{"detail":"Could not validate credentials"}"#)
}

pub(crate) fn user_not_found() -> Reply {
    json(404, r#"{"detail":"User not found"}"#)
}

/// A user of whom nothing is known but what must be.
pub(crate) fn user(name: &str) -> String {
    format!(r#"{{"username":"{name}","status":"active","used_traffic":0}}"#)
}

pub(crate) fn users(users: &[String], total: usize) -> Reply {
    json(
        200,
        &format!(r#"{{"users":[{}],"total":{total}}}"#, users.join(",")),
    )
}

pub(crate) fn one(name: &str) -> Reply {
    json(200, &user(name))
}

pub(crate) const SYSTEM: &str = r#"{"version":"0.8.4","mem_total":4096,"mem_used":1024,"cpu_cores":2,"cpu_usage":27.8,
    "total_user":61,"online_users":8,"users_active":52,"users_on_hold":4,"users_disabled":2,"users_expired":2,
    "users_limited":1,"incoming_bandwidth":30868917,"outgoing_bandwidth":92606752,"incoming_bandwidth_speed":466,
    "outgoing_bandwidth_speed":467}"#;

pub(crate) fn system() -> Reply {
    json(200, SYSTEM)
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    log: Arc<Mutex<Vec<Recorded>>>,
    handler: Arc<Handler>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, connection).await {
        log.lock().unwrap().push(request.clone());
        match handler(&request) {
            Reply::Keep(bytes) => stream.write_all(&bytes).await.unwrap(),
            Reply::Close(bytes) => return stream.write_all(&bytes).await.unwrap(),
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                // Ends when the client closes its side.
                let _left = stream.read(&mut [0; 1]).await;
                return;
            }
            Reply::Flood(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                while stream.write_all(&[b' '; 4096]).await.is_ok() {}
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Recorded> {
    loop {
        if let Some((request, length)) = parse(buffer, connection) {
            buffer.drain(..length);
            return Some(request);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

/// One request at the beginning of the bytes and its length, once it is complete.
fn parse(bytes: &[u8], connection: usize) -> Option<(Recorded, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let line = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let mut request = Recorded {
        connection,
        line,
        head,
        body: String::new(),
    };
    let length: usize = request
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let body = bytes.get(end..end + length)?;
    request.body = String::from_utf8(body.to_vec()).unwrap();
    Some((request, end + length))
}
