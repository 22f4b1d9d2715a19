//! The panel and the store as a run sees them: through a gate, where any call may be the last, and with a planted fault
//! where the judge is to be shown to bite.

use std::collections::BTreeMap;
use std::future::ready;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::agreement::Agreement;
use marzban_sync_core::error::{PanelError, PanelErrorKind, StoreError};
use marzban_sync_core::observation::{Observation, PanelStatus};
use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::panel::{ExpectedUser, Panel, UpdateOutcome};
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use marzban_sync_core::store::{
    AccountStore, Cursor, Journal, MemoryStore, Page, PanelUserKey, Remembered, RunLock, Trail,
};
use marzban_sync_core::trail::{EntryQuery, EntryRecord};
use serde_json::Value;

use super::stop::{Gate, no_panel, no_store};
use super::world::World;

/// A fault that is planted, so that the judge has something to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// Nothing is remembered.
    ForgetsAgreements,
    /// Where an extension came from is not remembered.
    ForgetsPreviousEnds,
    /// The latest end that was seen is not remembered.
    ForgetsLatestEnds,
    /// Writes do not compare.
    OverwritesPayments,
    /// No brake holds.
    SkipsBrakes,
    /// A cleanup waits for no week.
    DeletesAtOnce,
    /// Nobody tells one user from another of the same name.
    TakesStrangers,
    /// Nobody compares the clocks.
    IgnoresClocks,
}

/// A panel, and the run that asks it.
pub(super) struct Line {
    pub(super) world: World,
    pub(super) place: usize,
    pub(super) gate: Gate,
}

impl Line {
    /// An answer about one user.
    fn look(&self, name: &str, is_list: bool) -> Observation {
        self.world.panels[self.place].with(|state| {
            let is_own = state.another.is_none();
            if is_own && state.unreadable.contains(name) {
                return Observation::Unreadable("it cannot be rendered".to_owned());
            }
            if is_own && is_list && state.hidden.contains(name) {
                return Observation::NotListed;
            }
            match state.answering().get(name) {
                Some(user) => {
                    let mut shown = user.shown();
                    if self.world.plant == Some(Plant::TakesStrangers) {
                        shown.created_at = None;
                    }
                    Observation::Found(shown)
                }
                None if is_list => Observation::NotListed,
                None => Observation::NotFound,
            }
        })
    }

    /// A request takes its time, and is answered unless the panel is down.
    fn ask<T>(&self, answer: impl FnOnce() -> Result<T, PanelError>) -> Result<T, PanelError> {
        let panel = &self.world.panels[self.place];
        self.world.pass(panel.with(|state| state.slow));
        let now = self.world.now();
        let is_down = panel.with(|state| {
            if !state.is_down {
                state.date = Some(now + state.skew);
            }
            state.is_down
        });
        if is_down { Err(no_panel(false)) } else { answer() }
    }

    /// A write to the user that still is as expected; the judge is told of it before.
    fn write(&self, name: &str, expected: &ExpectedUser, write: impl FnOnce()) -> UpdateOutcome {
        let panel = &self.world.panels[self.place];
        let fits = panel.with(|state| {
            let user = state.answering().get(name)?;
            let created_at = expected
                .created_at
                .is_none_or(|created_at| created_at == user.created_at);
            Some(created_at && expected.expire == user.expire)
        });
        match fits {
            Some(true) => {
                write();
                UpdateOutcome::Done
            }
            Some(false) | None => UpdateOutcome::Changed(self.look(name, false)),
        }
    }
}

#[async_trait]
impl Panel for Line {
    async fn users(&self, names: &[String]) -> Result<Vec<Observation>, PanelError> {
        let answer = async { self.ask(|| Ok(names.iter().map(|name| self.look(name, true)).collect())) };
        self.gate.through(answer, ready(()), |_| no_panel(false)).await
    }

    async fn user(&self, name: &str) -> Result<Observation, PanelError> {
        let answer = async { self.ask(|| Ok(self.look(name, false))) };
        self.gate.through(answer, ready(()), |_| no_panel(false)).await
    }

    async fn delete_user(&self, name: &str) -> Result<(), PanelError> {
        let answer = async {
            self.ask(|| {
                if !self.gate.moves_on() {
                    self.world.judge_removal(self.place, name);
                }
                self.world.panels[self.place].with(|state| state.answering().remove(name));
                Ok(())
            })
        };
        self.gate.through(answer, ready(()), no_panel).await
    }

    async fn extend_user(
        &self,
        name: &str,
        expected: &ExpectedUser,
        end: DateTime<Utc>,
    ) -> Result<UpdateOutcome, PanelError> {
        let answer = async {
            self.ask(|| {
                Ok(self.write(name, expected, || {
                    self.world.judge_extension(self.place, name, end);
                    let now = self.world.now();
                    self.world.panels[self.place].with(|state| {
                        let now = now + state.skew;
                        if let Some(user) = state.answering().get_mut(name) {
                            user.set_end(end, now);
                        }
                    });
                }))
            })
        };
        self.gate.through(answer, ready(()), no_panel).await
    }

