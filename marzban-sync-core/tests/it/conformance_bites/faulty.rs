//! A store in memory with one planted fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::error::{StoreError, StoreErrorKind};
use marzban_sync_core::history::{History, RunQuery, RunRecord, SystemStatsRecord};
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::store::{
    Cursor, DEFAULT_PANEL, MemoryStore, Outcome, Page, RunId, RunLock, Scope, Store,
};
use marzban_sync_core::testing::conformance::store::{Bot, Fixture};
use serde_json::Value;

mod reads;
mod writes;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    IgnoresPanels,
    IgnoresMoves,
    ForgetsOtherPanels,
    Nothing,
    /// Says that a change was written, and writes nothing.
    LosesWrites,
    /// Writes whatever the row holds now.
    IgnoresExpected,
    /// Takes a subscription as it is now for what was expected.
    IgnoresPayments,
    /// Gives the first page again and again, for a while.
    RepeatsPages,
    /// Parts the accounts of a user.
    PartsUsers,
    /// Counts an account too many.
    Miscounts,
    /// Puts every scope on a level with `All`.
    IgnoresScope,
    /// Takes the end itself for before the end.
    IncludesTheBoundary,
    /// Gives a lock to whoever asks.
    SharesLocks,
    /// Has one lock for all jobs.
    LocksEverything,
    /// Clears any name.
    UnlinksAnybody,
    /// Takes the time from elsewhere.
    IgnoresTheTime,
    /// Cuts times to the second.
    LosesFractions,
    /// Calls every end a success.
    AlwaysCompleted,
    /// Takes a run of whatever panel for one whose process died.
    AbandonsOtherPanels,
    /// Says that it forgot, and keeps all.
    ForgetsNothing,
    /// Forgets the history of other panels too.
    ForgetsAnyPanel,
    /// Takes a row whose name is empty for an account.
    SeesNamelessRows,
    /// Reads no telegram ids.
    ForgetsTelegramIds,
    /// Gives a user without a subscription that of somebody else.
    LendsSubscriptions,
    /// Lets the latest end govern, open or not.
    LatestGoverns,
    /// Lets an `active` subscription govern before a `trial`.
    ActiveBeforeTrial,
    /// Takes no end for the earliest one.
    NoEndIsTheEarliest,
    /// Breaks a tie by the lowest id.
    LowestIdGoverns,
    /// Puts the scope of all accounts on a level with `Subscribed`.
    AllIsSubscribed,
    /// Looks at any subscription of a user, rather than at the one that governs.
    AnySubscriptionCounts,
    /// Has a page behind every page.
    EndlessPages,
    /// Takes a page of no users for one of one user.
    AllowsEmptyPages,
    /// Reads a user less than was asked for.
    SmallerPages,
    /// Goes on behind the last account of a page.
    CursorIsTheLastAccount,
    /// Reloads the accounts that were asked for, and not the others of their users.
    ReloadsWhatIsAsked,
    /// Reloads what it has read before.
    Remembers,
    /// Reads names in small letters.
    LowersNames,
    /// Reads null as false.
    NullIsFalse,
    /// Compares digits that it does not keep.
    ComparesNanoseconds,
    /// Keeps traffic in 32 bits.
    CutsTraffic,
    /// Marks rows as updated that it was not to write.
    TouchesAnyway,
    /// Compares a change with what the change before it has written.
    OneByOne,
    /// Writes one table, and later the other.
    HalfAtATime,
    /// Leaves an unlinked account switched on.
    UnlinksTheNameAlone,
    /// Finds a conflict where there is no subscription.
    NeedsASubscription,
    /// Finds a conflict where there are several subscriptions.
    NeedsOneSubscription,
    /// Writes nothing when something is in conflict.
    AllOrNothing,
    /// Compares, and writes later.
    ChecksThenWrites,
    /// Writes what has a row to go to, and leaves out the rest.
    WritesHalf,
    /// Never frees a lock.
    KeepsLocks,
    /// Says of a lock that it holds that it was lost.
    LosesLocks,
    /// Records no reports.
    ForgetsReports,
    /// Ends runs that never began.
    EndsAnyRun,
    /// Says that figures were recorded, and records nothing.
    LosesFigures,
    /// Reads the history the oldest first.
    OldestFirst,
    /// Reads the latest run, however it ended.
    IgnoresOutcomes,
}

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
impl Store for Faulty {
    async fn verify_schema(&self) -> Result<(), StoreError> {
        self.inner.verify_schema().await
    }

    async fn count_accounts(&self, panel: &str, scope: Scope) -> Result<u64, StoreError> {
        let count = self
            .inner
            .count_accounts(self.panel(panel), self.scope(scope))
            .await?;
        Ok(count + u64::from(self.is(Fault::Miscounts)))
    }

    async fn page_accounts(
        &self,
        panel: &str,
        scope: Scope,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, StoreError> {
        self.page(panel, scope, after, limit).await
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        let accounts = self
            .inner
            .reload_accounts(self.panel(panel), self.scope(scope), ids)
            .await?;
        Ok(self.reread(accounts, ids))
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.write(panel, changes, now).await
    }

    async fn unlink(&self, panel: &str, account: &Account, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut account = account.clone();
        if self.is(Fault::UnlinksAnybody)
            && let Some(name) = self
                .inner
                .vpn_config(account.id)
                .and_then(|row| row.marzban_user_id)
        {
            account.name = name;
        }
        let unlinked = self.inner.unlink(panel, &account, now).await?;
        if unlinked
            && self.is(Fault::UnlinksTheNameAlone)
            && let Some(mut row) = self.inner.vpn_config(account.id)
        {
            row.is_active = Some(true);
            self.inner.insert_vpn_config(row);
        }
        Ok(unlinked)
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
                .finish_run(other, Outcome::Failed, &Value::Null, now)
                .await?;
        }
        self.inner.begin_run(job, panel, now).await
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: Outcome,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (outcome, report) = match self.fault {
            Fault::AlwaysCompleted => (Outcome::Completed, report),
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

    async fn forget_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        match self.fault {
            Fault::ForgetsNothing => Ok(3),
            Fault::ForgetsAnyPanel => {
                self.inner.forget_history("second", before).await?;
                self.inner.forget_history(panel, before).await
            }
            _ => self.inner.forget_history(panel, before).await,
        }
    }
}

#[async_trait]
impl Fixture for Faulty {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    async fn insert(&self, bot: &Bot) {
        self.inner.insert(bot).await;
    }

    async fn rows(&self) -> Bot {
        self.inner.rows().await
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl History for Faulty {
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let mut runs = self.inner.runs(query).await?;
        if self.is(Fault::OldestFirst) {
            runs.reverse();
        }
        Ok(runs)
    }

    async fn latest_runs(&self, outcome: Option<Outcome>) -> Result<Vec<RunRecord>, StoreError> {
        let outcome = outcome.filter(|_| !self.is(Fault::IgnoresOutcomes));
        self.inner.latest_runs(outcome).await
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        self.inner.system_stats(panel, since).await
    }
}
