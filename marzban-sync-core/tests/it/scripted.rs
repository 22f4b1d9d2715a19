//! A bot with its rows, a panel that does as it is told, and a clock that stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::Context;
use marzban_sync_core::account::{AccountId, SubscriptionId, SubscriptionStatus, UserId};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::clock::Clock;
use marzban_sync_core::end_date::EndDate;
use marzban_sync_core::error::{PanelError, PanelErrorKind};
use marzban_sync_core::jobs::ContextBuilder;
use marzban_sync_core::observation::{Observation, PanelStatus, PanelUser};
use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::policy::Answers;
use marzban_sync_core::report::{Job, Run, SystemStats};
use marzban_sync_core::store::{
    Journal, MemoryStore, MemorySubscription, MemoryUser, MemoryVpnConfig, PanelUserKey, Trail,
};
use marzban_sync_core::testing::ManualClock;
use marzban_sync_core::trail::EntryState;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::faulty::at_once;
use crate::given::now;

/// A panel in memory: its users, what it is to say instead, what is to happen when it is asked, and what it was asked.
#[derive(Clone, Default)]
pub(crate) struct ScriptedPanel(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    users: BTreeMap<String, PanelUser>,
    answers: BTreeMap<String, Observation>,
    hidden: BTreeSet<String>,
    hooks: Vec<(String, Box<dyn FnOnce() + Send>)>,
    calls: Vec<String>,
    last_date: Option<DateTime<Utc>>,
}

impl ScriptedPanel {
    /// Makes the user, or changes it.
    pub(crate) fn put(&self, name: &str, user: PanelUser) {
        self.0.lock().unwrap().users.insert(name.to_owned(), user);
    }

    /// Says this of a name, whatever users there are.
    pub(crate) fn say(&self, name: &str, observation: Observation) {
        self.0
            .lock()
            .unwrap()
            .answers
            .insert(name.to_owned(), observation);
    }

    /// Leaves a user out of lists, though it is there when it is asked for by itself.
    pub(crate) fn hide(&self, name: &str) {
        self.0.lock().unwrap().hidden.insert(name.to_owned());
    }

    /// Says from now on that this is the time of its last answer.
    pub(crate) fn set_last_date(&self, date: DateTime<Utc>) {
        self.0.lock().unwrap().last_date = Some(date);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().users.remove(name);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().users.contains_key(name)
    }

    /// Lets something happen, once, at the next call that begins with these words, before it is answered.
    pub(crate) fn at_call(&self, words: &str, happens: impl FnOnce() + Send + 'static) {
        self.0
            .lock()
            .unwrap()
            .hooks
            .push((words.to_owned(), Box::new(happens)));
    }

    /// Every call so far: `users user1 user2`, `user user1`, `delete user1`, `extend user1 2025-10-15 12:00:00 UTC`,
    /// `disable user1`, `system`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.lock().unwrap().calls.clone()
    }

    /// The calls other than of lists.
    pub(crate) fn single_calls(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| !call.starts_with("users "));
        calls
    }

    fn called(&self, call: String) {
        let hook = {
            let mut script = self.0.lock().unwrap();
            let position = script
                .hooks
                .iter()
                .position(|(words, _)| call.starts_with(words.as_str()));
            script.calls.push(call);
            position.map(|position| script.hooks.remove(position).1)
        };
        // Outside of the lock: what happens may be a change of this panel.
        if let Some(happens) = hook {
            happens();
        }
    }

    fn look(&self, name: &str) -> Option<Observation> {
        let script = self.0.lock().unwrap();
        let user = || script.users.get(name).cloned().map(Observation::Found);
        script.answers.get(name).cloned().or_else(user)
    }

    fn update(&self, name: &str, changed: Result<Option<PanelUser>, Observation>) -> UpdateOutcome {
        match changed {
            Ok(user) => {
                if let Some(user) = user {
                    self.put(name, user);
                }
                UpdateOutcome::Done
            }
            Err(seen) => UpdateOutcome::Changed(seen),
        }
    }
}

