//! A socket that ends as a fault demands.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How a connection goes on, agreed between its requests and its socket.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<AtomicU8>);

impl Ending {
    pub(crate) const AFTER_ANSWER: u8 = 1;
    pub(crate) const NOW: u8 = 2;

    pub(crate) fn set(&self, ending: u8) {
        self.0.store(ending, Ordering::Release);
    }

    fn is(&self, ending: u8) -> bool {
        self.0.load(Ordering::Acquire) == ending
    }
}

/// A socket that fails or ends on demand, which hyper takes for the client's doing.
pub(crate) struct Socket {
    stream: TcpStream,
    ending: Ending,
    has_answered: bool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, ending: Ending) -> Self {
        Self {
            stream,
            ending,
            has_answered: false,
        }
    }
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
