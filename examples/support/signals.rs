//! Ending in order when the process is asked to.

use tokio_util::sync::CancellationToken;

/// Returns a token that Ctrl-C or SIGTERM cancels, so that a run ends between two requests.
///
/// Must be called within a tokio runtime.
#[must_use]
pub fn cancelled_by_signal() -> CancellationToken {
    cancelled_by_signals().0
}

/// Returns two tokens: the first signal cancels the first, and a second signal the second.
///
/// Must be called within a tokio runtime.
#[must_use]
pub fn cancelled_by_signals() -> (CancellationToken, CancellationToken) {
    let tokens = (CancellationToken::new(), CancellationToken::new());
    let (first, second) = tokens.clone();
    tokio::spawn(async move {
        // Made before the wait, so that a second signal that follows at once is not lost.
        let mut signals = Signals::new();
        signals.wait().await;
        first.cancel();
        signals.wait().await;
        second.cancel();
    });
    tokens
}

#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    /// A signal that cannot be handled keeps its default, which is to end the process.
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    async fn wait(&mut self) {
        std::future::poll_fn(|context| {
            let is_received = |signal: &mut tokio::signal::unix::Signal| signal.poll_recv(context).is_ready();
            if self.0.iter_mut().any(is_received) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
