//! What speaks against deleting anybody at all: syncs that were stopped, a wrong clock, a panel that knows nobody.

use chrono::TimeDelta;

use super::{Cleanup, PAGE_USERS};
use crate::decide::limits::LimitExceeded;
use crate::decide::merge_ends::is_other_user;
use crate::jobs::Context;
use crate::jobs::job_run::{Interrupt, JobRun};
use crate::model::account::Account;
use crate::model::observation::{Observation, Observed};
use crate::model::outcome::{RunStatus, Stopped};
use crate::model::report::Job;
use crate::model::run::{RunQuery, RunRecord};
use crate::port::panel::MAX_NAMES;

/// A sync job must have completed this lately before anything is deleted.
const RECENT_SYNC: TimeDelta = TimeDelta::days(1);

/// How many runs of a sync job are looked through for the last one that ended.
const RUNS_LOOKED_THROUGH: u32 = 50;

impl Cleanup {
    pub(super) fn check_clock(&mut self, job_run: &JobRun<'_>) {
        let limits = job_run.context.limits;
        let clocks = limits.check_clocks(job_run.reader.clock_difference());
        self.blocked = clocks.or(self.blocked);
    }

    /// A panel that returns none of the candidates may be the wrong one, where nobody is known and all would count as
    /// gone; so it is asked for other users of the bot's, and without one of them nothing is done.
    pub(super) async fn know_the_panel(
        &mut self,
        job_run: &mut JobRun<'_>,
        seen: &[Observed],
    ) -> Result<(), Interrupt> {
        // A user of the same name in another panel was created at another time.
        let is_ours = |observed: &Observed| {
            matches!(&observed.observation, Observation::Found(user)
                if !is_other_user(user, &observed.account.agreement))
        };
        let knows = |seen: &[Observed]| seen.iter().any(is_ours);
        if self.is_known_panel || knows(seen) {
            self.is_known_panel = true;
            return Ok(());
        }
        let is_gone = |observed: &Observed| {
            matches!(
                observed.observation,
                Observation::NotListed | Observation::NotFound
            )
        };
        if !seen.iter().any(is_gone) {
            return Ok(());
        }
        let has_access = |account: &Account| {
            account
                .subscription
                .as_ref()
                .is_some_and(|subscription| subscription.status.is_open())
        };
        let is_no_candidate =
            |account: &Account| !seen.iter().any(|observed| observed.account.id == account.id);
        // Those who have access are the likeliest to be there, and then those who have lost it only lately.
        let mut asked = sample(job_run, has_access).await?;
        if asked.is_empty() {
            asked = sample(job_run, is_no_candidate).await?;
        }
        // Without any other account there is nobody to ask for, and nobody to lose.
        let is_alone = asked.is_empty();
        let (others, result) = job_run.reader.observe(asked).await;
        self.is_known_panel = is_alone || knows(&others);
        result
    }
}

/// Why the runs of the sync jobs forbid a deletion: no brake may have been tripped in the last one of each, and one must
/// have completed within the last day.
///
/// A run that ended before it had counted, or whose clock was of the future, proves nothing.
pub(super) async fn blocked_by_syncs(job_run: &JobRun<'_>) -> Result<Option<LimitExceeded>, Interrupt> {
    let context = job_run.context;
    let now = job_run.writer.now();
    let mut has_completed = false;
    for job in [Job::SyncSubscriptionsFromMarzban, Job::SyncUserStatusFromMarzban] {
        let query = RunQuery {
            panel: Some(context.panel_name.clone()),
            job: Some(job),
            ..RunQuery::latest(RUNS_LOOKED_THROUGH)
        };
        let runs = step!(cleanup.past_runs, context.journal.runs(&query)).await?;
        let has_passed = |run: &&RunRecord| run.status == RunStatus::Completed && run.started_at <= now;
        let was_stopped_for_safety = |run: &RunRecord| run.stopped() == Some(Stopped::Safety);
        let last = runs
            .iter()
            .find(|run| was_stopped_for_safety(run) || has_passed(run));
        if last.is_some_and(was_stopped_for_safety) {
            return Ok(Some(LimitExceeded::SyncStopped));
        }
        let is_recent = |run: &RunRecord| {
            run.status == RunStatus::Completed
                && (TimeDelta::zero()..=RECENT_SYNC).contains(&(now - run.started_at))
        };
        has_completed |= runs.iter().any(is_recent);
    }
    // A dry run of all jobs leaves no run of a sync behind, and deletes nobody.
    Ok((!has_completed && !context.options.dry_run).then_some(LimitExceeded::NoRecentSync))
}

/// A few accounts that the panel may be asked for to see whether it knows them.
async fn sample(
    job_run: &JobRun<'_>,
    is_wanted: impl Fn(&Account) -> bool,
) -> Result<Vec<Account>, Interrupt> {
    let Context {
        accounts, panel_name, ..
    } = job_run.context;
    let mut after = None;
    loop {
        let page = accounts.page_accounts(panel_name, after, PAGE_USERS, job_run.writer.now());
        let page = step!(cleanup.page_others, page).await?;
        let mut accounts = page.accounts;
        accounts.retain(&is_wanted);
        accounts.truncate(MAX_NAMES);
        match page.next {
            Some(next) if accounts.is_empty() => after = Some(next),
            _ => return Ok(accounts),
        }
    }
}
