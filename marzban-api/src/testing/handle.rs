//! What a test can do to the panel besides its users: time, traffic, nodes and notifications.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, Utc};

use crate::testing::FakePanel;
use crate::testing::api::subscription_token as token;
use crate::testing::delta;
use crate::testing::panel::jobs as review;
use crate::testing::panel::node::FakeNode;
use crate::testing::panel::notification::{self, Batch};
use crate::testing::wire::clock::PanelClock;

impl FakePanel {
    /// Stops the panel's clock at this time, which from then on only this and [`FakePanel::advance`] move.
    ///
    /// The clock decides what expires, tokens included, and which times the panel writes.
    /// It runs no job: see [`FakePanel::review`].
    ///
    /// See [`FakePanel`] for an example.
    pub fn set_now(&self, now: DateTime<Utc>) {
        self.inner.shared.world().clock = PanelClock::Frozen(now.trunc_subsecs(6));
    }

    /// Moves the panel's clock forward, whether it stands or runs.
    ///
    /// See [`FakePanel`] for an example.
    pub fn advance(&self, by: Duration) {
        self.inner.shared.world().clock.advance(delta(by));
    }

    /// Runs the job that moves users between states, which a real panel does every ten seconds.
    ///
    /// See [`FakePanel`] for an example.
    pub fn review(&self) {
        review::review(&mut self.inner.shared.world());
    }

    /// Runs the job that starts traffic anew by `data_limit_reset_strategy`, which a real panel does every hour.
    ///
    /// See [`FakePanel`] for an example.
    pub fn reset_by_strategy(&self) {
        review::reset_by_strategy(&mut self.inner.shared.world());
    }

    /// Runs the job that deletes users by `auto_delete_in_days`, which a real panel does every six hours.
    ///
    /// See [`FakePanel`] for an example.
    pub fn auto_delete(&self) {
        review::auto_delete(&mut self.inner.shared.world());
    }

    /// Lets a user use traffic on the panel's own core, now: it counts for the user, its owner and the usage.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Panics
    /// There is no such user.
    pub fn add_traffic(&self, username: &str, bytes: i64) {
        let found = self.inner.shared.world().add_traffic(username, bytes);
        assert!(found, "the fake panel has no user {username:?}");
    }

    /// Edits a node, as its machine or the database would; `None` without such a node.
    ///
    /// The closure runs while the state is locked and must not call the panel.
    ///
    /// See [`FakePanel`] for an example.
    pub fn update_node<T>(&self, id: u64, edit: impl FnOnce(&mut FakeNode) -> T) -> Option<T> {
        let mut world = self.inner.shared.world();
        let node = world.nodes.get_mut(&id)?;
        let answer = edit(node);
        node.id = id;
        Some(answer)
    }

    /// Posts the notifications that are due, which a real panel does every 30 seconds; says how many addresses
    /// accepted them, or `None` if nothing was due.
    ///
    /// Without an address that answers below 400, the whole batch comes again after 180 seconds of the panel's
    /// clock, three times at most.
    ///
    /// See [`FakePanel`] for an example.
    ///
    /// # Cancel safety
    /// A batch that is under way when this is cancelled is lost.
    pub async fn send_notifications(&self) -> Option<usize> {
        let batch = {
            let mut world = self.inner.shared.world();
            let now = world.now();
            world.webhooks.take_due(now)?
        };
        let accepted = post(&batch).await;
        if accepted == 0 {
            let mut world = self.inner.shared.world();
            let now = world.now();
            world.webhooks.put_back(batch, now);
        }
        Some(accepted)
    }

    /// Writes a line to the log of the core, which those who listen at `/api/core/logs` are sent.
    ///
    /// The fake writes none itself but the two of a core that starts.
    ///
    /// See [`FakePanel`] for an example.
    pub fn write_log(&self, line: &str) {
        self.inner.shared.world().logs.write(line);
    }

    /// Issues the token of a user's subscription URL as of now, whether there is such a user or not.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn subscription_token(&self, username: &str) -> String {
        token::issue(username, self.inner.shared.world().now())
    }

    /// Issues a subscription token of the form before Marzban 0.4, a JWT, which the panel still takes.
    ///
    /// See [`FakePanel`] for an example.
    #[must_use]
    pub fn legacy_subscription_token(&self, username: &str) -> String {
        token::issue_legacy(&mut self.inner.shared.world(), username)
    }
}

/// Counts the addresses that accept a batch; one that cannot be reached has not.
async fn post(batch: &Batch) -> usize {
    let Ok(client) = reqwest::Client::builder().no_proxy().build() else {
        return 0;
    };
    let mut accepted = 0;
    for address in &batch.addresses {
        let mut request = client
            .post(address)
            .header("content-type", "application/json")
            .header("user-agent", "python-requests/2.32.3")
            .body(batch.body.clone());
        if let Some(secret) = &batch.secret {
            request = request.header(notification::SECRET_HEADER, secret);
        }
        let is_accepted = request
            .send()
            .await
            .is_ok_and(|response| response.status().as_u16() < 400);
        accepted += usize::from(is_accepted);
    }
    accepted
}
