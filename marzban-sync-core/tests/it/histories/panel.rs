//! A panel with users that live by its rules, and all that may befall it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::observation::{PanelStatus, PanelUser};

use super::steps::Deed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) status: PanelStatus,
    pub(super) expire: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
    used_traffic: i64,
    online_at: Option<DateTime<Utc>>,
    next_plan: Option<i64>,
}

pub(super) type Users = BTreeMap<String, User>;

#[derive(Clone, Default)]
pub(super) struct Panel(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) users: Users,
    pub(super) snapshot: Option<Users>,
    /// The users of another panel, which answers in the place of this one.
    pub(super) another: Option<Users>,
    pub(super) is_down: bool,
    /// How long each request takes.
    pub(super) slow: TimeDelta,
    /// How far its clock is ahead.
    pub(super) skew: TimeDelta,
    pub(super) unreadable: BTreeSet<String>,
    pub(super) hidden: BTreeSet<String>,
    /// Its time when it last answered.
    pub(super) date: Option<DateTime<Utc>>,
}

impl Panel {
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl State {
    /// The users that requests are answered from.
    pub(super) fn answering(&mut self) -> &mut Users {
        self.another.as_mut().unwrap_or(&mut self.users)
    }

    /// The users that cannot be rendered, or that lists lack.
    pub(super) fn hard_to_see(&self) -> Vec<String> {
        self.unreadable.union(&self.hidden).cloned().collect()
    }

    pub(super) fn is_hard_to_see(&self, name: &str) -> bool {
        self.unreadable.contains(name) || self.hidden.contains(name)
    }

    /// The panel's own jobs: whose time is up is expired, or gets the next plan. Tells whether anything changed.
    pub(super) fn review(&mut self, now: DateTime<Utc>) -> bool {
        let now = now + self.skew;
        let mut any = false;
        for user in self
            .users
            .values_mut()
            .chain(self.another.iter_mut().flat_map(BTreeMap::values_mut))
        {
            any |= user.review(now);
        }
        any
    }
}

impl User {
    /// A user that is made now and works until then.
    pub(super) fn new(expire: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let is_over = expire.is_some_and(|expire| expire <= now);
        Self {
            status: if is_over {
                PanelStatus::Expired
            } else {
                PanelStatus::Active
            },
            expire,
            created_at: now,
            used_traffic: 0,
            online_at: None,
            next_plan: None,
        }
    }

    pub(super) fn hold(&mut self) {
        (self.status, self.expire) = (PanelStatus::OnHold, None);
    }

    /// As the panel does it: a user whose end is moved ahead is active again, unless it is disabled or limited.
    pub(super) fn set_end(&mut self, expire: DateTime<Utc>, now: DateTime<Utc>) {
        self.expire = Some(expire);
        match self.status {
            PanelStatus::Expired | PanelStatus::OnHold if expire > now => self.status = PanelStatus::Active,
            PanelStatus::Active | PanelStatus::OnHold if expire <= now => self.status = PanelStatus::Expired,
            _ => {}
        }
    }

    fn review(&mut self, now: DateTime<Utc>) -> bool {
        let is_up = self.status == PanelStatus::Active && self.expire.is_some_and(|expire| expire <= now);
        if !is_up {
            return false;
        }
        match self.next_plan.take() {
            Some(days) => self.expire = Some(now + TimeDelta::days(days)),
            None => self.status = PanelStatus::Expired,
        }
        true
    }

    /// Whether it works, in the words of DESIGN 5.3.
    pub(super) fn works(&self, now: DateTime<Utc>) -> bool {
        match self.status {
            PanelStatus::OnHold => true,
            PanelStatus::Active => self.expire.is_none_or(|expire| expire > now - TimeDelta::days(1)),
            _ => false,
        }
    }

    pub(super) fn shown(&self) -> PanelUser {
        PanelUser {
            status: self.status.clone(),
            expire: self.expire,
            used_traffic: self.used_traffic,
            online_at: self.online_at,
            created_at: Some(self.created_at),
            spelling: None,
        }
    }

    /// What is done to it; `now` is the panel's.
    pub(super) fn suffer(&mut self, deed: Deed, now: DateTime<Utc>) {
        let from = self.expire.filter(|expire| *expire > now).unwrap_or(now);
        match deed {
            Deed::Shorten(days) => {
                if let Some(expire) = self.expire {
                    self.set_end(expire - TimeDelta::days(days), now);
                }
            }
            // A length where a moment belongs.
            Deed::Mistype(0) => self.set_end(DateTime::UNIX_EPOCH + TimeDelta::days(30), now),
            Deed::Extend(days) | Deed::Mistype(days) => self.set_end(from + TimeDelta::days(days), now),
            Deed::Unlimit => (self.status, self.expire) = (PanelStatus::Active, None),
            Deed::Hold => self.hold(),
            Deed::Disable => self.status = PanelStatus::Disabled,
            // Enabling goes back to active, and the next review expires it.
            Deed::Enable => {
                self.status = PanelStatus::Active;
                self.review(now);
            }
            Deed::Limit => {
                if self.status == PanelStatus::Active {
                    self.status = PanelStatus::Limited;
                }
            }
            Deed::NextPlan(days) => self.next_plan = Some(days),
            Deed::Connect => self.connect(now),
            Deed::Delete | Deed::Unreadable(_) | Deed::Hidden(_) => {}
        }
    }

    fn connect(&mut self, now: DateTime<Utc>) {
        match self.status {
            PanelStatus::OnHold => {
                // Its time begins with the first connection.
                (self.status, self.expire) = (PanelStatus::Active, Some(now + TimeDelta::days(30)));
            }
            PanelStatus::Active => {}
            _ => return,
        }
        self.used_traffic += 1_000;
        self.online_at = Some(now);
    }
}
