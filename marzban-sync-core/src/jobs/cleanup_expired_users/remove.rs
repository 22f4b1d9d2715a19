//! The last looks at one account, and the deletion, the disabling and the unlinking.

use chrono::{DateTime, Utc};

use super::Cleanup;
use crate::decide::deletion::{Verdict, is_candidate, is_recent_enough, judge_again, kept_by_rows};
use crate::jobs::Context;
use crate::jobs::job_run::{Interrupt, JobRun};
use crate::model::account::Account;
use crate::model::observation::{Observation, Observed};
use crate::model::plan::{Change, Reason, Shown};
use crate::model::policy::CleanupAction;
use crate::model::report::{KeptBecause, Problem, ProblemReason};
use crate::model::trail::{Entry, EntryState, Target};
use crate::port::error::{PanelError, chain};
use crate::port::event::Event;
use crate::port::journal::Trail;
use crate::port::panel::{ExpectedUser, UpdateOutcome};

/// What the panel said of a user right before the deletion.
struct LastLook {
    at: DateTime<Utc>,
    observation: Observation,
    verdict: Verdict,
}

impl Cleanup {
    /// The second look, in the database and then in the panel, and the deletion if both agree; returns what the panel
    /// returned for a user that is kept.
    pub(super) async fn look_again(
        &mut self,
        job_run: &mut JobRun<'_>,
        first: &Observed,
    ) -> Result<Option<Observation>, Interrupt> {
        let Some(account) = self.still_ended(job_run, &first.account).await? else {
            self.skip(KeptBecause::OtherSubscription);
            return Ok(Some(first.observation.clone()));
        };
        let action = job_run.context.policy.cleanup;
        if action == CleanupAction::Delete && !self.rehearse(job_run, &account).await? {
            return Ok(None);
        }
        let becomes = match action {
            CleanupAction::Delete => None,
            CleanupAction::Disable => Some("disabled".to_owned()),
        };
        let entry =
            Entry::of(&account, Target::PanelUser, "cleaned").values(Some("exists".to_owned()), becomes);
        job_run.verify_lock().await?;
        let LastLook {
            at: looked_at,
            observation: second,
            verdict,
        } = self.last_look(job_run, &account, first, &entry).await?;
        let is_gone = match verdict {
            Verdict::Keep(because) => {
                self.skip(because);
                return Ok(Some(second));
            }
            Verdict::Problem(reason, detail) => {
                job_run
                    .writer
                    .note_problem(account.id, Problem::of(&account, reason, detail));
                return Ok(None);
            }
            Verdict::Delete => false,
            Verdict::AlreadyGone => true,
        };
        if !is_recent_enough(looked_at, job_run.writer.now()) {
            let why = Some("the second look took too long to count".to_owned());
            job_run
                .writer
                .note_problem(account.id, Problem::of(&account, ProblemReason::NotDeleted, why));
            return Ok(None);
        }
        self.budget -= 1;
        match action {
            CleanupAction::Disable if !is_gone => self.disable(job_run, &account, &second, entry).await?,
            CleanupAction::Disable | CleanupAction::Delete => {
                if is_gone || self.delete(job_run, &account, entry).await? {
                    self.unlink(job_run, &account).await?;
                }
            }
        }
        Ok(None)
    }

    /// Asks the panel, the database and the panel again: a payment during one question is seen by the next, and the panel
    /// comes last. What is about to be done is recorded before the last question, so that nothing that may take
    /// its time lies between the answer and the deletion.
    async fn last_look(
        &self,
        job_run: &mut JobRun<'_>,
        account: &Account,
        first: &Observed,
        entry: &Entry,
    ) -> Result<LastLook, Interrupt> {
        let look = self.ask_again(job_run, account, first).await?;
        // A user that is gone is only unlinked, which compares the row.
        if look.verdict != Verdict::Delete {
            return Ok(look);
        }
        job_run.reader.check()?;
        record(job_run, entry, EntryState::Intended).await?;
        if self.still_ended(job_run, account).await?.is_none() {
            return Ok(LastLook {
                verdict: Verdict::Keep(KeptBecause::OtherSubscription),
                ..look
            });
        }
        // A run that was overtaken knows nothing of what the next one did.
        job_run.verify_lock().await?;
        self.ask_again(job_run, account, first).await
    }

    async fn ask_again(
        &self,
        job_run: &mut JobRun<'_>,
        account: &Account,
        first: &Observed,
    ) -> Result<LastLook, Interrupt> {
        let at = job_run.writer.now();
        let observation = job_run.reader.ask_for(&account.name).await?;
        let now = job_run.writer.now();
        let verdict = judge_again(account, &first.observation, &observation, self.cutoff, now);
        Ok(LastLook {
            at,
            observation,
            verdict,
        })
    }

