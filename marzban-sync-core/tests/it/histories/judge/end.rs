//! Law 10, when all has stood still for long enough.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta};
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::report::Report;
use marzban_sync_core::store::MemorySubscription;

use super::{Run, is_closed, row_end};
use crate::histories::panel::User;
use crate::histories::world::{World, user_id};

impl World {
    /// Law 10, when all has stood still for long enough.
    pub(in crate::histories) fn judge_the_end(&self, last: &[Run]) {
        let now = self.now();
        let long_ago = now - TimeDelta::days(15);
        let logins = self.truth(|truth| truth.logins.len());
        for login in 0..logins {
            let (panel, name) = self.place(login);
            let (id, customer) = self.truth(|truth| (truth.logins[login].id, truth.logins[login].customer));
            let config = self.store.vpn_config(id).expect("rows stay");
            let user = self.user(login);
            let promises = self.promises_of(panel, &name);
            let is_gone_by_panel = self.users_beside(&promises).iter().all(|user| {
                !matches!(user.status, PanelStatus::Active | PanelStatus::OnHold)
                    && user.expire.is_some_and(|expire| expire <= long_ago)
            });
            let rows: Vec<MemorySubscription> = self
                .store
                .subscriptions()
                .into_iter()
                .filter(|row| {
                    let own = self.promise_of_row(row.id);
                    row.user_id == user_id(customer) || own.is_some_and(|own| promises.contains(&own))
                })
                .collect();
            let is_over_by_rows = rows
                .iter()
                .all(|row| row_end(row) <= long_ago || is_closed(row) && row_end(row) <= long_ago);
            if config.marzban_user_id.is_none() || !is_gone_by_panel || !is_over_by_rows {
                continue;
            }
            let panels = self.panels_beside(&promises);
            let of_panel = || last.iter().filter(|run| panels.contains(&run.panel));
            let is_stopped = of_panel().any(|run| run.stopped().is_some() || run.report().is_none());
            let is_named = of_panel().any(|run| run.names(&name));
            let (marks, latest) = self.truth(|truth| {
                let mut marks = BTreeSet::new();
                let mut latest = DateTime::UNIX_EPOCH;
                for promise in &promises {
                    marks.extend(truth.promises[*promise].marks.iter().copied());
                    latest = latest.max(truth.promises[*promise].latest);
                }
                (marks, latest)
            });
            let is_disabled = self.setup.disables
                && config.is_active == Some(false)
                && user
                    .as_ref()
                    .is_none_or(|user| user.status == PanelStatus::Disabled);
            let is_open = rows
                .iter()
                .any(|row| row.status.is_open() && self.is_accounted_for(row));
            let skips = of_panel().any(|run| {
                matches!(run.report(), Some(Report::CleanupExpiredMarzbanUsers(report)) if report.skipped > 0)
            });
            let is_held_back = rows
                .iter()
                .any(|row| row.status.is_open() && !self.is_accounted_for(row));
            let may_be_skipped = !marks.is_empty() || latest > long_ago || is_held_back;
            let is_excused = is_stopped || is_named || (skips && may_be_skipped);
            if is_excused {
                self.count("left to an operator in the end");
            } else if is_open {
                self.accuse("10, whoever is over is expired", || {
                    format!("{config:?}, {rows:?}, {user:?}, {marks:?}")
                });
            } else if !is_disabled {
                self.accuse("10, whoever is over is cleaned up", || {
                    format!(
                        "{config:?}, {rows:?}, {user:?}, {marks:?}, {:?}",
                        of_panel().map(|run| run.report()).collect::<Vec<_>>()
                    )
                });
            }
        }
        self.count("histories judged to their end");
    }

    /// Whether an account stands for this row: one that has lost its link is nobody's.
    fn is_accounted_for(&self, row: &MemorySubscription) -> bool {
        let configs = self.store.vpn_configs().into_iter();
        let mut linked =
            configs.filter(|config| config.user_id == row.user_id && config.marzban_user_id.is_some());
        linked.any(|config| config.subscription_id.is_none_or(|id| id == row.id))
    }

    /// The logins of the customers who have these promises.
    fn logins_beside(&self, promises: &[usize]) -> Vec<usize> {
        self.truth(|truth| {
            let customers: Vec<usize> = promises
                .iter()
                .map(|promise| truth.promises[*promise].customer)
                .collect();
            let logins = truth.logins.iter().enumerate();
            logins
                .filter(|(_, login)| customers.contains(&login.customer))
                .map(|(number, _)| number)
                .collect()
        })
    }

    fn users_beside(&self, promises: &[usize]) -> Vec<User> {
        self.logins_beside(promises)
            .into_iter()
            .filter_map(|login| self.user(login))
            .collect()
    }

    fn panels_beside(&self, promises: &[usize]) -> Vec<usize> {
        self.logins_beside(promises)
            .into_iter()
            .map(|login| self.place(login).0)
            .collect()
    }
}
