//! Runs that are told to end, by the token and by their time, in the middle of a question to the panel.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use marzban_sync_core::jobs::run;
use marzban_sync_core::report::Job;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::outages::Seen;
use super::ran::Ran;
use super::table::Row;
use super::town::{LIMIT, State, Town};
use super::work::Work;
use crate::bot::now;

/// What ends a run at its first question.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// The token, while the panel says nothing at all.
    Token,
    /// The clock, which the answer comes too late for.
    Time,
}

pub(super) const ALL: [Stop; 2] = [Stop::Token, Stop::Time];

impl Stop {
    pub(super) async fn play(self, job: Job, expected: &State, town: &mut Town) -> Row {
        let (fault, place) = match self {
            Self::Token => ("cancelled", "while the panel is silent"),
            Self::Time => ("the time is up", "at the first question to the panel"),
        };
        let token = CancellationToken::new();
        let context = town
            .bot
            .context_with(town.store.clone())
            .cancellation(token.clone())
            .build();
        let (clock, is_first) = (town.bot.clock.clone(), AtomicBool::new(true));
        town.bot.panel.on_request(move |_, request| {
            let (token, clock) = (token.clone(), clock.clone());
            let is_now = request.path != "/api/admin/token" && is_first.swap(false, Ordering::SeqCst);
            async move {
                match self {
                    Self::Token if is_now => {
                        token.cancel();
                        pending::<()>().await;
                    }
                    Self::Time if is_now => clock.advance(TimeDelta::minutes(30)),
                    Self::Token | Self::Time => {}
                }
            }
        });
        let ran: Ran = timeout(LIMIT / 4, run(job, &context))
            .await
            .expect("a run that is told to end does not wait for the panel")
            .into();
        let seen = Seen::of(town).await;
        assert_eq!(seen.deletions, 0, "{fault} {place} {job}: {}", ran.said);

        town.bot.clock.set(now());
        let work = Work::Job(job);
        town.recovers(work, expected, &format!("{fault} {place}")).await;
        Row {
            fault: fault.to_owned(),
            place: place.to_owned(),
            work,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions(),
            said: format!("{}; {seen}", ran.said),
            words: ran.words,
        }
    }
}
