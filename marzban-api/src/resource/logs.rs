//! The log of a core as a stream of lines.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::try_unfold;
use futures_util::{SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Core, Nodes};
use crate::client::{Client, Retries, RetryPolicy, Socket};
use crate::error::{Error, ErrorKind};
use crate::request::{Request, RetryClass};

/// The longest time for which the panel collects lines.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// How long the connection may be silent before a ping is sent. After another such interval without an answer it
/// counts as lost.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// A connection that lasted this long resets the counter of attempts.
const STABLE_AFTER: Duration = Duration::from_mins(1);

/// Options for following a log.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use marzban_api::resource::LogOptions;
///
/// let options = LogOptions::default().interval(Duration::from_secs(1)).max_tries(5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct LogOptions {
    interval: Option<Duration>,
    max_tries: u32,
}

impl Default for LogOptions {
    /// Sends lines one by one and allows 10 consecutive attempts.
    fn default() -> Self {
        Self {
            interval: None,
            max_tries: 10,
        }
    }
}

impl LogOptions {
    /// Lets the panel collect lines for this long, at most 10 s. A busy log then costs the panel less.
    pub fn interval(self, interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            ..self
        }
    }

    /// Sets the maximum number of consecutive connection attempts. The counter resets once a connection has stayed up
    /// for a minute. The delays are those of the client's [`RetryPolicy`].
    pub fn max_tries(self, tries: u32) -> Self {
        Self {
            max_tries: tries,
            ..self
        }
    }

    fn query(self, request: Request) -> Result<Request, Error> {
        match self.interval {
            None => Ok(request),
            Some(interval) if !interval.is_zero() && interval <= LONGEST_INTERVAL => {
                Ok(request.query("interval", &interval.as_secs_f64().to_string()))
            }
            Some(_) => Err(Error::new(ErrorKind::InvalidInput)
                .with_operation(&request)
                .with_message("the interval of a log must be more than 0 and at most 10 s")),
        }
    }
}

impl Core<'_> {
    /// Follows the log of the panel's own core, line by line, for as long as the stream is read.
    ///
    /// The stream starts with up to 100 lines that were written before. A lost connection is reopened, which repeats
    /// these lines and misses lines written in between. Lines contain usernames and IP addresses of users.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use futures_util::StreamExt;
    /// # use marzban_api::resource::LogOptions;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let mut lines = std::pin::pin!(client.core().logs(LogOptions::default()));
    /// while let Some(line) = lines.next().await {
    ///     println!("{}", line?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any error ends the stream:
    /// - [`Forbidden`](ErrorKind::Forbidden): the client's admin has no sudo rights. A token that the panel has
    ///   forgotten is replaced.
    /// - [`TooLarge`](ErrorKind::TooLarge): a batch of lines exceeds
    ///   [`max_body_bytes`](crate::ClientBuilder::max_body_bytes).
    /// - [`InvalidInput`](ErrorKind::InvalidInput): the interval is 0 or more than 10 s.
    /// - [`Connect`](ErrorKind::Connect), [`Timeout`](ErrorKind::Timeout) or [`Server`](ErrorKind::Server): all
    ///   attempts failed.
    ///
    /// # Cancel safety
    ///
    /// The stream may be dropped at any time.
    pub fn logs(&self, options: LogOptions) -> impl Stream<Item = Result<String, Error>> + Send + use<> {
        let request = Request::get("core.logs", "/api/core/logs");
        follow(self.client.clone(), Ok(request), options)
    }
}

impl Nodes<'_> {
    /// Follows the log of a node's core, as [`Core::logs`] follows that of the panel's own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use futures_util::StreamExt;
    /// # use marzban_api::resource::LogOptions;
    /// # async fn example(client: marzban_api::Client) -> Result<(), marzban_api::Error> {
    /// let mut lines = std::pin::pin!(client.nodes().logs(1, LogOptions::default()));
    /// while let Some(line) = lines.next().await {
    ///     println!("{}", line?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Core::logs`]. [`Forbidden`](ErrorKind::Forbidden) is also the kind for a node that does not exist or is
    /// not connected, because the panel does not tell these cases apart.
    ///
    /// # Cancel safety
    ///
    /// The stream may be dropped at any time.
    pub fn logs(
        &self,
        id: i64,
        options: LogOptions,
    ) -> impl Stream<Item = Result<String, Error>> + Send + use<> {
        let request = super::path_id(Request::get("nodes.logs", "/api/node/{node_id}/logs"), id);
        follow(self.client.clone(), request, options)
    }
}

