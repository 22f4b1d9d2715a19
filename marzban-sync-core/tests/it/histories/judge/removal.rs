//! Laws 1 and 7, right before something is done to a panel user.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::trail::{EntryState, Target};

use super::{SLACK, WEEK, is_closed, row_end};
use crate::histories::panel::User;
use crate::histories::steps::Kind;
use crate::histories::world::{FOREVER, Mark, World, end};

impl World {
    /// Law 1, right before a panel user is deleted or disabled.
    pub(in crate::histories) fn judge_removal(&self, panel: usize, name: &str) {
        self.count("removed users");
        let now = self.now();
        self.truth(|truth| truth.removed += 1);
        let (user, is_another) =
            self.panels[panel].with(|state| (state.answering().get(name).cloned(), state.another.is_some()));
        let Some(user) = user else { return };
        let works = matches!(user.status, PanelStatus::Active | PanelStatus::OnHold);
        let lately = now - WEEK + SLACK;
        if works || user.expire.is_none_or(|expire| expire > lately) {
            self.accuse("1, no user is deleted that the panel has as paid for", || {
                format!("{name} {user:?}")
            });
        }
        let last_entries = self.store.recorded_entries();
        let is_intended = last_entries.iter().rev().take(4).any(|entry| {
            entry.entry.username == name
                && entry.entry.target == Target::PanelUser
                && entry.entry.state == EntryState::Intended
        });
        if !is_intended {
            self.accuse("1, a deletion is recorded before", || name.to_owned());
        }
        self.judge_syncs(panel);
        if is_another {
            return;
        }
        let promises = self.linked_promises(panel, name);
        if promises.is_empty() {
            self.accuse("1, no user is deleted that no row names", || name.to_owned());
        }
        for promise in promises {
            self.judge_claim(promise, panel, &user);
        }
    }

    /// The promises of those whose rows name this panel user now.
    pub(super) fn linked_promises(&self, panel: usize, name: &str) -> Vec<usize> {
        let configs = self.store.vpn_configs();
        self.truth(|truth| {
            let named = truth.logins.iter().filter(|login| {
                let mut rows = configs.iter().filter(|config| config.id == login.id);
                login.panel == panel && rows.any(|config| config.marzban_user_id.as_deref() == Some(name))
            });
            named.map(|login| login.promise).collect()
        })
    }

    pub(super) fn judge_claim(&self, promise: usize, panel: usize, user: &User) {
        let now = self.now();
        let lately = now - WEEK + SLACK;
        let rows = self.rows_of(promise);
        let best = rows.iter().map(row_end).max().unwrap_or(FOREVER);
        self.truth(|truth| {
            let promise = &truth.promises[promise];
            let seen = promise.shown[panel].max(best).max(end(user.expire));
            let claim = promise.owed.min(seen);
            let is_quiet = promise.touched_at.is_none_or(|at| at <= lately) || !self.setup.keeps_updated_at;
            // Another panel, or a run before the clocks went wrong, may have seen it over in an earlier period; and a stale
            // save may have opened the rows for an hour that nobody saw.
            let is_rested = promise.kind == Kind::Abroad
                || promise.marks.contains(&Mark::BotSlipped)
                || truth.had_wrong_clock
                || promise.closed_since.is_some_and(|since| since <= lately);
            let why = if claim > lately {
                Some(format!("a customer has paid until {}, shown until {seen}", promise.owed))
            } else if rows.iter().any(|row| !is_closed(row)) {
                Some("a subscription is open".to_owned())
            } else if !is_quiet && !is_rested {
                Some(format!("the rows have not rested: {:?}, {:?}", promise.touched_at, promise.closed_since))
            } else {
                None
            };
            if let Some(why) = why
                && truth.verdict.is_none()
            {
                let marks = &promise.marks;
                truth.verdict = Some(format!(
                    "1, no user is deleted that was paid for lately: {why}; {rows:?}, {user:?}, {marks:?}, on {now}"
                ));
            }
        });
    }

    pub(super) fn judge_syncs(&self, panel: usize) {
        let now = self.now();
        let (braked, completed) = self.truth(|truth| {
            let runs = || {
                truth
                    .last_runs
                    .iter()
                    .filter(|((of, _), _)| *of == panel)
                    .map(|(_, run)| run)
            };
            let braked = runs().any(|run| run.was_braked);
            let is_recent = |at: DateTime<Utc>| now - at <= TimeDelta::days(1) + SLACK;
            (braked, runs().any(|run| run.completed_at.is_some_and(is_recent)))
        });
        let is_allowed = self.truth(|truth| {
            truth
                .promises
                .iter()
                .all(|promise| promise.marks.contains(&Mark::Answered))
        });
        if braked && !is_allowed {
            self.accuse("1, nobody is deleted after a sync that was braked", || {
                format!("{panel}")
            });
        }
        if !completed {
            self.accuse("1, nobody is deleted without a sync within a day", || {
                format!("{panel}")
            });
        }
    }

    /// Law 7, right before a panel user is extended.
    pub(in crate::histories) fn judge_extension(&self, panel: usize, name: &str, to: DateTime<Utc>) {
        self.count("extended users");
        let now = self.now();
        let lag = TimeDelta::seconds(self.setup.row_lag);
        let entries = self.store.recorded_entries();
        let is_intended = entries.iter().rev().take(4).any(|entry| {
            entry.entry.username == name
                && entry.entry.target == Target::PanelExpire
                && entry.entry.state == EntryState::Intended
        });
        if !is_intended {
            self.accuse("7, an extension is recorded before", || name.to_owned());
        }
        let Some(hours) = self.setup.extend_after else {
            self.accuse("7, nobody is extended by default", || name.to_owned());
            return;
        };
        for promise in self.linked_promises(panel, name) {
            let written = self.truth(|truth| truth.promises[promise].written.clone());
            let is_to = |end: &DateTime<Utc>| (*end - to).abs() <= lag;
            let at = written
                .iter()
                .rev()
                .find(|(end, _)| is_to(end))
                .map(|(_, at)| *at);
            // An end that this very user once had was the panel's own word.
            let was_its_own = self.truth(|truth| {
                let logins = truth.logins.iter().enumerate();
                let mut own = logins.filter(|(_, login)| login.panel == panel && login.name == name);
                own.any(|(login, _)| {
                    let seen = truth.promises[promise].seen.get(&login);
                    seen.is_some_and(|ends| ends.iter().any(is_to))
                })
            });
            if at.is_none() && !was_its_own {
                self.accuse("7, a user is extended to what the bot wrote", || {
                    format!(
                        "{name} to {to}, the bot wrote {written:?}; {:?}",
                        self.rows_of(promise)
                    )
                });
            }
            if at.is_some_and(|at| now - at < TimeDelta::hours(hours) - SLACK) {
                self.accuse("7, the bot's own push comes first", || {
                    format!("{name}: written at {at:?}")
                });
            }
        }
    }
}
