//! The end of a subscription, merged three ways.

mod laws;
mod model;
mod rules;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::merge_ends::{Merged, Say, Sides, merge};
use marzban_sync_core::observation::PanelUser;
use marzban_sync_core::policy::Policy;

use crate::given::now;

/// One account's two ends and its memory, as runs and other writers move them.
#[derive(Clone, Debug)]
struct World {
    row: EndDate,
    user: PanelUser,
    last_connected_at: Option<DateTime<Utc>>,
    agreement: Agreement,
    now: DateTime<Utc>,
}

impl World {
    fn new(row: impl Into<Option<DateTime<Utc>>>, user: PanelUser, agreement: Agreement) -> Self {
        Self {
            row: EndDate::from(row.into()),
            user,
            last_connected_at: None,
            agreement,
            now: now(),
        }
    }

    fn merged(&self, say: Say) -> Merged {
        self.merged_by(Policy::default(), say)
    }

    fn merged_by(&self, policy: Policy, say: Say) -> Merged {
        let sides = Sides {
            row: self.row,
            user: &self.user,
            last_connected_at: self.last_connected_at,
            agreement: &self.agreement,
        };
        merge(sides, policy, say, self.now)
    }

    /// A run that writes everything.
    fn run(&mut self, say: Say) -> Merged {
        let merged = self.merged(say);
        self.write_row(&merged);
        self.agreement.clone_from(&merged.agreement);
        merged
    }

    fn write_row(&mut self, merged: &Merged) {
        if let Some((end, _)) = merged.row {
            self.row = end;
        }
    }

    fn bot_moves(&mut self, end: impl Into<Option<DateTime<Utc>>>) {
        self.row = EndDate::from(end.into());
    }

    fn panel_moves(&mut self, end: impl Into<Option<DateTime<Utc>>>) {
        self.user.expire = end.into();
    }

    fn panel(&self) -> EndDate {
        EndDate::from(self.user.expire)
    }

    fn later(&mut self, by: TimeDelta) {
        self.now += by;
    }
}
