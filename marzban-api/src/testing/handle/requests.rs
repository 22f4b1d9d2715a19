//! What arrived at the panel, and what goes wrong on the way.

use std::future::Future;
use std::sync::Arc;

use super::FakePanel;
use crate::testing::wire::{FaultRule, RecordedRequest};

impl FakePanel {
    /// Breaks requests to come: a [`Fault`](crate::testing::Fault) alone the next one, a [`FaultRule`] those that it describes.
    ///
    /// One request meets one fault at most, that of the oldest rule that matches it.
    pub fn inject(&self, rule: impl Into<FaultRule>) {
        self.inner.shared.state().faults.push(rule.into());
    }

    /// Forgets all faults that were not used up.
    pub fn clear_faults(&self) {
        self.inner.shared.state().faults.clear();
    }

    /// Returns the requests that arrived so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.inner.shared.state().requests.requests().to_vec()
    }

    /// Counts the requests of a method to exactly this path, as it was sent.
    #[must_use]
    pub fn count(&self, method: &str, path: &str) -> usize {
        let state = self.inner.shared.state();
        let requests = state.requests.requests().iter();
        requests
            .filter(|request| request.method == method && request.path == path)
            .count()
    }

    /// Forgets the requests that arrived so far.
    pub fn clear_requests(&self) {
        self.inner.shared.state().requests.clear();
    }

    /// Calls a hook for every request to come, after it was recorded and before it is answered.
    ///
    /// The panel waits for the hook, so a test can change the panel or its own database in the middle of a run.
    /// The hook is given a handle of the panel; one that it captured instead would keep the panel running for ever.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use marzban_api::testing::{FakePanel, FakeUser};
    ///
    /// let panel = FakePanel::start().await;
    /// panel.insert_user(FakeUser::new("alice"));
    /// panel.on_request(|panel, request| async move {
    ///     if request.method == "DELETE" {
    ///         panel.remove_user("alice");
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_request<F, R>(&self, hook: F)
    where
        F: Fn(Self, RecordedRequest) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        // The panel owns its hooks, so a hook must not own the panel.
        let panel = Arc::downgrade(&self.inner);
        self.inner.shared.hooks().push(Arc::new(move |request| {
            let panel = panel.upgrade().map(|inner| Self { inner });
            let running = panel.map(|panel| hook(panel, request));
            Box::pin(async move {
                if let Some(running) = running {
                    running.await;
                }
            })
        }));
    }

    /// Forgets all hooks; one that is running comes to its end.
    pub fn clear_hooks(&self) {
        self.inner.shared.hooks().clear();
    }
}
