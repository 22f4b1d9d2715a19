//! What arrived at the panel, and what goes wrong on the way.

use std::future::Future;
use std::sync::Arc;

use super::FakePanel;
use crate::testing::wire::{FaultRule, RecordedRequest};

impl FakePanel {
    /// Breaks requests to come: a [`Fault`](crate::testing::Fault) breaks the next one, a [`FaultRule`] those that it
    /// describes.
    ///
    /// A request meets at most one fault, that of the oldest rule that matches it.
    pub fn inject(&self, rule: impl Into<FaultRule>) {
        self.inner.shared.state().faults.push(rule.into());
    }

    /// Removes all faults that were not used up.
    pub fn clear_faults(&self) {
        self.inner.shared.state().faults.clear();
    }

    /// Returns the requests so far, in the order of their arrival.
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

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        self.inner.shared.state().requests.clear();
    }

    /// Calls a hook for each request to come, after it was recorded and before it is answered.
    ///
    /// The panel waits for the hook, so a test can change the panel or its own database in the middle of a run.
    /// The hook receives a handle of the panel. A handle that it captured would keep the panel running forever.
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

    /// Removes all hooks; a hook that is running comes to its end.
    pub fn clear_hooks(&self) {
        self.inner.shared.hooks().clear();
    }
}
