//! A bot with two panels: its rows, its users, and what must be true of a run.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::jobs::StatusReads;
use marzban_sync_core::observation::{PanelStatus, PanelUser};
use marzban_sync_core::report::Job;
use marzban_sync_core::safety::SafetyLimits;
use marzban_sync_core::store::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
use marzban_sync_core::testing::ManualClock;
use marzban_sync_core::{Context, jobs};

use super::check::{Moment, check};
use super::panel::ModelPanel;
use super::steps::Step;
use crate::faulty::at_once;
use crate::given::now;

pub(super) const PANELS: [&str; 2] = ["default", "de"];

/// How many customers there are.
pub(super) const PEOPLE: usize = 5;

/// Whose each login is, and in which panel.
pub(super) const LOGINS: [(usize, usize); 8] =
    [(0, 0), (1, 0), (1, 0), (2, 0), (2, 1), (3, 1), (4, 0), (4, 1)];

/// A panel user that no row names.
pub(super) const STRANGER: &str = "stranger";

#[derive(Clone)]
pub(super) struct Model {
    pub(super) store: MemoryStore,
    pub(super) panels: [ModelPanel; 2],
    pub(super) clock: ManualClock,
    /// Whether the status job asks for a census, between full reads.
    reads_cheaply: bool,
}

pub(super) type Rows = (Vec<MemorySubscription>, Vec<MemoryVpnConfig>);

pub(super) fn name(login: usize) -> String {
    format!("login{login}")
}

impl Model {
    /// Everybody has a month to go, but for the last, who has gone long ago; the fourth has an old subscription too.
    pub(super) fn new(reads_cheaply: bool) -> Self {
        let model = Self {
            store: MemoryStore::new(),
            panels: [ModelPanel::default(), ModelPanel::default()],
            clock: ManualClock::new(now()),
            reads_cheaply,
        };
        let mut number = 0;
        for person in 0..PEOPLE {
            model.store.insert_user(MemoryUser {
                id: user_id(person),
                telegram_id: Some(user_id(person).0),
            });
            let ends: &[(&str, i64)] = match person {
                3 => &[("expired", -40), ("active", 30)],
                4 => &[("expired", -40)],
                _ => &[("active", 30)],
            };
            for (status, days) in ends {
                number += 1;
                model.insert_subscription(number, person, (*status).into(), model.in_days(*days));
            }
        }
        for (login, (person, panel)) in LOGINS.into_iter().enumerate() {
            let days = if person == 4 { -40 } else { 30 };
            model.link(login, Some(name(login)), person != 4);
            let user = model.panel_user(model.in_days(days));
            model.panels[panel].with(|state| state.users.insert(name(login), user));
        }
        for panel in &model.panels {
            let mut user = model.panel_user(model.in_days(-100));
            user.status = PanelStatus::Expired;
            panel.with(|state| state.users.insert(STRANGER.to_owned(), user));
        }
        for place in 0..PANELS.len() {
            let guarded = model.clone();
            // A panel that held itself through its guard would live for ever.
            let others = Arc::new(guarded.without_panels());
            model.panels[place].guard(move |name, user| others.forbids(place, name, user));
        }
        model
    }