    /// The account as the database has it now, if nothing of it speaks against the deletion.
    async fn still_ended(
        &self,
        job_run: &JobRun<'_>,
        account: &Account,
    ) -> Result<Option<Account>, Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let (ids, now) = ([account.id], job_run.writer.now());
        let fresh = step!(
            cleanup.read_again,
            accounts.reload_accounts(panel_name, &ids, now)
        )
        .await?;
        Ok(fresh.into_iter().find(|fresh| {
            fresh.id == account.id
                && fresh.name == account.name
                && is_candidate(fresh, self.cutoff)
                && kept_by_rows(fresh, self.cutoff, now).is_none()
        }))
    }

    /// Whether the row could be written after the deletion; if not, that is a problem of this account.
    async fn rehearse(&self, job_run: &mut JobRun<'_>, account: &Account) -> Result<bool, Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let rehearsal = accounts.rehearse_unlink(panel_name, account, job_run.writer.now());
        let (reason, detail) = match step!(cleanup.rehearse, rehearsal).await {
            Ok(true) => return Ok(true),
            Ok(false) => (
                ProblemReason::Conflict,
                "the row has changed, or somebody paid, so nothing was deleted".to_owned(),
            ),
            Err(error) if error.kind().is_of_one_row() => (
                ProblemReason::Rejected,
                format!(
                    "the row cannot be unlinked, so nothing was deleted: {}",
                    chain(&error)
                ),
            ),
            Err(error) => return Err(error.into()),
        };
        job_run
            .writer
            .note_problem(account.id, Problem::of(account, reason, Some(detail)));
        Ok(false)
    }

    /// Deletes the panel user; returns whether it is gone.
    async fn delete(
        &mut self,
        job_run: &mut JobRun<'_>,
        account: &Account,
        entry: Entry,
    ) -> Result<bool, Interrupt> {
        if let Err(error) = step!(cleanup.delete, job_run.context.panel.delete_user(&account.name)).await {
            // Users that another administrator owns must not use up the budget, week after week.
            self.budget += u64::from(not_deleted(job_run, account, error)?);
            return Ok(false);
        }
        record(job_run, &entry, EntryState::Done).await?;
        job_run.writer.note_changed(entry);
        Ok(true)
    }

    /// Disables the panel user, and marks its access off.
    async fn disable(
        &mut self,
        job_run: &mut JobRun<'_>,
        account: &Account,
        seen: &Observation,
        entry: Entry,
    ) -> Result<(), Interrupt> {
        let Observation::Found(user) = seen else {
            return Ok(());
        };
        let expected = ExpectedUser {
            expire: user.expire,
            created_at: user.created_at,
        };
        let disable = job_run.context.panel.disable_user(&account.name, &expected);
        match step!(cleanup.disable, disable).await {
            Ok(UpdateOutcome::Done) => {}
            Ok(UpdateOutcome::Changed(_)) => {
                self.skip(KeptBecause::InUse);
                return Ok(());
            }
            Err(error) => {
                self.budget += u64::from(not_deleted(job_run, account, error)?);
                return Ok(());
            }
        }
        record(job_run, &entry, EntryState::Done).await?;
        job_run.writer.note_changed(entry);
        if account.is_active != Some(false) {
            let mut change = Change::of(account);
            change.vpn_config.is_active = Some(false);
            change.reasons.push(Reason::Disabled);
            // The row's rest goes on: this write is the library's own.
            let mut agreement = account.agreement.clone();
            agreement.own_write_at = Some(job_run.writer.now());
            change.agreement = Some(agreement);
            let written = job_run.writer.apply(vec![change]).await?;
            if !written.applied.contains(&account.id) {
                let detail = Some("the panel user is disabled, but its row has changed".to_owned());
                let problem = Problem::of(account, ProblemReason::Conflict, detail);
                job_run.writer.note_problem(account.id, problem);
                return Ok(());
            }
        }
        self.note_cleaned(job_run, account);
        Ok(())
    }

    fn note_cleaned(&mut self, job_run: &JobRun<'_>, account: &Account) {
        self.cleaned += 1;
        let user = Shown(account.telegram_id);
        tracing::info!(
            user.name = account.name,
            "Cleaned up expired Marzban user for {user}"
        );
        job_run.context.emit(Event::Cleaned(account));
    }

    /// Writes the row of a panel user that is gone; a row that cannot be written is a problem of that account.
    async fn unlink(&mut self, job_run: &mut JobRun<'_>, account: &Account) -> Result<(), Interrupt> {
        let Context {
            accounts, panel_name, ..
        } = job_run.context;
        let unlink = accounts.unlink(panel_name, job_run.writer.run_id, account, job_run.writer.now());
        let (reason, detail) = match step!(cleanup.unlink, unlink).await {
            Ok(true) => {
                self.note_cleaned(job_run, account);
                return Ok(());
            }
            Ok(false) => (
                ProblemReason::Conflict,
                "the panel user is gone, but its row names another by now, or somebody paid".to_owned(),
            ),
            Err(error) if error.kind().is_of_one_row() => (
                ProblemReason::Rejected,
                format!(
                    "the panel user is gone, but its row was not written: {}",
                    chain(&error)
                ),
            ),
            Err(error) => return Err(error.into()),
        };
        job_run
            .writer
            .note_problem(account.id, Problem::of(account, reason, Some(detail)));
        Ok(())
    }
}

/// Notes that a panel user was not deleted or disabled; returns whether that is certain, as the panel refused it.
fn not_deleted(job_run: &mut JobRun<'_>, account: &Account, error: PanelError) -> Result<bool, Interrupt> {
    let (is_refused, why) = job_run.reader.note_unchanged(error)?;
    job_run.writer.note_problem(
        account.id,
        Problem::of(account, ProblemReason::NotDeleted, Some(why)),
    );
    Ok(is_refused)
}

async fn record(job_run: &JobRun<'_>, entry: &Entry, state: EntryState) -> Result<(), Interrupt> {
    let Context {
        journal, panel_name, ..
    } = job_run.context;
    let trail = Trail {
        entries: vec![Entry {
            state,
            ..entry.clone()
        }],
        ..Trail::default()
    };
    let record = journal.record(panel_name, job_run.writer.run_id, &trail, job_run.writer.now());
    Ok(step!(cleanup.record, record).await?)
}