    async fn disable_user(&self, name: &str, expected: &ExpectedUser) -> Result<UpdateOutcome, PanelError> {
        let answer = async {
            self.ask(|| {
                Ok(self.write(name, expected, || {
                    if !self.gate.moves_on() {
                        self.world.judge_removal(self.place, name);
                    }
                    self.world.panels[self.place].with(|state| {
                        if let Some(user) = state.answering().get_mut(name) {
                            user.status = PanelStatus::Disabled;
                        }
                    });
                }))
            })
        };
        self.gate.through(answer, ready(()), no_panel).await
    }

    fn last_date(&self) -> Option<DateTime<Utc>> {
        let is_shown = self.world.setup.has_dates && self.world.plant != Some(Plant::IgnoresClocks);
        self.world.panels[self.place]
            .with(|state| state.date)
            .filter(|_| is_shown)
    }

    async fn system_stats(&self) -> Result<SystemStats, PanelError> {
        Err(PanelError::new(
            PanelErrorKind::Unavailable,
            "nobody asks for it here",
        ))
    }
}

/// The store, and the run that asks it.
pub(super) struct Desk {
    pub(super) store: MemoryStore,
    pub(super) gate: Gate,
    pub(super) plant: Option<Plant>,
}

impl Desk {
    fn forget(&self, mut accounts: Vec<Account>) -> Vec<Account> {
        for account in &mut accounts {
            match self.plant {
                Some(Plant::ForgetsAgreements) => account.agreement = Agreement::default(),
                Some(Plant::ForgetsPreviousEnds) => account.agreement.previous_end = None,
                Some(Plant::ForgetsLatestEnds) => account.agreement.latest_end = None,
                _ => {}
            }
        }
        accounts
    }

    /// The account as it is now, where nothing is to be compared.
    async fn expected(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Account {
        if self.plant != Some(Plant::OverwritesPayments) {
            return account.clone();
        }
        let current = self.store.reload_accounts(panel, &[account.id], now).await;
        let mut current = current.unwrap_or_default().into_iter();
        current
            .find(|current| current.id == account.id)
            .unwrap_or_else(|| account.clone())
    }

    async fn expecting(&self, panel: &str, changes: &[Change], now: DateTime<Utc>) -> Vec<Change> {
        let mut expecting = Vec::new();
        for change in changes {
            expecting.push(Change {
                account: self.expected(panel, &change.account, now).await,
                ..change.clone()
            });
        }
        expecting
    }
}

macro_rules! passes {
    ($self:ident, $call:expr) => {
        $self.gate.through($call, ready(()), no_store).await
    };
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl AccountStore for Desk {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        passes!(self, self.store.verify_schema())
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        passes!(self, self.store.count_accounts(panel))
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        passes!(self, self.store.count_elsewhere(panel))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        let page = passes!(self, self.store.page_accounts(panel, after, limit, now))?;
        Ok(Page {
            accounts: self.forget(page.accounts),
            ..page
        })
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        let accounts = passes!(self, self.store.reload_accounts(panel, ids, now))?;
        Ok(self.forget(accounts))
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        // As where the two are in different databases: the rows are written, and what is remembered is not.
        let half = async {
            let rows = changes.iter().map(|change| Change {
                agreement: None,
                ..change.clone()
            });
            let rows: Vec<Change> = rows.collect();
            drop(self.store.apply(panel, run, &rows, now).await);
        };
        let whole = async {
            let changes = self.expecting(panel, changes, now).await;
            self.store.apply(panel, run, &changes, now).await
        };
        self.gate.through(whole, half, no_store).await
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        passes!(self, self.store.rehearse_unlink(panel, account, now))
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let unlink = async {
            let account = self.expected(panel, account, now).await;
            self.store.unlink(panel, run, &account, now).await
        };
        passes!(self, unlink)
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        passes!(self, self.store.undo(panel, run, entries, now))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Journal for Desk {
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
        passes!(self, self.store.agreements(users))
    }

    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        passes!(self, self.store.record(panel, run, trail, now))
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        passes!(self, self.store.lock(job, panel))
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        passes!(self, self.store.begin_run(job, panel, now))
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: RunStatus,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        passes!(self, self.store.finish_run(run, outcome, report, now))
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        passes!(self, self.store.record_system_stats(panel, stats, now))
    }

    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        passes!(self, self.store.prune_history(panel, before))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        passes!(self, self.store.runs(query))
    }

    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
        passes!(self, self.store.latest_runs(outcome))
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        passes!(self, self.store.system_stats(panel, since))
    }

    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
        passes!(self, self.store.entries(query))
    }
}
