//! The scheduler: queues one task per panel, job and tick, whichever scheduler is first.
//!
//! The library's [`Agenda`] decides what is due: it alone reads cron expressions and knows what
//! becomes of missed ticks. apalis's own cron engine is not used: it would be a second reading of
//! the same text, it gives each scheduler's copy of a tick another id, and it does not remember missed ticks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use marzban_sync_core::report::Job;
use marzban_sync_core::schedule::{Agenda, Schedule, Tick};
use marzban_sync_core::scheduler::Timer;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::queue::{Pushed, Queue};
use crate::task::SyncTask;

/// The longest sleep, so that a clock that is set forward is noticed.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// How often old tasks are removed.
const REMOVE_INTERVAL: Duration = Duration::from_hours(1);

/// A scheduler of the queue.
pub(crate) struct Scheduler {
    pub(crate) queue: Queue,
    pub(crate) panels: Vec<String>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) timer: Arc<dyn Timer>,
    pub(crate) keep_finished: Duration,
}

impl Scheduler {
    /// Queues what is due until it is asked to end.
    ///
    /// # Errors
    /// When the last ticks cannot be read at the start. Later outages of the database are waited out.
    pub(crate) async fn run(self, cancellation: CancellationToken) -> anyhow::Result<()> {
        let mut agendas = self.agendas().await?;
        let mut outbox = Outbox::default();
        let mut remove_at = Instant::now();
        while !cancellation.is_cancelled() {
            let now = self.timer.now();
            for (panel, agenda) in &mut agendas {
                // Only the library's lock shows whether a run is under way: a worker that finds one
                // tries again later.
                for tick in agenda.take_due(now, |_| false) {
                    outbox.put(panel, tick);
                }
            }
            outbox.flush(&self.queue).await;
            if remove_at <= Instant::now() {
                remove_at = Instant::now() + REMOVE_INTERVAL;
                self.remove_finished().await;
            }
            let next = agendas.iter().filter_map(|(_, agenda)| agenda.next(now)).min();
            let due = async {
                match next {
                    Some(next) => self.timer.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = sleep(MAX_SLEEP) => {}
                () = cancellation.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Returns one agenda per panel, which resumes after the last tick that any scheduler queued.
    async fn agendas(&self) -> anyhow::Result<Vec<(String, Agenda)>> {
        let mut agendas = Vec::new();
        for panel in &self.panels {
            let last = self.queue.last_ticks(panel).await?;
            let agenda = Agenda::resumed(self.schedules.clone(), self.timer.now(), |job| {
                last.get(&job).copied()
            });
            agendas.push((panel.clone(), agenda));
        }
        Ok(agendas)
    }

    async fn remove_finished(&self) {
        match self.queue.remove_finished(self.keep_finished).await {
            Ok(removed) => tracing::debug!(removed, "old tasks were removed"),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "old tasks were not removed"),
        }
    }
}

/// Ticks that are due and not yet queued: the latest of each job and panel.
#[derive(Debug, Default)]
struct Outbox(BTreeMap<(String, Job), DateTime<Utc>>);

impl Outbox {
    fn put(&mut self, panel: &str, tick: Tick) {
        self.0.insert((panel.to_owned(), tick.job), tick.at);
    }

    /// Queues them; a tick that the queue refuses is tried again in the next round.
    async fn flush(&mut self, queue: &Queue) {
        while let Some(entry) = self.0.first_entry() {
            let ((panel, job), at) = (entry.key(), *entry.get());
            let task = SyncTask::scheduled(panel, Tick { at, job: *job });
            match queue.push(task).await {
                Ok(Pushed::Queued(id)) => {
                    tracing::info!(%job, panel, tick = %at, task.id = id, "a run is due");
                }
                Ok(Pushed::AlreadyQueued) => tracing::debug!(%job, panel, tick = %at, "already queued"),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        waiting = self.0.len(),
                        "a run was not queued"
                    );
                    return;
                }
            }
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests;
