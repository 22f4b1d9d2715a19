//! The journal in memory.

use std::cmp::Reverse;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{MemoryLock, MemoryStore, Tables};
use crate::adapter::listed::select::stored;
use crate::model::outcome::RunStatus;
use crate::model::report::{Job, SystemStats};
use crate::model::run::{RunId, RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::error::{StoreError, StoreErrorKind};
use crate::port::journal::{Journal, PanelUserKey, Remembered, RunLock, Trail};

impl Tables {
    /// All runs, the latest first.
    fn latest_first(&self) -> Vec<RunRecord> {
        let mut runs = self.runs.clone();
        runs.sort_by_key(|run| Reverse(run.id));
        runs
    }

    /// The runs of this job and panel that still are `running` are of processes that died.
    pub(super) fn abandon(&mut self, job: Job, panel: &str) {
        for run in &mut self.runs {
            if run.job == job && run.panel == panel && run.status == RunStatus::Running {
                run.status = RunStatus::Abandoned;
            }
        }
    }

    /// Forgets what is older than this, and tells how much that was.
    pub(super) fn forget(&mut self, panel: &str, before: DateTime<Utc>) -> u64 {
        let is_completed = |run: &RunRecord| run.status == RunStatus::Completed;
        let last_good: Vec<_> = self
            .runs
            .iter()
            .filter(|run| {
                is_completed(run)
                    && !self.runs.iter().any(|later| {
                        (later.job, &later.panel) == (run.job, &run.panel)
                            && is_completed(later)
                            && later.id > run.id
                    })
            })
            .map(|run| run.id)
            .collect();
        let held = self.runs.len() + self.system_stats.len() + self.entries.len();
        self.runs.retain(|run| {
            run.panel != panel
                || run.started_at >= before
                || run.status == RunStatus::Running
                || last_good.contains(&run.id)
        });
        self.system_stats
            .retain(|record| record.panel != panel || record.collected_at >= before);
        self.entries
            .retain(|entry| entry.panel != panel || entry.at >= before);
        (held - self.runs.len() - self.system_stats.len() - self.entries.len()) as u64
    }
}

#[async_trait]
impl Journal for MemoryStore {
    async fn agreements(&self, users: &[PanelUserKey]) -> Result<Vec<Remembered>, StoreError> {
        let tables = self.tables();
        let remembered = |user: &PanelUserKey| {
            let (revision, agreement) = tables.agreements.get(user)?.clone();
            Some(Remembered {
                user: user.clone(),
                revision,
                agreement,
            })
        };
        Ok(users.iter().filter_map(remembered).collect())
    }

    async fn record(
        &self,
        panel: &str,
        run: Option<RunId>,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.tables().record(panel, run, trail, stored(now));
        Ok(())
    }

    async fn lock(&self, job: Job, panel: &str) -> Result<Box<dyn RunLock>, StoreError> {
        let key = (job, panel.to_owned());
        if !self.tables().locks.insert(key.clone()) {
            return Err(StoreError::new(
                StoreErrorKind::AlreadyRunning,
                format!("another run of {job} for the panel {panel:?} is under way"),
            ));
        }
        Ok(Box::new(MemoryLock {
            store: self.clone(),
            key,
        }))
    }

    async fn begin_run(&self, job: Job, panel: &str, now: DateTime<Utc>) -> Result<RunId, StoreError> {
        let mut tables = self.tables();
        tables.abandon(job, panel);
        let id = RunId(tables.runs.last().map_or(1, |run| run.id.0 + 1));
        tables.runs.push(RunRecord {
            id,
            job,
            panel: panel.to_owned(),
            started_at: stored(now),
            finished_at: None,
            status: RunStatus::Running,
            report: None,
        });
        Ok(id)
    }

    async fn finish_run(
        &self,
        run: RunId,
        outcome: RunStatus,
        report: &Value,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.runs.iter_mut().find(|row| row.id == run) else {
            return Err(StoreError::new(
                StoreErrorKind::Invalid,
                format!("there is no run {}", run.0),
            ));
        };
        row.finished_at = Some(stored(now));
        row.status = outcome;
        row.report = Some(report.clone());
        Ok(())
    }

    async fn record_system_stats(
        &self,
        panel: &str,
        stats: &SystemStats,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.tables().system_stats.push(SystemStatsRecord {
            panel: panel.to_owned(),
            collected_at: stored(now),
            stats: stats.clone(),
        });
        Ok(())
    }

    async fn prune_history(&self, panel: &str, before: DateTime<Utc>) -> Result<u64, StoreError> {
        Ok(self.tables().forget(panel, before))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRecord>, StoreError> {
        let is_wanted = |run: &RunRecord| {
            query.panel.as_ref().is_none_or(|panel| *panel == run.panel)
                && query.job.is_none_or(|job| job == run.job)
                && query.status.is_none_or(|outcome| outcome == run.status)
        };
        let runs = self.tables().latest_first();
        Ok(runs
            .into_iter()
            .filter(is_wanted)
            .take(query.limit as usize)
            .collect())
    }

    async fn latest_runs(&self, outcome: Option<RunStatus>) -> Result<Vec<RunRecord>, StoreError> {
        let mut runs = self.tables().latest_first();
        runs.retain(|run| outcome.is_none_or(|outcome| outcome == run.status));
        // The sort is stable, so the latest of each panel and job stays the first.
        runs.sort_by(|one, other| (&one.panel, one.job).cmp(&(&other.panel, other.job)));
        runs.dedup_by(|later, first| (&later.panel, later.job) == (&first.panel, first.job));
        Ok(runs)
    }

    async fn system_stats(
        &self,
        panel: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<SystemStatsRecord>, StoreError> {
        let mut stats = self.tables().system_stats.clone();
        stats.retain(|record| record.panel == panel && record.collected_at >= since);
        stats.sort_by_key(|record| record.collected_at);
        Ok(stats)
    }

    async fn entries(&self, query: &EntryQuery) -> Result<Vec<EntryRecord>, StoreError> {
        let entries = self.tables().entries.clone();
        Ok(match query {
            EntryQuery::Run(run) => entries
                .into_iter()
                .filter(|entry| entry.run == Some(*run))
                .collect(),
            EntryQuery::Customer { name, limit } => entries
                .into_iter()
                .rev()
                .filter(|record| {
                    let entry = &record.entry;
                    entry.username == *name || entry.telegram_id.is_some_and(|id| id.to_string() == *name)
                })
                .take(*limit as usize)
                .collect(),
        })
    }
}
