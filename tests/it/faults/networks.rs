//! Networks before the panel and before the database that are cut, stall, truncate and slow down in the middle of a run.

use std::time::Duration;

use marzban_api::Timeouts;
use marzban_sync_core::Context;
use marzban_sync_core::jobs::run;
use marzban_sync_core::panel::MarzbanPanel;
use marzban_sync_core::report::Job;
use marzban_sync_core::store::{PostgresStore, StoreTimeouts};
use marzban_sync_tests::{Proxy, Traffic, client_with};
use tokio::time::timeout;

use super::outages::Seen;
use super::ran::Ran;
use super::table::Row;
use super::town::{LIMIT, State, Town};
use super::work::Work;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Panel,
    Database,
}

/// When the traffic turns bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Beginning,
    FirstQuestion,
    SingleUser,
    Deletion,
}

/// A network that turns bad at some moment, and stays so until the run has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    side: Side,
    traffic: Traffic,
    moment: Moment,
    pub(super) job: Job,
}

impl Moment {
    /// Whether a run of this job comes to it.
    fn is_of(self, job: Job) -> bool {
        match self {
            Self::Beginning | Self::FirstQuestion => true,
            Self::SingleUser => job != Job::GetMarzbanSystemStats,
            Self::Deletion => job == Job::CleanupExpiredMarzbanUsers,
        }
    }

    fn is_now(self, method: &str, path: &str) -> bool {
        match self {
            Self::Beginning => false,
            Self::FirstQuestion => path != "/api/admin/token",
            Self::SingleUser => path.starts_with("/api/user/"),
            Self::Deletion => method == "DELETE",
        }
    }
}

/// All of them, in an order that stays.
pub(super) fn all() -> Vec<Network> {
    let mut all = Vec::new();
    for side in [Side::Panel, Side::Database] {
        for traffic in [
            Traffic::Cut,
            Traffic::Stalled,
            Traffic::Truncated(100),
            Traffic::Slow(256),
        ] {
            for moment in [
                Moment::Beginning,
                Moment::FirstQuestion,
                Moment::SingleUser,
                Moment::Deletion,
            ] {
                let jobs = Job::ALL.into_iter().filter(|job| moment.is_of(*job));
                all.extend(jobs.map(|job| Network {
                    side,
                    traffic,
                    moment,
                    job,
                }));
            }
        }
    }
    all
}

impl Network {
    fn fault(self) -> String {
        let side = match self.side {
            Side::Panel => "panel",
            Side::Database => "database",
        };
        let what = match self.traffic {
            Traffic::Cut => "cut",
            Traffic::Stalled => "silent",
            Traffic::Truncated(_) => "broken off in the middle of an answer",
            Traffic::Slow(_) => "slow",
            Traffic::Flows => "sound",
        };
        format!("the network to the {side} is {what}")
    }

    fn place(self) -> &'static str {
        match self.moment {
            Moment::Beginning => "from the beginning",
            Moment::FirstQuestion => "at the first question to the panel",
            Moment::SingleUser => "at the first question for one user",
            Moment::Deletion => "at the first deletion",
        }
    }

    /// The context, with a proxy before that side; what is silent is not waited for any longer than it must.
    async fn context(self, town: &Town) -> (Context, Proxy) {
        let is_silent = self.traffic == Traffic::Stalled;
        let (panel, database) = (town.bot.panel.url(), town.bot.database.url());
        let timeouts = if is_silent && self.side == Side::Panel {
            Timeouts {
                read: Duration::from_millis(500),
                ..Timeouts::default()
            }
        } else {
            Timeouts::default()
        };
        let (proxy, panel, store) = match self.side {
            Side::Panel => {
                let proxy = Proxy::before_panel(&panel).await;
                let url = proxy.panel_url();
                (proxy, url, town.store.clone())
            }
            Side::Database => {
                let proxy = Proxy::before_database(database).await;
                let store = PostgresStore::connect(&proxy.database_url(database))
                    .await
                    .unwrap();
                (proxy, panel, store)
            }
        };
        let patience = StoreTimeouts {
            call: Duration::from_secs(1),
            lock: Duration::from_secs(1),
            ..StoreTimeouts::default()
        };
        let store = if is_silent {
            store.with_timeouts(patience)
        } else {
            store
        };
        let panel = MarzbanPanel::new(client_with(&panel, "admin", "admin", timeouts));
        let context = Context::builder(panel, store)
            .clock(town.bot.clock.clone())
            .build();
        (context, proxy)
    }

    /// What holds whatever else the run did until it met the fault.
    fn check(self, seen: &Seen) {
        let is_sound = matches!(self.traffic, Traffic::Slow(_) | Traffic::Flows);
        let is_early = matches!(self.moment, Moment::Beginning | Moment::FirstQuestion);
        if !is_sound && is_early {
            assert_eq!((seen.written, seen.traced, seen.deletions), (0, 0, 0), "{self:?}");
        }
        // A deletion that was under way when the database died cannot be taken back; another one is not begun.
        if !is_sound && self.side == Side::Database {
            let begun = usize::from(self.moment == Moment::Deletion);
            assert_eq!(seen.deletions, begun, "{self:?}");
        }
    }

    pub(super) async fn play(self, expected: &State, town: &mut Town) -> Row {
        let (fault, place, job) = (self.fault(), self.place(), self.job);
        let (context, proxy) = self.context(town).await;
        let (moment, traffic, switch) = (self.moment, self.traffic, proxy.switch());
        if moment == Moment::Beginning {
            proxy.set(traffic);
        }
        town.bot.panel.on_request(move |_, request| {
            if moment.is_now(&request.method, &request.path) {
                switch.send_replace(traffic);
            }
            std::future::ready(())
        });
        let ran: Ran = timeout(LIMIT, run(job, &context))
            .await
            .expect("a bad network ends the run, or the run ends in spite of it")
            .into();
        drop((context, proxy));
        let seen = Seen::of(town).await;
        self.check(&seen);

        let work = Work::Job(job);
        town.recovers(work, expected, &format!("{fault} {place}")).await;
        Row {
            fault,
            place: place.to_owned(),
            work,
            lost: town.lost().await,
            wrong_deletions: town.wrong_deletions(),
            said: format!("{}; {seen}", ran.said),
            words: ran.words,
        }
    }
}
