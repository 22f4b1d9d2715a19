//! How a history ends: everything answers again, all clocks are right, and time passes until all that was paid for is
//! over.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use marzban_sync_core::policy::Answers;
use marzban_sync_core::report::Job;

use super::world::{PANELS, World, end};

/// Ends that are further away are not waited for.
const PATIENCE: TimeDelta = TimeDelta::days(60);

impl World {
    pub(super) fn come_to_an_end(&self) {
        for panel in &self.panels {
            panel.with(|state| {
                (state.is_down, state.another) = (false, None);
                (state.slow, state.skew) = (TimeDelta::zero(), TimeDelta::zero());
                state.unreadable.clear();
                state.hidden.clear();
            });
        }
        self.clock.set(self.now());
        self.stir();
        self.wait(14);
        let mut last = Vec::new();
        let mut weeks_left = self.weeks_of_cleaning();
        while weeks_left > 0 {
            if !self.has_end_ahead() {
                weeks_left -= 1;
            }
            self.jump_to_cleanup();
            last = self.round();
            if self.verdict().is_some() {
                return;
            }
        }
        self.judge_the_end(&last);
    }

    /// In so many weeks the budget of deletions is enough for all, and everybody has rested.
    fn weeks_of_cleaning(&self) -> usize {
        let accounts = self.truth(|truth| truth.logins.len());
        accounts.div_ceil((accounts / 5).max(2)) + 3
    }

    /// Whether an end of a row or of a panel user is ahead that is waited for.
    fn has_end_ahead(&self) -> bool {
        let now = self.now();
        let is_ahead = |end: DateTime<Utc>| end > now && end <= now + PATIENCE;
        self.store
            .subscriptions()
            .iter()
            .any(|row| is_ahead(end(row.end_date)))
            || self
                .panels
                .iter()
                .any(|panel| panel.with(|state| state.users.values().any(|user| is_ahead(end(user.expire)))))
    }

    /// Lets time pass until the next cleanup.
    fn jump_to_cleanup(&self) {
        let mut hours = 1;
        loop {
            let then = self.now() + TimeDelta::hours(hours);
            if then.weekday() == Weekday::Mon && then.hour() == 1 {
                break;
            }
            hours += 1;
        }
        self.pass(TimeDelta::hours(hours));
        let now = self.now();
        for panel in &self.panels {
            panel.with(|state| state.review(now));
        }
        self.bot_acts(true);
        self.note_closed();
        self.forget();
    }

    fn round(&self) -> Vec<super::judge::Run> {
        let jobs = [
            Job::SyncSubscriptionsFromMarzban,
            Job::SyncUserStatusFromMarzban,
            Job::CleanupExpiredMarzbanUsers,
        ];
        let mut runs = Vec::new();
        for panel in 0..PANELS.len() {
            if !self.truth(|truth| truth.logins.iter().any(|login| login.panel == panel)) {
                continue;
            }
            for job in jobs {
                let run = self.perform(job, panel, None, Answers::default());
                self.judge(&run);
                runs.push(run);
            }
        }
        runs
    }
}
