//! Law 4, the accesses of law 2 and the budget of law 1: how much may be taken at once.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::SubscriptionStatus;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{MemorySubscription, MemoryVpnConfig};

use super::{Moment, Run, SLACK, is_closed, row_end};
use crate::histories::world::{PANELS, World};

impl World {
    /// Law 4, and the accesses of law 2.
    pub(super) fn judge_brakes(&self, run: &Run) {
        let conditions = run.conditions;
        if conditions.is_down {
            if let Some(moved) = run.moved().first() {
                self.accuse("4, a panel that says nothing moves nothing", || moved.clone());
            }
            return;
        }
        if self.setup.has_dates && conditions.clocks > SLACK {
            self.count("runs by a wrong clock");
            if let Some(moved) = run.moved().first() {
                self.accuse("4, a wrong clock moves nothing", || moved.clone());
            }
            if run.removed > 0 {
                self.accuse("4, a wrong clock deletes nobody", || {
                    format!("{} users", run.removed)
                });
            }
        }
        if run.job == Job::CleanupExpiredMarzbanUsers || run.answers.allow_mass_changes || conditions.hides {
            return;
        }
        let now = self.clock.now();
        let unreadable = self.panels[run.panel].with(|state| {
            if state.another.is_some() {
                BTreeSet::new()
            } else {
                state.unreadable.clone()
            }
        });
        let can_lose = self.can_lose(run);
        let (mut absent, mut found, mut off_early, mut went_off_early) = (0, 0, 0, 0);
        for (config, row) in self.in_scope(run) {
            let name = config.marzban_user_id.clone().unwrap_or_default();
            if unreadable.contains(&name) {
                continue;
            }
            let user = run.before.users.get(&name);
            found += u64::from(user.is_some());
            absent += u64::from(user.is_none() && config.is_active == Some(true));
            let is = run.after.configs.iter().find(|other| other.id == config.id);
            let went_off = config.is_active == Some(true) && is.is_some_and(|is| is.is_active == Some(false));
            let is_ahead = row.is_none_or(|row| !is_closed(&row) && row_end(&row) > now);
            let is_early =
                user.is_none_or(|user| matches!(user.status, PanelStatus::Active | PanelStatus::Expired));
            off_early += u64::from(went_off && is_ahead && is_early);
            went_off_early += u64::from(went_off && is_ahead);
        }
        let is_nobody = found == 0 && absent > 0;
        if is_nobody || is_too_many(absent, 10, can_lose) {
            self.count("runs with too many absent");
            if let Some(moved) = run.moved_rows().first() {
                self.accuse("4, while too many are absent no end and no status moves", || {
                    format!("{absent} of {can_lose}: {moved}")
                });
            }
            if went_off_early > 0 {
                self.accuse("4, while too many are absent no access goes off early", || {
                    format!("{absent} of {can_lose}: {:?}", run.moved())
                });
            }
        }
        if is_too_many(off_early, 10, can_lose) {
            self.accuse("2, a mass of accesses does not go off early", || {
                format!("{off_early} of {can_lose}: {:?}", run.moved())
            });
        }
    }

    pub(super) fn judge_budget(&self, run: &Run) {
        let accounts = run.before.configs.iter().filter(|config| {
            config.marzban_user_id.is_some()
                && config.panel.as_deref().unwrap_or("default") == PANELS[run.panel]
        });
        let accounts = accounts.count() as u64;
        let budget = (accounts / 5).min(accounts / 2).max(2);
        if run.removed > budget && !run.answers.allow_mass_changes {
            self.accuse("1, a cleanup has a budget", || {
                format!("{} of {accounts} were deleted", run.removed)
            });
        }
    }

    /// How many accounts in the scope of the run can lose something.
    pub(super) fn can_lose(&self, run: &Run) -> u64 {
        self.in_scope(run)
            .filter(|(config, row)| {
                let is_promised = row
                    .as_ref()
                    .is_some_and(|row| row.status.is_open() && row_end(row) > self.clock.now());
                config.is_active == Some(true) || is_promised
            })
            .count() as u64
    }

    fn in_scope<'r>(
        &self,
        run: &'r Run,
    ) -> impl Iterator<Item = (&'r MemoryVpnConfig, Option<MemorySubscription>)> {
        let now = self.clock.now();
        let is_own = |config: &&MemoryVpnConfig| {
            config.marzban_user_id.is_some()
                && config.panel.as_deref().unwrap_or("default") == PANELS[run.panel]
        };
        run.before
            .configs
            .iter()
            .filter(is_own)
            .map(move |config| (config, governing(&run.before, config, now)))
            .filter(|(_, row)| {
                run.job != Job::SyncSubscriptionsFromMarzban
                    || row.as_ref().is_some_and(|row| row.status.is_synced())
            })
    }
}

/// Whether so many are too many: 5 and more than the share, or 2 and at least half.
pub(super) fn is_too_many(count: u64, percent: u64, of: u64) -> bool {
    (count >= 5 && count * 100 > percent * of) || (count >= 2 && count * 2 >= of)
}

/// The subscription of an account, in the words of DESIGN 4.
pub(super) fn governing(
    moment: &Moment,
    config: &MemoryVpnConfig,
    now: DateTime<Utc>,
) -> Option<MemorySubscription> {
    let own = config.subscription_id;
    let rows = moment
        .subscriptions
        .iter()
        .filter(|row| row.user_id == config.user_id);
    if let Some(row) = rows.clone().find(|row| Some(row.id) == own) {
        return Some(row.clone());
    }
    let has_begun = |row: &MemorySubscription| {
        row.start_date
            .is_none_or(|start| start <= now + TimeDelta::days(1))
    };
    let rank = |row: &&MemorySubscription| {
        let class = match (row.status.is_open(), &row.status) {
            (true, _) if has_begun(row) => 3,
            (true, _) => 2,
            (false, SubscriptionStatus::Pending) => 0,
            (false, _) => 1,
        };
        (class, row_end(row), row.id)
    };
    rows.max_by_key(rank).cloned()
}
