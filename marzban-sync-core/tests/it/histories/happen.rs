//! What each step does to the rows and to the panels.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::SubscriptionStatus;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::observation::PanelStatus;
use marzban_sync_core::policy::{Answers, Trust};
use marzban_sync_core::report::Job;
use marzban_sync_core::store::MemorySubscription;

use super::panel::{User, Users};
use super::steps::{Deed, Event, Kind, Order, Refund, Step};
use super::stop::Fault;
use super::world::{FOREVER, Mark, World, end, user_id};

impl World {
    pub(super) fn take(&self, step: Step) {
        match step {
            Step::Wait(hours) => self.wait(hours),
            Step::Arm(number, fault) => self.truth(|truth| truth.armed = Some((number, fault))),
            Step::Run(job, panel, fault) => self.run(job, panel, fault, Answers::default()),
            Step::Pay(who, days, order) => self.pay(self.promise_at(who), days, order),
            Step::Push(who) => self.push(self.promise_at(who)),
            Step::Refund(who, refund) => self.refund(self.promise_at(who), refund),
            Step::Remember(who) => {
                let promise = self.promise_at(who);
                let rows = self.rows_of(promise);
                self.truth(|truth| truth.promises[promise].copies = rows);
            }
            Step::StaleSave(who) => self.save_stale(self.promise_at(who)),
            Step::EndsByMistake(who) => self.end_by_mistake(self.promise_at(who)),
            Step::Invoice(who) => self.invoice(self.promise_at(who)),
            Step::Prepay(who, days) => self.prepay(self.promise_at(who), days),
            Step::Recreate(who) => self.recreate(self.login_at(who)),
            Step::User(who, deed) => self.suffer(self.login_at(who), deed),
            Step::Panel(panel, event) => self.befall(panel, event),
            Step::JobsClock(hours) => {
                self.truth(|truth| truth.had_wrong_clock = true);
                self.set_skew(0, 0);
                self.set_skew(1, 0);
                self.clock.set(self.now() + TimeDelta::hours(hours));
            }
            Step::PanelClock(panel, hours) => {
                self.truth(|truth| truth.had_wrong_clock = true);
                self.clock.set(self.now());
                self.set_skew(1 - panel, 0);
                self.set_skew(panel, hours);
            }
            Step::Trust(who, is_panel) => self.trust(self.login_at(who), is_panel),
            Step::Allow(job, panel) => self.allow(job, panel),
        }
        self.note_begun();
        self.note_closed();
        self.stir();
    }

    /// Something happens in the middle of a run.
    pub(super) fn meanwhile(&self, fault: Fault) {
        match fault {
            Fault::Pays(who) => self.pay(self.who_pays_late(who), 30, Order::PanelFirst),
            Fault::IsRecreated(who) => self.recreate(self.login_at(who)),
            _ => {}
        }
    }

    pub(super) fn promise_at(&self, who: usize) -> usize {
        self.truth(|truth| who % truth.promises.len())
    }

    /// A customer whose time is up, if there is one: late payments come in the middle of a run.
    pub(super) fn who_pays_late(&self, who: usize) -> usize {
        let promises = self.truth(|truth| truth.promises.len());
        let is_late = |promise: &usize| {
            let rows = self.rows_of(*promise);
            rows.iter()
                .any(|row| row.status.is_open() && end(row.end_date) <= self.now())
        };
        let late: Vec<usize> = (0..promises).filter(is_late).collect();
        let paying = if late.is_empty() {
            who % promises
        } else {
            late[who % late.len()]
        };
        self.truth(|truth| truth.paying = Some(paying));
        paying
    }

    pub(super) fn login_at(&self, who: usize) -> usize {
        self.truth(|truth| who % truth.logins.len())
    }

    fn set_skew(&self, panel: usize, hours: i64) {
        self.panels[panel].with(|state| state.skew = TimeDelta::hours(hours));
    }

    /// A row as the bot writes it.
    fn save(&self, promise: usize, mut row: MemorySubscription) {
        let now = self.clock.now();
        if self.setup.keeps_updated_at {
            row.updated_at = Some(now);
        }
        let (written, true_now) = (end(row.end_date), self.now());
        let is_moved = self
            .store
            .subscription(row.id)
            .is_none_or(|was| end(was.end_date) != written);
        self.truth(|truth| {
            let promise = &mut truth.promises[promise];
            promise.touched_at = Some(now);
            if is_moved {
                promise.written.push((written, true_now));
            }
        });
        self.store.insert_subscription(row);
    }

