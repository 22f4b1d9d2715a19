//! The laws bite: a store with one planted fault breaks the law that forbids it.

use marzban_sync_core::store::DEFAULT_PANEL;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use marzban_sync_core::account::{Account, AccountId};
use marzban_sync_core::error::StoreError;
use marzban_sync_core::history::History;
use marzban_sync_core::plan::Change;
use marzban_sync_core::report::{Job, SystemStats};
use marzban_sync_core::store::{Cursor, MemoryStore, Outcome, Page, RunId, RunLock, Scope, Store};
use marzban_sync_core::testing::conformance::{self, Bot, Fixture};
use serde_json::Value;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
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
}

/// A store in memory with a fault.
#[derive(Clone)]
struct Faulty {
    inner: MemoryStore,
    fault: Fault,
}

impl Faulty {
    fn with(fault: Fault) -> Self {
        Self {
            inner: MemoryStore::new(),
            fault,
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

    fn forget_other_panels(&self, accounts: &mut [Account]) {
        for account in accounts {
            account.active_elsewhere &= !self.is(Fault::ForgetsOtherPanels);
        }
    }

    /// The panel that the first row belongs to by now.
    fn panel_of(&self, changes: &[Change]) -> String {
        let row = changes
            .first()
            .and_then(|change| self.inner.vpn_config(change.account.id));
        row.and_then(|row| row.panel)
            .unwrap_or_else(|| DEFAULT_PANEL.to_owned())
    }

    fn scope(&self, scope: Scope) -> Scope {
        match scope {
            _ if self.is(Fault::IgnoresScope) => Scope::All,
            Scope::Ended { before } if self.is(Fault::IncludesTheBoundary) => Scope::Ended {
                before: before + TimeDelta::microseconds(1),
            },
            scope => scope,
        }
    }

    /// The change as if the rows of now were what it was decided from.
    async fn forgive(&self, change: &Change) -> Change {
        let mut change = change.clone();
        let accounts = self
            .inner
            .reload_accounts(DEFAULT_PANEL, Scope::All, &[change.account.id])
            .await
            .unwrap();
        if let Some(current) = accounts
            .into_iter()
            .find(|account| account.id == change.account.id)
        {
            if self.is(Fault::IgnoresExpected) {
                change.account = current;
            } else {
                change.account.subscription = current.subscription;
            }
        }
        change
    }

    fn cut_fractions(change: &Change) -> Change {
        let mut change = change.clone();
        let whole = |time: DateTime<Utc>| DateTime::from_timestamp(time.timestamp(), 0).unwrap();
        change.vpn_config.last_connected_at = change.vpn_config.last_connected_at.map(whole);
        change
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
        let scope = self.scope(scope);
        let mut page = self
            .inner
            .page_accounts(self.panel(panel), scope, after, limit)
            .await?;
        self.forget_other_panels(&mut page.accounts);
        if self.is(Fault::RepeatsPages) && after.is_some() {
            page.accounts = self
                .inner
                .page_accounts(panel, scope, None, limit)
                .await?
                .accounts;
        }
        if self.is(Fault::PartsUsers) {
            page.accounts.sort_by_key(|account| account.id);
        }
        Ok(page)
    }

    async fn reload_accounts(
        &self,
        panel: &str,
        scope: Scope,
        ids: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        let mut accounts = self
            .inner
            .reload_accounts(self.panel(panel), self.scope(scope), ids)
            .await?;
        self.forget_other_panels(&mut accounts);
        Ok(accounts)
    }

    async fn apply(
        &self,
        panel: &str,
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Result<Vec<AccountId>, StoreError> {
        match self.fault {
            Fault::IgnoresMoves => self.inner.apply(&self.panel_of(changes), changes, now).await,
            Fault::LosesWrites => Ok(changes.iter().map(|change| change.account.id).collect()),
            Fault::IgnoresExpected | Fault::IgnoresPayments => {
                let mut forgiven = Vec::new();
                for change in changes {
                    forgiven.push(self.forgive(change).await);
                }
                self.inner.apply(panel, &forgiven, now).await
            }
            Fault::LosesFractions => {
                let cut: Vec<Change> = changes.iter().map(Self::cut_fractions).collect();
                self.inner.apply(panel, &cut, now).await
            }
            Fault::IgnoresTheTime => self.inner.apply(panel, changes, now + TimeDelta::hours(1)).await,
            _ => self.inner.apply(panel, changes, now).await,
        }
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
        self.inner.unlink(panel, &account, now).await
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        match self.fault {
            Fault::SharesLocks => MemoryStore::new().lock(job, panel).await,
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
        let outcome = if self.is(Fault::AlwaysCompleted) {
            Outcome::Completed
        } else {
            outcome
        };
        self.inner.finish_run(run, outcome, report, now).await
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
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
        bot.users
            .iter()
            .cloned()
            .for_each(|row| self.inner.insert_user(row));
        bot.subscriptions
            .iter()
            .cloned()
            .for_each(|row| self.inner.insert_subscription(row));
        bot.vpn_configs
            .iter()
            .cloned()
            .for_each(|row| self.inner.insert_vpn_config(row));
    }

    async fn rows(&self) -> Bot {
        Bot {
            users: self.inner.users(),
            subscriptions: self.inner.subscriptions(),
            vpn_configs: self.inner.vpn_configs(),
        }
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::new(self.inner.clone())
    }
}

macro_rules! bites {
    ($($test:ident: $fault:ident breaks $law:ident;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                let sound = Faulty::with(Fault::Nothing);
                conformance::$law(&sound).await;
                let faulty = Faulty::with(Fault::$fault);
                let law = tokio::spawn(async move { conformance::$law(&faulty).await });
                assert!(law.await.expect_err("the law is broken").is_panic());
            }
        )+
    };
}

bites! {
    accounts_of_another_panel_are_seen: IgnoresPanels breaks a_call_sees_the_accounts_of_its_panel_alone;
    a_write_to_a_moved_account_is_seen: IgnoresMoves breaks an_account_that_moved_to_another_panel_is_a_conflict;
    a_forgotten_other_panel_is_seen: ForgetsOtherPanels breaks a_user_active_in_another_panel_is_said_to_be;
    lost_writes_are_seen: LosesWrites breaks a_change_writes_what_it_names_and_nothing_else;
    lost_writes_of_a_batch_are_seen: LosesWrites breaks ten_thousand_changes_are_applied_at_once;
    ignored_expectations_are_seen: IgnoresExpected breaks a_stale_vpn_config_is_a_conflict;
    a_change_applied_twice_is_seen: IgnoresExpected breaks a_change_is_applied_once;
    an_overwritten_payment_is_seen: IgnoresPayments breaks a_stale_subscription_is_a_conflict_for_what_depends_on_it;
    an_overlooked_payment_is_seen: IgnoresPayments breaks a_new_governing_subscription_is_a_conflict_for_what_depends_on_it;
    a_first_payment_is_seen: IgnoresPayments breaks a_first_subscription_is_a_conflict_for_what_depends_on_none;
    repeated_pages_are_seen: RepeatsPages breaks pages_of_every_size_are_ordered_complete_and_without_repeats;
    parted_users_are_seen: PartsUsers breaks pages_of_every_size_are_ordered_complete_and_without_repeats;
    a_wrong_count_is_seen: Miscounts breaks the_count_is_what_the_pages_hold;
    an_ignored_scope_is_seen: IgnoresScope breaks scope_subscribed_is_active_trial_and_expired;
    an_ignored_scope_is_seen_on_reload: IgnoresScope breaks a_reload_keeps_to_the_scope;
    an_included_boundary_is_seen: IncludesTheBoundary breaks scope_ended_is_all_subscriptions_over_before_the_moment;
    a_shared_lock_is_seen: SharesLocks breaks a_second_run_is_already_running;
    one_lock_for_all_is_seen: LocksEverything breaks another_job_or_panel_is_not_locked;
    an_unlinked_bystander_is_seen: UnlinksAnybody breaks unlinking_minds_the_name_alone;
    a_time_from_elsewhere_is_seen: IgnoresTheTime breaks a_change_writes_both_rows_together;
    lost_fractions_are_seen: LosesFractions breaks times_survive_to_the_microsecond;
    a_failure_called_success_is_seen: AlwaysCompleted breaks each_run_ends_as_itself;
    an_abandoned_bystander_is_seen: AbandonsOtherPanels breaks a_run_left_running_is_abandoned_by_the_next;
    a_kept_history_is_seen: ForgetsNothing breaks old_history_is_forgotten_but_for_the_last_good_runs;
    a_forgotten_bystander_is_seen: ForgetsAnyPanel breaks old_history_is_forgotten_but_for_the_last_good_runs;
}
