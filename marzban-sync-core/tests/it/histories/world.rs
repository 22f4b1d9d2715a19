//! A bot with two panels, and the truth about both: what was paid for, and what was done on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use marzban_sync_core::clock::Clock;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig};
use marzban_sync_core::testing::ManualClock;

use super::panel::{Panel, User};
use super::ports::Plant;
use super::steps::{Kind, Setup};
use super::stop::Fault;

pub(super) const PANELS: [&str; 2] = ["default", "de"];

/// No end, in the judge's reckoning.
pub(super) const FOREVER: DateTime<Utc> =
    DateTime::from_timestamp(221_845_392_000, 0).expect("the year 9000");

/// A Monday at midnight.
const BEGINNING: DateTime<Utc> = DateTime::from_timestamp(1_757_894_400, 0).expect("2025-09-15");

#[derive(Clone)]
pub(super) struct World {
    pub(super) store: MemoryStore,
    pub(super) panels: [Panel; 2],
    /// The clock of the bot and its jobs.
    pub(super) clock: ManualClock,
    pub(super) setup: Arc<Setup>,
    pub(super) plant: Option<Plant>,
    truth: Arc<Mutex<Truth>>,
}

/// What nobody but the judge knows.
pub(super) struct Truth {
    pub(super) now: DateTime<Utc>,
    pub(super) promises: Vec<Promise>,
    pub(super) logins: Vec<Login>,
    pub(super) verdict: Option<String>,
    /// How the last run of each sync job of a panel ended, as far as it ended in order.
    pub(super) last_runs: BTreeMap<(usize, Job), LastRun>,
    /// How many panel users the present run has deleted or disabled.
    pub(super) removed: u64,
    /// Counts what the judge has looked at, so that nobody takes silence for consent.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// How often anything has changed, so that quiet hours can be skipped.
    pub(super) epoch: u64,
    pub(super) last_looks: BTreeMap<(usize, Job), (DateTime<Utc>, u64)>,
    pub(super) runs: u64,
    /// What becomes of a call of the next scheduled run that finds an end passed.
    pub(super) armed: Option<(usize, Fault)>,
    /// Whether a clock has been wrong.
    pub(super) had_wrong_clock: bool,
    /// Who has paid during the present run.
    pub(super) paying: Option<usize>,
    next_subscription: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LastRun {
    pub(super) was_braked: bool,
    pub(super) completed_at: Option<DateTime<Utc>>,
}

/// What a customer was promised, and the rows that say so.
pub(super) struct Promise {
    pub(super) customer: usize,
    pub(super) kind: Kind,
    /// The rows of this promise, the bot's present one last.
    pub(super) rows: Vec<SubscriptionId>,
    pub(super) logins: Vec<usize>,
    /// The ledger: until when the customer has paid, less what was paid back.
    pub(super) owed: DateTime<Utc>,
    /// What has befallen it that leaves a doubt, since both sides were last seen to agree.
    pub(super) marks: BTreeSet<Mark>,
    /// The latest end that rows or panel showed while a run completed, by the panel.
    pub(super) shown: [DateTime<Utc>; 2],
    /// The latest end that any side ever had.
    pub(super) latest: DateTime<Utc>,
    /// The ends that both sides were seen to have, one after the other.
    pub(super) seen: BTreeMap<usize, Vec<DateTime<Utc>>>,
    /// What a loop of the bot holds.
    pub(super) copies: Vec<MemorySubscription>,
    /// When the bot last wrote a row, where it says so in `updated_at`.
    pub(super) touched_at: Option<DateTime<Utc>>,
    /// Since when all rows are closed.
    pub(super) closed_since: Option<DateTime<Utc>>,
    /// The ends that the bot itself wrote, and when.
    pub(super) written: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    pub(super) has_invoice: bool,
    /// Whether its panel users were seen by a completed sync as they are now.
    pub(super) is_known: bool,
}

/// What leaves a doubt about a promise, for which a report is owed instead of certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// An administrator moved the end earlier.
    Shortened,
    Mistyped,
    Unlimited,
    Held,
    /// The panel user is gone.
    Deleted,
    /// The panel user was made anew.
    Replaced,
    Restored,
    /// Another panel answered in between.
    Stranger,
    /// The bot saved what was no longer so.
    BotSlipped,
    Refunded,
    /// An operator has answered.
    Answered,
    /// Another customer's row names the panel user too.
    Shared,
}

