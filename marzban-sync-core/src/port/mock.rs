//! A mock of both ports to a database at once, as the stores of this crate are both.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::accounts::{AccountStore, Cursor, Page};
use super::journal::{Journal, PanelUserKey, Remembered, RunLock, Trail};
use crate::model::account::{Account, AccountId};
use crate::model::outcome::RunStatus;
use crate::model::plan::Change;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::error::StoreError;

mockall::mock! {
    /// A store that does as a test says.
    #[derive(Debug)]
    pub Store {}

    #[async_trait]
    impl AccountStore for Store {
        async fn verify_schema(&self) -> Result<(), StoreError>;
        async fn count_accounts(&self, panel: &str) -> Result<u64, StoreError>;
        async fn count_elsewhere(&self, panel: &str) -> Result<BTreeMap<String, u64>, StoreError>;
        async fn page_accounts(
            &self, panel: &str, after: Option<Cursor>, limit: u32, now: DateTime<Utc>,
        ) -> Result<Page, StoreError>;
        async fn reload_accounts(
            &self, panel: &str, ids: &[AccountId], now: DateTime<Utc>,
        ) -> Result<Vec<Account>, StoreError>;
        async fn apply(
            &self, panel: &str, run: Option<RunId>, changes: &[Change], now: DateTime<Utc>,
        ) -> Result<Vec<AccountId>, StoreError>;
        async fn rehearse_unlink(
            &self, panel: &str, account: &Account, now: DateTime<Utc>,
        ) -> Result<bool, StoreError>;
        async fn unlink(
            &self, panel: &str, run: Option<RunId>, account: &Account, now: DateTime<Utc>,
        ) -> Result<bool, StoreError>;
        async fn undo(
            &self, panel: &str, run: RunId, entries: &[EntryRecord], now: DateTime<Utc>,
        ) -> Result<Vec<i64>, StoreError>;
    }

    #[async_trait]
    impl Journal for Store {
        async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError>;
        async fn record(
            &self, panel: &str, run: Option<RunId>, trail: &Trail, now: DateTime<Utc>,
        ) -> Result<(), StoreError>;
        async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError>;
        async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError>;
        async fn finish_run(
            &self, run: RunId, outcome: RunStatus, report: &Value, now: DateTime<Utc>,
        ) -> Result<(), StoreError>;
        async fn record_system_stats(
            &self, panel: &str, stats: &SystemStats, now: DateTime<Utc>,
        ) -> Result<(), StoreError>;
        async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError>;
        async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError>;
        async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError>;
        async fn system_stats(
            &self, panel: &str, since: DateTime<Utc>,
        ) -> Result<Vec<SystemStatsRecord>, StoreError>;
        async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError>;
    }
}
