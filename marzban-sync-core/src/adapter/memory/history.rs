//! Reading the history, and forgetting what is old.

use std::cmp::Reverse;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, Tables};
use crate::model::outcome::RunStatus;
use crate::model::report::Job;
use crate::model::run::{RunQuery, RunRecord, SystemStatsRecord};
use crate::model::trail::{EntryQuery, EntryRecord};
use crate::port::error::StoreError;
use crate::port::history::History;

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
impl History for MemoryStore {
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
