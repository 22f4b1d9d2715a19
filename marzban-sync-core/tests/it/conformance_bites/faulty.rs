//! A store in memory with one planted fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::error::{StoreError, StoreErrorKind};
use marzban_sync_core::outcome::RunStatus;
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use marzban_sync_core::store::{
    AccountStore, Cursor, DEFAULT_PANEL, Journal, MemoryStore, Page, PanelUserKey, Remembered, RunLock, Trail,
};
use marzban_sync_core::testing::conformance::store::{Bot, Fixture};
use marzban_sync_core::trail::{EntryQuery, EntryRecord};
use serde_json::Value;

mod fault;
mod reads;
mod trail;
mod writes;

pub(super) use fault::Fault;

/// A store in memory with a fault.
#[derive(Clone)]
pub(super) struct Faulty {
    inner: MemoryStore,
    fault: Fault,
    remembered: Arc<Mutex<BTreeMap<AccountId, Account>>>,
    kept: Arc<Mutex<Vec<Box<dyn RunLock>>>>,
}

/// A lock that holds nothing, or says so.
struct Pretended {
    is_lost: bool,
}

#[async_trait]
impl RunLock for Pretended {
    async fn verify(&mut self) -> Result<(), StoreError> {
        if self.is_lost {
            return Err(StoreError::new(StoreErrorKind::LockLost, "the lock was lost"));
        }
        Ok(())
    }

    async fn release(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Faulty {
    pub(super) fn with(fault: Fault) -> Self {
        Self {
            inner: MemoryStore::new(),
            fault,
            remembered: Arc::default(),
            kept: Arc::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn panel<'a>(&self, panel: &'a str) -> &'a str {
        if self.is(Fault::IgnoresPanels) {
            DEFAULT_PANEL
        } else {
            panel
        }
    }
}

#[async_trait]
impl AccountStore for Faulty {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.inner.verify_schema().await
    }

    async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError> {
        let count = self.inner.count_accounts(self.panel(panel)).await?;
        Ok(count + u64::from(self.is(Fault::Miscounts)))
    }

    async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let but = if self.is(Fault::CountsThisPanelToo) {
            ""
        } else {
            panel
        };
        self.inner.count_elsewhere(but).await
    }

    async fn page_accounts(
        &self,
        panel: &str,
        after: Option<Cursor>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Page, StoreError> {
        self.page(panel, after, limit, now).await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        ids: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<Account>, StoreError> {
        let accounts = self.inner.reload_accounts(self.panel(panel), ids, now).await?;
        Ok(self.reread(accounts, ids))
    }

    async fn apply(
        &self,
        panel: &str,
        run: Option<RunId>,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.write(panel, run, changes, now).await
    }

    async fn rehearse_unlink(
        &self,
        panel: &str,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        match self.fault {
            Fault::RehearsesForReal => self.inner.unlink(panel, None, account, now).await,
            Fault::RehearsesNothing => Ok(true),
            _ => self.inner.rehearse_unlink(panel, account, now).await,
        }
    }

    async fn unlink(
        &self,
        panel: &str,
        run: Option<RunId>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.cut_off(panel, run, account, now).await
    }

    async fn undo(
        &self,
        panel: &str,
        run: RunId,
        entries: &[EntryRecord],
        now: DateTime<Utc>,
    ) -> Result<Vec<i64>, StoreError> {
        self.put_back(panel, run, entries, now).await
    }
}

#[async_trait]
impl Fixture for Faulty {
    fn store(&self) -> Arc<dyn AccountStore> {
        Arc::new(self.clone())
    }

    async fn insert(&self, bot: &Bot) {
        self.inner.insert(bot).await;
    }

    async fn rows(&self) -> Bot {
        self.inner.rows().await
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Journal for Faulty {
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
        self.inner.agreements(users).await
    }

    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.keep(panel, run, trail, now).await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        match self.fault {
            Fault::SharesLocks => MemoryStore::new().lock(job, panel).await,
            Fault::KeepsLocks => {
                let held = self.inner.lock(job, panel).await?;
                self.kept.lock().unwrap().push(held);
                Ok(Box::new(Pretended { is_lost: false }))
            }
            Fault::LosesLocks => Ok(Box::new(Pretended { is_lost: true })),
            Fault::LocksEverything => self.inner.lock(Job::GetMarzbanSystemStats, "").await,
            _ => self.inner.lock(job, panel).await,
        }
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        if self.is(Fault::AbandonsOtherPanels) {
            let other = self.inner.begin_run(job, "second", now).await?;
            self.inner
                .finish_run(other, RunStatus::Failed, &Value::Null, now)
                .await?;
        }
        self.inner.begin_run(job, panel, now).await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: RunStatus,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (outcome, report) = match self.fault {
            Fault::AlwaysCompleted => (RunStatus::Completed, report),
            Fault::ForgetsReports => (outcome, &Value::Null),
            _ => (outcome, report),
        };
        let finished = self.inner.finish_run(run, outcome, report, now).await;
        if self.is(Fault::EndsAnyRun) {
            return Ok(());
        }
        finished
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if self.is(Fault::LosesFigures) {
            return Ok(());
        }
        self.inner.record_system_stats(panel, stats, now).await
    }

    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        match self.fault {
            Fault::ForgetsNothing => Ok(3),
            Fault::ForgetsAnyPanel => {
                self.inner.prune_history("second", before).await?;
                self.inner.prune_history(panel, before).await
            }
            _ => self.inner.prune_history(panel, before).await,
        }
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let mut runs = self.inner.runs(query).await?;
        if self.is(Fault::OldestFirst) {
            runs.reverse();
        }
        Ok(runs)
    }

    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
        let outcome = outcome.filter(|_| !self.is(Fault::IgnoresOutcomes));
        let mut latest = self.inner.latest_runs(outcome).await?;
        if self.is(Fault::TrustsClocks) {
            let runs = self.inner.recorded_runs().into_iter();
            let ended_so = runs.filter(|run| outcome.is_none_or(|outcome| outcome == run.status));
            latest = ended_so.max_by_key(|run| run.started_at).into_iter().collect();
        }
        Ok(latest)
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        self.inner.system_stats(panel, since).await
    }

    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
        let entries = self.inner.entries(query).await?;
        Ok(self.retold(query, entries))
    }
}
