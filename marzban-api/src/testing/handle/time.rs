//! Time, and what the panel does without a request.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::FakePanel;
use crate::testing::api::notification_batch;
use crate::testing::wire::{Batch, PanelClock};

impl FakePanel {
    /// Stops the panel's clock at this time; from then on only this and [`FakePanel::advance`] move it.
    ///
    /// The clock decides what expires, tokens included, and which times the panel writes.
    /// It runs no job: see [`FakePanel::review`].
    pub fn set_now(&self, now: DateTime<Utc>) {
        self.inner.shared.state().clock = PanelClock::Frozen(now);
    }

    /// Moves the panel's clock forward, whether it stands or runs.
    pub fn advance(&self, by: Duration) {
        self.inner
            .shared
            .state()
            .clock
            .advance(TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX));
    }

    /// Runs the job that moves users between states; a real panel does so every ten seconds.
    pub fn review(&self) {
        self.inner.shared.state().api.panel.review();
    }

    /// Runs the job that resets traffic by `data_limit_reset_strategy`; a real panel does so every hour.
    pub fn reset_by_strategy(&self) {
        self.inner.shared.state().api.panel.reset_by_strategy();
    }

    /// Runs the job that deletes users by `auto_delete_in_days`; a real panel does so every six hours.
    pub fn auto_delete(&self) {
        self.inner.shared.state().api.panel.auto_delete();
    }

    /// Posts the notifications that are due and returns how many addresses accepted them, or `None` if nothing was due.
    ///
    /// A real panel does so every 30 seconds.
    ///
    /// If no address answers below 400, the whole batch is due again after 180 seconds of the panel's clock, at most
    /// three times.
    ///
    /// # Cancel safety
    /// A batch that is under way when this is cancelled is lost.
    pub async fn send_notifications(&self) -> Option<usize> {
        let (notifications, batch) = {
            let api = &mut self.inner.shared.state().api;
            let now = api.panel.now();
            let due = api.panel.outbox.take_due(now);
            let batch = Batch {
                addresses: api.panel.outbox.addresses.clone(),
                secret: api.panel.outbox.secret.clone(),
                body: notification_batch(api, &due),
            };
            (due, batch)
        };
        if notifications.is_empty() {
            return None;
        }
        let accepted = batch.post().await;
        if accepted == 0 {
            let panel = &mut self.inner.shared.state().api.panel;
            let now = panel.now();
            panel.outbox.put_back(notifications, now);
        }
        Some(accepted)
    }

    /// Writes a line to the log of the core, and so to all listeners at `/api/core/logs`.
    ///
    /// The fake itself writes only the two lines of a core that starts.
    pub fn write_log(&self, line: &str) {
        self.inner.shared.state().logs.write(line);
    }
}