fn follow(
    client: Client,
    request: Result<Request, Error>,
    options: LogOptions,
) -> impl Stream<Item = Result<String, Error>> + Send + use<> {
    let request = request.and_then(|request| options.query(request));
    let policy = RetryPolicy {
        max_tries: options.max_tries,
        ..client.retry_policy()
    };
    let follower = request.map(|request| Follower {
        client,
        request,
        policy,
        retries: Retries::new(policy),
        open: None,
        ready: VecDeque::new(),
    });
    try_unfold(follower, |follower| async move {
        let mut follower = follower?;
        let line = follower.next_line().await?;
        Ok(Some((line, Ok(follower))))
    })
}

struct Follower {
    client: Client,
    request: Request,
    policy: RetryPolicy,
    retries: Retries,
    open: Option<Open>,
    ready: VecDeque<String>,
}

struct Open {
    socket: Socket,
    since: Instant,
}

impl Follower {
    async fn next_line(&mut self) -> Result<String, Error> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(line);
            }
            let error = match self.receive().await {
                Ok(lines) => {
                    self.ready.extend(lines.lines().map(ToOwned::to_owned));
                    continue;
                }
                Err(error) => error,
            };
            if self
                .open
                .take()
                .is_some_and(|open| open.since.elapsed() >= STABLE_AFTER)
            {
                self.retries = Retries::new(self.policy);
            }
            let Some(delay) = self.retries.after(&error, RetryClass::Safe) else {
                return Err(error);
            };
            tracing::debug!(
                operation = self.request.operation(),
                kind = ?error.kind(),
                retry_in_ms = delay.as_millis(),
                "Reopening a log"
            );
            sleep(delay).await;
        }
    }

    /// Receives the next text, which may hold any number of lines.
    async fn receive(&mut self) -> Result<String, Error> {
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(Open {
                // Boxed: it is rarely needed, and would make every stream large.
                socket: Box::pin(self.client.open_socket(&self.request)).await?,
                since: Instant::now(),
            }),
        };
        next_text(&mut open.socket).await.map_err(|error| {
            error
                .with_operation(&self.request)
                .with_attempts(self.retries.tried() + 1, open.since.elapsed())
        })
    }
}

/// Waits for the next text, for as long as the panel answers pings.
async fn next_text<S>(socket: &mut WebSocketStream<S>) -> Result<String, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut asked = false;
    loop {
        match timeout(PING_INTERVAL, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return Ok(text.as_str().to_owned()),
            Ok(Some(Ok(Message::Close(_))) | None) => return Err(broke_off()),
            Ok(Some(Ok(_))) => asked = false,
            Ok(Some(Err(error))) => return Err(failure(error)),
            Err(_) if asked => return Err(broke_off().with_message("the log fell silent")),
            Err(_) => {
                asked = true;
                let ping = socket.send(Message::Ping(tungstenite::Bytes::new()));
                ping.await.map_err(failure)?;
            }
        }
    }
}

/// The error for an established connection that ended: the request was sent, whatever ended it.
fn broke_off() -> Error {
    Error::new(ErrorKind::Connect).with_status(101)
}

fn failure(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Capacity(_) => Error::new(ErrorKind::TooLarge).with_status(101),
        tungstenite::Error::Utf8(_) => Error::new(ErrorKind::Decode).with_status(101),
        _ => broke_off(),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// The bytes of a client's ping without content: a head and a random mask.
    const PING: usize = 6;

    async fn open() -> (WebSocketStream<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(1024);
        (
            WebSocketStream::from_raw_socket(near, Role::Client, None).await,
            far,
        )
    }

    async fn expect_ping(panel: &mut DuplexStream) {
        let mut frame = [0; PING];
        panel.read_exact(&mut frame).await.unwrap();
        assert_eq!(frame[..2], [0x89, 0x80]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_log_goes_on_for_as_long_as_pings_are_answered() {
        let (mut socket, mut panel) = open().await;
        let begin = Instant::now();
        let answering = async {
            for _ in 0..3 {
                expect_ping(&mut panel).await;
                panel.write_all(&[0x8a, 0]).await.unwrap();
            }
            panel.write_all(b"\x81\x04late").await.unwrap();
        };
        let (text, ()) = tokio::join!(next_text(&mut socket), answering);
        assert_eq!(text.unwrap(), "late");
        assert_eq!(begin.elapsed(), PING_INTERVAL * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_answers_no_ping_is_lost() {
        let (mut socket, mut panel) = open().await;
        let begin = Instant::now();
        let (text, ()) = tokio::join!(next_text(&mut socket), expect_ping(&mut panel));
        assert_eq!(text.unwrap_err().kind(), ErrorKind::Connect);
        assert_eq!(begin.elapsed(), PING_INTERVAL * 2);
    }
}