    fn present_row(&self, promise: usize) -> MemorySubscription {
        self.rows_of(promise).pop().expect("a promise has a row")
    }

    fn pay(&self, promise: usize, days: i64, order: Order) {
        let now = self.now();
        let owed = self.truth(|truth| {
            let promise = &mut truth.promises[promise];
            if promise.owed < FOREVER {
                promise.owed = promise.owed.max(now) + TimeDelta::days(days);
            }
            promise.owed
        });
        if owed == FOREVER {
            return;
        }
        let (row, panel) = (
            || self.pay_row(promise, owed, order == Order::NewRow),
            || self.pay_panel(promise, owed),
        );
        match order {
            Order::RowFirst | Order::NewRow => {
                row();
                panel();
            }
            Order::PanelFirst => {
                panel();
                row();
            }
            Order::RowOnly => row(),
            Order::PanelOnly => panel(),
        }
    }

    fn pay_row(&self, promise: usize, owed: DateTime<Utc>, is_new: bool) {
        let mut row = self.present_row(promise);
        let is_named = self.truth(|truth| truth.promises[promise].kind == Kind::Named);
        if is_new && !is_named {
            if row.status.is_open() && end(row.end_date) <= self.now() {
                row.status = SubscriptionStatus::Expired;
                self.save(promise, row.clone());
            }
            row.id = self.new_subscription();
            row.start_date = None;
            self.truth(|truth| truth.promises[promise].rows.push(row.id));
        }
        row.status = SubscriptionStatus::Active;
        let end_date = owed + TimeDelta::seconds(self.setup.row_lag);
        if end_date < end(row.end_date) && row.end_date.is_some() {
            // The row had an end that somebody typed in the panel, and the bot goes by its own ledger.
            self.mark(promise, Mark::Mistyped);
        }
        row.end_date = Some(end_date);
        self.save(promise, row);
    }

    /// The bot gives the panel users this end, and makes those that are not there.
    fn pay_panel(&self, promise: usize, owed: DateTime<Utc>) {
        let logins = self.truth(|truth| truth.promises[promise].logins.clone());
        for login in logins {
            let (panel, name) = self.place(login);
            let (now, is_shared) = (self.now(), self.promises_of(panel, &name).len() > 1);
            let made = self.panels[panel].with(|state| {
                if state.is_down {
                    return None;
                }
                let now = now + state.skew;
                let is_made = !state.users.contains_key(&name);
                let user = state
                    .users
                    .entry(name.clone())
                    .or_insert_with(|| User::new(Some(owed), now));
                let until = if is_shared {
                    end(user.expire).max(owed)
                } else {
                    owed
                };
                let is_lowered = until < end(user.expire);
                if until < FOREVER {
                    user.set_end(until, now);
                }
                if user.status == PanelStatus::Limited {
                    user.status = PanelStatus::Active;
                }
                Some((is_made, is_lowered, state.skew.is_zero()))
            });
            let Some((is_made, is_lowered, is_timely)) = made else {
                continue;
            };
            if is_lowered {
                self.mark_user(panel, &name, Mark::Shortened);
            }
            if is_made && !is_timely {
                self.mark_user(panel, &name, Mark::Mistyped);
            }
            self.link(login, is_made);
        }
    }

    /// The bot's row names the panel user, also after a cleanup.
    fn link(&self, login: usize, is_made: bool) {
        let (panel, name) = self.place(login);
        let id = self.truth(|truth| truth.logins[login].id);
        let mut row = self.store.vpn_config(id).expect("rows stay");
        if is_made && row.marzban_user_id.is_some() {
            self.mark_user(panel, &name, Mark::Replaced);
        }
        if row.marzban_user_id.is_none() {
            row.marzban_user_id = Some(name);
            row.is_active = Some(true);
            if self.setup.keeps_updated_at {
                row.updated_at = Some(self.clock.now());
            }
            self.store.insert_vpn_config(row);
            // What was remembered of the user before has been forgotten with the link.
            self.truth(|truth| {
                let promise = truth.logins[login].promise;
                truth.promises[promise].is_known = false;
                truth.promises[promise].seen.remove(&login);
            });
        }
    }

