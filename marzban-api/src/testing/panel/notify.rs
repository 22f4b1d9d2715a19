//! What the panel reports, and to whom it owes a reminder.

use super::admin::FakeAdmin;
use super::notification::{Event, Notification, Snapshot};
use super::state::Panel;
use super::user::{FakeStatus, FakeUser, Reminded};

const REMIND_AT_PERCENT: f64 = 80.0;
const REMIND_AT_DAYS: i64 = 3;

impl Panel {
    /// Enqueues what an admin did to a user.
    pub(crate) fn notify_by(&mut self, event: Event, username: &str, by: &FakeAdmin) {
        self.notify(event, username, Some(by));
    }

    /// Enqueues a new status, by an admin or (`None`) by the job; a hold is not reported.
    pub(crate) fn notify_status(&mut self, username: &str, status: FakeStatus, by: Option<&FakeAdmin>) {
        if status != FakeStatus::OnHold {
            self.notify(Event::Became(status), username, by);
        }
    }

    /// Enqueues a notification, if there is an address for it.
    ///
    /// Its times are those of the panel's start: the panel evaluates a default once, and only a retry sets another.
    pub(crate) fn notify(&mut self, event: Event, username: &str, by: Option<&FakeAdmin>) {
        if self.outbox.addresses.is_empty() {
            return;
        }
        let seed = self.next_seed();
        let user = self.user(username).map(|user| {
            Box::new(Snapshot {
                user: user.clone(),
                owner: self.owner_of(user).cloned(),
                at: self.now(),
                seed,
            })
        });
        let started_at = self.started_at;
        self.outbox.push(Notification {
            event,
            username: username.to_owned(),
            user,
            by: by.cloned(),
            enqueued_at: started_at,
            send_at: started_at,
            tries: 0,
        });
    }

    /// Reminds of a user whose data or time is nearly used up, once for each.
    pub(crate) fn remind(&mut self, username: &str) {
        let now = self.now().timestamp();
        let Some(user) = self.user_mut(username) else {
            return;
        };
        let percent = used_percent(user).filter(|percent| *percent >= REMIND_AT_PERCENT);
        let days = user.expire.map(|expire| (expire - now) / 86_400);
        let days = days.filter(|days| *days <= REMIND_AT_DAYS);
        let before = user.reminded;
        user.reminded = Reminded {
            usage: percent.is_some(),
            days: days.is_some(),
        };
        if let (Some(percent), false) = (percent, before.usage) {
            self.notify(Event::UsagePercent(percent), username, None);
        }
        if let (Some(days), false) = (days, before.days) {
            self.notify(Event::DaysLeft(days), username, None);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn used_percent(user: &FakeUser) -> Option<f64> {
    let limit = user.data_limit.filter(|limit| *limit > 0)?;
    Some(user.used_traffic as f64 / limit as f64 * 100.0)
}
