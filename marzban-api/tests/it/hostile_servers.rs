//! Servers that never answer, send a byte now and then, break off, or flood. The limits of time and size stop each of
//! them, and it costs no more than they allow.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use marzban_api::resource::ListUsers;
use marzban_api::webhook::WebhookError;
use marzban_api::{Client, Error, ErrorKind, RetryPolicy, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::wire::{self, Reply, Wire, granted};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What a body may cost on its way: the limit, and what lies in the buffers of two sockets.
const LIMIT: usize = 1 << 20;
const MOST_SENT: u64 = LIMIT as u64 + 32 * MIB;

/// How a server goes on after a request has been read.
#[derive(Clone)]
enum Habit {
    /// Says nothing.
    Silent,
    /// Sends these bytes, and then the last of them again each 20 ms, for ever.
    Dripping(&'static [u8]),
    /// Sends a head, and then so many bytes of blanks in pieces as the head says or does not say.
    Flooding { head: String, chunked: bool },
    /// Sends these bytes and closes.
    Sending(Arc<Vec<u8>>),
}

/// A server that grants logins and treats every other request by its habit; counts the bytes that it got rid of.
async fn server(habit: Habit) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, habit.clone(), Arc::clone(&counter)));
        }
    });
    (url, sent)
}

async fn serve(mut stream: TcpStream, habit: Habit, sent: Arc<AtomicU64>) -> Option<()> {
    loop {
        let mut request = Vec::new();
        while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.ok()? == 0 {
                return None;
            }
        }
        if request.starts_with(b"POST ") {
            let Reply::Keep(bytes) = granted("token") else {
                return None;
            };
            stream.write_all(&bytes).await.ok()?;
            continue;
        }
        match &habit {
            Habit::Silent => {}
            Habit::Dripping(bytes) => {
                stream.write_all(bytes).await.ok()?;
                loop {
                    stream.write_all(&[*bytes.last()?]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Habit::Flooding { head, chunked } => {
                stream.write_all(head.as_bytes()).await.ok()?;
                let blanks = vec![b' '; 65_536];
                let mut rest = GIB;
                while rest > 0 {
                    if *chunked {
                        stream.write_all(b"10000\r\n").await.ok()?;
                    }
                    stream.write_all(&blanks).await.ok()?;
                    if *chunked {
                        stream.write_all(b"\r\n").await.ok()?;
                    }
                    sent.fetch_add(65_536, Ordering::SeqCst);
                    rest -= 65_536;
                }
            }
            Habit::Sending(bytes) => {
                stream.write_all(bytes).await.ok()?;
                return stream.shutdown().await.ok();
            }
        }
        // Until the client has had enough.
        return stream.read_buf(&mut request).await.ok().map(drop);
    }
}

fn client(url: &str, timeouts: Timeouts) -> Client {
    wire::builder(url)
        .timeouts(timeouts)
        .retry(RetryPolicy::none())
        .max_body_bytes(LIMIT)
        .build()
        .unwrap()
}

/// What comes of a request to a server with this habit, and how many bytes of a flood it got rid of.
async fn outcome(habit: Habit, timeouts: Timeouts) -> (Error, u64) {
    let (url, sent) = server(habit).await;
    let error = client(&url, timeouts).users().get("alice").await.unwrap_err();
    (error, sent.load(Ordering::SeqCst))
}

fn short() -> Timeouts {
    Timeouts {
        read: Duration::from_millis(300),
        request: Duration::from_millis(600),
        ..Timeouts::default()
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_left_when_the_time_to_read_is_up() {
    let started = Instant::now();
    let (error, _) = outcome(Habit::Silent, short()).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, true));
    assert!(error.elapsed() >= Duration::from_millis(300));
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_drips_never_stalls_and_is_left_when_the_whole_time_is_up() {
    // A head must be there within the time to read, and a body within the whole.
    let drips: [(&[u8], u64); 2] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n ", 600),
        (b"HTTP/1.1 200 OK\r\nx-long: a", 300),
    ];
    for (drip, least) in drips {
        let (error, _) = outcome(Habit::Dripping(drip), short()).await;
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let within = Duration::from_millis(least)..Duration::from_secs(10);
        assert!(within.contains(&error.elapsed()), "{:?}", error.elapsed());
    }
}

#[tokio::test]
async fn a_gibibyte_is_not_read_whether_it_is_announced_or_not() {
    let announced =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {GIB}\r\n\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let endless = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
    let refusal = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {GIB}\r\n\r\n");
    for (head, chunked) in [
        (announced, false),
        (chunked, true),
        (endless, false),
        (refusal, false),
    ] {
        let (error, sent) = outcome(
            Habit::Flooding {
                head: head.clone(),
                chunked,
            },
            Timeouts::default(),
        )
        .await;
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::TooLarge, false),
            "{head:?}"
        );
        assert!(sent <= MOST_SENT, "{sent} bytes: {head:?}");
    }
}

#[tokio::test]
async fn a_gibibyte_in_a_megabyte_of_gzip_is_not_unpacked() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..GIB / MIB {
        encoder.write_all(&blanks).unwrap();
    }
    let body = encoder.finish().unwrap();
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend(body);
    let (error, _) = outcome(Habit::Sending(Arc::new(answer)), Timeouts::default()).await;
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for cut in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"username\":\"al",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"username\":\"al",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "",
    ] {
        let (error, _) = outcome(Habit::Sending(Arc::new(cut.into())), Timeouts::default()).await;
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Connect, true),
            "{cut:?}"
        );
    }
}

#[tokio::test]
async fn a_list_of_zeros_does_not_fill_the_memory() {
    let zeros = format!(r#"{{"users":[{}0],"total":1}}"#, "0,".repeat(100_000));
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{zeros}",
        zeros.len()
    );
    let wire = Wire::script([Reply::Keep(answer.into_bytes())]).await;
    let error = wire.client().users().list(&ListUsers::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");

    let zeros = format!("[{}0]", "0,".repeat(100_000));
    let refusal = marzban_api::webhook::parse(zeros.as_bytes()).unwrap_err();
    assert!(matches!(refusal, WebhookError::NotABatch(_)));
    let few = format!("[{}0]", "0,".repeat(9_999));
    assert_eq!(marzban_api::webhook::parse(few.as_bytes()).unwrap().len(), 10_000);
}
