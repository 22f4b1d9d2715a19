//! The cheap way of the status job: the panel says who is not active, and only whom that leaves in doubt is read.
//!
//! Nothing is decided by the cheap answers. An account that is not read stays as it is, and whether any might have been
//! left out that is gone is told by the sums; if they disagree, or one that was read is gone, the others are read as well.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::Sync;
use crate::account::{Account, UserId};
use crate::census::Census;
use crate::error::chain;
use crate::event::Event;
use crate::history::{RunQuery, last_full_read};
use crate::jobs::StatusReads;
use crate::jobs::session::{Interrupt, Session};
use crate::reconcile::Facet;
use crate::store::Outcome;

/// How many completed runs are looked through for one that read in full; there are never more cheap ones in a row.
const RUNS_LOOKED_THROUGH: u32 = 50;

/// Which accounts of a page are read.
pub(super) enum Choice<'a> {
    /// All of them.
    All,
    /// Those of users of one of whose accounts there may be news.
    News(&'a mut News),
    /// Those of users that have not been read.
    Others(&'a BTreeSet<UserId>),
}

/// Where news are looked for, and what that leaves unread.
#[derive(Default)]
pub(super) struct News {
    census: Census,
    /// The users whose accounts are read.
    read: BTreeSet<UserId>,
    /// How many accounts are not.
    unread: u64,
    /// Those of them that must be among the panel's active users, if nobody is gone.
    active: u64,
}

impl Choice<'_> {
    /// The accounts that are to be read; whole users of them, so that a customer is decided on as one.
    pub(super) fn choose(&mut self, mut accounts: Vec<Account>, now: DateTime<Utc>) -> Vec<Account> {
        match self {
            Self::All => {}
            Self::News(news) => news.choose(&mut accounts, now),
            Self::Others(read) => accounts.retain(|account| !read.contains(&account.user_id)),
        }
        accounts
    }
}

impl News {
    fn choose(&mut self, accounts: &mut Vec<Account>, now: DateTime<Utc>) {
        let is_news = |account: &&Account| self.census.may_bring_news(account, now);
        let read: BTreeSet<UserId> = accounts
            .iter()
            .filter(is_news)
            .map(|account| account.user_id)
            .collect();
        accounts.retain(|account| {
            let is_read = read.contains(&account.user_id);
            if !is_read {
                self.unread += 1;
                self.active += u64::from(self.census.may_be_active(account));
            }
            is_read
        });
        self.read.extend(read);
    }
}

impl Sync {
    /// Reads whom there may be news of, and the others too where that cannot be told.
    pub(super) async fn read(&mut self, session: &mut Session<'_>, expected: u64) -> Result<(), Interrupt> {
        let Some(census) = self.census(session, expected).await? else {
            return self.read_chosen(session, &mut Choice::All).await;
        };
        let mut news = News {
            census,
            ..News::default()
        };
        self.read_chosen(session, &mut Choice::News(&mut news)).await?;
        let Some(doubt) = self.doubt(&news) else {
            self.tally.total += news.unread;
            // No absence takes anything from anybody, so nothing hangs on these being found.
            self.tally.found += news.unread;
            session.ledger.run.unread = news.unread;
            session.context.emit(Event::Observed(news.unread));
            return Ok(());
        };
        tracing::info!(
            panel.name = session.context.panel_name,
            "{doubt}: all accounts are read"
        );
        self.read_chosen(session, &mut Choice::Others(&news.read)).await
    }

    /// Why the others are to be read too, once those have been of whom there may be news.
    fn doubt(&self, news: &News) -> Option<String> {
        let (known, active) = (news.active + self.read_active, news.census.active);
        if known != active {
            return Some(format!(
                "The panel has {active} active users, and the bot knows {known}"
            ));
        }
        // Each may be among the active ones, and make up for one who is gone.
        if self.unclear > 0 {
            return Some(format!("The panel did not show {} users", self.unclear));
        }
        // The safety limits count these together with those who are gone, and strangers may make up for the latter.
        if self.tally.expired_early > 0 {
            return Some("The panel ended users before their time".to_owned());
        }
        // It may be one of many whom strangers make up for, or of another panel: the safety limits are to count all.
        self.has_news_of_absence()
            .then(|| "The panel lacks a user that had access".to_owned())
    }

    /// The panel's census, where it is this run's way and the panel can give one.
    async fn census(&self, session: &Session<'_>, accounts: u64) -> Result<Option<Census>, Interrupt> {
        let Session { context, inquiry, .. } = session;
        if self.facet != Facet::UserStatus || !self.is_cheap_run(session).await {
            return Ok(None);
        }
        inquiry.check()?;
        let question = step!(sync.census, context.panel.census(accounts));
        match inquiry.unless_cancelled(question).await? {
            Ok(census) => {
                if census.is_none() {
                    tracing::info!(
                        panel.name = context.panel_name,
                        "The panel gives no census that would save anything: all accounts are read"
                    );
                }
                Ok(census)
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    panel.name = context.panel_name,
                    error,
                    "all accounts are read, as the panel gave no census"
                );
                Ok(None)
            }
        }
    }

    /// Whether accounts may be left out this time.
    async fn is_cheap_run(&self, session: &Session<'_>) -> bool {
        let context = session.context;
        let StatusReads::Cheap { full_every, history } = &context.status_reads else {
            return false;
        };
        let query = RunQuery {
            panel: Some(context.panel_name.clone()),
            job: Some(self.job()),
            outcome: Some(Outcome::Completed),
            ..RunQuery::latest(RUNS_LOOKED_THROUGH)
        };
        match step!(sync.past_runs, history.runs(&query)).await {
            Ok(runs) => {
                let age = last_full_read(&runs).map(|began| context.clock.now() - began);
                age.is_some_and(|age| (TimeDelta::zero()..*full_every).contains(&age))
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    panel.name = context.panel_name,
                    error,
                    "all accounts are read, as the history does not say when they last were"
                );
                false
            }
        }
    }
}
