//! The panel behind: panel users that are given the end that was paid for.

use super::SyncRun;
use crate::decide::reconcile::{Decision, Push};
use crate::jobs::Context;
use crate::jobs::change_writer::ChangeWriter;
use crate::jobs::job_run::{Interrupt, JobRun};
use crate::model::account::{Account, AccountId};
use crate::model::agreement::PanelExtension;
use crate::model::end_date::EndDate;
use crate::model::report::{Problem, ProblemReason};
use crate::model::trail::{Entry, EntryState, Target, moment};
use crate::port::journal::Trail;
use crate::port::panel::{ExpectedUser, UpdateOutcome};

/// A panel user that is to be extended, and the problem that it is until then.
pub(super) struct Pushed {
    id: AccountId,
    push: Push,
    problem: Problem,
}

impl Pushed {
    pub(super) fn of(decision: &Decision<'_>, push: Push) -> Self {
        let detail = decision.problem.as_ref().and_then(|(_, detail)| detail.clone());
        Self {
            id: decision.account.id,
            push,
            problem: Problem::of(decision.account, ProblemReason::PanelBehind, detail),
        }
    }
}

impl SyncRun {
    /// Extends the panel users that are behind, unless these are too many at once.
    pub(super) async fn push(&mut self, job_run: &mut JobRun<'_>) -> Result<(), Interrupt> {
        if job_run.writer.run.stopped.is_some() {
            // A brake that was tripped makes the panel's ends doubtful as a whole.
            self.give_up_pushing(&mut job_run.writer);
            return Ok(());
        }
        let Context { limits, options, .. } = job_run.context;
        let allow = options.answers.allow_mass_changes;
        let count = self.pushed.len() as u64;
        if let Some(withheld) = limits.check_extensions(count, self.tally.total, allow) {
            job_run.writer.stop_for_safety(&withheld);
            job_run.writer.run.withheld += count;
            self.give_up_pushing(&mut job_run.writer);
            return Ok(());
        }
        while let Some(next) = self.pushed.pop() {
            match self.extend(job_run, &next).await {
                Ok(None) => {}
                Ok(Some(why)) => {
                    let mut problem = next.problem;
                    problem.detail = Some(match problem.detail {
                        Some(detail) => format!("{detail}; {why}"),
                        None => why,
                    });
                    job_run.writer.note_problem(next.id, problem);
                }
                Err(interrupt) => {
                    job_run.writer.note_problem(next.id, next.problem);
                    return Err(interrupt);
                }
            }
        }
        Ok(())
    }

    /// Reports the panel users that are behind and were not extended.
    pub(super) fn give_up_pushing(&mut self, writer: &mut ChangeWriter<'_>) {
        for Pushed { id, problem, .. } in std::mem::take(&mut self.pushed) {
            writer.note_problem(id, problem);
        }
    }

    /// Extends one panel user; returns why it was not, if so.
    async fn extend(&self, job_run: &mut JobRun<'_>, pushed: &Pushed) -> Result<Option<String>, Interrupt> {
        job_run.reader.check()?;
        let Push { from, to, created_at } = pushed.push;
        let Some(account) = self.still_behind(job_run, pushed).await? else {
            return Ok(Some("the row has changed since".to_owned()));
        };
        let entry = Entry::of(&account, Target::PanelExpire, ProblemReason::PanelBehind.as_str())
            .values(Some(moment(from)), Some(moment(to)));
        if job_run.context.options.dry_run {
            job_run.writer.note_changed(entry);
            job_run.writer.run.extended_in_panel += 1;
            return Ok(None);
        }
        job_run.verify_lock().await?;
        // Before the request: should this process die right after it, the next run knows of the extension.
        let mut agreement = account.agreement.clone();
        agreement.extension = Some(PanelExtension {
            at: job_run.writer.now(),
            from,
            to,
        });
        let intent = Trail {
            agreements: vec![(account.name.clone(), account.revision, Some(agreement.clone()))],
            entries: vec![Entry {
                state: EntryState::Intended,
                ..entry.clone()
            }],
        };
        self.record(job_run, &intent).await?;
        let expected = ExpectedUser {
            expire: Some(from),
            created_at,
        };
        let panel = &job_run.context.panel;
        match step!(push.extend, panel.extend_user(&account.name, &expected, to)).await {
            Ok(UpdateOutcome::Done) => {}
            Ok(UpdateOutcome::Changed(_)) => {
                let before = Trail {
                    agreements: vec![(
                        account.name.clone(),
                        account.revision + 1,
                        Some(account.agreement),
                    )],
                    ..Trail::default()
                };
                self.record(job_run, &before).await?;
                return Ok(Some(
                    "the panel user has changed since, so nothing was sent".to_owned(),
                ));
            }
            Err(error) => {
                let (_, why) = job_run.reader.note_unchanged(error)?;
                return Ok(Some(format!("it was not extended: {why}")));
            }
        }
        job_run.reader.note_answer();
        agreement.end = Some(EndDate::At(to));
        agreement.previous_end = Some(EndDate::At(from));
        agreement.is_ours = false;
        agreement.open = None;
        agreement.latest_end = agreement.latest_end.max(Some(to));
        let done = Trail {
            agreements: vec![(account.name.clone(), account.revision + 1, Some(agreement))],
            entries: vec![entry.clone()],
        };
        job_run.writer.note_changed(entry);
        job_run.writer.run.extended_in_panel += 1;
        tracing::info!(
            user.name = account.name,
            "Extended panel user: {} -> {}",
            from.format("%Y-%m-%d"),
            to.format("%Y-%m-%d")
        );
        self.record(job_run, &done).await?;
        Ok(None)
    }

    /// The account as the database has it now, if its end still is the one that was paid for.
    async fn still_behind(
        &self,
        job_run: &JobRun<'_>,
        pushed: &Pushed,
    ) -> Result<Option<Account>, Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let ids = [pushed.id];
        let now = job_run.writer.now();
        let read = accounts.reload_accounts(panel_name, &ids, now);
        let fresh = step!(push.read, read).await?;
        // A dry run has not written what an operator's answer makes the sides agree on.
        let is_dry_run = job_run.context.options.dry_run;
        Ok(fresh.into_iter().find(|account| {
            let subscription = account.subscription.as_ref();
            account.id == pushed.id
                && account.name == pushed.problem.name
                && account.sharers.is_empty()
                && (is_dry_run || account.agreement.end == Some(EndDate::At(pushed.push.from)))
                && subscription.is_some_and(|subscription| {
                    subscription.status.is_open()
                        && subscription.end() == EndDate::At(pushed.push.to)
                        && subscription.has_begun(now)
                })
        }))
    }

    async fn record(&self, job_run: &JobRun<'_>, trail: &Trail) -> Result<(), Interrupt> {
        let Context {
            journal, panel_name, ..
        } = job_run.context;
        let record = journal.record(panel_name, job_run.writer.run_id, trail, job_run.writer.now());
        Ok(step!(push.record, record).await?)
    }
}