    fn without_panels(&self) -> Self {
        Self {
            panels: [ModelPanel::default(), ModelPanel::default()],
            ..self.clone()
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn in_days(&self, days: i64) -> DateTime<Utc> {
        self.now() + TimeDelta::days(days)
    }

    pub(super) fn rows(&self) -> Rows {
        (self.store.subscriptions(), self.store.vpn_configs())
    }

    pub(super) fn insert_subscription(
        &self,
        id: i64,
        person: usize,
        status: SubscriptionStatus,
        end_date: DateTime<Utc>,
    ) {
        self.store.insert_subscription(MemorySubscription {
            id: SubscriptionId(id),
            user_id: user_id(person),
            status,
            start_date: None,
            end_date: Some(end_date),
            updated_at: None,
        });
    }

    /// Gives a login's row this name and access.
    pub(super) fn link(&self, login: usize, name: Option<String>, is_active: bool) {
        let (person, panel) = LOGINS[login];
        let row = self.store.vpn_config(login_id(login));
        self.store.insert_vpn_config(MemoryVpnConfig {
            id: login_id(login),
            user_id: user_id(person),
            panel: Some(PANELS[panel].to_owned()),
            marzban_user_id: name,
            is_active: Some(is_active),
            traffic_used: row.as_ref().map_or(Some(0), |row| row.traffic_used),
            last_connected_at: row.and_then(|row| row.last_connected_at),
            updated_at: None,
        });
    }

    /// A user made now that works until then.
    pub(super) fn panel_user(&self, expire: DateTime<Utc>) -> PanelUser {
        PanelUser {
            status: PanelStatus::Active,
            expire: Some(expire),
            used_traffic: 0,
            online_at: None,
            created_at: Some(self.now()),
        }
    }

    pub(super) fn take(&self, step: &Step) {
        match step {
            Step::Happens(happening) => self.happen(happening),
            Step::Run(job, panel, meanwhile) => {
                let start = Moment::of(self, *panel);
                let between: Arc<Mutex<Option<(Moment, Moment)>>> = Arc::default();
                if let Some((look, happening)) = meanwhile.clone() {
                    let (model, between, panel) = (self.clone(), Arc::clone(&between), *panel);
                    self.panels[panel].at_look(look, move || {
                        let before = Moment::of(&model, panel);
                        model.happen(&happening);
                        *between.lock().unwrap() = Some((before, Moment::of(&model, panel)));
                    });
                }
                self.run(*job, *panel, SafetyLimits::default());
                self.panels[*panel].forget_hook();
                let end = Moment::of(self, *panel);
                let happened = between.lock().unwrap().take();
                match (happened, meanwhile) {
                    (Some((before, after)), Some((_, happening))) => {
                        check(&start, &before, None);
                        check(&after, &end, Some((happening, &before)));
                    }
                    _ => check(&start, &end, None),
                }
            }
        }
    }

    fn run(&self, job: Job, panel: usize, limits: SafetyLimits) {
        let context = Context::builder(self.panels[panel].clone(), self.store.clone())
            .clock(self.clock.clone())
            .panel_name(PANELS[panel])
            .limits(limits)
            .status_reads(self.status_reads())
            .build();
        // A run that fails because its panel is down is as it should be; what it has written is checked.
        let result = at_once(jobs::run(job, &context));
        let is_down = self.panels[panel].with(|state| state.is_down);
        assert!(
            result.is_ok() || is_down || job != Job::GetMarzbanSystemStats,
            "{result:?}"
        );
    }

    fn status_reads(&self) -> StatusReads {
        if self.reads_cheaply {
            StatusReads::cheap(TimeDelta::hours(6), self.store.clone())
        } else {
            StatusReads::Full
        }
    }

    /// Everything answers again, and an operator allows what is to be done.
    pub(super) fn stand_still(&self) {
        for panel in &self.panels {
            panel.with(|state| {
                (state.is_down, state.is_another) = (false, false);
                state.poisoned.clear();
            });
        }
    }

    /// How many rounds of all jobs bring everything in line: a run ends one subscription of a customer, and the cleanup
    /// comes after the last.
    pub(super) fn rounds_to_go(&self) -> usize {
        let rows = self.store.subscriptions();
        let open_of = |person| {
            let of_person = rows.iter().filter(|row| row.user_id == user_id(person));
            of_person.filter(|row| row.status.is_open()).count()
        };
        1 + (0..PEOPLE).map(open_of).max().unwrap_or(0).max(1)
    }

    pub(super) fn round(&self, order: &[(Job, usize)]) {
        let mut limits = SafetyLimits::default();
        limits.allow_mass_changes = true;
        for (job, panel) in order {
            self.run(*job, *panel, limits);
        }
    }

    /// The rows, and the names that each panel has, of those who have one panel.
    ///
    /// What was last seen of a user that is gone depends on when it went; and where neither of two panels gives access,
    /// each has its own word for when it ended.
    pub(super) fn end_state(&self) -> (Rows, Vec<Vec<String>>) {
        let (mut subscriptions, mut logins) = self.rows();
        subscriptions.retain(|row| !is_in_two_panels(row.user_id));
        logins.retain(|row| !is_in_two_panels(row.user_id));
        for row in logins.iter_mut().filter(|row| row.marzban_user_id.is_none()) {
            (row.traffic_used, row.last_connected_at, row.updated_at) = (None, None, None);
        }
        for row in &mut subscriptions {
            let mut of_user = logins.iter().filter(|login| login.user_id == row.user_id);
            if of_user.all(|login| login.marzban_user_id.is_none()) {
                (row.end_date, row.updated_at) = (None, None);
            }
        }
        let of_one = |name: &&String| {
            let mut logins = (0..LOGINS.len()).filter(|login| is_in_two_panels(user_id(LOGINS[*login].0)));
            !logins.any(|login| self::name(login) == **name)
        };
        let names =
            |panel: &ModelPanel| panel.with(|state| state.users.keys().filter(of_one).cloned().collect());
        ((subscriptions, logins), self.panels.iter().map(names).collect())
    }

    /// Why a panel user must not be deleted now, if so.
    fn forbids(&self, panel: usize, name: &str, user: &PanelUser) -> Option<String> {
        let cutoff = self.now() - TimeDelta::days(7);
        let configs = self.store.vpn_configs();
        let row = configs.iter().find(|row| {
            row.marzban_user_id.as_deref() == Some(name) && row.panel.as_deref() == Some(PANELS[panel])
        });
        let Some(row) = row else {
            return Some("no row names it".to_owned());
        };
        if user.works(self.now()) || user.expire.is_none_or(|expire| expire >= cutoff) {
            return Some("the panel has it as paid for, or over only lately".to_owned());
        }
        let subscriptions = self.store.subscriptions();
        let mut of_user = subscriptions
            .iter()
            .filter(|other| other.user_id == row.user_id)
            .peekable();
        if of_user.peek().is_none() {
            return Some("the customer has no subscription".to_owned());
        }
        let holding = of_user.find(|row| {
            let is_over = matches!(
                row.status,
                SubscriptionStatus::Expired | SubscriptionStatus::Cancelled
            );
            !is_over || row.end_date.is_none_or(|end_date| end_date >= cutoff)
        });
        holding.map(|row| format!("the customer has {row:?}"))
    }
}

fn is_in_two_panels(user: UserId) -> bool {
    let panels = (0..PANELS.len()).filter(|panel| {
        let mut logins = LOGINS.iter();
        logins.any(|(person, in_panel)| user_id(*person) == user && in_panel == panel)
    });
    panels.count() > 1
}

pub(super) fn user_id(person: usize) -> UserId {
    UserId(number(person))
}

pub(super) fn login_id(login: usize) -> AccountId {
    AccountId(number(login))
}

fn number(place: usize) -> i64 {
    i64::try_from(place).expect("there are few") + 1
}