pub(super) struct Login {
    pub(super) customer: usize,
    pub(super) promise: usize,
    pub(super) panel: usize,
    pub(super) name: String,
    pub(super) id: AccountId,
}

pub(super) fn end(end_date: Option<DateTime<Utc>>) -> DateTime<Utc> {
    end_date.unwrap_or(FOREVER)
}

impl World {
    pub(super) fn new(setup: &Setup, plant: Option<Plant>) -> Self {
        let world = Self {
            store: MemoryStore::new(),
            panels: [Panel::default(), Panel::default()],
            clock: ManualClock::new(BEGINNING),
            setup: Arc::new(setup.clone()),
            plant,
            truth: Arc::new(Mutex::new(Truth {
                now: BEGINNING,
                promises: Vec::new(),
                logins: Vec::new(),
                verdict: None,
                last_runs: BTreeMap::new(),
                removed: 0,
                counts: BTreeMap::new(),
                epoch: 1,
                last_looks: BTreeMap::new(),
                runs: 0,
                armed: None,
                had_wrong_clock: false,
                paying: None,
                next_subscription: 1,
            })),
        };
        for (customer, (kind, panel, days)) in setup.customers.iter().enumerate() {
            world.store.insert_user(MemoryUser {
                id: user_id(customer),
                telegram_id: Some(user_id(customer).0),
            });
            world.begin(customer, *kind, *panel, *days);
        }
        world
    }

    fn begin(&self, customer: usize, kind: Kind, panel: usize, days: i64) {
        let minutes = i64::try_from(customer).unwrap_or(0) * 7;
        let until = self.now() + TimeDelta::days(days) + TimeDelta::minutes(minutes);
        let sharing = self.truth(|truth| {
            let last = truth
                .logins
                .iter()
                .rev()
                .find(|login| login.customer + 1 == customer);
            last.filter(|_| kind == Kind::Sharing)
                .map(|login| (login.panel, login.name.clone()))
        });
        let own = |number: usize| format!("user{customer}_{number}");
        let places: Vec<(usize, String)> = match (kind, sharing) {
            (_, Some(of_another)) => vec![of_another],
            (Kind::Twins | Kind::Named, _) => vec![(panel, own(0)), (panel, own(1))],
            (Kind::Abroad, _) => vec![(0, own(0)), (1, own(1))],
            _ => vec![(panel, own(0))],
        };
        if kind == Kind::Named {
            for (number, place) in places.into_iter().enumerate() {
                let apart = TimeDelta::days(i64::try_from(number).unwrap_or(0) * 4);
                self.promise(customer, kind, until + apart, vec![place]);
            }
        } else {
            self.promise(customer, kind, until, places);
        }
    }

    fn promise(&self, customer: usize, kind: Kind, until: DateTime<Utc>, places: Vec<(usize, String)>) {
        let now = self.now();
        let is_endless = matches!(kind, Kind::Held | Kind::Unlimited);
        let owed = if is_endless { FOREVER } else { until };
        let id = self.new_subscription();
        let status = match kind {
            _ if owed <= now => SubscriptionStatus::Expired,
            Kind::Trial => SubscriptionStatus::Trial,
            _ => SubscriptionStatus::Active,
        };
        let long_ago = self.setup.keeps_updated_at.then_some(now - TimeDelta::days(20));
        let is_open = status.is_open();
        self.store.insert_subscription(MemorySubscription {
            id,
            user_id: user_id(customer),
            status,
            start_date: None,
            end_date: (!is_endless).then_some(until + TimeDelta::seconds(self.setup.row_lag)),
            updated_at: long_ago,
        });
        let number = self.truth(|truth| truth.promises.len());
        let mut marks = BTreeSet::new();
        let mut logins = Vec::new();
        for (panel, name) in places {
            let login = self.truth(|truth| {
                let others = truth
                    .logins
                    .iter()
                    .filter(|login| login.panel == panel && login.name == name);
                let shared: Vec<usize> = others.map(|login| login.promise).collect();
                for other in &shared {
                    truth.promises[*other].marks.insert(Mark::Shared);
                }
                marks.extend((!shared.is_empty()).then_some(Mark::Shared));
                truth.logins.push(Login {
                    customer,
                    promise: number,
                    panel,
                    name: name.clone(),
                    id: AccountId(i64::try_from(truth.logins.len()).unwrap_or(0) + 1),
                });
                truth.logins.len() - 1
            });
            logins.push(login);
            let mut user = User::new((!is_endless).then_some(until), now);
            user.created_at = now - TimeDelta::days(200);
            if kind == Kind::Held {
                user.hold();
            }
            self.panels[panel].with(|state| {
                let user = state.users.entry(name.clone()).or_insert(user);
                if user.expire.is_some_and(|expire| expire < until) {
                    user.set_end(until, now);
                }
            });
            self.store.insert_vpn_config(MemoryVpnConfig {
                id: self.truth(|truth| truth.logins[login].id),
                user_id: user_id(customer),
                panel: (panel > 0).then(|| PANELS[panel].to_owned()),
                subscription_id: (kind == Kind::Named).then_some(id),
                marzban_user_id: Some(name),
                is_active: Some(is_open),
                traffic_used: Some(0),
                last_connected_at: None,
                updated_at: long_ago,
            });
        }
        self.truth(|truth| {
            truth.promises.push(Promise {
                customer,
                kind,
                rows: vec![id],
                logins,
                owed,
                marks,
                shown: [DateTime::UNIX_EPOCH; 2],
                latest: DateTime::UNIX_EPOCH,
                seen: BTreeMap::new(),
                copies: Vec::new(),
                touched_at: None,
                closed_since: (owed <= now).then_some(owed),
                written: vec![(
                    if is_endless { FOREVER } else { until },
                    now - TimeDelta::days(20),
                )],
                has_invoice: false,
                is_known: false,
            });
        });
    }