#[async_trait]
impl Panel for ScriptedPanel {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        self.called(format!("users {}", names.join(" ")));
        let hidden = self.0.lock().unwrap().hidden.clone();
        let observe = |name: &String| {
            self.look(name)
                .filter(|observation| *observation != Observation::NotFound && !hidden.contains(name))
                .unwrap_or(Observation::NotListed)
        };
        Ok(names.iter().map(observe).collect())
    }

    async fn user(&self, name: &str) -> Result<Observation, PanelError> {
        self.called(format!("user {name}"));
        Ok(self.look(name).unwrap_or(Observation::NotFound))
    }

    async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
        self.called(format!("delete {name}"));
        self.remove(name);
        Ok(())
    }

    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        self.called(format!("extend {name} {end}"));
        let seen = self.look(name).unwrap_or(Observation::NotFound);
        let changed = extended(seen, expected, end)?;
        Ok(self.update(name, changed))
    }

    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        self.called(format!("disable {name}"));
        let seen = self.look(name).unwrap_or(Observation::NotFound);
        Ok(self.update(name, disabled(seen, expected)))
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        self.0.lock().unwrap().last_date
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        self.called("system".to_owned());
        Ok(stats())
    }
}

/// What becomes of a user that is to be extended: as it is then, or what it is instead of what was expected.
pub(crate) fn extended(
    seen: Observation,
    expected: &ExpectedUser,
    end: DateTime<Utc>,
) -> Result<Result<Option<PanelUser>, Observation>, PanelError> {
    if expected.expire.is_none_or(|expire| end < expire) {
        return Err(PanelError::new(PanelErrorKind::Invalid, "no extension"));
    }
    let Observation::Found(user) = seen else {
        return Ok(Err(seen));
    };
    let status = match user.status {
        PanelStatus::Active | PanelStatus::Expired => PanelStatus::Active,
        PanelStatus::Limited => PanelStatus::Limited,
        _ => return Ok(Err(Observation::Found(user))),
    };
    let expire = Some(end);
    let is_extended = ExpectedUser { expire, ..*expected }.fits(user.expire, user.created_at);
    Ok(if is_extended || expected.fits(user.expire, user.created_at) {
        Ok(Some(PanelUser {
            status,
            expire,
            ..user
        }))
    } else {
        Err(Observation::Found(user))
    })
}

/// What becomes of a user that is to be disabled, as [`extended`] says it; nothing of one that is gone.
pub(crate) fn disabled(seen: Observation, expected: &ExpectedUser) -> Result<Option<PanelUser>, Observation> {
    match seen {
        Observation::NotFound => Ok(None),
        Observation::Found(user) if expected.fits(user.expire, user.created_at) => Ok(Some(PanelUser {
            status: PanelStatus::Disabled,
            ..user
        })),
        seen => Err(seen),
    }
}

pub(crate) fn stats() -> SystemStats {
    SystemStats {
        version: "0.8.4".to_owned(),
        mem_total: 4_000,
        mem_used: 1_000,
        cpu_cores: 2,
        cpu_usage: 12.5,
        total_user: 17,
        online_users: Some(3),
        users_active: 15,
        users_on_hold: None,
        incoming_bandwidth: 7,
        outgoing_bandwidth: 8,
        incoming_bandwidth_speed: 9,
        outgoing_bandwidth_speed: 10,
        ..SystemStats::default()
    }
}

