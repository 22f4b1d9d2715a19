//! What each happening does to the rows and to the panels.

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::SubscriptionStatus;
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::store::MemorySubscription;

use super::steps::Happening;
use super::world::{LOGINS, Model, name, user_id};

impl Model {
    pub(super) fn happen(&self, happening: &Happening) {
        match *happening {
            Happening::Pays(person, days) => self.pay(person, days, false),
            Happening::BuysAnother(person, days) => self.pay(person, days, true),
            Happening::Orders(person) => {
                let id = self.new_id();
                self.insert_subscription(id, person, SubscriptionStatus::Pending, self.in_days(30));
            }
            Happening::Cancels(person) => self.cancel(person, None),
            Happening::IsRefunded(person) => {
                for login in logins_of(person) {
                    self.edit(login, |user| user.status = PanelStatus::Disabled);
                }
                self.cancel(person, Some(self.now()));
            }
            Happening::IsGiven(login, days) => {
                let expire = self.in_days(days);
                self.edit(login, |user| set_end(user, expire, self.now()));
            }
            Happening::IsUnlimited(login) => self.edit(login, |user| {
                (user.status, user.expire) = (PanelStatus::Active, None);
            }),
            Happening::Connects(login, bytes) => {
                let month = self.in_days(30);
                self.edit(login, |user| {
                    user.used_traffic += bytes;
                    user.online_at = Some(self.now());
                    // The time of a held user begins with its first connection.
                    if user.status == PanelStatus::OnHold {
                        (user.status, user.expire) = (PanelStatus::Active, Some(month));
                    }
                });
            }
            Happening::IsReset(login) => self.edit(login, |user| user.used_traffic = 0),
            Happening::IsHeld(login) => self.edit(login, |user| {
                (user.status, user.expire) = (PanelStatus::OnHold, None);
            }),
            Happening::IsLimited(login) => self.edit(login, |user| user.status = PanelStatus::Limited),
            Happening::IsDisabled(login) => self.edit(login, |user| user.status = PanelStatus::Disabled),
            Happening::IsEnabled(login) => self.edit(login, |user| user.status = PanelStatus::Active),
            ref of_a_panel => self.happen_to_a_panel(of_a_panel),
        }
    }

    fn happen_to_a_panel(&self, happening: &Happening) {
        match *happening {
            Happening::IsDeleted(login) => {
                self.panels[LOGINS[login].1].with(|state| state.users.remove(&name(login)));
            }
            Happening::IsMadeAnew(login, days) => {
                let mut user = self.panel_user(self.in_days(days));
                user.created_at = Some(self.now() + TimeDelta::microseconds(1));
                self.panels[LOGINS[login].1].with(|state| state.users.insert(name(login), user));
            }
            Happening::IsReviewed(panel) => {
                let now = self.now();
                self.panels[panel].with(|state| {
                    for user in state.users.values_mut().filter(|user| user.has_expired(now)) {
                        user.status = PanelStatus::Expired;
                    }
                });
            }
            Happening::IsPoisoned(login, is_poisoned) => self.panels[LOGINS[login].1].with(|state| {
                state.poisoned.remove(&name(login));
                state.poisoned.extend(is_poisoned.then(|| name(login)));
            }),
            Happening::Outage(panel, is_down) => self.panels[panel].with(|state| state.is_down = is_down),
            Happening::AnotherPanelAnswers(panel, is_another) => {
                self.panels[panel].with(|state| state.is_another = is_another);
            }
            Happening::HoursPass(hours) => self.clock.advance(TimeDelta::hours(hours)),
            _ => unreachable!("it happens to a person or a login: {happening:?}"),
        }
    }

    /// The bot extends all that the customer has, in the panels first.
    fn pay(&self, person: usize, days: i64, is_another: bool) {
        let current = self.current(person);
        let from = current.as_ref().and_then(|row| row.end_date);
        let until = from.filter(|end| *end > self.now()).unwrap_or(self.now()) + TimeDelta::days(days);
        for login in logins_of(person) {
            let panel = &self.panels[LOGINS[login].1];
            let (now, made) = (self.now(), self.panel_user(until));
            panel.with(|state| {
                let user = state.users.entry(name(login)).or_insert(made);
                let later = user.expire.map_or(until, |expire| expire.max(until));
                set_end(user, later, now);
            });
        }
        let id = current
            .filter(|_| !is_another)
            .map_or_else(|| self.new_id(), |row| row.id.0);
        self.insert_subscription(id, person, SubscriptionStatus::Active, until);
        for login in logins_of(person) {
            self.link(login, Some(name(login)), true);
        }
    }

    fn cancel(&self, person: usize, end_date: Option<DateTime<Utc>>) {
        let rows = self.store.subscriptions().into_iter();
        for mut row in rows.filter(|row| row.user_id == user_id(person) && row.status.is_open()) {
            row.status = SubscriptionStatus::Cancelled;
            row.end_date = end_date.or(row.end_date);
            self.store.insert_subscription(row);
        }
    }

    /// The subscription that a payment extends: the open or ended one that ends last.
    fn current(&self, person: usize) -> Option<MemorySubscription> {
        let rows = self.store.subscriptions().into_iter();
        rows.filter(|row| row.user_id == user_id(person) && row.status.is_synced())
            .max_by_key(|row| (row.status.is_open(), row.end_date.is_none(), row.end_date, row.id))
    }

    fn new_id(&self) -> i64 {
        self.store.subscriptions().last().map_or(1, |row| row.id.0 + 1)
    }

    fn edit(&self, login: usize, change: impl FnOnce(&mut PanelUser)) {
        self.panels[LOGINS[login].1].with(|state| {
            if let Some(user) = state.users.get_mut(&name(login)) {
                change(user);
            }
        });
    }
}

fn logins_of(person: usize) -> impl Iterator<Item = usize> {
    (0..LOGINS.len()).filter(move |login| LOGINS[*login].0 == person)
}

/// As the panel does it: a user with a later end is active again.
fn set_end(user: &mut PanelUser, expire: DateTime<Utc>, now: DateTime<Utc>) {
    user.expire = Some(expire);
    user.status = if expire > now {
        PanelStatus::Active
    } else {
        PanelStatus::Expired
    };
}