    pub(super) fn truth<T>(&self, look: impl FnOnce(&mut Truth) -> T) -> T {
        look(&mut self.truth.lock().unwrap())
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.truth(|truth| truth.now)
    }

    /// How far the clock of the bot and its jobs is ahead.
    pub(super) fn skew(&self) -> TimeDelta {
        self.clock.now() - self.now()
    }

    /// Time passes, on all clocks.
    pub(super) fn pass(&self, time: TimeDelta) {
        self.truth(|truth| truth.now += time);
        self.clock.advance(time);
    }

    pub(super) fn new_subscription(&self) -> SubscriptionId {
        self.truth(|truth| {
            truth.next_subscription += 1;
            SubscriptionId(truth.next_subscription)
        })
    }

    /// Gives the first verdict; the later ones follow from it.
    pub(super) fn accuse(&self, law: &str, what: impl FnOnce() -> String) {
        if self.verdict().is_none() {
            let verdict = format!("{law}: {}, on {}", what(), self.now());
            self.truth(|truth| truth.verdict = Some(verdict));
        }
    }

    pub(super) fn verdict(&self) -> Option<String> {
        self.truth(|truth| truth.verdict.clone())
    }

    pub(super) fn count(&self, what: &'static str) {
        self.truth(|truth| *truth.counts.entry(what).or_default() += 1);
    }

    /// The rows of a promise.
    pub(super) fn rows_of(&self, promise: usize) -> Vec<MemorySubscription> {
        let ids = self.truth(|truth| truth.promises[promise].rows.clone());
        ids.into_iter()
            .filter_map(|id| self.store.subscription(id))
            .collect()
    }

    pub(super) fn mark(&self, promise: usize, mark: Mark) {
        self.truth(|truth| {
            truth.promises[promise].marks.insert(mark);
        });
    }

    /// The promises whose rows name this panel user.
    pub(super) fn promises_of(&self, panel: usize, name: &str) -> Vec<usize> {
        self.truth(|truth| {
            let named = truth
                .logins
                .iter()
                .filter(|login| login.panel == panel && login.name == name);
            named.map(|login| login.promise).collect()
        })
    }

    pub(super) fn mark_user(&self, panel: usize, name: &str, mark: Mark) {
        for promise in self.promises_of(panel, name) {
            self.mark(promise, mark);
        }
    }

    /// The panel user of a login, as its own panel has it.
    pub(super) fn user(&self, login: usize) -> Option<User> {
        let (panel, name) = self.place(login);
        self.panels[panel].with(|state| state.users.get(&name).cloned())
    }

    pub(super) fn place(&self, login: usize) -> (usize, String) {
        self.truth(|truth| {
            let login = &truth.logins[login];
            (login.panel, login.name.clone())
        })
    }

    pub(super) fn stir(&self) {
        self.truth(|truth| truth.epoch += 1);
    }
}

pub(super) fn user_id(customer: usize) -> UserId {
    UserId(i64::try_from(customer).unwrap_or(0) + 1)
}