/// All that a run meets.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) panel: ScriptedPanel,
    pub(crate) clock: ManualClock,
    pub(crate) cancellation: CancellationToken,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            panel: ScriptedPanel::default(),
            clock: ManualClock::new(now()),
            cancellation: CancellationToken::new(),
        }
    }

    /// The same, with a sync that has completed just now, as a cleanup wants it.
    pub(crate) fn synced_just_now() -> Self {
        let world = Self::new();
        world.synced();
        world
    }

    pub(crate) fn builder(&self) -> ContextBuilder {
        Context::builder(self.panel.clone(), self.store.clone())
            .clock(self.clock.clone())
            .cancellation(self.cancellation.clone())
    }

    pub(crate) fn context(&self) -> Context {
        self.builder().build()
    }

    /// The bot's customer `1000 + id` with the account `user{id}`, which has access and used 100 bytes, and one
    /// subscription, `10 * id`.
    pub(crate) fn customer(&self, id: i64, status: &str, end_date: impl Into<Option<DateTime<Utc>>>) {
        self.store.insert_user(MemoryUser {
            id: UserId(id),
            telegram_id: Some(1000 + id),
        });
        self.subscription(10 * id, id, status, end_date);
        self.account(id, id);
    }

    /// A further subscription of a customer, or other values for one that is there.
    pub(crate) fn subscription(
        &self,
        id: i64,
        customer: i64,
        status: &str,
        end_date: impl Into<Option<DateTime<Utc>>>,
    ) {
        pay(&self.store, id, customer, status, end_date);
    }

    /// A further account of a customer.
    pub(crate) fn account(&self, id: i64, customer: i64) {
        self.store.insert_vpn_config(MemoryVpnConfig {
            id: AccountId(id),
            user_id: UserId(customer),
            panel: None,
            subscription_id: None,
            marzban_user_id: Some(format!("user{id}")),
            is_active: Some(true),
            traffic_used: Some(100),
            last_connected_at: None,
            updated_at: None,
        });
    }

    /// Another panel user for an account.
    pub(crate) fn rename(&self, id: i64, name: &str) {
        rename(&self.store, id, name);
    }

    /// Switches the access of an account, by its row.
    pub(crate) fn switch(&self, id: i64, is_active: bool) {
        let mut config = self
            .store
            .vpn_config(AccountId(id))
            .expect("the account is there");
        config.is_active = Some(is_active);
        self.store.insert_vpn_config(config);
    }

    /// Lets row and panel have agreed on this end of `user{id}`, as [`crate::given::user`] makes it.
    pub(crate) fn agreed(&self, id: i64, end: DateTime<Utc>) {
        self.remember(id, |agreement| {
            agreement.end = Some(EndDate::At(end));
            agreement.latest_end = agreement.latest_end.max(Some(end));
            agreement.created_at = crate::given::user("active", None).created_at;
        });
    }

    /// What is remembered of `user{id}`, with a change.
    pub(crate) fn remember(&self, id: i64, change: impl FnOnce(&mut Agreement)) {
        let user = format!("user{id}");
        let (revision, mut agreement) = self.remembered(&user).unwrap_or_default();
        change(&mut agreement);
        let trail = Trail {
            agreements: vec![(user, revision, Some(agreement))],
            ..Trail::default()
        };
        at_once(self.store.record("default", None, &trail, now())).expect("the store in memory works");
    }

    /// What is remembered of a user of the default panel.
    pub(crate) fn agreement(&self, user: &str) -> Agreement {
        self.remembered(user).unwrap_or_default().1
    }

    fn remembered(&self, user: &str) -> Option<(i64, Agreement)> {
        let key = PanelUserKey {
            panel: "default".to_owned(),
            username: user.to_owned(),
        };
        let remembered = at_once(self.store.agreements(&[key])).expect("the store in memory works");
        let one = remembered.into_iter().next();
        one.map(|one| (one.revision, one.agreement))
    }

    /// Lets a run of a job have ended so, at this moment.
    pub(crate) fn ran(&self, job: Job, panel: &str, at: DateTime<Utc>, outcome: RunStatus, report: &Value) {
        let id = at_once(self.store.begin_run(job, panel, at)).expect("the store in memory works");
        at_once(self.store.finish_run(id, outcome, report, at)).expect("the store in memory works");
    }

    /// Lets a sync of the default panel have completed just now.
    pub(crate) fn synced(&self) {
        let job = Job::SyncSubscriptionsFromMarzban;
        self.ran(job, "default", self.clock.now(), RunStatus::Completed, &json!({}));
    }

    /// The trail, a line for each entry, without what is only meant to be done.
    pub(crate) fn trail(&self) -> Vec<String> {
        let entries = self.store.recorded_entries();
        let done = entries.iter().map(|record| &record.entry);
        done.filter(|entry| entry.state == EntryState::Done)
            .map(|entry| {
                format!(
                    "{} {} {} -> {}: {}",
                    entry.username,
                    entry.target.column(),
                    shown(entry.old.as_ref()),
                    shown(entry.new.as_ref()),
                    entry.reason
                )
            })
            .collect()
    }

    /// Moves an account to a panel.
    pub(crate) fn move_to(&self, id: i64, panel: &str) {
        let mut config = self
            .store
            .vpn_config(AccountId(id))
            .expect("the account is there");
        config.panel = Some(panel.to_owned());
        self.store.insert_vpn_config(config);
    }

    /// A customer and the panel user, both with this end, and both working if it is ahead.
    pub(crate) fn in_line(&self, id: i64, end_date: DateTime<Utc>) {
        self.customer(id, "active", end_date);
        self.panel
            .put(&format!("user{id}"), crate::given::user("active", end_date));
    }

    /// The rows of a customer in one line.
    pub(crate) fn row(&self, id: i64) -> String {
        let subscription = self
            .store
            .subscription(SubscriptionId(10 * id))
            .expect("the subscription is there");
        let MemorySubscription { status, end_date, .. } = subscription;
        format!("{status} until {}; {}", shown(end_date), self.config(id))
    }

    /// The `vpn_configs` row in one line.
    pub(crate) fn config(&self, id: i64) -> String {
        let config = self
            .store
            .vpn_config(AccountId(id))
            .expect("the account is there");
        let access = config
            .is_active
            .map(|is_active| if is_active { "on" } else { "off" });
        format!(
            "{} {} {} {}",
            shown(config.marzban_user_id),
            shown(access),
            shown(config.traffic_used),
            shown(config.last_connected_at)
        )
    }

    /// All rows of the bot, `updated_at` included.
    pub(crate) fn rows(&self) -> (Vec<MemoryUser>, Vec<MemorySubscription>, Vec<MemoryVpnConfig>) {
        (
            self.store.users(),
            self.store.subscriptions(),
            self.store.vpn_configs(),
        )
    }

    pub(crate) fn outcomes(&self) -> Vec<String> {
        self.store
            .recorded_runs()
            .into_iter()
            .map(|run| format!("{} {}", run.job, run.status.as_str()))
            .collect()
    }
}