    fn push(&self, promise: usize) {
        let row = self.present_row(promise);
        if row.status.is_open()
            && let Some(end_date) = row.end_date
        {
            self.pay_panel(promise, end_date - TimeDelta::seconds(self.setup.row_lag));
        }
    }

    fn refund(&self, promise: usize, refund: Refund) {
        let now = self.now();
        self.truth(|truth| truth.promises[promise].owed = now);
        self.mark(promise, Mark::Refunded);
        for mut row in self.rows_of(promise) {
            if !row.status.is_open() {
                continue;
            }
            row.status = match refund {
                Refund::Cancelled => SubscriptionStatus::Cancelled,
                Refund::Expired | Refund::RowOnly => SubscriptionStatus::Expired,
            };
            row.end_date = Some(now);
            self.save(promise, row);
        }
        let logins = self.truth(|truth| truth.promises[promise].logins.clone());
        for login in logins {
            let deed = match refund {
                Refund::Cancelled => Deed::Disable,
                Refund::Expired => Deed::Mistype(-1),
                Refund::RowOnly => continue,
            };
            self.edit(login, |user, now| {
                if deed == Deed::Disable {
                    user.suffer(deed, now);
                } else {
                    user.set_end(now, now);
                }
            });
        }
    }

    fn save_stale(&self, promise: usize) {
        let copies = self.truth(|truth| truth.promises[promise].copies.clone());
        for copy in copies {
            let Some(row) = self.store.subscription(copy.id) else {
                continue;
            };
            if (&row.status, row.end_date) != (&copy.status, copy.end_date) {
                self.mark(promise, Mark::BotSlipped);
            }
            self.save(promise, copy);
        }
    }

    fn end_by_mistake(&self, promise: usize) {
        let mut row = self.present_row(promise);
        if row.status.is_open() {
            row.status = SubscriptionStatus::Expired;
            self.mark(promise, Mark::BotSlipped);
            self.save(promise, row);
        }
    }

    fn invoice(&self, promise: usize) {
        let (customer, kind) = self.truth(|truth| {
            let promise = &mut truth.promises[promise];
            promise.has_invoice |= promise.kind != Kind::Named;
            (promise.customer, promise.kind)
        });
        if kind == Kind::Named {
            return;
        }
        self.store.insert_subscription(MemorySubscription {
            id: self.new_subscription(),
            user_id: user_id(customer),
            status: SubscriptionStatus::Pending,
            start_date: None,
            end_date: None,
            updated_at: self.setup.keeps_updated_at.then(|| self.clock.now()),
        });
    }

    fn prepay(&self, promise: usize, days: i64) {
        let row = self.present_row(promise);
        let Some(end_date) = row.end_date else { return };
        let now = self.now();
        let is_possible = self.truth(|truth| {
            let promise = &mut truth.promises[promise];
            let is_possible = promise.kind != Kind::Named
                && row.status.is_open()
                && promise.owed > now
                && promise.owed < FOREVER
                && end_date >= promise.owed;
            if is_possible {
                promise.owed += TimeDelta::days(days);
            }
            is_possible
        });
        if !is_possible {
            return;
        }
        let id = self.new_subscription();
        self.truth(|truth| truth.promises[promise].rows.push(id));
        self.save(
            promise,
            MemorySubscription {
                id,
                status: SubscriptionStatus::Active,
                start_date: Some(end_date),
                end_date: Some(end_date + TimeDelta::days(days)),
                ..row
            },
        );
    }

    fn recreate(&self, login: usize) {
        let (panel, name) = self.place(login);
        let promise = self.truth(|truth| truth.logins[login].promise);
        let row = self.present_row(promise);
        let now = self.now();
        let end_date = row
            .end_date
            .map(|end_date| end_date - TimeDelta::seconds(self.setup.row_lag));
        let is_made = self.panels[panel].with(|state| {
            if !state.is_down {
                state
                    .users
                    .insert(name.clone(), User::new(end_date, now + state.skew));
            }
            !state.is_down
        });
        if is_made {
            self.mark_user(panel, &name, Mark::Replaced);
            if !self.panels[panel].with(|state| state.skew.is_zero()) {
                self.mark_user(panel, &name, Mark::Mistyped);
            }
            self.link(login, true);
        }
    }

    /// Changes a panel user, if it is there; `now` is the panel's.
    fn edit(&self, login: usize, change: impl FnOnce(&mut User, DateTime<Utc>)) {
        let (panel, name) = self.place(login);
        let now = self.now();
        self.panels[panel].with(|state| {
            let now = now + state.skew;
            if let Some(user) = state.users.get_mut(&name) {
                change(user, now);
            }
        });
    }

