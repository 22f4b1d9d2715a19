//! Law 9, after each undisturbed run of the subscriptions job.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use marzban_sync_core::account::SubscriptionStatus;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::store::MemorySubscription;

use super::{Run, SLACK, brakes::governing, row_end};
use crate::histories::panel::User;
use crate::histories::world::{FOREVER, Mark, World, end};

impl World {
    /// Law 9.
    pub(super) fn judge_payers(&self, run: &Run) {
        let now = self.clock.now();
        let logins = self.truth(|truth| truth.logins.len());
        for login in 0..logins {
            let (panel, name) = self.place(login);
            let (promise, id) = self.truth(|truth| (truth.logins[login].promise, truth.logins[login].id));
            let is_linked = run
                .after
                .configs
                .iter()
                .any(|config| config.id == id && config.marzban_user_id.as_deref() == Some(&name));
            let is_shown = self.panels[panel].with(|state| !state.is_hard_to_see(&name));
            if panel != run.panel || !is_linked || !is_shown {
                continue;
            }
            let Some(user) = run.after.users.get(&name) else {
                continue;
            };
            let (owed, marks) = self.truth(|truth| {
                let promise = &truth.promises[promise];
                (promise.owed, promise.marks.clone())
            });
            let rows = self.rows_of(promise);
            let is_open = rows.iter().any(|row| row.status.is_open());
            let config = run.after.configs.iter().find(|config| config.id == id);
            let governing = config.and_then(|config| governing(&run.after, config, now));
            let is_expired = governing.is_some_and(|row| row.status == SubscriptionStatus::Expired);
            let panel_end = if user.status == PanelStatus::OnHold {
                FOREVER
            } else {
                end(user.expire)
            };
            let names = self.names_of(promise);
            let is_named = names.iter().any(|name| run.names(name));
            // A user that was put on hold again says nothing about the end.
            let is_held = user.status == PanelStatus::OnHold && !marks.is_empty();
            let is_paid = owed > now + SLACK && panel_end > now + SLACK;
            if is_paid && !is_held && user.works(now) && !is_open && is_expired {
                self.judge_doubt(
                    &marks,
                    is_named,
                    "9, no payer is expired beside a working user",
                    || format!("{rows:?}, {user:?}, paid until {owed}"),
                );
            }
            let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
            let due = panel_end.min(owed);
            if user.expire.is_some() && panel_end > now && best + SLACK < due && is_open {
                self.judge_doubt(&marks, is_named, "9, no end is below what was paid for", || {
                    format!("{rows:?}, {user:?}, paid until {owed}")
                });
            }
            self.count(if marks.is_empty() {
                "payers judged strictly"
            } else {
                "payers judged by reports"
            });
            self.note_seen(promise, login, user, &rows, is_named);
        }
    }

    pub(super) fn judge_doubt(
        &self,
        marks: &BTreeSet<Mark>,
        is_named: bool,
        law: &str,
        what: impl FnOnce() -> String,
    ) {
        // A payment may look like one that the library has already given to the panel.
        let may_be_given_twice = is_named && self.setup.extend_after.is_some();
        if marks.is_empty() && !may_be_given_twice {
            self.accuse(law, || format!("{} (nothing leaves a doubt)", what()));
        } else if !is_named {
            self.accuse(law, || format!("{}, and no report says so ({marks:?})", what()));
        } else {
            self.count("left to a report");
        }
    }

    fn names_of(&self, promise: usize) -> Vec<String> {
        self.truth(|truth| {
            let logins = truth.promises[promise].logins.iter();
            logins.map(|login| truth.logins[*login].name.clone()).collect()
        })
    }

    /// Both sides were seen as they are; where they agree, nothing of the past leaves a doubt any more.
    fn note_seen(
        &self,
        promise: usize,
        login: usize,
        user: &User,
        rows: &[MemorySubscription],
        is_named: bool,
    ) {
        let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
        let is_open = rows.iter().any(|row| row.status.is_open());
        let panel_end = end(user.expire);
        let is_in_step = (TimeDelta::zero()..=SLACK).contains(&(best - panel_end));
        let now = self.now();
        self.truth(|truth| {
            let of_all = truth.promises[promise].logins.len() == 1;
            let promise = &mut truth.promises[promise];
            promise.is_known = promise.logins.len() == 1 && !promise.marks.contains(&Mark::Shared);
            if !is_in_step || is_named || user.status == PanelStatus::OnHold {
                return;
            }
            let seen = promise.seen.entry(login).or_default();
            if seen.last() != Some(&panel_end) {
                seen.push(panel_end);
            }
            let is_paid = best + SLACK >= promise.owed;
            let had_doubts = promise.marks.iter().any(|mark| *mark != Mark::Shared);
            if of_all && is_paid && is_open && best > now + SLACK && had_doubts {
                promise.marks.retain(|mark| *mark == Mark::Shared);
                promise.seen.insert(login, vec![panel_end]);
            }
        });
    }
}