/// Another panel user for an account.
pub(crate) fn rename(store: &MemoryStore, id: i64, name: &str) {
    let mut config = store.vpn_config(AccountId(id)).expect("the account is there");
    config.marzban_user_id = Some(name.to_owned());
    store.insert_vpn_config(config);
}

/// An operator who has seen what the brakes withheld, and allows it.
pub(crate) fn allowed() -> Answers {
    Answers {
        allow_mass_changes: true,
        ..Answers::default()
    }
}

/// What a bot does when a customer pays: the subscription has these values now.
pub(crate) fn pay(
    store: &MemoryStore,
    id: i64,
    customer: i64,
    status: &str,
    end_date: impl Into<Option<DateTime<Utc>>>,
) {
    store.insert_subscription(MemorySubscription {
        id: SubscriptionId(id),
        user_id: UserId(customer),
        status: SubscriptionStatus::from(status),
        start_date: None,
        end_date: end_date.into(),
        updated_at: None,
    });
}

/// The problems of a run, a line each.
pub(crate) fn problems(run: &Run) -> Vec<String> {
    run.problems
        .iter()
        .map(|problem| {
            let detail = problem
                .detail
                .as_ref()
                .map_or_else(String::new, |detail| format!(": {detail}"));
            format!(
                "{} {} {:?}{detail}",
                shown(problem.telegram_id),
                problem.name,
                problem.reason
            )
        })
        .collect()
}

/// The changes that a run shows, a line each.
pub(crate) fn plan(run: &Run) -> Vec<String> {
    run.plan.iter().map(ToString::to_string).collect()
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}