    fn suffer(&self, login: usize, deed: Deed) {
        let (panel, name) = self.place(login);
        let has_end = self.user(login).is_some_and(|user| user.expire.is_some());
        let mark = match deed {
            Deed::Shorten(_) => Some(Mark::Shortened),
            Deed::Extend(_) if !has_end => Some(Mark::Shortened),
            Deed::Mistype(_) => Some(Mark::Mistyped),
            Deed::Unlimit => Some(Mark::Unlimited),
            Deed::Hold => Some(Mark::Held),
            Deed::Delete => Some(Mark::Deleted),
            _ => None,
        };
        if let Some(mark) = mark {
            self.mark_user(panel, &name, mark);
        }
        self.panels[panel].with(|state| match deed {
            Deed::Delete => drop(state.users.remove(&name)),
            Deed::Unreadable(false) => drop(state.unreadable.remove(&name)),
            Deed::Unreadable(true) => drop(state.unreadable.insert(name.clone())),
            Deed::Hidden(false) => drop(state.hidden.remove(&name)),
            Deed::Hidden(true) => drop(state.hidden.insert(name.clone())),
            _ => {}
        });
        self.edit(login, |user, now| user.suffer(deed, now));
    }

    /// The time of a customer whose user was on hold begins, however that comes.
    fn note_begun(&self) {
        let waiting: Vec<(usize, usize)> = self.truth(|truth| {
            let promises = truth.promises.iter().enumerate();
            let waiting =
                promises.filter(|(_, promise)| promise.kind == Kind::Held && promise.owed == FOREVER);
            waiting
                .map(|(number, promise)| (number, promise.logins[0]))
                .collect()
        });
        for (promise, login) in waiting {
            if let Some(expire) = self.user(login).and_then(|user| user.expire) {
                self.truth(|truth| truth.promises[promise].owed = expire);
            }
        }
    }

    fn befall(&self, panel: usize, event: Event) {
        let now = self.now();
        match event {
            Event::Snapshot => self.panels[panel].with(|state| state.snapshot = Some(state.users.clone())),
            Event::Restore => {
                let before = self.panels[panel].with(|state| {
                    let before = state.users.clone();
                    if let Some(snapshot) = &state.snapshot {
                        state.users = snapshot.clone();
                    }
                    before
                });
                self.mark_differences(panel, &before, Mark::Restored);
            }
            Event::Bulk(days) => {
                let before = self.panels[panel].with(|state| {
                    let (before, now) = (state.users.clone(), now + state.skew);
                    for user in state.users.values_mut() {
                        user.suffer(Deed::Shorten(-days), now);
                    }
                    before
                });
                if days < 0 {
                    self.mark_differences(panel, &before, Mark::Shortened);
                }
            }
            Event::Rebuild => {
                let logins = self.truth(|truth| truth.logins.len());
                for login in (0..logins).filter(|login| self.place(*login).0 == panel) {
                    self.recreate(login);
                }
            }
            Event::Another(is) => self.replace(panel, is),
            Event::Down(is) => self.panels[panel].with(|state| state.is_down = is),
            Event::Slow(seconds) => self.panels[panel].with(|state| state.slow = TimeDelta::seconds(seconds)),
        }
    }

    fn mark_differences(&self, panel: usize, before: &Users, mark: Mark) {
        let names: Vec<String> = self.truth(|truth| {
            let logins = truth.logins.iter().filter(|login| login.panel == panel);
            logins.map(|login| login.name.clone()).collect()
        });
        for name in names {
            let user = self.panels[panel].with(|state| state.users.get(&name).cloned());
            if user.as_ref() != before.get(&name) {
                self.mark_user(panel, &name, mark);
            }
        }
    }

    /// Another panel answers, with users of the same names.
    fn replace(&self, panel: usize, is: bool) {
        if !is {
            self.panels[panel].with(|state| state.another = None);
            return;
        }
        let now = self.now();
        let names: Vec<String> = self.truth(|truth| {
            let logins = truth.logins.iter().filter(|login| login.panel == panel);
            logins.map(|login| login.name.clone()).collect()
        });
        let mut strangers = BTreeMap::new();
        for (number, name) in names.into_iter().enumerate() {
            self.mark_user(panel, &name, Mark::Stranger);
            let days = [-60, -20, 3, 40, 400, 90][number % 6];
            let mut user = User::new(Some(now + TimeDelta::days(days)), now);
            user.created_at =
                now - TimeDelta::days(300) - TimeDelta::minutes(i64::try_from(number).unwrap_or(0));
            if number % 5 != 4 {
                strangers.insert(name, user);
            }
        }
        self.panels[panel].with(|state| {
            if state.another.is_none() {
                state.another = Some(strangers);
            }
        });
    }

    fn trust(&self, login: usize, is_panel: bool) {
        let (panel, name) = self.place(login);
        self.mark_user(panel, &name, Mark::Answered);
        let names = Trust::Names([name.clone()].into());
        let mut answers = Answers::default();
        if is_panel {
            answers.trust_panel = names;
        } else {
            answers.trust_bot = names;
        }
        self.run(Job::SyncSubscriptionsFromMarzban, panel, None, answers);
        // What counts is the panel that answered, also where that was another one.
        let answering = self.panels[panel].with(|state| state.answering().get(&name).cloned());
        if is_panel && let Some(expire) = answering.and_then(|user| user.expire) {
            self.note_conceded(panel, &name, expire);
        }
    }

    /// Where the rows have taken the panel's end, that is what is owed: an operator has said so.
    fn note_conceded(&self, panel: usize, name: &str, expire: DateTime<Utc>) {
        for promise in self.promises_of(panel, name) {
            let best = self.rows_of(promise).iter().map(|row| end(row.end_date)).max();
            let conceded = best.unwrap_or(FOREVER).max(expire);
            self.truth(|truth| {
                let promise = &mut truth.promises[promise];
                promise.owed = promise.owed.min(conceded);
                // What was shown before counts no more.
                promise.shown = promise.shown.map(|shown| shown.min(conceded));
            });
        }
    }

    fn allow(&self, job: Job, panel: usize) {
        let promises = self.truth(|truth| truth.promises.len());
        for promise in 0..promises {
            self.mark(promise, Mark::Answered);
        }
        let answers = Answers {
            allow_mass_changes: true,
            ..Answers::default()
        };
        self.run(job, panel, None, answers);
    }

    /// What the bot does by itself, every hour.
    pub(super) fn bot_acts(&self, is_midnight: bool) {
        let (now, rows) = (self.clock.now(), self.store.subscriptions());
        let has_prepaid = rows
            .iter()
            .any(|row| row.status.is_open() && row.start_date.is_some());
        let has_ended = rows
            .iter()
            .any(|row| row.status.is_open() && end(row.end_date) <= now);
        let touches = is_midnight && self.setup.touches_daily && self.setup.keeps_updated_at;
        let promises = self.truth(|truth| truth.promises.len());
        for promise in 0..promises {
            if has_prepaid {
                self.begins_prepaid(promise);
            }
            if has_ended && self.setup.expires {
                self.bot_expires(promise);
            }
            if touches {
                self.bot_touches(promise);
            }
        }
    }

    fn begins_prepaid(&self, promise: usize) {
        let row = self.present_row(promise);
        let has_begun = row.start_date.is_some_and(|start_date| start_date <= self.now());
        let logins = self.truth(|truth| truth.promises[promise].logins.clone());
        let is_behind = logins.iter().any(|login| {
            let user = self.user(*login);
            user.is_some_and(|user| {
                user.expire
                    == row
                        .start_date
                        .map(|start| start - TimeDelta::seconds(self.setup.row_lag))
            })
        });
        if has_begun && is_behind {
            self.push(promise);
            self.stir();
        }
    }

    fn bot_expires(&self, promise: usize) {
        let (now, true_now) = (self.clock.now(), self.now());
        for mut row in self.rows_of(promise) {
            if row.status.is_open() && end(row.end_date) <= now {
                if end(row.end_date) > true_now {
                    self.mark(promise, Mark::BotSlipped);
                }
                row.status = SubscriptionStatus::Expired;
                self.save(promise, row);
                self.stir();
            }
        }
    }

    fn bot_touches(&self, promise: usize) {
        let now = self.clock.now();
        for mut row in self.rows_of(promise) {
            row.updated_at = Some(now);
            self.store.insert_subscription(row);
        }
        self.truth(|truth| truth.promises[promise].touched_at = Some(now));
    }
}
